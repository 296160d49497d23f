"""The CUDA kernels: run on the CPU against Numba, compiled for cards, run on a card if any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_host import compile_for_cards, host_module, needs_gcc, needs_nvcc

from spinray.kernels.nufft import Plan, cuda_plan
from spinray.kernels.nufft.cpu_plan import CpuPlan
from spinray.kernels.nufft.cuda_plan import SOURCE, CudaPlan, _colours
from spinray.kernels.nufft.subspace import SubspaceToeplitz
from spinray.kernels.nufft.toeplitz import point_spread
from spinray.kernels.nufft.window import choose

RNG = np.random.default_rng(0)
CPU = torch.device("cpu")
CASES = {
    "1D": ((37,), 60, 1e-3),
    "2D": ((33, 20), 200, 1e-3),
    "2D accurate": ((20, 26), 150, 1e-5),
    "2D double": ((18, 16), 90, 1e-9),
    "2D small": ((3, 2), 30, 1e-2),
    "3D": ((9, 12, 14), 250, 1e-3),
    "3D accurate": ((6, 8, 7), 60, 1e-6),
    "3D double": ((6, 8, 7), 60, 1e-9),
}


def plans(shape, samples, tolerance, frames=2, memory_limit=None):
    k = RNG.uniform(-0.5, 0.5, (frames, samples, len(shape)))
    k[0, : samples // 3] *= 0.1  # crowded, as at the centre of radial scans
    width, grid = choose(tolerance, shape, samples)
    cuda = CudaPlan(k, shape, grid, width, memory_limit, CPU, host_module)
    return CpuPlan(k, shape, grid, width, None), cuda


def noise(*shape, dtype):
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)


def difference(found, expected):
    return np.linalg.norm(found.cpu().numpy() - expected) / np.linalg.norm(expected)


@needs_gcc
@pytest.mark.parametrize("piece", [256, 3])
@pytest.mark.parametrize("name", CASES)
def test_cuda_source_agrees_with_numba(name, piece, monkeypatch):
    """Also where crowded tiles go in pieces."""
    monkeypatch.setattr(cuda_plan, "PIECE", piece)
    shape, samples, tolerance = CASES[name]
    dtype = np.complex128 if tolerance < 1e-6 else np.complex64
    numba, cuda = plans(shape, samples, tolerance)
    assert len(cuda._pieces) > 0 or piece > 3
    x, y = noise(2, 5, *shape, dtype=dtype), noise(2, 5, samples, dtype=dtype)
    rounding = max(3e-6, tolerance / 50) if dtype == np.complex64 else 1e-13
    assert difference(cuda.forward(torch.from_numpy(x)), numba.forward(x)) < rounding
    assert difference(cuda.adjoint(torch.from_numpy(y)), numba.adjoint(y)) < rounding


@needs_gcc
def test_memory_limit_splits_coils_and_frames():
    shape, samples, tolerance = CASES["2D"]
    whole, reference = plans(shape, samples, tolerance, frames=3)[1], None
    for coils_at_once in (100, 2, 1):
        limit = coils_at_once * whole._item_bytes(8)
        whole.memory_limit = limit
        blocks = list(whole._blocks(4, np.dtype(np.complex64)))
        assert len(blocks) == {100: 1, 2: 6, 1: 12}[coils_at_once]
        x = torch.ones(3, 4, *shape, dtype=torch.complex64) * torch.arange(1, 5)[:, None, None]
        y = whole.forward(x)
        result = y, whole.adjoint(y)
        reference = reference or result
        for found, expected in zip(result, reference, strict=True):
            torch.testing.assert_close(found, expected)
    whole.memory_limit = 1000
    with pytest.raises(MemoryError, match="memory_limit is 1,000"):
        whole.forward(x)


@needs_gcc
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["2D", "3D"])
def test_convolution_is_the_gram_matrix(name, weighted):
    shape, samples, _ = CASES[name]
    _, cuda = plans(shape, samples, 1e-4)
    w = torch.rand(2, 1, samples) if weighted else None
    x = torch.from_numpy(noise(2, 3, *shape, dtype=np.complex64))
    y = cuda.forward(x)
    expected = cuda.adjoint(y if w is None else w * y)
    ones = torch.ones(2, 1, samples) if w is None else w
    psf = point_spread(cuda.refined(1e-5), ones.to(torch.complex64))
    found = cuda.convolution(psf[:, 0])(x)
    assert (found - expected).norm() < 5e-4 * expected.norm()


@needs_gcc
def test_a_convolution_serves_both_precisions():
    """A call in single precision leaves the next one in double as exact as before."""
    shape, samples, _ = CASES["2D double"]
    _, cuda = plans(shape, samples, 1e-9)
    ones = torch.ones(2, 1, samples, dtype=torch.complex128)
    convolution = cuda.convolution(point_spread(cuda.refined(1e-11), ones)[:, 0])
    x = torch.from_numpy(noise(2, 3, *shape, dtype=np.complex128))
    expected = cuda.adjoint(cuda.forward(x))
    assert (convolution(x.to(torch.complex64)) - expected).norm() < 1e-5 * expected.norm()
    assert (convolution(x) - expected).norm() < 1e-8 * expected.norm()


@pytest.mark.parametrize("limit", [None, 1, 100_000])
@pytest.mark.parametrize("coefficients", [1, 3])
def test_coils_of_a_convolution_go_together_on_a_card(coefficients, limit, monkeypatch):
    """As many as the limit allows, and give what each alone gives."""
    shape = 12, 10
    pairs = coefficients * (coefficients + 1) // 2
    psf = torch.from_numpy(noise(2, pairs, 24, 20, dtype=np.complex128))
    x = torch.from_numpy(noise(2, 7, coefficients, *shape, dtype=np.complex128))
    expected = SubspaceToeplitz(psf, shape)(x)
    together, fftn = [], torch.fft.fftn
    convolution = SubspaceToeplitz(psf, shape, limit)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(
        torch.fft, "fftn", lambda x, **o: together.append(x.shape[1]) or fftn(x, **o)
    )
    torch.testing.assert_close(convolution(x), expected)
    assert sum(together) == 7
    most = {None: 7, 1: 1, 100_000: 50_000 // (2 * coefficients * 24 * 20 * 16)}[limit]
    assert max(together) == most


@pytest.mark.parametrize(
    ("cells", "edge", "width"), [(64, 16, 4), (65, 16, 4), (48, 16, 7), (9, 5, 4)]
)
def test_tiles_of_one_colour_share_no_cell(cells, edge, width):
    colours = _colours(cells, edge, width)
    seen = np.zeros((colours.max() + 1, cells), int)
    for tile, colour in enumerate(colours):
        for i in range(edge + width - 1):
            seen[colour, (tile * edge + i) % cells] += 1
    assert seen.max() == 1
    assert seen.any(0).all()


@needs_nvcc
@pytest.mark.parametrize("name", ["2D", "3D accurate", "2D double"])
def test_compiles_for_cards(name, tmp_path):
    shape, samples, tolerance = CASES[name]
    cuda = plans(shape, samples, tolerance)[1]
    real = torch.float64 if tolerance < 1e-6 else torch.float32
    compile_for_cards(SOURCE, cuda._defines(real), tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_on_a_card(name):
    """The public plan, all kinds of arrays, against the CPU's."""
    shape, samples, tolerance = CASES[name]
    dtype = np.complex128 if tolerance < 1e-6 else np.complex64
    k = RNG.uniform(-0.5, 0.5, (2, samples, len(shape)))
    numba = Plan(k, shape, tolerance=tolerance)
    cuda = Plan(torch.from_numpy(k).cuda(), shape, tolerance=tolerance)
    assert (numba.backend, cuda.backend) == ("numba", "cuda")
    x, y = noise(2, 5, *shape, dtype=dtype), noise(2, 5, samples, dtype=dtype)
    rounding = max(3e-6, tolerance / 50) if dtype == np.complex64 else 1e-13
    for method, data, limit in (
        ("forward", x, rounding), ("adjoint", y, rounding), ("normal", x, 3 * tolerance),
    ):  # fmt: skip
        found = getattr(cuda, method)(torch.from_numpy(data).cuda())
        assert difference(found, getattr(numba, method)(data)) < limit
    import cupy

    assert isinstance(cuda.forward(cupy.asarray(x)), cupy.ndarray)


@pytest.mark.gpu
def test_transform_in_a_cuda_graph():
    k = torch.rand(500, 2, device="cuda") - 0.5
    plan = Plan(k, (32, 32))
    x = torch.randn(4, 32, 32, dtype=torch.complex64, device="cuda")
    expected = plan.adjoint(plan.forward(x))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = plan.adjoint(plan.forward(x))
    graph.replay()
    torch.testing.assert_close(found, expected)
