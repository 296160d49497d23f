"""Total variation and total generalised variation in CT."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..operators.base import LinearOperator
from ..solvers.common import Callback
from ..solvers.generalized_variation import GeneralizedVariationProx
from ..solvers.ordered_subsets import LeastSquares, ordered_subsets, separable_curvature
from ..solvers.simultaneous import start
from ..solvers.subsets import Subsets
from ..solvers.total_variation import TotalVariationProx
from .regularization_scale import gradient_noise, image_scale, noise_strength, operator_norm
from .statistical import passes, view_subsets

AUTO = {TotalVariationProx: 1.4, GeneralizedVariationProx: 0.8}  # slope over a gradient's noise
STEPS = 4  # of the proximal map, which goes on where the last update left it


def tv(
    A: LinearOperator | Subsets,
    y: Tensor,
    *,
    weight: float | Literal["auto"] = 1e-3,
    weights: Tensor | None = None,
    iterations: int | None = None,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``sum_i w_i (A x - y)_i^2 / 2 + lambda TV(x)`` (isotropic total variation).

    Proximal steps in the metric of separable surrogates, from subsets of the views where there are
    many, with momentum (with a single subset, FISTA). Lambda is ``weight * w * |A|^2 * s`` with s
    the image's scale (the 99th percentile of the least-squares multiple of A^H y) and w the mean
    of the weights: the same weight gives the same picture whatever the units of the image, the
    spacing, the number of views or the dose.

    Parameters
    ----------
    A
        Projection operator, whose views are taken in subsets, or subsets of your choice.
    y
        Line integrals ``(*batch, *A.range_shape)``.
    weight
        Regularisation, without unit. ``"auto"``: by the noise in a pixel's gradient, which the
        weights tell; in `tv`, stronger where rays are more certain, so that resolution is even.
        It suits noisy scans of real objects; data without noise and plain phantoms ask for a
        number.
    weights
        Inverse variances of the line integrals, broadcasting to them; see `statistical_weights`.
        Default: all rays count alike.
    iterations
        Passes over all views. Default: as many as make 240 updates of the image.
    initial
        Where to start ``(*batch, *A.domain_shape)``, such as an FBP image.
    nonnegative
        Keep the image at or above zero.
    mask
        Pixels that may differ from zero, bool, broadcasting to the image.
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
        Shapes that do not fit, weights that are negative or all zero, a weight below zero,
        ``"auto"`` without weights.

    References
    ----------
    E. Y. Sidky, X. Pan, Phys Med Biol 53, 4777 (2008); A. Beck, M. Teboulle, IEEE Trans Image
    Process 18, 2419 (2009); D. Kim, S. Ramani, J. A. Fessler, IEEE Trans Med Imaging 34, 167
    (2015).
    """
    return _regularized(
        TotalVariationProx, A, y, weight, weights, iterations, initial, nonnegative, mask,
        tolerance, callback,
    )  # fmt: skip


def tgv(
    A: LinearOperator | Subsets,
    y: Tensor,
    *,
    weight: float | Literal["auto"] = 1e-3,
    weights: Tensor | None = None,
    iterations: int | None = None,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """As `tv` with total generalised variation of second order, which makes no stairs of ramps.

    References
    ----------
    K. Bredies, K. Kunisch, T. Pock, SIAM J Imaging Sci 3, 492 (2010); S. Niu et al., Phys Med Biol
    59, 2997 (2014).
    """
    return _regularized(
        GeneralizedVariationProx, A, y, weight, weights, iterations, initial, nonnegative, mask,
        tolerance, callback,
    )  # fmt: skip


def _regularized(
    kind: type[TotalVariationProx] | type[GeneralizedVariationProx],
    A: LinearOperator | Subsets,
    y: Tensor,
    weight: float | Literal["auto"],
    weights: Tensor | None,
    iterations: int | None,
    initial: Tensor | None,
    nonnegative: bool,
    mask: Tensor | None,
    tolerance: float,
    callback: Callback | None,
) -> Tensor:
    subsets = view_subsets(A)
    term = LeastSquares(subsets, y, weights)
    strength = _strength(kind, subsets, y, weight, weights)
    prox = kind(
        subsets.domain_shape,
        strength,  # type: ignore[arg-type]  # of each pixel in TV alone
        nonnegative=nonnegative,
        steps=STEPS,
    )
    longest = 1 / separable_curvature(term)  # steps of the pixels

    def update(z: Tensor, gradient: Tensor, divisor: float) -> Tensor:
        step = longest / divisor
        new = prox(gradient.mul_(step).neg_().add_(z), step)
        return new if mask is None else new * mask

    return ordered_subsets(
        term,
        update,
        start(subsets, y, initial, mask=mask),
        iterations=passes(subsets, iterations),
        tolerance=tolerance,
        callback=callback,
    )


def _strength(
    kind: type[TotalVariationProx] | type[GeneralizedVariationProx],
    subsets: Subsets,
    y: Tensor,
    weight: float | Literal["auto"],
    weights: Tensor | None,
) -> float | Tensor:
    if isinstance(weight, str):
        if weight != "auto" or weights is None:
            raise ValueError(f'weight must be a number, or "auto" with weights, got {weight!r}')
        if kind is GeneralizedVariationProx:  # one for all pixels: even resolution costs it edges
            return AUTO[kind] * gradient_noise(subsets, weights.sqrt())
        return AUTO[kind] * noise_strength(subsets, y, weights.to(y))
    if not weight >= 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    mean = 1.0 if weights is None else float(weights.mean())
    return weight * mean * operator_norm(subsets, y) ** 2 * image_scale(subsets, y)
