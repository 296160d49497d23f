"""Networks and diffusion samplers: times, errors, memory. No weights are needed for that.

    python -m benchmarks.network_speed [--quick] [--output FILE.json]

VarNet stands beside fastMRI's with the same weights; errors are against double precision. Steps of
training MoDL show what implicit differentiation and checkpoints save of memory. Samplers run a few
passes of an untrained prior; their error is the data misfit that is left.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest import mock

import torch

from spinray.datasets import masks
from spinray.recon.models import modl
from spinray.recon.models.edm_denoiser import EDMDenoiser
from spinray.recon.solvers.common import item_dot

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

    def on_gpu(self) -> Prepared:
        network = copy.deepcopy(self.network).cuda()
        here = self.prepared(self.kspace.cuda(), self.mask.cuda(), network=network)
        return Prepared(here.call, lambda out: here.error(out.cpu()), gpu=True)


class TrainingStep:
    """MoDL forward and backward; errors are of its gradient, in double precision converged."""

    ITERATIONS = 10

    def __init__(self, n: int, unrolls: int) -> None:
        self.unrolls = unrolls
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(1, 8, n, n, dtype=torch.complex128, generator=generator)
        self.maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
        self.mask = torch.rand(1, n, n, generator=generator) < 0.25
        self.truth = torch.randn(1, n, n, dtype=torch.complex128, generator=generator)
        self.exact = self.step(torch.float64, 4 * self.ITERATIONS)()

    def step(self, dtype: torch.dtype, iterations: int, **how: bool) -> Callable[[], torch.Tensor]:
        torch.manual_seed(0)
        model = sr.models.MoDL(unrolls=self.unrolls, iterations=iterations)
        model = model.to(dtype)
        model.checkpointing = how.get("checkpoints", False)
        A = sr.Sense(self.maps.to(dtype.to_complex()), mask=self.mask)
        y = A(self.truth.to(dtype.to_complex()))

        def call() -> torch.Tensor:
            model.zero_grad()
            model(A, y).abs().sum().backward()
            return torch.cat(
                [p.grad.double().ravel() for p in model.parameters() if p.grad is not None]
            )

        return call

    def ours(self, **how: bool) -> Prepared:
        return self.prepared(self.step(torch.float32, self.ITERATIONS, **how))

    def plain(self) -> Prepared:
        """The same conjugate gradients, each recorded by autograd."""
        step = self.step(torch.float32, self.ITERATIONS)

        def call() -> torch.Tensor:
            with mock.patch.object(modl, "data_consistency", recorded):
                return step()

        return self.prepared(call)

    def prepared(self, call: Callable[[], torch.Tensor]) -> Prepared:
        return Prepared(call, lambda g: float((g - self.exact).norm() / self.exact.norm()))


def recorded(A, adjoint_data, prior, weight, *, iterations, tolerance=0.0):
    """`data_consistency` without its implicit derivative."""
    x, r = prior, adjoint_data - A.normal(prior)
    p = r
    for _ in range(iterations):
        q = A.normal(p) + weight * p
        rr = item_dot(r, r, 2)
        step = rr / item_dot(p, q, 2).clamp_min(1e-30)
        x, r = x + step * p, r - step * q
        p = r + item_dot(r, r, 2) / rr.clamp_min(1e-30) * p
    return x


def models(quick: bool = False) -> Iterator[Task]:
    """VarNet of the official size, one cascade and the network of its maps; a step of MoDL."""
    n = 96 if quick else 320
    job = cache(lambda: Network(n))
    tools = {OURS: lambda: job().ours()}
    if torch.cuda.is_available():
        tools["spinray GPU"] = lambda: job().on_gpu()
    tools["fastmri"] = lambda: job().fastmri()
    yield Task("models", "VarNet, one cascade", tools, "relative l2 against double precision",
               {"matrix": n, "coils": 8})  # fmt: skip
    size, unrolls = (32, 2) if quick else (256, 10)
    step = cache(lambda: TrainingStep(size, unrolls))
    tools = {
        "spinray": lambda: step().ours(),
        "spinray, checkpoints": lambda: step().ours(checkpoints=True),
        "plain backpropagation": lambda: step().plain(),
    }
    yield Task("models", "MoDL, training step", tools, "relative l2 of the gradient",
               {"matrix": size, "coils": 8, "unrolls": unrolls})  # fmt: skip


class Posterior:
    """A SENSE problem and a prior that nobody trained."""

    def __init__(self, n: int, chans: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.prior = EDMDenoiser(chans=chans, patch=n).eval()
        maps = torch.randn(8, n, n, dtype=torch.complex64, generator=generator)
        maps = maps / torch.linalg.vector_norm(maps, dim=0)
        self.maps, self.mask = maps, masks.poisson((n, n), 4, calibration=16)
        self.A = sr.Sense(maps, mask=self.mask)
        self.y = self.A(torch.randn(n, n, dtype=torch.complex64, generator=generator))

    def ours(self, sampler: Any) -> Prepared:
        return self.prepared(sampler, self.prior, self.A, self.y)

    def on_gpu(self, sampler: Any) -> Prepared:
        A = sr.Sense(self.maps.cuda(), mask=self.mask.cuda())
        prior = copy.deepcopy(self.prior).cuda()
        return self.prepared(sampler, prior, A, self.y.cuda(), gpu=True)

    def prepared(self, sampler: Any, prior: Any, A: Any, y: torch.Tensor, **how: Any) -> Prepared:
        def call() -> torch.Tensor:
            return sr.diffusion.sample(
                prior, A, y, sampler=sampler, samples=2, passes=PASSES, noise=0.01
            )

        return Prepared(call, lambda x: float((A(x[0]) - y).norm() / y.norm()), **how)


def diffusion(quick: bool = False) -> Iterator[Task]:
    """Passes of every sampler, two samples at once."""
    n, chans = (64, (8, 16)) if quick else (128, (32, 64, 96, 128))
    job = cache(lambda: Posterior(n, chans))
    for name in SAMPLERS:
        tools = {OURS: lambda name=name: job().ours(name)}
        if torch.cuda.is_available():
            tools["spinray GPU"] = lambda name=name: job().on_gpu(name)
        yield Task("diffusion", f"{name}, a pass", tools, "relative misfit of the data",
                   {"matrix": n, "samples": 2}, PASSES)  # fmt: skip


def tasks(quick: bool = False) -> Iterator[Task]:
    """Models, then diffusion."""
    yield from models(quick)
    yield from diffusion(quick)


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
