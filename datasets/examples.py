"""What a dataset yields: `MRExample`, `CTExample`, `PatchExample`, and how examples become a batch.

Scans are not normalised: values and units are those of the files. Every tensor has the axes below,
with one batch axis before them in a batch made by `collate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor


class MRExample(NamedTuple):
    """One slice of undersampled MR data with its target.

    Parameters
    ----------
    kspace
        What the network may see. Cartesian ``(coil, ky, kx)``, complex64, centred, zero where the
        mask is false; with `adjacent` slices ``(slice, coil, ky, kx)``, the slice of the target in
        the middle. Non-Cartesian ``(coil, sample)``. One coil stays an axis of length 1.
    mask
        Cartesian: bool with as many axes as `kspace`, ``([1,] 1, ky or 1, kx)``, true where
        measured: it broadcasts against `kspace`, in a batch too.
    trajectory
        Non-Cartesian: ``(sample, 2)``, (y, x) in cycles per pixel.
    calibration
        Fully sampled lines in the centre of k-space (fastMRI's num_low_frequencies); 0: unknown.
    noise
        Standard deviation of the noise of real parts, as the outermost samples tell it.
    maps
        Coil sensitivities ``(coil, y, x)`` on the k-space matrix, complex64, where asked for.
    target
        Magnitude image ``(y, x)``, float32, of `crop_size`; None in test data.
    max_value
        Largest value of the whole volume's target: the data range of SSIM and PSNR; 0 without one.
    crop_size
        ``(y, x)`` of the centre of the image that is compared with the target.
    acquisition
        Contrast or sequence, such as "CORPD_FBK" or "AXT2".
    fname, slice_number
        Where the slice comes from.
    """

    kspace: Tensor
    mask: Tensor | None
    trajectory: Tensor | None
    calibration: int
    noise: float
    maps: Tensor | None
    target: Tensor | None
    max_value: float
    crop_size: tuple[int, int]
    acquisition: str
    fname: str
    slice_number: int


class CTExample(NamedTuple):
    """One slice of CT data with its target. Geometry and grid are the dataset's, the same for all.

    Parameters
    ----------
    sinogram
        Line integrals ``(view, column)``, float32: of `dataset.geometry`. None where the data set
        has images only.
    image
        Low-dose image ``(y, x)``, attenuation in 1/mm, where the data set has one; else None.
    target
        ``(y, x)``, attenuation in 1/mm, float32, on `dataset.volume`; None in test data.
    max_value
        Largest value of the volume's target; of the slice's where they are read one by one
        (`LoDoPaB`, whose files hold several patients, and `MayoImages`).
    fname, slice_number
        Where the slice comes from.
    """

    sinogram: Tensor | None
    image: Tensor | None
    target: Tensor | None
    max_value: float
    fname: str
    slice_number: int


class PatchExample(NamedTuple):
    """A patch of an image, for denoisers that serve as priors.

    Parameters
    ----------
    image
        ``(y, x)``: MR complex64, in units of the whole image's robust maximum; CT float32, in
        units of the attenuation of water.
    position
        ``(2, y, x)``: where each pixel lies, (y, x) from -1 to 1 across the whole image; beyond it
        outside.
    fname, slice_number
        Where the slice comes from.
    """

    image: Tensor
    position: Tensor
    fname: str
    slice_number: int


Example = TypeVar("Example", MRExample, CTExample, PatchExample)


def collate(examples: Sequence[Example]) -> Example:
    """Make a batch of examples: the same type, for ``DataLoader(collate_fn=collate)``.

    Tensors are stacked, numbers become tensors ``(batch,)``, names lists; what is None stays None.
    `crop_size` stays one ``(y, x)``.

    Raises
    ------
    ValueError
        Slices whose shapes differ, or of which only some have a target: names the field.
    """
    first = examples[0]
    columns = {
        name: _column(name, [getattr(example, name) for example in examples])
        for name in first._fields
    }
    return type(first)(**columns)


def _column(name: str, values: list[Any]) -> Any:
    first = values[0]
    if any((value is None) != (first is None) for value in values):
        raise ValueError(f"a batch of which only some have {name}: batch_size=1, or split them")
    if first is None:
        return None
    if isinstance(first, Tensor):
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise ValueError(f"a batch needs {name} of one shape, got {shapes}: use batch_size=1")
        return torch.stack(values)
    if isinstance(first, tuple):
        if len(set(values)) > 1:
            raise ValueError(f"a batch needs one {name}, got {set(values)}: use batch_size=1")
        return first
    if isinstance(first, int | float):
        dtype = torch.int64 if isinstance(first, int) else torch.float32
        return torch.tensor(values, dtype=dtype)
    return values
