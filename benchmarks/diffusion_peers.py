"""deepinv's samplers on a Cartesian MR problem, with the prior that ours use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spinray.recon.diffusion.prior import Prior
from spinray.recon.diffusion.problem import Problem

# (guidance, weight) of DPS and lambda of DiffPIR; the first of each is deepinv's default
DPS_SETTINGS = (
    ("norm", 1.0),
    ("norm", 10.0),
    ("norm", 100.0),
    ("annealed", 1.0),
    ("annealed", 5.0),
)
DIFFPIR_SETTINGS = (7.0, 1.0, 0.2)


class Wrapped(torch.nn.Module):
    """A prior on two real channels; `shifted`: of images that were moved from -1..1 to 0..1."""

    def __init__(self, prior: Prior, shifted: bool = False) -> None:
        super().__init__()
        self.prior, self.shifted = prior, shifted

    def forward(self, x: Tensor, sigma: float | Tensor, *_: object, **__: object) -> Tensor:
        level = float(torch.as_tensor(sigma).flatten()[0])
        if self.shifted:
            return (channels(self.prior(joined(2 * x - 1), 2 * level)) + 1) / 2
        return channels(self.prior(joined(x), level))


def channels(x: Tensor) -> Tensor:
    """Complex ``(batch, ...)`` to real ``(batch, 2, ...)``, as deepinv has images and data."""
    return torch.stack((x.real, x.imag), 1)


def joined(x: Tensor) -> Tensor:
    """Back from `channels`."""
    return torch.complex(x[:, 0].contiguous(), x[:, 1].contiguous())


def physics_of(problem: Problem, maps: Tensor, mask: Tensor, noise: float):
    """The problem's operator as deepinv's, which must agree with it."""
    import deepinv

    ones = torch.ones(problem.adjoint_data.shape, dtype=maps.dtype)
    plain = mask * torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(maps * ones, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)
    )  # as ours, but for the norm that problem.A is divided by
    factor = (plain.conj() * problem.A(ones)).sum() / plain.abs().square().sum()
    physics = deepinv.physics.MultiCoilMRI(
        mask=mask.float()[None, None], coil_maps=(factor.real * maps)[None],
        noise_model=deepinv.physics.GaussianNoise(noise),
    )  # fmt: skip
    torch.testing.assert_close(joined(physics.A(channels(ones[None])))[0], problem.A(ones))
    return physics


def deepinv_samplers(
    prior: Prior, problem: Problem, maps: Tensor, mask: Tensor, samples: int, passes: int
) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """Calls of each sampler and setting: images ``(sample, y, x)`` in the data's unit."""
    import deepinv

    shape = problem.adjoint_data.shape
    y = channels(problem.y[None]).repeat(samples, *[1] * (problem.y.ndim + 1))

    def dps(guidance: str, weight: float) -> Tensor:
        model = deepinv.sampling.DPS(
            Wrapped(prior), guidance=guidance, weight=weight, num_steps=passes,
            minus_one_one=False, dtype=torch.float32,
        )  # fmt: skip
        physics = physics_of(problem, maps, mask, problem.noise)
        return problem.scale * joined(model(y, physics, x_init=(samples, 2, *shape), seed=1))

    def diffpir(strength: float) -> Tensor:
        # deepinv's takes images of 0 to 1 and clips others: both parts are moved there
        physics = physics_of(problem, maps, mask, problem.noise / 2)
        moved = (y + physics.A(torch.ones(samples, 2, *shape))) / 2
        model = deepinv.sampling.DiffPIR(
            Wrapped(prior, shifted=True), deepinv.optim.data_fidelity.L2(), sigma=problem.noise / 2,
            max_iter=passes, lambda_=strength,
        )  # fmt: skip
        start = (physics.A_adjoint(y) + 1) / 2
        return problem.scale * joined(2 * model(moved, physics, seed=1, x_init=start) - 1)

    return {
        "dps": {f"{g}, weight {w:g}": lambda g=g, w=w: dps(g, w) for g, w in DPS_SETTINGS},
        "diffpir": {f"lambda {v:g}": lambda v=v: diffpir(v) for v in DIFFPIR_SETTINGS},
    }
