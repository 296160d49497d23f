"""Scans that the tests of MR methods share: phantoms in closed form, and the real brain slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from spinray.datasets import simulate_mr
from spinray.recon.operators import Fourier
from spinray.recon.scan import MRScan


def brain(data_dir: Path, name: str = "brain8ch_full") -> torch.Tensor:
    """K-space ``(coil, y, x)`` of the brain slice, 8 x 230 x 180."""
    raw = np.fromfile(data_dir / "mr_kspace" / f"{name}.cfl", np.complex64)
    return torch.from_numpy(np.moveaxis(raw.reshape((230, 180, 8), order="F"), -1, 0).copy())


def head(matrix: int = 64, coils: int = 8, snr: float | None = None, seed: int = 0) -> MRScan:
    """A fully sampled head phantom."""
    return simulate_mr("head", matrix=matrix, coils=coils, snr=snr, seed=seed)


def rss(kspace: torch.Tensor, ndim: int = 2) -> torch.Tensor:
    """Root sum of squares of fully sampled k-space."""
    images = Fourier(kspace.shape[-ndim:]).adjoint(kspace)
    return torch.linalg.vector_norm(images, dim=-ndim - 1)


def nrmse(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Error of the magnitude inside the object, scale fitted there."""
    inside = truth > 0.08 * truth.flatten().quantile(0.995)
    x, t = image.abs()[inside].double(), truth[inside].double()
    return float((x * ((x @ t) / (x @ x)) - t).norm() / t.norm())


def regular(shape: tuple[int, int], ry: int, rx: int = 1, centre: int = 0) -> torch.Tensor:
    """Mask of every ry-th line and rx-th column, with a fully sampled centre."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[::ry, ::rx] = True
    if centre:
        y, x = (n // 2 - centre // 2 for n in shape)
        mask[y : y + centre, x : x + centre] = True
    return mask


def lines_at(scan: MRScan, ky: np.ndarray, kx: np.ndarray) -> torch.Tensor:
    """K-space ``(coil, *ky.shape)`` of a scan's phantom at any place, cycles per pixel."""
    places = np.stack([ky, kx], -1).reshape(-1, 2) / np.array(scan.spacing)
    values = scan.header["coils"].kspace(scan.header["phantom"], places)
    scale = 1 / (np.sqrt(np.prod(scan.image_shape)) * np.prod(scan.spacing))
    return torch.from_numpy(scale * values).reshape(-1, *ky.shape).to(torch.complex64)
