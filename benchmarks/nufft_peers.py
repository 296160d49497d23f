"""The NUFFTs that Spinray is measured against, as a user would call them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from spinray.kernels.nufft import Plan

from .common import has

Calls = dict[str, Callable[[], np.ndarray]]


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


def transform_peers(
    k, x, y, tolerance: float, threads: int, *, others: bool
) -> tuple[Calls, Calls]:
    """Forward and adjoint calls of every peer that is installed."""
    coils, shape = len(x), x.shape[1:]
    forward, adjoint = {}, {}
    y_out, x_out = np.empty_like(y), np.empty_like(x)
    if has("ducc0"):
        apply, transpose = ducc(k, tolerance, threads)
        forward["ducc0"] = lambda: apply(x, y_out)
        adjoint["ducc0"] = lambda: transpose(y, x_out)
    if has("finufft"):
        for label, factor in (("finufft", 0), ("finufft 1.25", 1.25)):
            execute, transposed = finufft(k, shape, coils, tolerance, threads, factor)
            forward[label] = lambda e=execute: e(x if coils > 1 else x[0], out=_slot(y_out))
            adjoint[label] = lambda e=transposed: e(y if coils > 1 else y[0], out=_slot(x_out))
    if others and has("torchkbnufft"):
        import torchkbnufft

        points = torch.from_numpy(2 * np.pi * k.T).float().contiguous()
        to, back = (
            kind(im_size=shape, grid_size=tuple(2 * n for n in shape))
            for kind in (torchkbnufft.KbNufft, torchkbnufft.KbNufftAdjoint)
        )
        tx, ty = torch.from_numpy(x)[None], torch.from_numpy(y)[None]
        forward["torchkbnufft"] = lambda: to(tx, points)[0].numpy()
        adjoint["torchkbnufft"] = lambda: back(ty, points)[0].numpy()
    if others and has("sigpy"):
        import sigpy

        coordinates = (k * shape).astype(np.float32)
        forward["sigpy"] = lambda: sigpy.nufft(x, coordinates)
        adjoint["sigpy"] = lambda: sigpy.nufft_adjoint(y, coordinates, x.shape)
    if others and shutil.which("bart"):
        forward["bart"], adjoint["bart"] = bart(k, x, y)
    return forward, adjoint


def bart(k, x, y) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """BART's nufft as a process, files included; times are of the process."""
    folder = Path(tempfile.mkdtemp())
    trajectory, samples = _bart_samples(folder, k, x.shape[1:], y)
    image = _write_cfl(folder / "x", x[:, None])

    def run(*options: str, result: str, shape) -> np.ndarray:
        return _run_bart(folder, "nufft", *options, trajectory, result).reshape(shape)

    return (
        lambda: run(result=image, shape=y.shape),
        lambda: run("-a", "-d", f"{x.shape[2]}:{x.shape[1]}:1", result=samples, shape=x.shape),
    )


def bart_iterations(k, maps, data, iterations: int) -> tuple[float, np.ndarray]:
    """Milliseconds of one iteration of BART's CG-SENSE, start and files taken off; the image."""
    folder = Path(tempfile.mkdtemp())
    trajectory, samples = _bart_samples(folder, k, maps.shape[1:], data)
    sensitivities = _write_cfl(folder / "maps", maps[:, None])
    seconds, images = {}, {}
    for count in (iterations, 4 * iterations) * 3:
        start = time.perf_counter()
        images[count] = _run_bart(
            folder, "pics", "-i", str(count), "-t", trajectory, samples, sensitivities
        )
        seconds.setdefault(count, []).append(time.perf_counter() - start)
    long, short = min(seconds[4 * iterations]), min(seconds[iterations])
    return 1e3 * (long - short) / (3 * iterations), images[iterations].reshape(maps.shape[1:])


def _bart_samples(folder: Path, k, shape, data) -> tuple[str, str]:
    points = np.zeros((len(k), 1, 3))
    points[:, 0, 0], points[:, 0, 1] = k[:, 1] * shape[1], k[:, 0] * shape[0]
    return (
        _write_cfl(folder / "k", points.transpose(1, 0, 2)),  # (3, sample, 1), last first
        _write_cfl(folder / "y", data[:, None, :, None]),
    )


def _write_cfl(path: Path, data: np.ndarray) -> str:
    sizes = " ".join(map(str, data.shape[::-1]))  # BART is column-major
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{sizes}\n")
    np.ascontiguousarray(data, np.complex64).tofile(path.with_suffix(".cfl"))
    return str(path)


def _run_bart(folder: Path, *arguments: str) -> np.ndarray:
    out = folder / "o"
    subprocess.run(["bart", *arguments, str(out)], check=True, capture_output=True)
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
