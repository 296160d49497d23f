"""Operators scaled to unit norm: networks then meet numbers of one size on any scanner."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import Tensor

from ..operators import LinearOperator

POWER_ITERATIONS = 15  # the norm to a few per cent, which is all that a network needs
_norms: WeakKeyDictionary[LinearOperator, dict[type | None, float]] = WeakKeyDictionary()


def unit_norm(
    A: LinearOperator, like: Tensor, before: LinearOperator | None = None
) -> tuple[LinearOperator, float]:
    """``A / |A|`` and ``|A|``, which is found once for each operator.

    Parameters
    ----------
    A
        Any operator.
    like
        Data ``(*batch, *A.range_shape)``: which batch, precision and device the norm is for.
    before
        A filter of the data: then it is ``before @ A`` that is scaled.
    """
    whole = A if before is None else before @ A
    known = _norms.setdefault(A, {})
    kind = None if before is None else type(before)
    if kind not in known:
        batch = tuple(like.shape[: like.ndim - len(A.range_shape)])
        norm = whole.norm(POWER_ITERATIONS, dtype=like.dtype, device=like.device, batch=batch)
        if not norm > 0:
            raise ValueError(f"the operator {A} is zero: no ray or sample sees the image")
        known[kind] = norm
    return whole * (1 / known[kind]), known[kind]
