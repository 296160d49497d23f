"""Networks and diffusion samplers: times, errors, memory. No weights are needed for that.

    python -m benchmarks.network_speed [--quick] [--output FILE.json]

VarNet stands beside fastMRI's with the same weights; errors are against double precision.
Samplers run a few passes of an untrained prior; their error is the data misfit that is left.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from spinray.datasets import masks
from spinray.recon.models.edm_denoiser import EDMDenoiser

from .common import run_suite
from .protocol import OURS, Prepared, Task

OFFICIAL: dict[str, Any] = {"pools": 4, "chans": 18, "sens_pools": 4, "sens_chans": 8}
SAMPLERS = ("dds", "dps", "diffpir", "daps")
PASSES = 5


class Network:
    """VarNet of one cascade on k-space ``(1, 8, n, n)``, and its image in double precision."""

    CENTRE = 16

    def __init__(self, n: int) -> None:
        torch.manual_seed(0)
        self.network = sr.models.VarNet(num_cascades=1, **OFFICIAL).eval()
        lines = masks.equispaced((n, n), 4, calibration=self.CENTRE)[:, 0]
        self.mask = lines.reshape(1, 1, 1, -1)
        self.kspace = torch.randn(1, 8, n, n, dtype=torch.complex64) * self.mask
        double = sr.models.VarNet(num_cascades=1, **OFFICIAL).double().eval()
        double.load_state_dict(self.network.state_dict())
        with torch.inference_mode():
            self.exact = double(self.kspace.to(torch.complex128), self.mask, self.CENTRE)

    def prepared(self, *inputs: Any, network: Any) -> Prepared:
        def call() -> Any:
            with torch.inference_mode():
                return network(*inputs, self.CENTRE)

        return Prepared(call, lambda out: float((out - self.exact).norm() / self.exact.norm()))

    def ours(self) -> Prepared:
        return self.prepared(self.kspace, self.mask, network=self.network)

    def fastmri(self) -> Prepared:
        from fastmri.models import VarNet as Official

        theirs = Official(num_cascades=1, **OFFICIAL).eval()
        theirs.load_state_dict(self.network.state_dict())
        real, mask = torch.view_as_real(self.kspace), self.mask[..., None]
        return self.prepared(real, mask, network=theirs)


def models(quick: bool = False) -> Iterator[Task]:
    """VarNet of the official size, one cascade and the network of its maps."""
    n = 96 if quick else 320
    job = cache(lambda: Network(n))
    tools = {OURS: lambda: job().ours(), "fastmri": lambda: job().fastmri()}
    yield Task("models", "VarNet, one cascade", tools, "relative l2 against double precision",
               {"matrix": n, "coils": 8})  # fmt: skip


class Posterior:
    """A SENSE problem and a prior that nobody trained."""

    def __init__(self, n: int, chans: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.prior = EDMDenoiser(chans=chans, patch=n).eval()
        maps = torch.randn(8, n, n, dtype=torch.complex64, generator=generator)
        maps = maps / torch.linalg.vector_norm(maps, dim=0)
        self.A = sr.Sense(maps, mask=masks.poisson((n, n), 4, calibration=16))
        self.y = self.A(torch.randn(n, n, dtype=torch.complex64, generator=generator))

    def ours(self, sampler: Any) -> Prepared:
        def call() -> Any:
            return sr.diffusion.sample(
                self.prior, self.A, self.y, sampler=sampler, samples=2, passes=PASSES, noise=0.01
            )

        return Prepared(call, lambda x: float((self.A(x[0]) - self.y).norm() / self.y.norm()))


def diffusion(quick: bool = False) -> Iterator[Task]:
    """Passes of every sampler, two samples at once."""
    n, chans = (64, (8, 16)) if quick else (128, (32, 64, 96, 128))
    job = cache(lambda: Posterior(n, chans))
    for name in SAMPLERS:
        yield Task("diffusion", f"{name}, a pass", {OURS: lambda name=name: job().ours(name)},
                   "relative misfit of the data", {"matrix": n, "samples": 2}, PASSES)  # fmt: skip


def tasks(quick: bool = False) -> Iterator[Task]:
    """Models, then diffusion."""
    yield from models(quick)
    yield from diffusion(quick)


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
