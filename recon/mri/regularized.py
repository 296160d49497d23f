"""Regularised images and series: one FISTA, and the proximal map of each penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ..operators import LinearOperator, Superposition, Wavelet
from ..solvers import (
    GeneralizedVariationProx,
    LocallyLowRankProx,
    TotalVariationProx,
    fista,
    soft_threshold,
)
from ..solvers.common import Callback
from .l1_wavelet import detail_level

Prox = Callable[[Tensor, float], Tensor]
SpatialPenalty = Literal["tv", "tgv"]
SeriesPenalty = Literal["temporal-tv", "llr", "low-rank-sparse"]


def regularized_sense(
    A: LinearOperator,
    y: Tensor,
    penalty: SpatialPenalty = "tgv",
    *,
    weight: float,
    iterations: int = 60,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + lambda TV(x)`` or ``lambda TGV(x)``, 2D or 3D.

    Parameters
    ----------
    A
        Encoding, image ``([z,] y, x)`` to data, such as `Sense`.
    y
        Data, of A's range.
    penalty
        ``"tv"`` (isotropic total variation) or ``"tgv"`` (total generalised variation).
    weight
        lambda in units of the noise and aliasing of ``A^H y``: the median magnitude of its finest
        diagonal wavelet coefficients. It does not change with the data's scale.
    iterations, initial, tolerance, callback
        As of `spinray.fista`.

    Returns
    -------
    Tensor
        Complex ``([z,] y, x)``.

    References
    ----------
    K. T. Block, M. Uecker, J. Frahm, Magn Reson Med 57, 1086 (2007); F. Knoll et al., Magn Reson
    Med 65, 480 (2011).
    """
    strength = _strength(A.adjoint(y), weight, len(A.domain_shape))
    maps: dict[str, type[TotalVariationProx] | type[GeneralizedVariationProx]] = {
        "tv": TotalVariationProx,
        "tgv": GeneralizedVariationProx,
    }
    if penalty not in maps:
        raise ValueError(f"penalty must be tv or tgv, got {penalty!r}")
    return fista(
        A, y, maps[penalty](A.domain_shape, strength), iterations=iterations, initial=initial,
        tolerance=tolerance, callback=callback,
    )  # fmt: skip


def regularized_series(
    A: LinearOperator,
    y: Tensor,
    penalty: SeriesPenalty = "temporal-tv",
    *,
    weight: float,
    iterations: int = 60,
    block: int = 8,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """A series of images under a penalty that ties its frames (or subspace coefficients).

    Parameters
    ----------
    A
        Encoding, series ``(frame, [z,] y, x)`` to data, such as `Series` or `SubspaceSense`.
    y
        Data, of A's range.
    penalty
        ``"temporal-tv"`` (GRASP: total variation in time), ``"llr"`` (locally low rank), or
        ``"low-rank-sparse"``: the sum of a background of low rank and a part that is sparse in
        temporal frequency.
    weight
        Of the penalty, in units of the noise and aliasing of ``A^H y``: the median magnitude of
        its finest diagonal wavelet coefficients.
    block
        Width of the blocks of ``"llr"`` in pixels.
    iterations, initial, tolerance, callback
        As of `spinray.fista`; of low rank and sparse, `initial` is the sum.

    Returns
    -------
    Tensor
        Complex ``(frame, [z,] y, x)``.

    References
    ----------
    L. Feng et al., GRASP, Magn Reson Med 72, 707 (2014); T. Zhang et al., Magn Reson Med 73, 655
    (2015); R. Otazo, E. Candès, D. K. Sodickson, Magn Reson Med 73, 1125 (2015).
    """
    strength = _strength(A.adjoint(y), weight, len(A.domain_shape) - 1)
    options: dict[str, Any] = {"iterations": iterations, "tolerance": tolerance}
    if penalty == "low-rank-sparse":
        total = Superposition(A.domain_shape)
        if initial is not None:
            initial = torch.stack([initial, torch.zeros_like(initial)])
        watch = None if callback is None else _of_the_sum(callback)
        parts = fista(
            A @ total, y, _low_rank_and_sparse(strength), initial=initial, callback=watch, **options
        )
        return total(parts)
    if penalty == "llr":
        prox: Prox = LocallyLowRankProx(strength, block=block)
    elif penalty == "temporal-tv":
        prox = _temporal_variation(A.domain_shape[0], strength)
    else:
        raise ValueError(f"penalty must be temporal-tv, llr or low-rank-sparse, got {penalty!r}")
    # blocks at random shifts are no fixed penalty: restarts would only break the momentum
    restart = penalty != "llr"
    return fista(A, y, prox, initial=initial, callback=callback, restart=restart, **options)


def _strength(adjoint: Tensor, weight: float, ndim: int) -> float:
    """Lambda: the weight times the median level of the frames."""
    if not weight >= 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    level = detail_level(adjoint, Wavelet(tuple(adjoint.shape[-ndim:]), "db4"))
    return weight * float(level.median())


def _temporal_variation(frames: int, strength: float) -> Prox:
    variation = TotalVariationProx((frames,), strength)

    def prox(v: Tensor, t: float) -> Tensor:
        return variation(v.movedim(0, -1), t).movedim(-1, 0).contiguous()

    return prox


def _low_rank_and_sparse(strength: float) -> Prox:
    low_rank = LocallyLowRankProx(strength, block=None)

    def prox(v: Tensor, t: float) -> Tensor:
        spectrum = torch.fft.fft(v[1], dim=0, norm="ortho")
        sparse = torch.fft.ifft(soft_threshold(spectrum, t * strength), dim=0, norm="ortho")
        return torch.stack([low_rank(v[0], t), sparse])

    return prox


def _of_the_sum(callback: Callback) -> Callback:
    return lambda iteration, parts, change: callback(iteration, parts.sum(0), change)
