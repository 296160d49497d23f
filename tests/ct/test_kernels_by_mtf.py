"""Reconstruction kernels named by their MTF, held to it on the image of a wire."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinray.datasets.ellipses import Ellipse, EllipsePhantom
from spinray.datasets.simulate import _mean_line_integrals
from spinray.kernels.ct.geometry import ConeBeam, FanBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct
from spinray.recon.ct.filters import mtf50
from spinray.recon.metrics import mtf_wire

TURN = np.arange(720) * 2 * np.pi / 720
WIRE = EllipsePhantom("wire", (Ellipse(1e-3, (7.3, -4.1), (0.1, 0.1)),))
PARALLEL = ParallelBeam(TURN[:360], 256, 0.8)
FAN = FanBeam(TURN, 256, 1.4, 595.0, 1085.6, detector="curved", column_offset=0.25)


def measured(geometry, kernel: str) -> float:
    """MTF 50 % of the wire's image on pixels far finer than the columns."""
    sinogram = _mean_line_integrals(WIRE, geometry, 5)
    grid = VolumeGrid((160, 160), (0.1, 0.1), center=(7.3, -4.1))
    image = ct.fbp(sinogram, geometry, grid, filter=kernel)
    return mtf_wire(image, 0.1, diameter=0.2, radius=4.5).frequency_at(0.5)


@pytest.mark.parametrize("geometry", [PARALLEL, FAN], ids=["parallel", "fan"])
@pytest.mark.parametrize("half", [0.25, 0.4, 0.5])
def test_a_kernel_has_the_mtf_that_it_is_named_by(geometry, half) -> None:
    close = 0.012 if geometry is FAN else 0.022
    assert measured(geometry, f"mtf50={half}") == pytest.approx(half, rel=close)


@pytest.mark.parametrize("kernel", ["ram-lak", "hann", "cosine"])
def test_windows_have_the_mtf_of_their_closed_form(kernel) -> None:
    assert measured(PARALLEL, kernel) == pytest.approx(mtf50(kernel, 0.8), rel=0.03)


def test_names_that_are_no_kernels() -> None:
    sinogram = torch.zeros(PARALLEL.shape)
    for name in ("sharp", "mtf50=", "mtf50=fast", "MTF50=0.3"):
        with pytest.raises(ValueError, match="mtf50=FREQUENCY"):
            ct.fbp(sinogram, PARALLEL, filter=name)
    with pytest.raises(ValueError, match=r"hold up to 0\.562 cycles/mm"):
        ct.fbp(sinogram, PARALLEL, filter="mtf50=0.7")


def test_fdk_takes_them_too() -> None:
    cone = ConeBeam(TURN[::60], 4, 32, 1.4, 1.4, 595.0, 1085.6)
    noise = torch.randn(cone.shape, generator=torch.Generator().manual_seed(0))
    noise[..., [0, -1]] = 0
    smooth, sharp = (ct.fdk(noise, cone, filter=f"mtf50={f}").std() for f in (0.1, 0.3))
    assert float(smooth) < 0.5 * float(sharp)
