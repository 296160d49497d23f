"""Memory of a MoDL training step; times against fastMRI are in `network_speed`.

    python -m benchmarks.models --output benchmarks/results/models.json

Peak memory is that of a process of its own, less what it held before the step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .common import machine, write

STEPS = ("implicit", "implicit with checkpoints", "plain backpropagation")

MEMORY = """
import json, resource, sys, time
import spinray as sr, torch
from spinray.recon.models import MoDL, modl
from spinray.recon.solvers.common import item_dot

kind = sys.argv[1]

def plain(A, adjoint_data, prior, weight, *, iterations, tolerance=0):
    # the same conjugate gradients, recorded by autograd
    x, r = prior, adjoint_data + weight * prior - A.adjoint(A(prior)) - weight * prior
    p = r
    for _ in range(iterations):
        q = A.adjoint(A(p)) + weight * p
        rr = item_dot(r, r, 2)
        step = rr / item_dot(p, q, 2).clamp_min(1e-30)
        x, r = x + step * p, r - step * q
        p = r + item_dot(r, r, 2) / rr.clamp_min(1e-30) * p
    return x

if kind.startswith("plain"):
    modl.data_consistency = plain
torch.manual_seed(0)
maps = torch.randn(1, 8, 256, 256, dtype=torch.complex64)
maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
mask = torch.rand(1, 256, 256) < 0.25
A = sr.Sense(maps, mask=mask)
y = A(torch.randn(1, 256, 256, dtype=torch.complex64))
model = MoDL(unrolls=10, iterations=10)
model.checkpointing = "checkpoints" in kind
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small = sr.Sense(maps[..., :32, :32], mask=mask[..., :32, :32])
model(small, y[..., :32, :32]).abs().sum().backward()  # kernels are compiled
before, start = peak(), time.perf_counter()
model(A, y).abs().sum().backward()
seconds = time.perf_counter() - start
print(json.dumps({"bytes": peak() - before, "seconds": seconds}))
"""


def step_memory() -> list[dict[str, Any]]:
    """Peak memory and seconds of a training step: 10 unrolls of 10 iterations, 256 x 256 x 8."""
    rows = []
    for kind in STEPS:
        run = subprocess.run(
            [sys.executable, "-c", MEMORY, kind], capture_output=True, text=True, check=True
        )
        rows.append({"job": "MoDL training step", "kind": kind, **json.loads(run.stdout)})
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "rows": step_memory()}
    for row in report["rows"]:
        print(row, flush=True)
    if options.output:
        write(options.output, report)


if __name__ == "__main__":
    main()
