"""The NUFFTs that Spinray is measured against, as a user would call them."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from spinray.kernels.nufft import Plan

from .bart import bart, require_bart, write_cfl

Pair = tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]


def ducc(k: np.ndarray, tolerance: float, threads: int):
    """ducc0's pair for one image; the loop over coils is the user's."""
    import ducc0

    # single precision coordinates are faster, and good enough down to 1e-4
    k = np.ascontiguousarray(k, np.float32 if tolerance >= 1e-4 else np.float64)
    common = {"coord": k, "epsilon": tolerance, "nthreads": threads, "periodicity": 1.0}

    def forward(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        for image, samples in zip(x, y, strict=True):
            ducc0.nufft.u2nu(grid=image, forward=True, out=samples, **common)
        return y

    def adjoint(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        for image, samples in zip(x, y, strict=True):
            ducc0.nufft.nu2u(points=samples, forward=False, out=image, **common)
        return x

    return forward, adjoint


def finufft(k: np.ndarray, shape, coils: int, tolerance: float, threads: int, factor: float):
    import finufft as library

    axes = [np.ascontiguousarray(2 * np.pi * k[:, d], np.float32) for d in range(k.shape[1])]
    options = {"n_trans": coils, "eps": tolerance, "dtype": "complex64", "nthreads": threads}
    if factor:
        options["upsampfac"] = factor
    plans = []
    for kind, sign in ((2, -1), (1, 1)):
        plan = library.Plan(kind, shape, isign=sign, **options)
        plan.setpts(*axes)
        plans.append(plan)
    return plans[0].execute, plans[1].execute


def _ducc_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    apply, transpose = ducc(k, tolerance, threads)
    y_out, x_out = np.empty_like(y), np.empty_like(x)
    return lambda: apply(x, y_out), lambda: transpose(y, x_out)


def _finufft_pair(factor: float, k, x, y, tolerance: float, threads: int) -> Pair:
    coils = len(x)
    execute, transposed = finufft(k, x.shape[1:], coils, tolerance, threads, factor)
    y_out, x_out = np.empty_like(y), np.empty_like(x)
    return (
        lambda: execute(x if coils > 1 else x[0], out=_slot(y_out)),
        lambda: transposed(y if coils > 1 else y[0], out=_slot(x_out)),
    )


def _torchkbnufft_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    import torchkbnufft

    shape = x.shape[1:]
    points = torch.from_numpy(2 * np.pi * k.T).float().contiguous()
    to, back = (
        kind(im_size=shape, grid_size=tuple(2 * n for n in shape))
        for kind in (torchkbnufft.KbNufft, torchkbnufft.KbNufftAdjoint)
    )
    tx, ty = torch.from_numpy(x)[None], torch.from_numpy(y)[None]
    return lambda: to(tx, points)[0].numpy(), lambda: back(ty, points)[0].numpy()


def _sigpy_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    import sigpy

    coordinates = (k * x.shape[1:]).astype(np.float32)
    return (
        lambda: sigpy.nufft(x, coordinates),
        lambda: sigpy.nufft_adjoint(y, coordinates, x.shape),
    )


def _mri_nufft_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    import mrinufft

    kind = mrinufft.get_operator("finufft")
    operator = kind(k.astype(np.float32), x.shape[1:], n_coils=len(x), density=False)
    return lambda: operator.op(x), lambda: operator.adj_op(y)


def _mrpro_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    from mrpro.data import KTrajectory
    from mrpro.operators import NonUniformFastFourierOp

    shape, axes = x.shape[1:], ("z", "y", "x")[-k.shape[1] :]
    points = {f"k{a}": torch.zeros(1, 1, 1, 1, 1) for a in "zyx"}
    for d, axis in enumerate(axes):
        points[f"k{axis}"] = torch.from_numpy(k[:, d] * shape[d]).float().reshape(1, 1, 1, 1, -1)
    operator = NonUniformFastFourierOp(axes, shape, shape, KTrajectory(**points))
    image = torch.from_numpy(x).reshape(1, len(x), *(1,) * (3 - len(shape)), *shape)
    samples = torch.from_numpy(y).reshape(1, len(y), 1, 1, -1)
    return lambda: operator(image)[0].numpy(), lambda: operator.adjoint(samples)[0].numpy()


def _bart_pair(k, x, y, tolerance: float, threads: int) -> Pair:
    """BART's nufft as a process, files included; times are of the process."""
    require_bart()
    kept = tempfile.TemporaryDirectory()
    folder = Path(kept.name)
    trajectory, samples = _bart_samples(folder, k, x.shape[1:], y)
    image = write_cfl(folder / "x", x[:, None].T)

    def run(*options: str, result: str, shape) -> np.ndarray:
        return _run_bart(folder, "nufft", *options, trajectory, result).reshape(shape)

    weakref.finalize(run, kept.cleanup)
    return (
        lambda: run(result=image, shape=y.shape),
        lambda: run("-a", "-d", f"{x.shape[2]}:{x.shape[1]}:1", result=samples, shape=x.shape),
    )


# of one trajectory: name to a function of (k, x, y, tolerance, threads)
PEERS: dict[str, Callable[..., Pair]] = {
    "ducc0": _ducc_pair,
    "finufft": partial(_finufft_pair, 0),
    "finufft 1.25": partial(_finufft_pair, 1.25),
    "torchkbnufft": _torchkbnufft_pair,
    "sigpy": _sigpy_pair,
    "mri-nufft": _mri_nufft_pair,
    "mrpro": _mrpro_pair,
    "bart": _bart_pair,
}


def bart_cg(k, maps, data, iterations: int) -> Callable[[], np.ndarray]:
    """A call of BART's CG-SENSE as a process."""
    require_bart()
    kept = tempfile.TemporaryDirectory()
    folder = Path(kept.name)
    trajectory, samples = _bart_samples(folder, k, maps.shape[1:], data)
    sensitivities = write_cfl(folder / "maps", maps[:, None].T)
    words = ("pics", "-i", str(iterations), "-t", trajectory, samples, sensitivities)

    def call() -> np.ndarray:
        return _run_bart(folder, *words).reshape(maps.shape[1:])

    weakref.finalize(call, kept.cleanup)
    return call


def _bart_samples(folder: Path, k, shape, data) -> tuple[str, str]:
    points = np.zeros((len(k), 1, 3))
    points[:, 0, 0], points[:, 0, 1] = k[:, 1] * shape[1], k[:, 0] * shape[0]
    return (
        write_cfl(folder / "k", points.transpose(2, 0, 1)),  # (3, sample, 1)
        write_cfl(folder / "y", data[:, None, :, None].T),
    )


def _run_bart(folder: Path, *arguments: str) -> np.ndarray:
    out = folder / "o"
    bart(*arguments, str(out))
    return np.fromfile(out.with_suffix(".cfl"), np.complex64)


def _slot(out: np.ndarray) -> np.ndarray:
    return out if len(out) > 1 else out[0]


def torch_toeplitz(plan: Plan) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a user writes: a zero-padded FFT convolution with the point spread function."""
    ny, nx = plan.image_shape
    k = plan._transform.positions[0]
    double = Plan(k, (2 * ny, 2 * nx), tolerance=1e-6)
    psf = torch.from_numpy(double.adjoint(np.ones(len(k), np.complex128)))
    kernel = torch.fft.fft2(torch.fft.ifftshift(psf)).real.float() * (2 / np.sqrt(ny * nx))

    def apply(x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.fft2(x, s=(2 * ny, 2 * nx))
        return torch.fft.ifft2(spectrum * kernel)[..., :ny, :nx]

    return apply
