"""The algebra of operators: each result is an operator itself, and is the matrix it should be."""

from __future__ import annotations

import pytest
import torch
from helpers import check_operator, dense

from spinray.kernels.ct.geometry import ParallelBeam, VolumeGrid
from spinray.recon.operators import Diagonal, FiniteDifference, Fourier, XRayTransform

SHAPE = (3, 4)
GENERATOR = torch.Generator().manual_seed(0)
D = FiniteDifference(SHAPE)
W = Diagonal(torch.randn(2, *SHAPE, dtype=torch.complex128, generator=GENERATOR))
V = Diagonal(torch.randn(*SHAPE, dtype=torch.complex128, generator=GENERATOR))
A, B = W @ D, D @ V
REAL, COMPLEX = torch.tensor(1.5), torch.tensor([0.5 - 2j], dtype=torch.complex128)
MATRIX_A, MATRIX_B = dense(A), dense(B)

CASES = {
    "A + B": (A + B, MATRIX_A + MATRIX_B),
    "A - B": (A - B, MATRIX_A - MATRIX_B),
    "-A": (-A, -MATRIX_A),
    "c A": (2.5 * A, 2.5 * MATRIX_A),
    "A c": (A * (1 - 2j), (1 - 2j) * MATRIX_A),
    "tensor A": (REAL * A, 1.5 * MATRIX_A),
    "A complex tensor": (A * COMPLEX, (0.5 - 2j) * MATRIX_A),
    "W A": (W @ A, W.weights.flatten()[:, None] * MATRIX_A),
    "A V": (A @ V, MATRIX_A * V.weights.flatten()),
    "A^H": (A.H, MATRIX_A.mH),
    "B^H A": (B.H @ A, MATRIX_B.mH @ MATRIX_A),
    "A + (2j B - A)": (A + (2j * B - A), 2j * MATRIX_B),
    "A^H (A B^H) - V": (A.H @ (A @ B.H) @ B - V, MATRIX_A.mH @ MATRIX_A @ MATRIX_B.mH @ MATRIX_B
                        - torch.diag(V.weights.flatten())),
}  # fmt: skip


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_algebra(name, adjoint):
    operator, matrix = CASES[name]
    if adjoint:
        operator, matrix = operator.H, matrix.mH
    torch.testing.assert_close(dense(operator), matrix)
    check_operator(operator)
    check_operator(operator, batch=(2,))


def test_adjoint_of_the_adjoint_is_the_operator():
    assert A.H.H is A


@pytest.mark.parametrize(
    "make",
    [
        lambda P: -P,
        lambda P: 2.0 * P,
        lambda P: P * torch.tensor([0.5], dtype=torch.float64),
        lambda P: P + 0.5 * P,
        lambda P: P - Diagonal(torch.full((4, 9), 0.5, dtype=torch.float64)) @ P,
        lambda P: P.H @ P,
        lambda P: P.H,
    ],
)
def test_algebra_of_a_real_operator_stays_real(make):
    projector = XRayTransform(ParallelBeam(torch.arange(4).numpy() * 0.7, 9), VolumeGrid((7, 6)))
    check_operator(make(projector), batch=(2,), domain_dtype=torch.float64)


def test_leading_axes_of_one_operator_are_batch_to_the_other():
    inner, outer = Fourier(SHAPE), W
    product = outer @ inner
    assert (product.domain_shape, product.range_shape) == ((2, *SHAPE), (2, *SHAPE))
    check_operator(product)


@pytest.mark.parametrize("factor", [1.5, 0.5 - 2j])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
def test_a_tensor_factor_takes_gradients_and_adds_no_axes(factor, shape):
    c = torch.full(shape, factor, requires_grad=True)
    x = torch.randn(*SHAPE, dtype=torch.complex64, generator=GENERATOR)
    scaled = c * D
    assert scaled(x).shape == (2, *SHAPE)
    assert scaled(x).dtype == torch.complex64
    (gradient,) = torch.autograd.grad(scaled(x).abs().square().sum(), c)
    torch.testing.assert_close(gradient, 2 * c.detach() * D(x).abs().square().sum())


def test_a_tensor_factor_follows_the_module():
    scaled = torch.tensor(0.5) * D
    assert scaled.double().factor.dtype == torch.float64
    assert scaled.to("meta").factor.device.type == "meta"
    trained = torch.nn.Parameter(torch.tensor(0.5)) * D
    assert [name for name, _ in trained.named_parameters()] == ["factor"]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"domain of A is \(3, 4\).*\(4, 3\)"):
        D + FiniteDifference((4, 3))
    with pytest.raises(ValueError, match=r"range of A is \(2, 3, 4\).*\(3, 4\)"):
        D - V
    with pytest.raises(ValueError, match=r"A @ B: domain of A is .*\(4, 3\)"):
        FiniteDifference((4, 3)) @ V
    with pytest.raises(ValueError, match=r"one-element tensor, got shape \(2,\)"):
        torch.ones(2) * D
    with pytest.raises(TypeError):
        D @ torch.ones(3, 4)
    with pytest.raises(TypeError):
        D + 1
