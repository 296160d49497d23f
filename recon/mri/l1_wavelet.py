"""Compressed sensing with sparse wavelet and curvelet coefficients."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..operators import Curvelet, LinearOperator, Wavelet
from ..solvers import fista, p_shrinkage
from ..solvers.common import Callback

WAVELETS = ("haar", "db2", "db4")
P = 0.5  # of the shrinkage: 1 would be the l1 norm, which takes too much off what is large
CURVELET_SHARE = 0.4  # of the proximal average
START, SETTLED = 2.0, 1 / 4  # the first threshold over the last, which this part of the steps reach
LATE, LAST = 1 / 3, 1 / 2  # of the iterations: curvelets join; the mean of the images begins


def wavelet_sense(
    A: LinearOperator,
    y: Tensor,
    *,
    weight: float = 2.4,
    iterations: int = 40,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Fit the data by an image that is sparse in several translation-invariant frames.

    Each FISTA step shrinks the image in one wavelet basis at a random shift: Haar, Daubechies-2
    and Daubechies-4 by turns, so that edges, ramps and texture each find a basis that suits, and no
    shift leaves its blocks behind. The coarsest coefficients, which are not sparse, are kept. In
    2D, curvelets join after the first third of the iterations: long edges are sparse in them.
    Coefficients are shrunk by Chartrand's p-shrinkage with p = 1/2, a reweighted l1 norm, that
    hardly touches large ones; the threshold falls to its last value during the first quarter. The
    result is the mean of the second half's images, in which the random shifts average out.

    Parameters
    ----------
    A
        Encoding, image ``(*batch, [z,] y, x)`` to data, such as `Sense`.
    y
        Data, of A's range.
    weight
        Threshold in units of the median magnitude of the finest diagonal wavelet coefficients of
        ``A^H y``, which noise and aliasing dominate: it does not change with the data's scale,
        and little with noise or acceleration.
    iterations
        FISTA steps, at most.
    initial
        First guess; default: the scaled adjoint.
    tolerance
        Stop when the image changes by less than this part; 0 never looks. The random shifts keep
        changes above some 1e-3.
    seed
        Of the random shifts.
    callback
        ``callback(iteration, x, change)`` after each step.

    Returns
    -------
    Tensor
        Complex ``(*batch, [z,] y, x)``.

    References
    ----------
    M. Lustig et al., Magn Reson Med 58, 1182 (2007); R. Chartrand, Proc IEEE ISBI, 262 (2009);
    R. R. Coifman, D. L. Donoho, Translation-invariant de-noising (1995); E. J. Candès et al.,
    Multiscale Model Simul 5, 861 (2006); Y. Yu, Better approximation and faster algorithm using
    the proximal average, NeurIPS (2013).
    """
    if weight < 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    prox = _Shrinkage(A, y, weight, iterations, seed)
    mean = _Mean(round(LAST * iterations), callback)
    x = fista(
        A, y, prox, iterations=iterations, initial=initial, restart=False,
        tolerance=tolerance, callback=mean,
    )  # fmt: skip
    return x if mean.total is None else mean.total.div_(mean.count)


class _Shrinkage:
    """The proximal average of both kinds of frames, each call at other shifts."""

    def __init__(
        self, A: LinearOperator, y: Tensor, weight: float, iterations: int, seed: int
    ) -> None:
        shape = A.domain_shape
        self.bases = [Wavelet(shape, name) for name in WAVELETS]
        self.threshold = weight * detail_level(A.adjoint(y), self.bases[-1])
        self.axes = tuple(range(-len(shape), 0))
        self.periods = torch.tensor([2**level for level in self.bases[-1].levels])
        self.generator = torch.Generator().manual_seed(seed)
        self.shape = shape
        self.late, self.settled = round(LATE * iterations), max(1, SETTLED * iterations)
        self.calls = 0

    def __call__(self, v: Tensor, step: float) -> Tensor:
        threshold = self.threshold * (step * START ** max(0.0, 1 - self.calls / self.settled))
        result = self._wavelets(self.bases[self.calls % len(self.bases)], v, threshold)
        self.calls += 1
        if self.calls <= self.late or self.curvelet is None:
            return result
        return result.lerp_(self._curvelets(self.curvelet, v, threshold), CURVELET_SHARE)

    @cached_property
    def curvelet(self) -> Curvelet | None:
        """The frame of 2D images, made when its turn comes: that takes as long as some steps."""
        return Curvelet(self.shape) if len(self.shape) == 2 and min(self.shape) >= 32 else None

    def _wavelets(self, W: Wavelet, v: Tensor, threshold: Tensor) -> Tensor:
        random = torch.rand(len(self.axes), generator=self.generator)
        shift = (random * self.periods).long().tolist()
        c = W(torch.roll(v, shift, self.axes))
        shrunk = p_shrinkage(c, threshold, P)
        shrunk[W.approximation] = c[W.approximation]
        return torch.roll(W.adjoint(shrunk), [-s for s in shift], self.axes)

    def _curvelets(self, C: Curvelet, v: Tensor, threshold: Tensor) -> Tensor:
        c = C(v)
        for band, deviation in list(zip(C.bands(c), C.deviations, strict=True))[:-1]:
            level = threshold.unsqueeze(-3) * deviation.to(v.device, v.real.dtype)
            band.copy_(p_shrinkage(band, level, P))
        return C.adjoint(c)


class _Mean:
    """A callback that sums the images from one iteration on."""

    def __init__(self, first: int, forward: Callback | None) -> None:
        self.first, self.forward = first, forward
        self.total: Tensor | None = None
        self.count = 0

    def __call__(self, iteration: int, x: Tensor, change: float) -> None:
        if iteration >= self.first:
            self.total = x.clone() if self.total is None else self.total.add_(x)
            self.count += 1
        if self.forward is not None:
            self.forward(iteration, x, change)


def detail_level(image: Tensor, wavelet: Wavelet) -> Tensor:
    """Median magnitude of the finest diagonal coefficients: a robust level of the noise.

    Returns one value for each item of the image's batch, ``(*batch, 1, ..., 1)``.
    """
    ndim = len(wavelet.domain_shape)
    median = wavelet(image)[wavelet.finest].abs().flatten(-ndim).median(-1).values
    return median.reshape(*median.shape, *[1] * ndim)
