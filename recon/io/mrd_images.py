"""Images as messages of MRD version 1: what a scanner's console gets back, and its inverse."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import ismrmrd
import numpy as np
import torch
from numpy.typing import NDArray

from ..image import Image
from .metadata import as_json
from .mrd_messages import IMAGE, IMAGE_HEADER, PIXEL_KINDS, PIXELS
from .orientation import LPS_TO_RAS

_LARGEST = 4095  # what consoles show without loss
_PERCENTILES = (0.5, 99.5)
_TYPES = {str(dtype): number for number, dtype in PIXELS.items()}
COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")
_SHARED = (
    "measurement_uid", "patient_table_position", "acquisition_time_stamp", "physiology_time_stamp",
)  # fmt: skip


def image_message(
    image: Image,
    head: NDArray[np.void],
    *,
    pixels: str = "float",
    index: int = 1,
    series: int = 1,
) -> bytes:
    """One slice or volume as a message.

    Parameters
    ----------
    image
        ``([z,] y, x)`` with its affine.
    head
        Header of one of its readouts: counters, time stamps and table position are taken over.
    pixels
        ``"float"`` or ``"uint16"``: magnitude, whole numbers scaled to 4095; ``"complex"``.
    index, series
        Numbers of the image in its series, and of the series.

    Raises
    ------
    ValueError
        More than three axes, sizes beyond 65535, another kind of pixels.
    """
    if image.data.ndim not in (2, 3) or max(image.data.shape) > 65535:
        raise ValueError(f"an image message holds ([z,] y, x), got {tuple(image.data.shape)}")
    values, scale = _pixels(image, pixels)
    volume = values.reshape((1,) * (3 - values.ndim) + values.shape)
    shape = volume.shape[::-1]
    made = np.zeros((), IMAGE_HEADER)
    made["version"], made["channels"], made["matrix_size"] = 1, 1, shape
    made["data_type"] = _TYPES[str(volume.dtype)]
    made["image_type"] = ismrmrd.IMTYPE_COMPLEX if pixels == "complex" else ismrmrd.IMTYPE_MAGNITUDE
    made["image_index"], made["image_series_index"] = index, series
    for name in COUNTERS:
        made[name] = head["idx"][name]
    for name in _SHARED:
        made[name] = head[name]
    columns = LPS_TO_RAS @ image.affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    made["field_of_view"] = lengths * shape
    middle = [n // 2 for n in shape]  # as in readouts, that of the Fourier transform
    made["position"] = LPS_TO_RAS @ image.affine[:3, 3] + columns @ middle
    for name, column, length in zip(
        ("read_dir", "phase_dir", "slice_dir"), columns.T, lengths, strict=True
    ):
        made[name] = column / length
    text = _attributes(image, values, scale, made).encode()
    made["attribute_string_len"] = len(text)
    start = struct.pack("<H", IMAGE) + made.tobytes() + struct.pack("<Q", len(text))
    return start + text + volume.tobytes()


def image_of_message(content: bytes | memoryview) -> tuple[Image, NDArray[np.void]]:
    """The image ``([z,] y, x)`` of a message's content, and its header.

    Its metadata are those of the attributes, `image.metadata["mrd"]` has them all as text.

    Raises
    ------
    ValueError
        A message that is shorter than its header says, or of another kind of pixels.
    """
    width = IMAGE_HEADER.itemsize
    head = np.frombuffer(content, IMAGE_HEADER, 1)[0]
    (length,) = struct.unpack_from("<Q", content, width)
    kind = PIXELS.get(int(head["data_type"]))
    x, y, z = (int(n) for n in head["matrix_size"])
    channels, first = int(head["channels"]), width + 8 + length
    count = channels * x * y * z
    if kind is None or count < 1 or first + count * kind.itemsize != len(content):
        raise ValueError(
            f"an image message of {len(content)} bytes declares {channels} channels of "
            f"{x} x {y} x {z} pixels of type {int(head['data_type'])}"
        )
    values = np.frombuffer(content, kind, count, first).reshape(channels, z, y, x)
    if kind.kind in "ui":  # torch has few operations on unsigned numbers
        values = values.astype(np.float32)
    values = values[0] if channels == 1 else values
    values = values[..., 0, :, :] if z == 1 else values
    columns = np.stack([head[f"{name}_dir"] for name in ("read", "phase", "slice")], axis=1)
    spacing = head["field_of_view"].astype(np.float64) / (x, y, z)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ columns.astype(np.float64) * spacing
    affine[:3, 3] = LPS_TO_RAS @ head["position"] - affine[:3, :3] @ [x // 2, y // 2, z // 2]
    meta = _meta(bytes(content[width + 8 : first]))
    known = {**_facts(meta), "mrd": meta}
    axes = 2 if z == 1 else 3
    image = Image(
        torch.from_numpy(values.copy()), tuple(spacing[:axes][::-1].tolist()), affine, known
    )
    return image, head


def _pixels(image: Image, kind: str) -> tuple[NDArray[Any], float]:
    """The pixels to send, and what they were multiplied by."""
    if kind not in PIXEL_KINDS:
        raise ValueError(f"pixels must be one of {', '.join(PIXEL_KINDS)}, got {kind!r}")
    if kind == "complex":
        return image.data.detach().cpu().numpy().astype(np.complex64), 1.0
    values = np.abs(image.magnitude()).astype(np.float32)
    if kind == "float":
        return values, 1.0
    scale = _LARGEST / max(float(values.max()), float(np.finfo(np.float32).tiny))
    return (values * scale).round().astype(np.uint16), scale


def _attributes(image: Image, values: NDArray[Any], scale: float, made: NDArray[np.void]) -> str:
    """What consoles read beside the header, by the names that FIRE has for it, and all metadata."""
    known = image.metadata
    low, high = np.percentile(np.abs(values), _PERCENTILES).tolist()
    method = str(known.get("method", "reconstruction"))
    meta = ismrmrd.Meta(
        {
            "DataRole": "Image",
            "ImageProcessingHistory": ["SPINRAY", method],
            "ImageComments": f"Spinray {method}, magnitudes times {scale:.6g}"
            if scale != 1
            else f"Spinray {method}",
            "SeriesDescription": f"Spinray {method}",
            "SequenceDescriptionAdditional": f"SPINRAY_{method.upper()}",
            "WindowCenter": f"{(low + high) / 2:.6g}",
            "WindowWidth": f"{max(high - low, 1e-6 * abs(high)):.6g}",
            "PixelScale": repr(scale),
            "Keep_image_geometry": 1,
            "ImageRowDir": [f"{v:.9f}" for v in made["read_dir"].tolist()],
            "ImageColumnDir": [f"{v:.9f}" for v in made["phase_dir"].tolist()],
            "Spinray": json.dumps(as_json(image)),
        }
    )
    text = meta.serialize()
    return text if isinstance(text, str) else str(text.decode())


def _meta(text: bytes) -> dict[str, Any]:
    if not text.strip(b"\0 \n"):
        return {}
    return dict(ismrmrd.Meta.deserialize(text.rstrip(b"\0").decode("utf-8", "replace")))


def _facts(meta: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(meta.get("Spinray", "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
