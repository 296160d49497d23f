import numpy as np
import pytest
import pywt
import torch
from helpers import check_operator

from spinray.recon.operators import FiniteDifference, Wavelet


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5"])
@pytest.mark.parametrize(("shape", "levels"), [((16, 8), 2), ((7, 10), (1, 2)), ((4, 5, 6), 1)])
def test_wavelet_adjoint_and_derivatives(wavelet, shape, levels):
    W = Wavelet(shape, wavelet, levels)
    check_operator(W, batch=(2,))
    check_operator(W, domain_dtype=torch.float64)
    x = torch.randn(2, *shape, dtype=torch.complex128)
    torch.testing.assert_close(W.adjoint(W(x)), x)


def test_one_level_equals_pywavelets():
    x = np.random.default_rng(0).normal(size=(32, 48))
    c = Wavelet((32, 48), "db4", 1)(torch.from_numpy(x)).numpy()
    low, (h, v, d) = pywt.dwt2(x, "db4", mode="periodization")
    ours = [c[:16, :24], c[16:, :24], c[:16, 24:], c[16:, 24:]]
    for a, b in zip(ours, [low, h, v, d], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_polynomials_vanish_in_the_details():
    """db4 has four vanishing moments: away from the seam a cubic has no detail."""
    t = torch.linspace(-1, 1, 64, dtype=torch.float64)
    W = Wavelet((64,), "db4", 1)
    detail = W(t**3 - t)[32:]
    assert detail[2:-2].abs().max() < 1e-12
    assert W(t.sign())[32:].abs().max() > 0.1


def test_default_levels_stop_at_twelve_samples():
    W = Wavelet((8, 230, 180))
    assert W.levels == (0, 4, 3)
    assert W.range_shape == (8, 240, 184)
    assert W.approximation_shape == (8, 15, 23)


def test_wavelet_must_be_orthogonal():
    with pytest.raises(ValueError, match=r"bior2\.2"):
        Wavelet((16, 16), "bior2.2")


@pytest.mark.parametrize("shape", [(6,), (5, 6), (3, 4, 5), (1, 4)])
def test_difference(shape):
    D = FiniteDifference(shape)
    check_operator(D, batch=(2,))
    check_operator(D, domain_dtype=torch.float64)
    x = torch.randn(2, *shape, dtype=torch.float64)
    for axis in range(len(shape)):
        expected = np.diff(x.numpy(), axis=axis + 1)
        ours = D(x)[:, axis].narrow(axis + 1, 0, shape[axis] - 1)
        np.testing.assert_allclose(ours.numpy(), expected)
        assert D(x)[:, axis].select(axis + 1, -1).abs().max() == 0
    assert D.norm(200, dtype=torch.float64) <= 2 * len(shape) ** 0.5
