"""Power iteration in lanes against LAPACK in double precision."""

import numpy as np
import pytest
import torch

from spinray.kernels.eigenvectors import dominant
from spinray.recon.mri.eigenvectors import dominant as of_entries
from spinray.recon.mri.eigenvectors import eigenvectors_above


def matrices(pixels, coils, seed=0):
    """Hermitian, positive semidefinite, eigenvalues a third from one to the next."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(pixels, coils, coils, 2)).view(complex)[..., 0])[0]
    values = 7.0 * rng.uniform(0.5, 1, (pixels, 1)) * 3.0 ** -np.arange(coils)
    start = rng.normal(size=(coils, 2)).view(complex)[:, 0]
    start /= np.linalg.norm(start)
    return (vectors * values[:, None]) @ vectors.conj().swapaxes(1, 2), values, vectors, start


def lower(whole):
    rows, columns = np.tril_indices(whole.shape[1])
    return np.ascontiguousarray(whole[:, rows, columns].T)


@pytest.mark.parametrize(("pixels", "coils"), [(64, 8), (37, 5), (3, 2), (16, 1), (33, 32)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex64, 2e-5), (np.complex128, 1e-10)])
def test_largest_eigenvalue_and_vector(pixels, coils, dtype, tolerance):
    whole, values, vectors, start = matrices(pixels, coils)
    found, unit = dominant(lower(whole).astype(dtype), start.astype(dtype), 4)
    assert found.dtype == np.zeros((), dtype).real.dtype
    np.testing.assert_allclose(found, values[:, 0], rtol=tolerance)
    inner = vectors[:, :, 0] @ start.conj()
    exact = vectors[:, :, 0] * (inner.conj() / np.abs(inner))[:, None]
    np.testing.assert_allclose(unit.T, exact, atol=tolerance)


def test_empty_matrices_give_no_nan():
    values, vectors = dominant(np.zeros((3, 20), np.complex64), np.array([1, 0], np.complex64), 4)
    assert np.array_equal(values, np.zeros(20))
    assert np.isfinite(vectors.view(np.float32)).all()


def test_several_vectors_come_in_order_with_the_same_phase():
    whole, values, vectors, start = matrices(40, 6)
    basis = np.linalg.qr(np.stack([start, np.roll(start, 1)], 1))[0]
    basis[:, 0] = start
    entries = torch.from_numpy(lower(whole))
    found, sets = of_entries(entries, torch.from_numpy(basis), 8)
    np.testing.assert_allclose(found, values[:, :2].T, rtol=1e-6)
    alone = of_entries(entries, torch.from_numpy(basis[:, :1]), 8)[1][0]
    torch.testing.assert_close(sets[0], alone, atol=1e-6, rtol=0)
    overlap = np.abs((sets[1].numpy().T.conj() * vectors[:, :, 1]).sum(1))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)


@pytest.mark.parametrize("decay", [0.8, 0.99])
def test_leading_eigenvectors_of_a_large_matrix(decay):
    """By subspace iteration where eigenvalues fall fast, else by LAPACK: the same projection."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(288, 288, 2)).view(complex)[..., 0])[0]
    values = np.maximum(decay ** np.arange(288), 1e-6)
    matrix = torch.from_numpy((vectors * values) @ vectors.conj().T).to(torch.complex64)
    kept = eigenvectors_above(matrix, 4e-4)
    count = int((values > 4e-4).sum())
    assert kept.shape == (288, count)
    exact = torch.from_numpy(vectors[:, :count] @ vectors[:, :count].conj().T).to(kept)
    assert float(torch.linalg.matrix_norm(kept @ kept.mH - exact, 2)) < 0.02
