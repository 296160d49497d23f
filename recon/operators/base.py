"""The algebra of linear operators: composition, sums, adjoints and norms on torch tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Map = Callable[[Tensor], Tensor]


class LinearOperator(nn.Module):
    """A linear map ``y = A x`` on tensors ``(*batch, *domain_shape)`` with any leading batch.

    A subclass sets `domain_shape` and `range_shape` (the trailing axes it acts on) and defines
    `forward` and `adjoint`. Both must be differentiable by torch; where the work happens outside
    torch, wrap it in `linear_map`, which makes the adjoint the derivative. `dtype` is what it takes
    where nothing else is said: operators of real data, and of higher precision, set their own.
    """

    domain_shape: Shape
    range_shape: Shape
    dtype: torch.dtype = torch.complex64

    def __init__(self, domain_shape: Shape, range_shape: Shape) -> None:
        super().__init__()
        self.domain_shape = tuple(domain_shape)
        self.range_shape = tuple(range_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Apply A: ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H: ``(*batch, *range_shape)`` to ``(*batch, *domain_shape)``."""
        raise NotImplementedError

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A; subclasses override it where a faster way exists."""
        return self.adjoint(self(x))

    def hold(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor that follows `.to` and `.double`; gradients flow to it as it was given."""
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor, persistent=False)

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator."""
        return Adjoint(self)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply A."""
        return cast(Tensor, super().__call__(x))

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        return Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        return Sum(self, other)

    def __mul__(self, factor: complex | Tensor) -> LinearOperator:
        return Scaled(self, factor)

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        return Scaled(self, -1.0)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + (-other)

    def norm(
        self,
        iterations: int = 30,
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        batch: Shape = (),
    ) -> float:
        """Largest singular value by power iteration on A^H A (a lower bound, tight to ~1 %).

        `dtype` is the operator's own by default; `batch` is a leading shape where one is needed.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (*batch, *self.domain_shape)
        x = self._probe(shape, dtype or self.dtype, generator).to(device or _device_of(self))
        value = 0.0
        with torch.no_grad():
            for _ in range(iterations):
                x = x / torch.linalg.vector_norm(x).clamp_min(torch.finfo(x.dtype).tiny)
                x = self.normal(x)
                value = float(torch.linalg.vector_norm(x))
        return math.sqrt(value)

    def _probe(self, shape: Shape, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        """Where the power iteration starts; near to the largest singular vector, few steps do."""
        return torch.randn(shape, dtype=dtype, generator=generator)

    def extra_repr(self) -> str:
        """Shapes, for the printed operator."""
        return f"{self.domain_shape} -> {self.range_shape}"


class Adjoint(LinearOperator):
    """A^H of an operator A."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.range_shape, operator.domain_shape)
        self.operator, self.dtype = operator, operator.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Apply A^H."""
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A."""
        return self.operator(y)

    @property
    def H(self) -> LinearOperator:
        """The original operator."""
        return self.operator


class Composition(LinearOperator):
    """``(A B) x = A (B x)``; leading axes of one alone (coils) are batch to the other."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        extra = len(inner.range_shape) - len(outer.domain_shape)
        batch = inner.range_shape[: max(0, extra)], outer.domain_shape[: max(0, -extra)]
        require_same(
            "A @ B: domain of A",
            (*batch[0], *outer.domain_shape),
            "range of B",
            (*batch[1], *inner.range_shape),
        )
        super().__init__((*batch[1], *inner.domain_shape), (*batch[0], *outer.range_shape))
        self.outer, self.inner, self.dtype = outer, inner, _shared_dtype(outer, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Apply B, then A."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H, then B^H."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def normal(self, x: Tensor) -> Tensor:
        """Apply B^H (A^H A) B, so that a fast A^H A stays fast inside a product."""
        return self.inner.adjoint(self.outer.normal(self.inner(x)))


class Sum(LinearOperator):
    """``(A + B) x = A x + B x``."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        require_same("A + B: domain of A", first.domain_shape, "domain of B", second.domain_shape)
        require_same("A + B: range of A", first.range_shape, "range of B", second.range_shape)
        super().__init__(first.domain_shape, first.range_shape)
        self.first, self.second, self.dtype = first, second, _shared_dtype(first, second)

    def forward(self, x: Tensor) -> Tensor:
        """Apply A and B and add."""
        return self.first(x) + self.second(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H and B^H and add."""
        return self.first.adjoint(y) + self.second.adjoint(y)


class Scaled(LinearOperator):
    """``(c A) x`` with a number or a one-element tensor c; a tensor's gradient is kept."""

    factor: complex | Tensor

    def __init__(self, operator: LinearOperator, factor: complex | Tensor) -> None:
        if isinstance(factor, Tensor) and factor.numel() != 1:
            raise ValueError(
                f"c * A needs a number or a one-element tensor, got shape {tuple(factor.shape)}"
            )
        super().__init__(operator.domain_shape, operator.range_shape)
        self.operator, self.dtype = operator, operator.dtype
        if isinstance(factor, Tensor):
            self.hold("factor", factor)
        else:
            self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Apply A and multiply by c."""
        return self._scalar() * self.operator(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H and multiply by the conjugate of c."""
        factor = self._scalar()
        conjugate = factor.conj() if isinstance(factor, Tensor) else complex(factor).conjugate()
        if isinstance(conjugate, complex) and conjugate.imag == 0:
            conjugate = conjugate.real  # a real operator stays real
        return conjugate * self.operator.adjoint(y)

    def normal(self, x: Tensor) -> Tensor:
        """Apply |c|^2 A^H A."""
        return cast(Tensor, abs(self._scalar()) ** 2 * self.operator.normal(x))  # type: ignore[operator]

    def _scalar(self) -> complex | Tensor:
        """The factor without axes, so that it adds none to the result."""
        return self.factor.reshape(()) if isinstance(self.factor, Tensor) else self.factor


class _LinearMap(torch.autograd.Function):
    """A linear map whose derivative is its adjoint, and whose adjoint's derivative is the map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: Map, apply_adjoint: Map) -> Tensor:
        ctx.maps = apply, apply_adjoint
        return apply(x.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        apply, apply_adjoint = ctx.maps
        return linear_map(gradients[0], apply_adjoint, apply), None, None


def linear_map(x: Tensor, apply: Map, apply_adjoint: Map) -> Tensor:
    """Return ``apply(x)``; autograd of any order uses `apply_adjoint` and never looks inside."""
    return cast(Tensor, _LinearMap.apply(x, apply, apply_adjoint))  # type: ignore[no-untyped-call]


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place; those of inference mode keep no count: 0."""
    return 0 if tensor.is_inference() else tensor._version


def require_same(name: str, shape: Shape, other_name: str, other: Shape) -> None:
    """Raise a `ValueError` naming both sides if two shapes differ."""
    if tuple(shape) != tuple(other):
        raise ValueError(f"{name} is {tuple(shape)}, {other_name} is {tuple(other)}: must agree")


def require_trailing(name: str, x: Tensor, shape: Shape) -> None:
    """Raise a `TypeError` for no tensor, a `ValueError` if the last axes are not `shape`."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor, got {type(x).__name__}: torch.from_numpy makes one of "
            "an array"
        )
    if tuple(x.shape[x.ndim - len(shape) :]) != tuple(shape) or x.ndim < len(shape):
        expected = ", ".join(["*batch", *map(str, shape)])
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected ({expected})")


def _shared_dtype(a: LinearOperator, b: LinearOperator) -> torch.dtype:
    """What both operators take: the higher precision, real as soon as one of them is."""
    both = torch.promote_types(a.dtype, b.dtype)
    return both if a.dtype.is_complex and b.dtype.is_complex else both.to_real()


def _device_of(module: nn.Module) -> torch.device:
    for tensor in [*module.parameters(), *module.buffers()]:
        return tensor.device
    return torch.device("cpu")
