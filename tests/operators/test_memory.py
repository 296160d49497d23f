"""Peak memory of a large volume with many coils, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource", reason="peak memory is read the POSIX way")

# 256^3 pixels, 32 coils: 4.3 GB of coil images, which no step may hold at once.
SCRIPT = """
import resource
import sys
import torch
from spinray.recon.operators import NonUniformFourier, Sense

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

n, coils, limit = 256, 32, 1 << 30
trajectory = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
one = torch.ones(n, n, n, dtype=torch.complex64)
A = Sense(
    one.expand(coils, n, n, n), ndim=3,
    trajectory=NonUniformFourier(trajectory, (n, n, n), memory_limit=limit),
)
y = torch.ones(coils, 2000, dtype=torch.complex64)
before = peak()
x = A.adjoint(y)
assert x.shape == (n, n, n)
print(peak() - before, A.encoding.plan.memory)
"""


def test_256_cubed_with_32_coils_stays_within_four_gigabytes() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=600, check=True
    )
    used, plan = map(int, run.stdout.split())
    image = 8 * 256**3
    assert plan < 1 << 30  # the limit given
    # the plan's grid, and eight coils' images and maps; two images of the sum
    assert used < plan + (8 + 8 + 4) * image + (1 << 28)
    assert used < 4e9
