"""What the solvers share: per-item inner products, the callback and the record of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Callback = Callable[[int, Tensor, float], None]


@dataclass
class Convergence:
    """A callback that keeps a solver's changes, one an iteration, and passes them on.

    `figures` holds what else is to be stated of the run, such as a weight that was found.
    """

    forward: Callback | None = None
    changes: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def __call__(self, iteration: int, x: Tensor, change: float) -> None:
        """Record one iteration."""
        self.changes.append(change)
        if self.forward is not None:
            self.forward(iteration, x, change)

    @property
    def iterations(self) -> int:
        """How many were made."""
        return len(self.changes)

    def summary(self) -> dict[str, Any]:
        """Iterations, last relative change, and the other figures."""
        if not self.changes:
            return dict(self.figures)
        return {"iterations": self.iterations, "change": self.changes[-1], **self.figures}


def relative_change(moved: Tensor, x: Tensor) -> float:
    """Length of the last step as a part of x; zero for x = 0."""
    size = float(torch.linalg.vector_norm(x))
    return float(torch.linalg.vector_norm(moved)) / size if size else 0.0


def pass_ends(
    iteration: int, before: Tensor, x: Tensor, tolerance: float, callback: Callback | None
) -> bool:
    """Call back after a pass from `before` to x; whether it changed x by less than `tolerance`."""
    if callback is None and not tolerance > 0:
        return False
    change = relative_change(x - before, x)
    if callback is not None:
        callback(iteration, x, change)
    return change < tolerance


def item_dot(a: Tensor, b: Tensor, ndim: int) -> Tensor:
    """Real part of <a, b> over the last `ndim` axes, kept as axes of length 1."""
    if not a.is_complex():
        return (a * b).sum(tuple(range(-ndim, 0)), keepdim=True)
    product = torch.view_as_real(a) * torch.view_as_real(b)
    return product.sum(tuple(range(-ndim - 1, 0)), keepdim=True)[..., 0]
