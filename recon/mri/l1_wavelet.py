"""Compressed sensing with sparse wavelet and curvelet coefficients."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import Curvelet, LinearOperator, Wavelet
from ..solvers import fista, soft_threshold
from ..solvers.common import Callback

WAVELETS = ("haar", "db2", "db4")
CURVELET_SHARE = 2  # of the mean, where each wavelet has 1
LATE, LAST = 1 / 3, 1 / 2  # of the iterations: curvelets join; the mean of the images begins


def wavelet_sense(
    A: LinearOperator,
    y: Tensor,
    *,
    weight: float = 0.75,
    iterations: int = 60,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + lambda |W x|_1`` over several translation-invariant frames.

    Each FISTA step shrinks the image in a Haar, a Daubechies-2 and a Daubechies-4 basis, each at
    a random shift, and takes the mean: edges, ramps and texture each find a basis that suits, and
    no shift leaves its blocks behind. The coarsest coefficients, which are not sparse, are kept.
    In 2D, curvelets join after the first third of the iterations: long edges are sparse in them.
    The result is the mean of the second half's images, in which the random shifts average out.

    Parameters
    ----------
    A
        Encoding, image ``(*batch, [z,] y, x)`` to data, such as `Sense`.
    y
        Data, of A's range.
    weight
        lambda in units of the median magnitude of the finest diagonal wavelet coefficients of
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
    M. Lustig et al., Magn Reson Med 58, 1182 (2007); R. R. Coifman, D. L. Donoho,
    Translation-invariant de-noising (1995); E. J. Candès et al., Multiscale Model Simul 5, 861
    (2006); Y. Yu, Better approximation and faster algorithm using the proximal average, NeurIPS
    (2013).
    """
    if weight < 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    prox = _Shrinkage(A, y, weight, round(LATE * iterations), seed)
    mean = _Mean(round(LAST * iterations), callback)
    x = fista(
        A, y, prox, iterations=iterations, initial=initial, restart=False,
        tolerance=tolerance, callback=mean,
    )  # fmt: skip
    return x if mean.total is None else mean.total.div_(mean.count)


class _Shrinkage:
    """The proximal average of soft thresholds in all frames, each call at other shifts."""

    def __init__(self, A: LinearOperator, y: Tensor, weight: float, late: int, seed: int) -> None:
        shape = A.domain_shape
        self.bases = [Wavelet(shape, name) for name in WAVELETS]
        self.threshold = weight * detail_level(A.adjoint(y), self.bases[-1])
        self.axes = tuple(range(-len(shape), 0))
        self.periods = torch.tensor([2**level for level in self.bases[-1].levels])
        self.generator = torch.Generator().manual_seed(seed)
        self.curvelet = Curvelet(shape) if len(shape) == 2 and min(shape) >= 32 else None
        self.late, self.calls = late, 0

    def __call__(self, v: Tensor, step: float) -> Tensor:
        total = torch.zeros_like(v)
        for W in self.bases:
            random = torch.rand(len(self.axes), generator=self.generator)
            shift = (random * self.periods).long().tolist()
            c = W(torch.roll(v, shift, self.axes))
            shrunk = soft_threshold(c, step * self.threshold)
            shrunk[W.approximation] = c[W.approximation]
            total += torch.roll(W.adjoint(shrunk), [-s for s in shift], self.axes)
        count = len(self.bases)
        self.calls += 1
        if self.curvelet is not None and self.calls > self.late:
            total.add_(self._curvelets(self.curvelet, v, step), alpha=CURVELET_SHARE)
            count += CURVELET_SHARE
        return total.div_(count)

    def _curvelets(self, C: Curvelet, v: Tensor, step: float) -> Tensor:
        c = C(v)
        threshold = step * self.threshold.unsqueeze(-3)
        for band, deviation in list(zip(C.bands(c), C.deviations, strict=True))[:-1]:
            band.copy_(soft_threshold(band, threshold * deviation.to(v.device, v.real.dtype)))
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
