"""Analytic reconstruction in blocks: the same image within the memory allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peak_memory import needs_counters, printed

from spinray.kernels.ct.geometry import ConeBeam, FanBeam, HelicalBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct

TURN = np.arange(40) * 2 * np.pi / 40
CONE = {"rows": 12, "columns": 48, "row_spacing": 3.0, "column_spacing": 3.0}
CONE |= {"source_to_isocenter": 300.0, "source_to_detector": 500.0}
BOX, PLANE = VolumeGrid((9, 30, 34), 2.0), VolumeGrid((30, 34), 2.0)
JOBS = {
    "parallel": (ct.fbp, ParallelBeam(TURN / 2, 48, 2.0, 0.25), PLANE),
    "parallel offset": (ct.fbp, ParallelBeam(TURN, 40, 2.0, 8.0), PLANE),
    "fan": (ct.fbp, FanBeam(TURN, 48, 3.0, 300.0, 500.0), PLANE),
    "fan short": (ct.fbp, FanBeam(TURN[:25], 48, 3.0, 300.0, 500.0, "curved"), PLANE),
    "cone": (ct.fdk, ConeBeam(TURN, **CONE), BOX),
    "cone short": (ct.fdk, ConeBeam(TURN[:25], **CONE, detector="curved"), BOX),
    "helical": (
        ct.wfbp,
        HelicalBeam(np.arange(200) * 2 * np.pi / 40, **CONE, detector="curved", pitch=9.0),
        VolumeGrid((9, 30, 34), 2.0, (22.0, 0.0, 0.0)),
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_blocks_give_the_same_image(name):
    reconstruct, geometry, grid = JOBS[name]
    generator = torch.Generator().manual_seed(0)
    stack = torch.rand(3, *geometry.shape, dtype=torch.float64, generator=generator)
    stack[..., [0, -1]] = 0
    whole = reconstruct(stack, geometry, grid)
    with pytest.raises(ValueError, match="memory_limit 1000 bytes is below what one") as error:
        reconstruct(stack, geometry, grid, memory_limit=1000)
    smallest = int(str(error.value).split()[-2])
    for limit in (smallest, smallest * 5 // 2):
        pieces = reconstruct(stack, geometry, grid, memory_limit=limit)
        torch.testing.assert_close(pieces, whole, rtol=1e-10, atol=1e-14)


SCRIPT = """
import sys
import numpy as np
import torch
from spinray.kernels.ct.geometry import ConeBeam, HelicalBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct

def cone(kind, views, turns, **more):
    angles = np.arange(views) * turns * 2 * np.pi / views
    return kind(angles, 64, 500, 2.0, 1.0, 500.0, 900.0, **more)

helix = cone(HelicalBeam, 720, 3, pitch=50.0)
jobs = {
    "parallel": (ct.fbp, ParallelBeam(np.arange(720) * np.pi / 720, 1000), (500, 500), (24,)),
    "cone": (ct.fdk, cone(ConeBeam, 720, 1), (60, 256, 256), ()),
    "helical": (ct.wfbp, helix, (60, 256, 256), ()),
}
call, geometry, shape, batch = jobs[sys.argv[1]]
limit = int(sys.argv[2])
grid = VolumeGrid(shape, 1.0, (75.0 if call is ct.wfbp else 0.0, 0.0, 0.0)[-len(shape):])
sinogram = torch.zeros(*batch, *geometry.shape)
small = VolumeGrid((1, *grid.shape[1:])[-len(shape):], 1.0, grid.center)
call(sinogram[:1] if batch else sinogram, geometry, small)  # compiles, starts threads
print(peak(lambda: call(sinogram, geometry, grid, memory_limit=limit)))
"""


@needs_counters
@pytest.mark.parametrize("job", ["parallel", "cone", "helical"])
def test_memory_limit_holds(job):
    limit = 60_000_000
    (used,) = printed(SCRIPT, job, limit)
    assert used < limit + 4_000_000  # the interpreter's own
    assert used > limit / 3  # the measurement sees it
