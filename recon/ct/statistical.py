"""Statistical reconstruction: penalised weighted least squares and penalised likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..solvers.common import Callback
from ..solvers.neighbor_penalty import NeighborPenalty, Potential
from ..solvers.ordered_subsets import (
    DataTerm,
    LeastSquares,
    Update,
    ordered_subsets,
    separable_curvature,
)
from ..solvers.simultaneous import start
from ..solvers.subsets import Subsets, as_subsets
from .ray_weights import statistical_weights
from .regularization_scale import image_scale, noise_strength
from .view_subsets import ordered_views

UPDATES = 240  # of the image, where the number of passes is not given


def pwls(
    A: LinearOperator | Subsets,
    y: Tensor,
    weights: Tensor,
    *,
    weight: float = 1.8,
    edge: float = 0.02,
    potential: Potential = "q-ggmrf",
    iterations: int | None = None,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    momentum: bool = True,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``sum_i w_i (A x - y)_i^2 / 2 + R(x)``: penalised weighted least squares (MBIR).

    Separable quadratic surrogates, ordered subsets of the views and Nesterov's momentum; R is
    `spinray.solvers.NeighborPenalty`, stronger where rays are more certain, so that resolution is
    even (Fessler and Rogers).

    Parameters
    ----------
    A
        Projection operator, whose views are taken in subsets, or subsets of your choice: a single
        one (`ordered_views(A, 1)`) converges to the minimum without detours.
    y
        Line integrals ``(*batch, *A.range_shape)``.
    weights
        Inverse variances of the line integrals, zero or more, broadcasting to them:
        `statistical_weights`.
    weight
        Slope of the penalty at edges, in units of the noise in a pixel's gradient at the mean
        certainty of the rays, which follows dose, number of views and geometry.
    edge
        Difference of two neighbours from which on it counts as an edge, as a part of the image's
        scale (about that of water: 0.02 are 20 HU).
    potential
        ``"q-ggmrf"``, ``"huber"`` or ``"quadratic"``.
    iterations
        Passes over all views. Default: as many as make 240 updates of the image.
    initial
        Where to start ``(*batch, *A.domain_shape)``: an FBP or FDK image saves many passes.
    nonnegative
        Keep the image at or above zero.
    mask
        Pixels that may differ from zero, bool, broadcasting to the image.
    momentum
        Without, and with a single subset, every pass lowers the cost.
    tolerance
        Stop when a pass changes x by less than this part; 0 never looks.
    callback
        Called with (iteration, x, relative change) after every pass.

    Returns
    -------
    Tensor
        Image ``(*batch, *A.domain_shape)``.

    Raises
    ------
    ValueError
        Shapes that do not fit, weights that are negative or all zero, numbers out of range.

    References
    ----------
    J.-B. Thibault et al., Med Phys 34, 4526 (2007); H. Erdogan, J. A. Fessler, Phys Med Biol 44,
    2835 (1999); J. A. Fessler, W. L. Rogers, IEEE Trans Image Process 5, 1346 (1996); D. Kim, S.
    Ramani, J. A. Fessler, IEEE Trans Med Imaging 34, 167 (2015).
    """
    subsets = view_subsets(A)
    term = LeastSquares(subsets, y, weights)
    return ordered_subsets(
        term,
        _step(term, _penalty(subsets, y, weights, weight, edge, potential), nonnegative, mask),
        start(subsets, y, initial, mask=mask),
        iterations=passes(subsets, iterations),
        momentum=momentum,
        tolerance=tolerance,
        callback=callback,
    )


def mltr(
    A: LinearOperator | Subsets,
    photons: Tensor,
    blank: Tensor | float,
    *,
    background: Tensor | float = 0.0,
    weight: float = 1.8,
    edge: float = 0.02,
    potential: Potential = "q-ggmrf",
    iterations: int | None = None,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    momentum: bool = True,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Maximise the likelihood of ``photons ~ Poisson(blank exp(-A x) + background)`` less ``R(x)``.

    For counts so low that their logarithm is biased, or zero. The penalty and what is not said here
    are as in `pwls`.

    Parameters
    ----------
    photons
        Readings less the dark scan in photons, ``(*batch, *A.range_shape)``; negative ones, of
        electronic noise, count as zero. With that noise, add its variance to `photons` and
        `background` (shifted Poisson).
    blank
        Mean photons without object, above zero, broadcasting to the readings.
    background
        Mean of scatter in photons, zero or more, broadcasting to the readings.
    weight
        As in `pwls`; 0 for maximum likelihood alone.

    Raises
    ------
    ValueError
        Shapes that do not fit, a blank that is not above zero, a background below.

    References
    ----------
    H. Erdogan, J. A. Fessler, Phys Med Biol 44, 2835 (1999); J. Nuyts et al., Phys Med Biol 43, 729
    (1998); M. Yavuz, J. A. Fessler, IEEE Trans Med Imaging 18, 665 (1999).
    """
    subsets = view_subsets(A)
    term = TransmissionLikelihood(subsets, photons, blank, background)
    signal = term.photons - term.background
    y = torch.log(term.blank / signal.clamp_min(1))
    # of y photons with a variance of c: y^2 / c, as those of `pwls` with electronic noise
    weights = statistical_weights(signal) * (signal.clamp_min(0) / term.photons.clamp_min(1))
    return ordered_subsets(
        term,
        _step(term, _penalty(subsets, y, weights, weight, edge, potential), nonnegative, mask),
        start(subsets, y, initial, mask=mask),
        iterations=passes(subsets, iterations),
        momentum=momentum,
        tolerance=tolerance,
        callback=callback,
    )


class TransmissionLikelihood:
    """Minus log likelihood ``sum m - c log m`` of counts c of mean ``m = blank exp(-p) + r``.

    Its curvature is that at the data, not a bound: near the solution the two agree.
    """

    def __init__(
        self,
        subsets: Subsets,
        photons: Tensor,
        blank: Tensor | float,
        background: Tensor | float = 0.0,
    ) -> None:
        self.subsets = subsets
        self.photons = photons.clamp_min(0)
        self.blank = torch.as_tensor(blank).to(photons)
        self.background = torch.as_tensor(background).to(photons)
        if not bool((self.blank > 0).all()) or not bool((self.background >= 0).all()):
            raise ValueError(
                f"blank must be above 0 and background 0 or more photons, got from "
                f"{float(self.blank.min()):g} and {float(self.background.min()):g}"
            )
        self._counts = subsets.cut("photons", self.photons)
        levels = self.blank.expand_as(photons), self.background.expand_as(photons)
        self._blank, self._background = (
            subsets.cut(name, level)
            for name, level in zip(("blank", "background"), levels, strict=True)
        )

    def slope(self, index: int, projection: Tensor) -> Tensor:
        """``m' (1 - c / m)`` of a part, with m' the derivative of the mean m."""
        through = projection.clamp_min_(-1).neg_().exp_().mul_(self._blank[index])
        tiny = torch.finfo(through.dtype).tiny
        mean = (through + self._background[index]).clamp_min_(tiny)
        return through.mul_(self._counts[index].div(mean).sub_(1))

    def curvature(self, index: int) -> Tensor:
        """``(c - r)^2 / c``, and one photon more, so that rays without any have their say."""
        counts = self._counts[index]
        signal = (counts - self._background[index]).clamp_min_(0)
        return signal.square_().div_(counts.clamp_min(1)).add_(1)


def view_subsets(A: LinearOperator | Subsets) -> Subsets:
    """Subsets as they are given, or of the views."""
    return as_subsets(A) if isinstance(A, Subsets) else ordered_views(A)


def passes(subsets: Subsets, iterations: int | None) -> int:
    """As given, or as many as make `UPDATES` steps."""
    return -(-UPDATES // len(subsets)) if iterations is None else iterations


def _penalty(
    subsets: Subsets,
    y: Tensor,
    weights: Tensor,
    weight: float,
    edge: float,
    potential: Potential,
) -> NeighborPenalty | None:
    """The penalty in the units of image and noise; None for data of zeros."""
    if not weight >= 0 or not edge > 0:
        raise ValueError(f"weight must be 0 or more and edge above 0, got {weight} and {edge}")
    scale = image_scale(subsets, y)
    if not scale:
        return None
    return NeighborPenalty(
        subsets.domain_shape,
        weight * noise_strength(subsets, y, weights.to(y)),
        edge * scale,
        potential=potential,
        spacing=_spacing(subsets),
    )


def _step(
    term: DataTerm, penalty: NeighborPenalty | None, nonnegative: bool, mask: Tensor | None
) -> Update:
    """A step down the separable surrogate of data term and penalty."""
    diagonal = separable_curvature(term)
    if penalty is not None:
        diagonal = diagonal + penalty.curvature

    def update(z: Tensor, gradient: Tensor, divisor: float) -> Tensor:
        if penalty is not None:
            gradient += penalty.gradient(z)
        new = gradient.div_(diagonal).mul_(-1 / divisor).add_(z)
        if nonnegative:
            new.clamp_(min=0)
        return new if mask is None else new.mul_(mask)

    return update


def _spacing(subsets: Subsets) -> tuple[float, ...] | None:
    volume = getattr(subsets.parts[0], "volume", None)
    return None if volume is None else tuple(volume.spacing)
