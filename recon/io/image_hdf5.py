"""Images as HDF5: ``image/data`` with attributes affine, spacing (mm) and metadata (JSON).

``image/deviation`` and ``image/samples`` lie beside it where a method drew samples.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from ..arrays import as_tensor
from ..image import Image
from .atomic import HDF5_ROOM, atomic
from .hdf5 import attribute, dataset, has, open_hdf5, read_array
from .metadata import as_json, from_json


def write(image: Image, path: Path) -> None:
    """Write the values as they are, axes ``(*batch, [z,] y, x)``."""
    arrays = {"data": image.data, "deviation": image.deviation, "samples": image.samples}
    present = {name: values for name, values in arrays.items() if values is not None}
    size = sum(values.nbytes for values in present.values())
    with (
        atomic(path, size + HDF5_ROOM) as temporary,
        h5py.File(temporary, "w") as file,
    ):
        for name, values in present.items():
            file[f"image/{name}"] = values.detach().cpu().resolve_conj().numpy()
        data = file["image/data"]
        data.attrs["affine"] = image.affine
        data.attrs["spacing"] = image.spacing
        data.attrs["metadata"] = json.dumps(as_json(image))


def read(path: Path) -> Image:
    """Read what `write` wrote."""
    with open_hdf5(path) as file:
        data = read_array(file, "image/data", "biufc")
        node = dataset(file, "image/data")
        others = {
            name: as_tensor(read_array(file, f"image/{name}", "biufc"))
            for name in ("deviation", "samples")
            if has(file, f"image/{name}")
        }
        return Image(
            as_tensor(data),
            tuple(np.ravel(attribute(node, "spacing", ())).tolist()),
            np.asarray(attribute(node, "affine", None)),
            from_json(attribute(node, "metadata", "")),
            **others,
        )
