import numpy as np
import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import Fourier


def direct(x: np.ndarray) -> np.ndarray:
    """The centred orthonormal DFT as a plain sum, axis by axis."""
    for axis, n in enumerate(x.shape):
        k = np.arange(n) - n // 2
        matrix = np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


@pytest.mark.parametrize("shape", [(6,), (5,), (4, 7), (6, 6), (3, 4, 5), (2, 6, 10)])
def test_equals_direct_sum(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    y = Fourier(shape)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, direct(x), atol=1e-13)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 6)])
def test_adjoint_and_derivatives(shape):
    check_operator(Fourier(shape), batch=(2,))


def test_inverse_keeps_single_precision():
    x = torch.randn(3, 230, 181, dtype=torch.complex64)
    F = Fourier((230, 181))
    assert torch.linalg.vector_norm(F.adjoint(F(x)) - x) < 1e-6 * torch.linalg.vector_norm(x)
    assert F(x).dtype == torch.complex64


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"\(4, 5\).*6, 5"):
        Fourier((6, 5))(torch.zeros(4, 5, dtype=torch.complex64))
