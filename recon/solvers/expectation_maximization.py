"""Maximum likelihood of Poisson data by expectation maximisation: MLEM and OSEM."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback, pass_ends
from .simultaneous import reciprocal, start
from .subsets import Subsets, as_subsets


def mlem(
    A: LinearOperator | Subsets,
    y: Tensor,
    *,
    iterations: int = 50,
    background: Tensor | float = 0.0,
    initial: Tensor | None = None,
    mask: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Maximise the likelihood of ``y ~ Poisson(A x + b)`` by ``x *= A^H(y / (A x + b)) / A^H 1``.

    Each step of a single subset raises the likelihood, and without a background keeps the sum of
    ``A x`` at that of the data. Subsets make OSEM: as many times faster, no longer monotonic.

    Parameters
    ----------
    A
        An operator with non-negative entries, or its subsets; see `spinray.ct.ordered_views`.
    y
        Data zero or more, ``(*batch, *A.range_shape)``: counts, or line integrals, of which this
        finds the non-negative image with the least Kullback-Leibler divergence.
    iterations
        Passes over all data.
    background
        Mean of what does not come through A, zero or more, broadcasting to the data.
    initial
        Where to start ``(*batch, *A.domain_shape)``, above zero (zeros stay). Default: ones.
    mask
        Pixels that may differ from zero, bool, broadcasting to the image.
    tolerance
        Stop when a pass changes x by less than this part; 0 never looks.
    callback
        Called with (iteration, x, relative change) after every pass.

    Returns
    -------
    Tensor
        The estimate ``(*batch, *A.domain_shape)``, zero or more.

    Raises
    ------
    ValueError
        Shapes that do not fit, data, background or an initial image below zero.

    References
    ----------
    L. A. Shepp, Y. Vardi, IEEE Trans Med Imaging 1, 113 (1982); H. M. Hudson, R. S. Larkin, IEEE
    Trans Med Imaging 13, 601 (1994).
    """
    subsets = as_subsets(A)
    extra = torch.as_tensor(background, dtype=y.dtype, device=y.device)
    for name, values in (("data", y), ("background", extra), ("initial", initial)):
        if values is not None and not bool((values >= 0).all()):
            raise ValueError(
                f"{name} must be zero or more, got from {float(values.min()):g}: counts and line "
                "integrals below zero are clipped or averaged before"
            )
    data = subsets.cut("data", y)
    added = subsets.cut("background", extra)
    x = start(subsets, y, initial, 1.0, mask)
    sums = [part.adjoint(torch.ones_like(d)) for part, d in zip(subsets, data, strict=True)]
    largest = max(float(s.max()) for s in sums)
    inverse = [reciprocal(s, largest) for s in sums]
    x = x * torch.stack([scale > 0 for scale in inverse]).any(0)  # no ray tells of the others
    for iteration in range(iterations):
        before = x
        for part, values, add, scale in zip(subsets, data, added, inverse, strict=True):
            factor = part.adjoint(_ratio(values, part(x).add_(add))).mul_(scale)
            x = x * torch.where(scale > 0, factor, 1.0)
        if pass_ends(iteration, before, x, tolerance, callback):
            break
    return x


def _ratio(data: Tensor, expected: Tensor) -> Tensor:
    """Data over expectation; zero where a ray passes the image by, and so tells nothing of it."""
    seen = expected > torch.finfo(data.dtype).eps * expected.max()
    return torch.where(seen, data / torch.where(seen, expected, 1.0), 0.0)
