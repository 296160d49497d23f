"""Images as NIfTI-1: axes (x, y, z, batch), RAS affine in both sform and qform."""

from __future__ import annotations

import gzip
import json
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from numpy.typing import NDArray

from ..arrays import as_tensor
from ..image import Image
from .atomic import atomic
from .errors import FormatError
from .metadata import as_json, from_json
from .stored import DEFLATE_RATIO

_Nifti: Any = nib.Nifti1Image  # nibabel has no types
_COMMENT = 6  # NIfTI's code of a free-text extension
_STORED = {"f2": "f4", "i8": "f8", "u8": "f8", "b1": "u1"}  # what NIfTI or its readers do not know


def write(image: Image, path: Path) -> None:
    """Write values as they are, complex too; metadata go into a header extension."""
    data = np.asarray(image.data.detach().cpu().resolve_conj().numpy())
    if len(image.spacing) == 2:
        data = data[..., None, :, :]
    data = data.astype(_STORED.get(data.dtype.str[1:], data.dtype))
    nifti = _Nifti(data.transpose(), image.affine)
    nifti.set_sform(image.affine, code=1)
    nifti.set_qform(image.affine, code=1)
    nifti.header.set_xyzt_units("mm")
    nifti.header["descrip"] = str(image.metadata.get("method", ""))[:79].encode("ascii", "replace")
    comment = json.dumps({"spinray": as_json(image), "spatial_axes": len(image.spacing)})
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, comment.encode()))
    with atomic(path) as temporary:
        nib.save(nifti, temporary)


def read(path: Path) -> Image:
    """Read an image; one without our metadata is a volume, or a slice if z has size 1.

    Raises
    ------
    FormatError
        A broken header, more voxels than the file can hold.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    room = path.stat().st_size * (DEFLATE_RATIO if packed else 1)
    try:
        with (
            LoggingOutputSuppressor(),  # what nibabel mends it would print
            gzip.open(path) if packed else path.open("rb") as stream,
        ):
            nifti = _Nifti.from_stream(stream)
            declared = prod(nifti.shape) * nifti.get_data_dtype().itemsize
            if declared > room:
                raise FormatError(path, "dim", f"declares {nifti.shape}, {declared} bytes")
            data: NDArray[Any] = np.asanyarray(nifti.dataobj).transpose()
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError) as error:
        raise FormatError(path, "header", str(error)) from error
    metadata, spatial = _own(nifti)
    if data.ndim < 3:
        data = data.reshape((1,) * (3 - data.ndim) + data.shape)
    spacing = tuple(float(s) for s in np.linalg.norm(nifti.affine[:3, :3], axis=0)[::-1])
    if data.shape[-3] == 1 and spatial != 3:
        data, spacing = data[..., 0, :, :], spacing[1:]
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("="))
    return Image(as_tensor(data), spacing, nifti.affine, metadata)


def _own(nifti: Any) -> tuple[dict[str, Any], int]:
    for extension in nifti.header.extensions:
        if extension.get_code() == _COMMENT:
            own = from_json(extension.get_content())
            if "spinray" in own:
                return dict(own["spinray"]), int(own["spatial_axes"])
    return {}, 2
