"""A projector says what it needs, and stays within it."""

from __future__ import annotations

import numpy as np
import pytest
from peak_memory import needs_counters, printed

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, ParallelBeam, VolumeGrid
from spinray.kernels.threads import thread_count

GIB = 1 << 30

SCRIPT = """
import sys
import numpy as np
from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, ParallelBeam, VolumeGrid

def cone(views, rows, columns):
    angles = np.arange(views) * 2 * np.pi / views
    return ConeBeam(angles, rows, columns, 2.0, 2.0, 500.0, 900.0)

jobs = {
    "cone": (cone(48, 128, 160), VolumeGrid((128, 128, 144)), ()),
    "parallel": (ParallelBeam(np.arange(32) / 10, 700), VolumeGrid((512, 512)), (64,)),
}
geometry, grid, batch = jobs[sys.argv[1]]
limit = int(sys.argv[2]) or None
projector = Projector(geometry, grid, memory_limit=limit)
x = np.ones((*batch, *grid.shape), np.float32)
y = np.ones((*batch, *geometry.shape), np.float32)
few = geometry[:1]  # compiles or loads the kernels, and starts their threads
warm = Projector(few, grid)
warm.adjoint(warm.forward(x))
print(projector.memory, peak(projector.forward, x), peak(projector.adjoint, y))
"""


def cone_job(memory_limit):
    """1024^3 voxels from 1024 views of 1024 x 1024."""
    angles = np.arange(1024) * 2 * np.pi / 1024
    geometry = ConeBeam(angles, 1024, 1024, 0.4, 0.4, 800.0, 1200.0)
    return Projector(geometry, VolumeGrid((1024,) * 3, 0.25), memory_limit=memory_limit)


@pytest.mark.parametrize("backend", ["numba", "cuda"])
def test_cone_beam_of_1024_cubed_is_planned_in_nine_gibibytes(backend):
    """4 GiB of volume, 4 GiB of sinogram, and what the limit allows beside."""
    projector = cone_job(GIB)
    data = 4 * (np.prod(projector.volume.shape) + np.prod(projector.geometry.shape))
    assert data == 8 * GIB
    assert 0.5 * GIB < projector.memory_on(backend) <= GIB
    assert data + projector.memory_on(backend) <= 9 * GIB


def test_without_a_limit_pieces_are_of_256_mebibytes():
    projector = cone_job(None)
    for itemsize in (4, 8):
        numba = projector.memory_on("numba", itemsize)
        assert 0.25 * GIB < numba < (0.27 + 0.002 * thread_count()) * GIB
        assert 0.24 * GIB < projector.memory_on("cuda", itemsize) < 0.27 * GIB
    assert projector.memory == projector.memory_on("numba")


@pytest.mark.parametrize("model", ["separable-footprint", "joseph"])
@pytest.mark.parametrize("backend", ["numba", "cuda"])
def test_any_limit_above_the_smallest_piece_is_kept(backend, model):
    """Of stacks: tables and threads count, and none is refused whose smaller pieces would fit."""
    geometry, grid = ParallelBeam(np.arange(32) / 10, 200), VolumeGrid((128, 128))
    whole = Projector(geometry, grid, model=model).memory_on(backend)
    with pytest.raises(ValueError, match="below the smallest piece") as error:
        Projector(geometry, grid, model=model, memory_limit=1)
    least = int(str(error.value).split()[-2]) + 100  # a card's tables are a little larger
    for limit in (*np.linspace(least, 10_000_000, 20).astype(int), whole - 1, whole):
        projector = Projector(geometry, grid, model=model, memory_limit=max(limit, least))
        assert projector.memory_on(backend) <= max(limit, least)


@needs_counters
@pytest.mark.parametrize("limit", [0, 3_000_000])
def test_stated_memory_holds_for_a_cone(limit):
    stated, *used = printed(SCRIPT, "cone", limit)
    assert not limit or stated <= limit
    assert max(used) > stated / 2  # the measurement sees it
    assert max(used) < stated + 2_000_000  # the interpreter's own


@needs_counters
@pytest.mark.parametrize("limit", [0, 30_000_000])
def test_stated_memory_holds_for_a_stack(limit):
    stated, *used = printed(SCRIPT, "parallel", limit)
    assert not limit or stated <= limit
    assert max(used) > stated / 2
    assert max(used) < stated + 2_000_000
