"""What the data say about an image, and what was added to them."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from ..models.scaling import unit_norm
from ..operators import LinearOperator
from ..solvers import data_consistency

BRIGHTER = 1, 3, 10, 30, 100  # times, of the added part in pictures


@dataclass(frozen=True, eq=False)
class Split:
    """An image as the sum of what was measured of it and what the data cannot tell.

    Parameters
    ----------
    measured, added
        ``(*batch, [z,] y, x)``; their sum is the image.
    fraction
        Energy of the added part, in units of the image's.
    """

    measured: Tensor
    added: Tensor
    fraction: float

    def picture(self, path: str | PathLike[str]) -> Path:
        """Draw image, measured and added part side by side, the last as bright as it must be."""
        import matplotlib.pyplot as plt

        if self.measured.ndim != 2:
            raise ValueError(f"a picture is of one slice, got {tuple(self.measured.shape)}")
        image = (self.measured + self.added).abs()
        added, white = self.added.abs(), float(image.max())
        brightest = float(added.max())
        factor = max((f for f in BRIGHTER if f * brightest <= white), default=1)
        share = f"{100 * self.fraction:.2g}% of the energy"
        parts = {
            "image": image,
            "what the data say": self.measured.abs(),
            f"what was added, x {factor} ({share})": factor * added,
        }
        figure, axes = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained")
        for axis, (title, part) in zip(axes, parts.items(), strict=True):
            axis.imshow(part.cpu().numpy(), cmap="gray", vmin=0, vmax=white)
            axis.set_title(title)
            axis.axis("off")
        figure.savefig(path, dpi=120)
        plt.close(figure)
        return Path(path)


def split(A: LinearOperator, image: Tensor, *, noise: float = 1e-2, iterations: int = 100) -> Split:
    """Split an image into what the data determine and what they do not.

    The measured part is ``(A^H A + noise^2)^-1 A^H A x`` with A scaled to unit norm: directions
    that A shows clearer than the noise pass, those that it does not see are gone. Where A is a mask
    on orthonormal samples, that is what was sampled.

    Parameters
    ----------
    A
        The scan's operator.
    image
        ``(*batch, *A.domain_shape)``.
    noise
        Noise over signal in the data, which tells seen directions from unseen ones.
    iterations
        Conjugate gradient steps, at most.

    Raises
    ------
    ValueError
        An image that does not fit, noise that is not positive, an operator that is zero.
    """
    if tuple(image.shape[image.ndim - len(A.domain_shape) :]) != tuple(A.domain_shape):
        raise ValueError(f"the image is {tuple(image.shape)}, the operator's {A.domain_shape}")
    if not noise > 0:
        raise ValueError(f"noise must be positive, got {noise}")
    with torch.no_grad():
        data = A(image)
        scaled, norm = unit_norm(A, data)
        seen = scaled.adjoint(data / norm)
        weight = image.real.new_full((1,) * image.ndim, noise**2)
        start = torch.zeros_like(image)
        measured = data_consistency(scaled, seen, start, weight, iterations=iterations)
        added = image - measured
        energy = float(image.abs().square().sum())
        fraction = float(added.abs().square().sum()) / energy if energy else 0.0
    return Split(measured, added, fraction)
