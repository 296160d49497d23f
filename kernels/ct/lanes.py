"""The one step that all slices of a stack take together, as one vector instruction."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ..simd import load, store
from ..threads import jit

LANES = 16  # slices side by side, innermost in memory


@jit
def add_scaled(target, i, source, j, weight):
    """Compute ``target[i + s] += weight * source[j + s]`` for the `LANES` slices s; flat arrays.

    As a vector by contract: of a loop, LLVM cannot tell that the arrays do not overlap.
    """
    store(target, i, load(target, i, LANES) + load(source, j, LANES) * weight)
