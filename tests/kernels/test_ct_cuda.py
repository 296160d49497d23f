"""CT in CUDA: run on the CPU against Numba, compiled for cards, run on a card if any."""

from __future__ import annotations

import copy
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from ct_geometries import CONE, GEOMETRIES, PLANE, turn
from cuda_host import compile_for_cards, exact_host_module, needs_gcc, needs_nvcc
from hypothesis import given, settings
from hypothesis import strategies as st

from spinray.kernels.ct import Projector, backproject
from spinray.kernels.ct import cuda_footprint as footprint
from spinray.kernels.ct import cuda_joseph as joseph
from spinray.kernels.ct.geometry import ConeBeam, FanBeam, ParallelBeam, VolumeGrid
from spinray.kernels.cuda import source_text
from spinray.recon import ct
from spinray.recon.operators import XRayTransform

RNG = np.random.default_rng(0)
CPU = torch.device("cpu")
MODELS = ["separable-footprint", "joseph"]
DTYPES = [(np.float32, 3e-6), (np.float64, 1e-12)]
EACH = [
    pytest.param(*GEOMETRIES[name], model, id=f"{name}, {model}")
    for name in GEOMETRIES
    for model in MODELS
    if name != "modular" or model == "joseph"  # it has no other
]
CIRCULAR = [name for name in GEOMETRIES if name != "modular"]


def on_host(projector):
    """The CUDA backend of a projector with its kernels run on the CPU."""
    kind = joseph.CudaJoseph if projector.model == "joseph" else footprint.CudaFootprint
    return kind(projector, CPU, exact_host_module)


def noise(count, shape, dtype):
    return RNG.standard_normal((count, *shape)).astype(dtype)


def difference(found, expected):
    found, expected = found.cpu().numpy().astype(float), expected.astype(float)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def inner(a, b):
    return float((torch.as_tensor(a).double() * torch.as_tensor(b).double()).sum())


@needs_gcc
@pytest.mark.parametrize(("geometry", "grid", "model"), EACH)
@pytest.mark.parametrize(("dtype", "rounding"), DTYPES)
def test_cuda_source_agrees_with_numba(geometry, grid, model, dtype, rounding):
    numba = Projector(geometry, grid, model=model)
    cuda = on_host(numba)
    count = 3 if grid.ndim == 2 else 1
    x, y = noise(count, grid.shape, dtype), noise(count, geometry.shape, dtype)
    ax, aty = cuda.forward(torch.from_numpy(x)), cuda.adjoint(torch.from_numpy(y))
    assert difference(ax, numba.forward(x)) < rounding
    assert difference(aty, numba.adjoint(y)) < rounding
    scale = float(ax.double().norm()) * np.linalg.norm(y.astype(float))
    assert abs(inner(ax, y) - inner(x, aty)) < (1e-6 if dtype == np.float32 else 1e-13) * scale


@needs_gcc
@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["parallel", "flat", "curved"]),
    rows=st.sampled_from([None, 1, 3, 11]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    spacing=st.tuples(*[st.floats(0.2, 2.0)] * 3),
    columns=st.integers(1, 60),
    pitch=st.floats(0.2, 3.0),
    offset=st.floats(-8, 8),
    start=st.floats(-3, 3),
)
def test_any_shape_agrees_with_numba(kind, rows, shape, spacing, columns, pitch, offset, start):
    angles = turn(3) + start
    if kind == "parallel":
        geometry, ndim = ParallelBeam(angles, columns, pitch, offset), 2
    else:
        ndim = 2 if rows is None else 3
        changes = {} if rows is None else {"rows": rows, "row_spacing": 1.7, "row_offset": offset}
        geometry = (FanBeam if rows is None else ConeBeam)(
            angles, columns=columns, column_spacing=pitch, column_offset=offset, detector=kind,
            source_to_isocenter=110.0, source_to_detector=180.0, **changes,
        )  # fmt: skip
    grid = VolumeGrid(shape[-ndim:], spacing[-ndim:])
    numba = Projector(geometry, grid)
    cuda = on_host(numba)
    x, y = noise(1, grid.shape, np.float64), noise(1, geometry.shape, np.float64)
    for method, data in (("forward", x), ("adjoint", y)):
        expected = getattr(numba, method)(data)
        found = getattr(cuda, method)(torch.from_numpy(data)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-9 * (1 + np.abs(expected).max()))


@needs_gcc
@pytest.mark.parametrize("real", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_adjoint_is_the_transposed_matrix(name, real):
    """Entry by entry: a dot product would not see errors that cancel.

    To the bit, but for a cone's, whose product with the overlap along z is taken in another order.
    """
    geometry, _ = GEOMETRIES[name]
    grid = VolumeGrid((3, 36, 33)[-geometry.ndim :], 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the helix passes by
        cuda = on_host(Projector(geometry, grid))
    n, rays = int(np.prod(grid.shape)), int(np.prod(geometry.shape))
    pixels = RNG.choice(n, 8, replace=False)
    units = torch.zeros(8, n, dtype=real)
    units[np.arange(8), pixels] = 1
    rows = cuda.forward(units.view(8, *grid.shape)).view(8, -1)
    seen = np.flatnonzero(rows.any(0))
    chosen = RNG.choice(seen, min(100, len(seen)), replace=False)
    count = len(chosen)
    units = torch.zeros(count, rays, dtype=real)
    units[np.arange(count), chosen] = 1
    columns = cuda.adjoint(units.view(count, *geometry.shape)).view(count, -1)
    rounding = 4 * torch.finfo(real).eps if isinstance(geometry, ConeBeam) else 0.0
    torch.testing.assert_close(rows[:, chosen], columns[:, pixels].T, rtol=rounding, atol=0.0)


@needs_gcc
@pytest.mark.parametrize("name", CIRCULAR)
@pytest.mark.parametrize(("dtype", "rounding"), DTYPES)
def test_back_projection_agrees_with_numba(name, dtype, rounding):
    geometry, grid = GEOMETRIES[name]
    y = noise(3 if grid.ndim == 2 else 1, geometry.shape, dtype)
    cuda = on_host(Projector(geometry, grid))
    found = cuda.backproject(torch.from_numpy(y))
    # a float32 position is as exact as its column: neighbouring noise differs by its own size
    assert difference(found, backproject(y, geometry, grid)) < 3 * rounding


@needs_gcc
@pytest.mark.parametrize("count", [1, 2, 9, 17])
@pytest.mark.parametrize("model", MODELS)
def test_stacks_equal_single_slices(count, model):
    geometry, grid = GEOMETRIES["fan flat"]
    cuda = on_host(Projector(geometry, grid, model=model))
    x = torch.from_numpy(noise(count, grid.shape, np.float64))
    y = torch.from_numpy(noise(count, geometry.shape, np.float64))
    p, v = cuda.forward(x), cuda.adjoint(y)
    assert p.shape == y.shape
    for i in {0, count // 2, count - 1}:
        torch.testing.assert_close(p[i], cuda.forward(x[i : i + 1])[0])
        torch.testing.assert_close(v[i], cuda.adjoint(y[i : i + 1])[0])


@needs_gcc
@pytest.mark.parametrize("ratio", [7, 300])
def test_pixels_far_wider_than_columns(ratio):
    """Their footprints do not fit in shared memory."""
    grid = VolumeGrid((8, 8), 1.0)
    numba = Projector(ParallelBeam([0.0, 0.3, 1.4], 64, 1 / ratio), grid)
    x, y = noise(1, grid.shape, np.float64), noise(1, numba.geometry.shape, np.float64)
    cuda = on_host(numba)
    rounding = 1e-8  # a side seen end on is 1e-3 columns: differences of large squares
    assert difference(cuda.forward(torch.from_numpy(x)), numba.forward(x)) < rounding
    assert difference(cuda.adjoint(torch.from_numpy(y)), numba.adjoint(y)) < rounding


@needs_gcc
@pytest.mark.parametrize("steep", [FanBeam, ConeBeam])
def test_rays_far_from_the_axis_that_drives_their_view(steep):
    """At the edge of a wide fan rays run along the rows that its centre crosses."""
    changes = {"rows": 4, "row_spacing": 2.0} if steep is ConeBeam else {}
    geometry = steep(
        turn(8), columns=300, column_spacing=1.0, source_to_isocenter=60.0,
        source_to_detector=80.0, **changes,
    )  # fmt: skip
    grid = VolumeGrid((3, 50, 50)[-geometry.ndim :], 1.5)
    numba = Projector(geometry, grid)
    x = noise(1, grid.shape, np.float64)
    assert difference(on_host(numba).forward(torch.from_numpy(x)), numba.forward(x)) < 1e-12


@needs_gcc
@pytest.mark.parametrize("angle", [0.3, 1.9])
@pytest.mark.parametrize("kind", ["parallel", "fan", "cone"])
def test_more_tiles_and_views_than_a_block_keeps(kind, angle):
    """Shadows stand in shared memory 32 at a time: of tiles in a row (forward), of views (back)."""
    angles = angle + 0.01 * np.arange(35)
    if kind == "parallel":
        geometry, grid = ParallelBeam(angles, 50, 21.0), VolumeGrid((1100, 40), (0.9, 1.0))
    else:
        beam = {"columns": 40, "column_spacing": 50.0, "source_to_isocenter": 900.0}
        beam |= {"source_to_detector": 1500.0, "detector": "curved"}
        geometry = FanBeam(angles, **beam)
        grid = VolumeGrid((1100, 40), (0.9, 1.0))
        if kind == "cone":
            geometry = ConeBeam(angles, rows=2, row_spacing=9.0, **beam)
            grid = VolumeGrid((3, 550, 20), (3.0, 1.8, 2.0))
    for turned in (grid, VolumeGrid((*grid.shape[:-2], *grid.shape[:-3:-1]), grid.spacing)):
        numba = Projector(geometry, turned)
        x, y = noise(1, turned.shape, np.float64), noise(1, geometry.shape, np.float64)
        cuda = on_host(numba)
        assert difference(cuda.forward(torch.from_numpy(x)), numba.forward(x)) < 1e-11
        assert difference(cuda.adjoint(torch.from_numpy(y)), numba.adjoint(y)) < 1e-11
        expected = backproject(y, geometry, turned)
        assert difference(cuda.backproject(torch.from_numpy(y)), expected) < 1e-11


@needs_gcc
def test_memory_limit_changes_pieces_and_not_the_result():
    geometry = ConeBeam(turn(30), **CONE)
    grid = VolumeGrid((19, 37, 70), (2.1, 1.6, 1.0))
    launches = []

    def counting(source, defines):
        class Counting:
            def launch(self, name, *arguments):
                launches.append(name)
                exact_host_module(source, defines).launch(name, *arguments)

        return Counting()

    def run(limit):
        launches.clear()
        plan = Projector(geometry, grid)
        plan.memory_limit = limit
        cuda = footprint.CudaFootprint(plan, CPU, counting)
        return cuda.forward(x), cuda.adjoint(y), cuda.memory(), launches.copy()

    x = torch.from_numpy(noise(1, grid.shape, np.float32))
    y = torch.from_numpy(noise(1, geometry.shape, np.float32))
    *whole, memory, calls = run(None)
    assert calls == ["forward", "forward", "adjoint"]
    *pieces, less, calls = run(50_000)
    assert less <= 50_000 < memory
    assert calls.count("forward") == 1 + 5  # slabs of one tile
    assert calls.count("adjoint") == 2  # 30 views of 2240 bytes
    for found, expected in zip(pieces, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="below a slab one tile wide"):
        run(10_000)

    geometry, grid = GEOMETRIES["parallel"]
    x = torch.from_numpy(noise(20, grid.shape, np.float32))
    y = torch.from_numpy(noise(20, geometry.shape, np.float32))
    *whole, _, calls = run(None)
    *pieces, _, more = run(8 * 4 * 45 * 70 + 2000)
    assert (calls.count("forward"), more.count("forward")) == (2, 6)  # 8 slices at a time
    for found, expected in zip(pieces, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@needs_gcc
def test_joseph_without_room_for_turned_volumes():
    geometry, grid = GEOMETRIES["modular"]
    plan = Projector(geometry, grid)
    x = torch.from_numpy(noise(1, grid.shape, np.float64))
    y = torch.from_numpy(noise(1, geometry.shape, np.float64))
    whole = on_host(plan)
    plan.memory_limit = 10_000
    small = on_host(plan)
    assert small.memory() < 10_000
    torch.testing.assert_close(small.forward(x), on_host(Projector(geometry, grid)).forward(x))
    torch.testing.assert_close(small.adjoint(y), whole.adjoint(y))


@pytest.fixture
def host_as_card(monkeypatch):
    """Every torch tensor counts as one on a card, whose kernels run on the CPU."""
    from spinray.kernels.arrays import is_torch

    for module in ("projector", "backprojection"):
        monkeypatch.setattr(f"spinray.kernels.ct.{module}.on_gpu", is_torch)
    monkeypatch.setattr(Projector, "_card", lambda self, device: on_host(self))


@needs_gcc
@pytest.mark.parametrize("name", CIRCULAR)
def test_public_functions_take_the_cuda_backend(name, host_as_card):
    """Through projector, operator, autograd and analytic reconstruction."""
    geometry, grid = GEOMETRIES[name]
    x = torch.from_numpy(noise(1, grid.shape, np.float64)).requires_grad_()
    y = torch.from_numpy(noise(1, geometry.shape, np.float64))
    operator = XRayTransform(geometry, grid)
    p = operator(x)
    projector = operator._projector
    assert projector.backend == "cuda"
    assert projector.memory == projector.memory_on("cuda")
    assert difference(p.detach(), projector.forward(x.detach().numpy())) < 1e-12
    assert projector.backend == "numba"
    (gradient,) = torch.autograd.grad(p, x, y)
    torch.testing.assert_close(gradient, operator.adjoint(y))
    torch.testing.assert_close(copy.deepcopy(operator)(x), p)
    torch.testing.assert_close(pickle.loads(pickle.dumps(operator))(x), p)
    with pytest.raises(ValueError, match="image has shape"):
        projector.forward(x[..., :-1].detach())
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        projector.forward(x.detach().long())


@needs_gcc
@pytest.mark.parametrize("name", ["parallel", "fan flat", "fan curved", "cone flat", "cone curved"])
def test_analytic_reconstruction_takes_the_cuda_backend(name, host_as_card, monkeypatch):
    geometry, grid = GEOMETRIES[name]
    y = torch.from_numpy(noise(2, geometry.shape, np.float64))
    y[..., [0, -1]] = 0  # the object ends before the detector does
    reconstruct = ct.fdk if isinstance(geometry, ConeBeam) else ct.fbp
    found = reconstruct(y, geometry, grid)
    monkeypatch.undo()
    assert difference(found, reconstruct(y, geometry, grid).numpy()) < 1e-11


@needs_nvcc
@pytest.mark.parametrize("real", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["parallel", "cone flat"])
def test_compiles_for_cards(name, real, tmp_path):
    cuda = on_host(Projector(*GEOMETRIES[name]))
    for count in (1, 8) if name == "parallel" else (8,):
        for source in (footprint.SOURCE, footprint.BACKPROJECTION):
            compile_for_cards(source, cuda.defines(source, real, count), tmp_path, exact=True)
    compile_for_cards(joseph.SOURCE, joseph.CudaJoseph.defines(real, 8), tmp_path, exact=True)


@pytest.mark.parametrize("kind", [footprint.CudaFootprint, joseph.CudaJoseph])
def test_cupy_is_told_to_fuse_nothing_by_itself(kind, monkeypatch):
    given = []
    cupy = types.SimpleNamespace(RawModule=lambda code, options: given.append(options))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    plan = Projector(*GEOMETRIES["parallel"])
    cuda = kind(plan, CPU)
    cuda._compile(footprint.SOURCE, (("REAL", "float"), ("OF_THIS_TEST", kind.__name__)))
    assert "--fmad=false" in given[0]
    assert "-DREAL=float" in given[0]


def test_headers_are_part_of_the_text_that_is_compiled():
    text = source_text(footprint.SOURCE)
    assert "#include" not in text
    assert "Shadow shadow_of(" in text
    assert text.endswith(footprint.SOURCE.read_text()[-1000:])


def test_nothing_imports_cupy_or_compiles_before_a_cuda_tensor():
    before = "cupy" in sys.modules  # another test's, on a machine with a card
    projector = Projector(*GEOMETRIES["parallel"])
    projector.forward(np.zeros(PLANE.shape))
    assert projector.memory_on("cuda") > 0
    assert not projector._cards
    assert ("cupy" in sys.modules) == before


@pytest.mark.gpu
@pytest.mark.parametrize(("geometry", "grid", "model"), EACH)
@pytest.mark.parametrize(("dtype", "rounding"), DTYPES)
def test_on_a_card(geometry, grid, model, dtype, rounding):
    projector = Projector(geometry, grid, model=model)
    x, y = noise(3, grid.shape, dtype), noise(3, geometry.shape, dtype)
    for method, data in (("forward", x), ("adjoint", y)):
        expected = getattr(projector, method)(data)
        found = getattr(projector, method)(torch.from_numpy(data).cuda())
        assert projector.backend == "cuda"
        assert found.is_cuda
        assert difference(found, expected) < 2 * rounding
    import cupy

    assert isinstance(projector.forward(cupy.asarray(x)), cupy.ndarray)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:the object reaches beyond")
@pytest.mark.parametrize("name", ["parallel", "fan flat", "fan curved", "cone flat", "cone curved"])
def test_analytic_reconstruction_on_a_card(name):
    geometry, grid = GEOMETRIES[name]
    y = torch.from_numpy(noise(2, geometry.shape, np.float32))
    y[..., [0, -1]] = 0  # the object ends before the detector does
    reconstruct = ct.fdk if isinstance(geometry, ConeBeam) else ct.fbp
    found = reconstruct(y.cuda(), geometry, grid)
    assert found.is_cuda
    assert difference(found, reconstruct(y, geometry, grid).numpy()) < 2e-5


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["fan curved", "cone flat", "modular"])
def test_projection_in_a_cuda_graph(name):
    geometry, grid = GEOMETRIES[name]
    projector = Projector(geometry, grid)
    x = torch.randn(grid.shape, device="cuda")
    expected = projector.adjoint(projector.forward(x))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = projector.adjoint(projector.forward(x))
    graph.replay()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_stated_memory_holds_on_a_card(model):
    geometry = ConeBeam(turn(64), 128, 160, 2.0, 2.0, 500.0, 900.0)
    grid = VolumeGrid((128, 160, 160), 1.0)
    projector = Projector(geometry, grid, model=model, memory_limit=8_000_000)
    x = torch.rand(grid.shape, device="cuda")
    for method, data, out in (
        ("forward", x, 4 * np.prod(geometry.shape)),
        ("adjoint", projector.forward(x), 4 * np.prod(grid.shape)),
    ):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        getattr(projector, method)(data)
        used = torch.cuda.max_memory_allocated() - before - out
        assert used <= projector.memory + (1 << 20)  # the allocator rounds up
