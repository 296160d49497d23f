"""A trained denoiser as a prior of whole images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..arrays import as_tensor
from ..models import EDMDenoiser
from ..models.channels import from_channels, to_channels
from .tiles import Tiling

TILES = 24  # that go through the network at a time
OVERLAP = 6  # part of a tile


class Denoiser(Protocol):
    """What samplers know of a prior. Images are in its own unit, in which they are of order one."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Expected image, given ``x = image + sigma noise``; ``(*batch, [z,] y, x)``.

        The noise is of unit variance, in both parts of complex images.
        """

    def deviation(self, sigma: float) -> float:
        """Root mean square of what the expected image misses, in either part."""


def as_denoiser(prior: EDMDenoiser | Denoiser, seed: int = 0) -> Denoiser:
    """A network as a `Prior` whose tiles move by `seed`; what is a `Denoiser` already, itself.

    Raises
    ------
    TypeError
        Neither of them.
    """
    if isinstance(prior, EDMDenoiser):
        return Prior(prior, seed=seed)
    if not callable(prior) or not hasattr(prior, "deviation"):
        raise TypeError(
            "a prior is an EDMDenoiser, as sr.load_model('prior-mr') gives, or a Denoiser such as "
            f"FunctionDenoiser; got {type(prior).__name__}"
        )
    return prior


class FunctionDenoiser:
    """A function ``(image, sigma) -> image`` as a prior: BM3D, non-local means, any denoiser.

    What it misses is not known; it is taken for as much as the noise that it removes, so that data
    and denoiser count alike.

    Parameters
    ----------
    function
        Takes one real or complex image ``([z,] y, x)``, NumPy, in units of `scale`, and the noise's
        standard deviation in the same unit (of either part); returns the denoised one.
    """

    def __init__(self, function: Callable[[NDArray[Any], float], ArrayLike]) -> None:
        self._function = function

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Images ``(sample, [z,] y, x)``, one by one; see `Denoiser`."""
        images = [as_tensor(self._function(image.cpu().numpy(), sigma)) for image in x]
        for image in images:
            if image.shape != x.shape[1:]:
                raise ValueError(
                    f"the denoiser made {tuple(image.shape)} of an image of {tuple(x.shape[1:])}"
                )
        return torch.stack(images).to(x)

    def deviation(self, sigma: float) -> float:
        """The noise's own; see `Denoiser`."""
        return sigma


class Prior:
    """An `EDMDenoiser` on images of any size, by overlapping tiles of the size it was trained on.

    Volumes go through slice by slice. The tiles move from call to call, so that no seam stays.

    Parameters
    ----------
    network
        The trained denoiser.
    overlap
        Pixels by which neighbouring tiles overlap at least. Default: a sixth of a tile.
    seed
        Of the tiles' places; None: they stay, and the same image gives the same result.

    Raises
    ------
    TypeError
        Another kind of network.
    ValueError
        An overlap that leaves no step.

    References
    ----------
    J. Hu et al., PaDIS, NeurIPS (2024).
    """

    def __init__(
        self, network: EDMDenoiser, *, overlap: int | None = None, seed: int | None = 0
    ) -> None:
        if not isinstance(network, EDMDenoiser):
            raise TypeError(f"a prior is an EDMDenoiser, got {type(network).__name__}")
        overlap = network.patch // OVERLAP if overlap is None else overlap
        if not 0 <= overlap <= network.patch // 2:
            raise ValueError(f"overlap must be 0 to {network.patch // 2} pixels, got {overlap}")
        self.network, self.overlap = network, overlap
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        figures = network.training_facts.get("figures", {})
        self._errors = [(float(row[0]), float(row[1])) for row in figures.get("denoising", ())]

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Expected image; see `Denoiser`."""
        if x.is_complex() != self.network.complex_images:
            kind = "complex" if self.network.complex_images else "real"
            raise TypeError(f"this prior is of {kind} images, got {x.dtype}")
        slices = x.reshape(-1, 1, *x.shape[-2:])
        channels = to_channels(slices) if x.is_complex() else slices
        channels = channels.to(self.network.head.weight.dtype)
        shape = (int(x.shape[-2]), int(x.shape[-1]))
        tiling = Tiling(shape, self.network.patch, self.overlap, self._generator)
        position = tiling.positions(channels)
        several = max(1, TILES // len(position))  # slices at a time: volumes need no more memory
        joined = torch.cat([
            tiling.join(self._denoised(tiling.cut(some), sigma, position))
            for some in torch.split(channels, several)
        ]).to(x.real.dtype)  # fmt: skip
        return (from_channels(joined) if x.is_complex() else joined).reshape(x.shape)

    def _denoised(self, tiles: Tensor, sigma: float, position: Tensor) -> Tensor:
        """Tiles of some slices through the network."""
        position = position.repeat(len(tiles) // len(position), 1, 1, 1)
        parts = zip(torch.split(tiles, TILES), torch.split(position, TILES), strict=True)
        return torch.cat([self.network(part, sigma, place) for part, place in parts])

    def deviation(self, sigma: float) -> float:
        """As measured in the validation, between its levels by powers; see `Denoiser`."""
        data = self.network.sigma_data
        bound = sigma * data / math.hypot(sigma, data)  # of the best linear estimate of a pixel
        if not self._errors:
            return bound
        levels = [level for level, _ in self._errors]
        errors = [error for _, error in self._errors]
        if sigma <= levels[0]:
            return min(bound, errors[0] * sigma / levels[0])
        if sigma >= levels[-1]:
            return errors[-1]
        upper = next(index for index, level in enumerate(levels) if level > sigma)
        span = math.log(levels[upper] / levels[upper - 1])
        share = math.log(sigma / levels[upper - 1]) / span
        lower, higher = errors[upper - 1], errors[upper]
        return lower * math.exp(share * math.log(higher / lower))
