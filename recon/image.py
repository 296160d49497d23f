"""What comes out of a reconstruction: `Image`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """A reconstructed image with its place in space.

    Parameters
    ----------
    data
        ``(*batch, [z,] y, x)``, real or complex; CT in attenuation per mm.
    spacing
        Voxel size in mm, ordered as the last axes of `data`: ``(z, y, x)`` or ``(y, x)``.
        Default: 1 mm.
    affine
        ``(4, 4)`` from voxel index (x, y, z) to patient position in mm (RAS+, as NIfTI).
        Default: the spacing on the diagonal, the centre of the grid at the origin.
    metadata
        How the image was made: method, options, modality ("MR" or "CT"), timings.
    deviation
        Standard deviation of the magnitude in each pixel (of the value, for real images), shaped
        as `data`, where a method draws samples: `data` is their mean.
    samples
        The samples, ``(sample, *data.shape)``.

    Raises
    ------
    ValueError
        Fewer than two axes, or spacing and affine that do not fit the data.
    """

    data: Tensor
    spacing: tuple[float, ...] = ()
    affine: NDArray[np.float64] = None  # type: ignore[assignment]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    deviation: Tensor | None = None
    samples: Tensor | None = None

    def __post_init__(self) -> None:
        data = self.data if isinstance(self.data, Tensor) else torch.from_numpy(np.array(self.data))
        if data.ndim < 2 or 0 in data.shape:
            raise ValueError(f"image data must be (*batch, [z,] y, x), got {tuple(data.shape)}")
        spacing = tuple(float(s) for s in self.spacing) or (1.0,) * min(data.ndim, 3)
        if len(spacing) not in (2, 3) or len(spacing) > data.ndim or not min(spacing) > 0:
            raise ValueError(
                f"spacing must be positive mm for the last 2 or 3 axes of {tuple(data.shape)}, "
                f"got {self.spacing}"
            )
        affine = self.affine
        if affine is None:
            affine = centred_affine(tuple(data.shape[-len(spacing) :]), spacing)
        affine = np.array(affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(f"affine must be a finite (4, 4) matrix, got shape {affine.shape}")
        affine.flags.writeable = False
        for name, part, axes in (("deviation", self.deviation, 0), ("samples", self.samples, 1)):
            if part is not None and tuple(part.shape[axes:]) != tuple(data.shape):
                raise ValueError(
                    f"{name} has shape {tuple(part.shape)}, expected "
                    f"{'(sample, *data.shape)' if axes else 'that of the data'} with data "
                    f"{tuple(data.shape)}"
                )
        for name, value in (("data", data), ("spacing", spacing), ("affine", affine)):
            object.__setattr__(self, name, value)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes of the axes in space: ``(z, y, x)`` or ``(y, x)``."""
        return tuple(self.data.shape[-len(self.spacing) :])

    def magnitude(self) -> NDArray[np.floating[Any]]:
        """Absolute value of a complex image, the values of a real one, as NumPy."""
        data = self.data.detach().cpu()
        return (data.abs() if data.is_complex() else data).numpy()

    def save(self, path: str | PathLike[str], **options: Any) -> Path:
        """Write by suffix: .nii, .nii.gz, .dcm, .h5, .png or .npy; see `spinray.save`."""
        from .io import save

        return save(self, path, **options)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.data.shape))
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
        method = f", {self.metadata['method']}" if "method" in self.metadata else ""
        kind = str(self.data.dtype).removeprefix("torch.")
        return f"Image({size}, {spacing} mm{method}, {kind} on {self.data.device.type})"


def centred_affine(shape: tuple[int, ...], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Affine of an axis-aligned grid ``([z,] y, x)`` whose centre lies at the origin."""
    step = np.ones(3)
    step[: len(spacing)] = spacing[::-1]
    size = np.ones(3)
    size[: len(shape)] = shape[::-1]
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = -(size - 1) / 2 * step
    return affine


def supine_affine(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    center: tuple[float, ...] = (),
    frame: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Affine (RAS+) of an axial grid ``([z,] y, x)`` as a radiologist views it.

    The patient lies supine, head first: x grows to the left, y to the back, z to the head, which
    is DICOM's frame (LPS). Simulated MR and all CT stand so, unless the file says otherwise.

    Parameters
    ----------
    shape, spacing
        Sizes, and voxel size in mm, ``([z,] y, x)``.
    center
        Position in mm of the middle of the grid in that frame, the last axes of (z, y, x).
        Default: the origin.
    frame
        ``(4, 4)`` from mm of the grid's frame (x, y, z) to the patient's, for other positions.
    """
    affine = centred_affine(shape, spacing)
    affine[: len(center), 3] += center[::-1]
    return (np.diag([-1.0, -1.0, 1.0, 1.0]) if frame is None else frame) @ affine
