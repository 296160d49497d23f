"""The NUFFT against direct sums in double precision, whatever the shape, kind or layout of data."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spinray.kernels.nufft import Plan


def _matrix(k: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The exact transform of one trajectory (sample, ndim) as a matrix (sample, voxel)."""
    n = np.array(list(itertools.product(*[np.arange(s) - s // 2 for s in shape])))
    return np.exp(-2j * np.pi * (k.astype(np.float64) @ n.T)) / np.sqrt(len(n))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def _errors(k: np.ndarray, shape: tuple[int, ...], coils: int, dtype: str, tolerance: float):
    rng = np.random.default_rng(3)
    exact, plan = _matrix(k, shape), Plan(k, shape, tolerance=tolerance)
    x, y = _random(rng, (coils, *shape), dtype), _random(rng, (coils, len(k)), dtype)
    forward, adjoint = plan.forward(x), plan.adjoint(y)
    assert (forward.dtype, adjoint.dtype) == (x.dtype, y.dtype)
    assert (forward.shape, adjoint.shape) == (y.shape, x.shape)
    y_exact = x.reshape(coils, -1) @ exact.T
    x_exact = (y @ exact.conj()).reshape(x.shape)
    return (
        np.linalg.norm(forward - y_exact) / np.linalg.norm(y_exact),
        np.linalg.norm(adjoint - x_exact) / np.linalg.norm(x_exact),
    )


@pytest.mark.parametrize(
    ("shape", "coils", "dtype", "tolerance"),
    [
        ((33,), 3, "complex64", 1e-3),
        ((24, 31), 1, "complex64", 1e-1),
        ((24, 31), 8, "complex64", 1e-3),
        ((40, 17), 13, "complex64", 1e-3),
        ((24, 31), 8, "complex64", 1e-5),
        ((24, 31), 5, "complex64", 1e-6),
        ((24, 31), 6, "complex128", 1e-9),
        ((24, 31), 4, "complex128", 1e-12),
        ((9, 14, 11), 1, "complex64", 1e-3),
        ((9, 14, 11), 8, "complex64", 1e-3),
        ((12, 7, 10), 3, "complex128", 1e-8),
    ],
)
def test_error_against_the_direct_sum(shape, coils, dtype, tolerance) -> None:
    k = np.random.default_rng(1).uniform(-0.5, 0.5, (700, len(shape)))
    forward, adjoint = _errors(k, shape, coils, dtype, tolerance)
    assert 0 < forward <= tolerance
    assert 0 < adjoint <= tolerance


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    samples=st.integers(1, 60),
    coils=st.integers(1, 8),
    seed=st.integers(0, 9),
)
def test_any_size(shape: tuple[int, int], samples: int, coils: int, seed: int) -> None:
    assume(samples * coils >= 16)  # of fewer numbers, a sum near zero makes any error large
    k = np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, 2))
    k[0] = -0.5  # the corner, where every window wraps
    forward, adjoint = _errors(k, shape, coils, "complex64", 1e-3)
    # Few random samples and pixels scatter around the expected error.
    assert max(forward, adjoint) <= 2.5e-3


@pytest.mark.parametrize(
    ("shape", "dtype"), [((96, 81), "complex64"), ((20, 18, 23), "complex128")]
)
@pytest.mark.parametrize("kind", ["constant", "corner"])
def test_images_with_all_energy_in_one_place(shape, dtype, kind) -> None:
    """The tolerance is set for white noise: a constant and a corner pixel must stay near it."""
    k = np.random.default_rng(5).uniform(-0.5, 0.5, (700, len(shape)))
    x = np.ones(shape, dtype) if kind == "constant" else np.zeros(shape, dtype)
    x[(0,) * len(shape)] = 1
    exact = _matrix(k, shape) @ x.ravel()
    for tolerance in (1e-2, 1e-4) if dtype == "complex64" else (1e-3, 1e-8):
        y = Plan(k, shape, tolerance=tolerance).forward(x)
        assert np.linalg.norm(y - exact) < 2 * tolerance * np.linalg.norm(exact)


def test_edges_of_k_space() -> None:
    edge = np.array([-0.5, -0.25, 0.0, 0.25, np.nextafter(0.5, 0)])
    k = np.stack(np.meshgrid(edge, edge, indexing="ij"), -1).reshape(-1, 2)
    assert max(_errors(k, (20, 15), 8, "complex64", 1e-5)) <= 1e-5


def test_upsampling_is_followed() -> None:
    k = np.random.default_rng(1).uniform(-0.5, 0.5, (500, 2))
    x = _random(np.random.default_rng(0), (4, 32, 32), "complex64")
    exact = x.reshape(4, -1) @ _matrix(k, (32, 32)).T
    for upsampling in (1.25, 2.0):
        plan = Plan(k, (32, 32), tolerance=1e-3, upsampling=upsampling)
        assert plan.grid_shape == tuple(int(32 * upsampling) for _ in range(2))
        error = np.linalg.norm(plan.forward(x) - exact) / np.linalg.norm(exact)
        assert error <= 1e-3


@pytest.mark.parametrize("frames", [(3,), (2, 2)])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_batch_of_trajectories(frames: tuple[int, ...], batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    k = rng.uniform(-0.5, 0.5, (*frames, 150, 2))
    plan, shape = Plan(k, (12, 15), tolerance=1e-3), (12, 15)
    x = _random(rng, (*frames, *batch, *shape), "complex64")
    y = _random(rng, (*frames, *batch, 150), "complex64")
    forward, adjoint = plan.forward(x), plan.adjoint(y)
    for frame in np.ndindex(frames):
        exact = _matrix(k[frame], shape)
        y_exact = x[frame].reshape(*batch, -1) @ exact.T
        x_exact = (y[frame] @ exact.conj()).reshape(*batch, *shape)
        assert np.linalg.norm(forward[frame] - y_exact) <= 2e-3 * np.linalg.norm(y_exact)
        assert np.linalg.norm(adjoint[frame] - x_exact) <= 2e-3 * np.linalg.norm(x_exact)


def test_adjoint_is_the_exact_transpose_even_at_a_loose_tolerance() -> None:
    rng = np.random.default_rng(2)
    k = rng.uniform(-0.5, 0.5, (300, 2))
    plan = Plan(k, (21, 16), tolerance=1e-1)
    x, y = _random(rng, (4, 21, 16), "complex128"), _random(rng, (4, 300), "complex128")
    left, right = np.vdot(plan.forward(x), y), np.vdot(x, plan.adjoint(y))
    assert abs(left - right) <= 1e-13 * np.linalg.norm(x) * np.linalg.norm(y)


def test_spreading_gives_the_same_bits_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(2)
    plan = Plan(rng.uniform(-0.5, 0.5, (5000, 2)), (40, 40))
    y = _random(rng, (8, 5000), "complex64")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = plan.adjoint(y)
        torch.set_num_threads(2)
        assert all(np.array_equal(one, plan.adjoint(y)) for _ in range(5))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("convolved", [False, True])
@pytest.mark.parametrize("shape", [(33,), (14, 19), (15, 8), (6, 7, 9), (1, 8, 5)])
def test_normal_is_the_gram_matrix(monkeypatch, shape, convolved, weighted) -> None:
    monkeypatch.setattr(Plan, "_convolves", lambda plan: convolved)
    rng = np.random.default_rng(4)
    k = rng.uniform(-0.5, 0.5, (400, len(shape)))
    w = rng.uniform(0, 1, 400) if weighted else None
    exact = _matrix(k, shape)
    x = _random(rng, (8, *shape), "complex64")
    gram = exact.conj().T @ ((np.ones(400) if w is None else w)[:, None] * exact)
    expected = (x.reshape(8, -1) @ gram.T).reshape(x.shape)
    plan = Plan(k, shape)
    error = np.linalg.norm(plan.normal(x, w) - expected) / np.linalg.norm(expected)
    assert error <= 1e-3
    built = plan._last[2] is not None
    assert built == (convolved and len(shape) > 1)  # there is none in 1D


def test_convolution_is_that_of_the_weights_given(monkeypatch) -> None:
    monkeypatch.setattr(Plan, "_convolves", lambda plan: True)
    rng = np.random.default_rng(4)
    k, w = rng.uniform(-0.5, 0.5, (2, 300, 2)), rng.uniform(0, 1, (2, 300))
    x, plan = _random(rng, (2, 3, 12, 11), "complex128"), Plan(k, (12, 11), tolerance=1e-9)
    for weights in (None, w, w[0], w, w, None):
        w *= 1.5  # in place
        y = plan.forward(x)
        y = y if weights is None else y * weights.reshape(-1, 1, 300)
        assert np.allclose(plan.normal(x, weights), plan.adjoint(y), atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("convolved", [False, True])
@pytest.mark.parametrize(("shape", "frames"), [((33,), 1), ((14, 19), 2), ((6, 7, 9), 1)])
def test_normal_of_a_temporal_subspace(monkeypatch, shape, frames, convolved, weighted) -> None:
    monkeypatch.setattr(Plan, "_convolves", lambda plan: convolved)
    rng = np.random.default_rng(6)
    k, phi = rng.uniform(-0.5, 0.5, (frames, 300, len(shape))), _random(rng, (3, 300), "complex64")
    w = rng.uniform(0, 1, (frames, 300)) if weighted else np.ones((frames, 300))
    x = _random(rng, (frames, 2, 3, *shape), "complex64")
    plan = Plan(k, shape)
    found = plan.normal(x, w if weighted else None, phi)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    for frame in range(frames):
        parts = phi[:, :, None] * _matrix(k[frame], shape)  # (K, sample, voxel)
        encoding = parts.transpose(1, 0, 2).reshape(300, -1)  # of all coefficients together
        gram = encoding.conj().T @ (w[frame, :, None] * encoding)
        expected = (x[frame].reshape(2, -1) @ gram.T).reshape(x[frame].shape)
        assert np.linalg.norm(found[frame] - expected) <= 1e-3 * np.linalg.norm(expected)
    assert (plan._last[2] is not None) == (convolved and len(shape) > 1)


def test_subspace_convolution_is_that_of_the_basis_given(monkeypatch) -> None:
    monkeypatch.setattr(Plan, "_convolves", lambda plan: True)
    rng = np.random.default_rng(6)
    plan = Plan(rng.uniform(-0.5, 0.5, (200, 2)), (12, 11), tolerance=1e-9)
    x, bases = _random(rng, (2, 12, 11), "complex128"), rng.standard_normal((2, 2, 200))
    changed = bases[0].astype(complex)
    for phi in (bases[0], bases[1], bases[0] * 1j, changed, changed):
        if phi is changed:
            phi *= 2  # in place
        series = (phi * plan.forward(x)).sum(0)
        assert np.allclose(plan.normal(x, None, phi), plan.adjoint(phi.conj() * series), atol=1e-7)
    assert plan.normal(x).shape == x.shape  # coils again, without a basis
    with pytest.raises(ValueError, match=r"basis has shape \(200,\), expected \(K, 200\)"):
        plan.normal(x, None, bases[0, 0])
    with pytest.raises(ValueError, match=r"expected \(\*batch, 3, 12, 11\)"):
        plan.normal(x, None, np.ones((3, 200)))


def test_convolution_is_as_accurate_as_single_precision(monkeypatch) -> None:
    monkeypatch.setattr(Plan, "_convolves", lambda plan: True)
    rng = np.random.default_rng(7)
    k, x = rng.uniform(-0.5, 0.5, (3000, 2)), _random(rng, (4, 40, 36), "complex64")
    exact = _matrix(k, (40, 36))
    expected = (x.reshape(4, -1) @ (exact.conj().T @ exact).T).reshape(x.shape)
    error = np.linalg.norm(Plan(k, (40, 36)).normal(x) - expected) / np.linalg.norm(expected)
    assert error < 3e-6


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_give_the_same_and_carry_no_tables(copied: Any) -> None:
    rng = np.random.default_rng(4)
    k, x = rng.uniform(-0.5, 0.5, (2, 300, 2)), _random(rng, (2, 3, 12, 11), "complex64")
    plan = Plan(k, (12, 11), tolerance=1e-4, upsampling=1.5, memory_limit=10**7)
    empty = len(pickle.dumps(plan))
    expected = plan.forward(x), plan.normal(x)
    assert len(pickle.dumps(plan)) == empty
    k[:] = 0  # the plan is of the positions that it was given
    other = copied(plan)
    assert repr(other) == repr(plan)
    assert all(map(np.array_equal, (other.forward(x), other.normal(x)), expected))
    double = x.astype("complex128")  # its table was not made before k changed
    assert np.allclose(plan.forward(double), expected[0], atol=1e-4)


def _torch_with_gradient(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.copy()).requires_grad_()


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "lay_out",
    [
        _torch_with_gradient,
        _read_only,
        lambda x: np.asfortranarray(x),
        lambda x: x[..., ::-1].copy()[..., ::-1],
        lambda x: torch.from_numpy(np.repeat(x, 2, -1))[..., ::2],
        lambda x: torch.from_numpy(x.conj()).conj(),
        lambda x: x.astype(x.dtype.newbyteorder(">")),
    ],
    ids=["grad", "read-only", "fortran", "negative stride", "strided", "conj view", "big endian"],
)
def test_layout_of_data_does_not_matter(lay_out: Any) -> None:
    rng = np.random.default_rng(5)
    plan = Plan(rng.uniform(-0.5, 0.5, (100, 2)), (12, 10))
    x, y = _random(rng, (8, 12, 10), "complex64"), _random(rng, (8, 100), "complex64")
    for method, data in ((plan.forward, x), (plan.adjoint, y), (plan.normal, x)):
        given = lay_out(data)
        result = method(given)
        assert isinstance(result, torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray)
        assert np.array_equal(np.asarray(result), method(data))


def test_normal_takes_both_transforms_where_a_convolution_has_no_room() -> None:
    rng = np.random.default_rng(4)
    k, x = rng.uniform(-0.5, 0.5, (20_000, 2)), _random(rng, (32, 32), "complex64")
    free, tight = Plan(k, (32, 32)), Plan(k, (32, 32), memory_limit=100_000)
    assert tight.normal_memory < 100_000 + 8 * len(k) + tight.memory < free.normal_memory + 10**6
    assert free._convolves()
    assert not tight._convolves()
    assert np.linalg.norm(tight.normal(x) - free.normal(x)) < 2e-3 * np.linalg.norm(free.normal(x))


def test_memory_limit_is_kept_by_smaller_blocks_of_coils() -> None:
    rng = np.random.default_rng(5)
    k, x = rng.uniform(-0.5, 0.5, (500, 2)), _random(rng, (8, 64, 64), "complex64")
    full = Plan(k, (64, 64), upsampling=1.25)
    small = Plan(k, (64, 64), upsampling=1.25, memory_limit=150_000)
    assert small.memory < full.memory
    assert np.allclose(small.forward(x), full.forward(x), atol=1e-4)
    with pytest.raises(MemoryError, match="memory_limit"):
        Plan(k, (64, 64), memory_limit=1000).forward(x)


K = np.zeros((10, 2))


@pytest.mark.parametrize(
    ("trajectory", "message"),
    [
        (K + 3.1, "divide radians per pixel by 2 pi"),
        (K + 0.5, r"\[-0.5, 0.5\)"),
        (K + np.nan, "20 NaN"),
        (np.zeros((10, 3)), "one coordinate for each of the 2 image axes"),
        (np.zeros((0, 2)), "no samples"),
        (np.zeros(2), "expected"),
    ],
)
def test_bad_trajectory(trajectory: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(trajectory, (8, 8))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": 1e-14}, ValueError, "tolerance"),
        ({"tolerance": -1}, ValueError, "tolerance"),
        ({"tolerance": 0.11}, ValueError, "from 1e-12 to 0.1"),
        ({"upsampling": 0.9}, ValueError, "upsampling"),
        ({"tolerance": 1e-12, "upsampling": 1.1}, ValueError, "no window"),
    ],
)
def test_bad_options(options: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Plan(K, (8, 8), **options)


def test_bad_data() -> None:
    plan = Plan(K, (8, 8))
    with pytest.raises(TypeError, match="expected complex64"):
        plan.forward(np.zeros((8, 8), np.float32))
    with pytest.raises(ValueError, match=r"\(\*batch, 8, 8\)"):
        plan.forward(np.zeros((8, 9), np.complex64))
    with pytest.raises(ValueError, match=r"\(\*batch, 10\)"):
        plan.adjoint(np.zeros((2, 11), np.complex64))
    with pytest.raises(ValueError, match="weights"):
        plan.normal(np.zeros((8, 8), np.complex64), np.ones(9))
    with pytest.raises(ValueError, match="complex128"):
        Plan(K, (8, 8), tolerance=1e-9).forward(np.zeros((8, 8), np.complex64))
    with pytest.raises(ValueError, match="4, "):
        Plan(np.zeros((4, 10, 2)), (8, 8)).forward(np.zeros((3, 8, 8), np.complex64))
    with pytest.raises(TypeError, match="meta"):
        plan.forward(torch.zeros(8, 8, dtype=torch.complex64, device="meta"))


def test_a_gpu_is_refused_in_words():
    if not torch.cuda.is_available():
        with pytest.raises(TypeError, match="sees no CUDA device"):
            Plan(np.zeros((4, 2)), (8, 8), device="cuda")
    with pytest.raises(TypeError, match="on the CPU and on CUDA"):
        Plan(np.zeros((4, 2)), (8, 8), device="meta")
