"""A steel pin in a head: NMAR against the scan without the pin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spinray.datasets.ellipses import Ellipse, EllipsePhantom
from spinray.datasets.simulate import clinical_fan
from spinray.kernels.ct.geometry import VolumeGrid
from spinray.recon import ct

pytest.importorskip("xraylib", reason="xraylib is not installed (extra spectra)")
pytest.importorskip("spekpy", reason="spekpy is not installed (extra spectra)")

GRID = VolumeGrid((190, 190), (1.15, 1.15))
GEOMETRY = clinical_fan(112, 360, 300)


def hann(sinogram, geometry, volume):
    return ct.fbp(sinogram, geometry, volume, filter="hann")


@pytest.fixture(scope="module")
def scans() -> tuple[torch.Tensor, torch.Tensor, float]:
    """Without and with the pin, hardened beam and water correction; and water in 1/mm."""
    head, skull, brain = (Ellipse(1, c, a) for c, a in (
        ((0, 0), (98, 76)), ((0, 0), (94, 72)), ((1, 0), (87, 66))))  # fmt: skip
    pin = Ellipse(1, (20.0, 25.0), (4.0, 4.0))

    def path(*shapes):
        rays = EllipsePhantom("paths", shapes).line_integrals(GEOMETRY)
        return torch.from_numpy(rays)

    def less(shape):
        return dataclasses.replace(shape, value=-1)

    beam = ct.tube_spectrum(120, step=3.0)
    correct = ct.water_correction(beam)
    bone = path(skull, less(brain))
    plain = {"water": path(head, less(skull), brain), "bone": bone}
    pinned = {"water": path(head, less(skull), brain, less(pin)), "bone": bone, "Fe": path(pin)}
    first, second = (correct(beam.line_integrals(p)).float() for p in (plain, pinned))
    return first, second, correct.water


def test_nmar_brings_the_error_outside_the_metal_down_fivefold(scans) -> None:
    plain, pinned, water = scans
    found, metal = ct.reduce_metal(pinned, GEOMETRY, hann, water=water)
    assert 20 < int(metal.sum()) * 0.56 < 120  # the pin is 50 mm^2
    y, x = np.meshgrid(GRID.positions(0), GRID.positions(1), indexing="ij")
    inside = ((y / 98) ** 2 + (x / 76) ** 2 < 1) & (np.hypot(y - 20, x - 25) > 6)
    images = [ct.to_hounsfield(hann(p, GEOMETRY, GRID), water) for p in (plain, pinned, found)]
    errors = [float((i - images[0])[torch.from_numpy(inside)].square().mean().sqrt())
              for i in images[1:]]  # fmt: skip
    assert errors[1] < errors[0] / 5
    # Rays that met no metal are as they were.
    changed = (found != pinned).any(0)
    assert not bool(changed[:100].any())


def test_no_metal_no_change(scans) -> None:
    plain, _, water = scans
    found, metal = ct.reduce_metal(plain, GEOMETRY, hann, water=water)
    assert found is plain
    assert not bool(metal.any())


def test_a_mask_that_fills_the_slice(scans) -> None:
    plain, _, water = scans
    with pytest.raises(ValueError, match="metal fills .* of the object"):
        ct.reduce_metal(plain, GEOMETRY, hann, threshold=-100.0, water=water)
