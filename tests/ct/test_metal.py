"""A steel pin in a head: NMAR against the scan without the pin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.datasets.ellipses import Ellipse, EllipsePhantom
from spinray.datasets.simulate import clinical_fan
from spinray.kernels.ct.geometry import VolumeGrid
from spinray.recon import ct
from spinray.recon.ct.corrections import bridged

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


def test_the_priors_bone_helps_beside_a_spine() -> None:
    """Two screws in bone: against rays that are only bridged straight."""
    body, screws = Ellipse(1, (0, 0), (98, 76)), [
        Ellipse(1, (10.0, side), (4.0, 4.0)) for side in (-25.0, 25.0)
    ]  # fmt: skip
    spine = [Ellipse(1, (0, 0), (25.0, 20.0)), Ellipse(1, (40, 0), (12.0, 6.0))]

    def path(shapes, sign=1):
        shapes = [dataclasses.replace(shape, value=sign) for shape in shapes]
        return torch.from_numpy(EllipsePhantom("paths", tuple(shapes)).line_integrals(GEOMETRY))

    beam = ct.tube_spectrum(120, step=5.0)
    correct = ct.water_correction(beam)
    plain = {"water": path([body]) + path(spine, -1), "bone": path(spine)}
    pinned = plain | {"water": plain["water"] + path(screws, -1), "Fe": path(screws)}
    truth, measured = (correct(beam.line_integrals(p)).float() for p in (plain, pinned))
    found, metal = ct.reduce_metal(measured, GEOMETRY, hann, water=correct.water)
    grid = GEOMETRY.default_volume()
    trace = sr.XRayTransform(GEOMETRY, grid)(metal.float()) > 0.25 * min(grid.spacing)
    straight = bridged(measured.clone(), trace)
    y, x = np.meshgrid(GRID.positions(0), GRID.positions(1), indexing="ij")
    away = [np.hypot(y - 10, x - side) > 7 for side in (-25, 25)]
    inside = torch.from_numpy((np.hypot(y, x) < 75) & away[0] & away[1])
    images = [hann(p, GEOMETRY, GRID)[inside] for p in (truth, measured, straight, found)]
    errors = [float((image - images[0]).square().mean().sqrt()) for image in images[1:]]
    assert errors[2] < 0.75 * errors[1]
    assert errors[2] < 0.8 * errors[0]


def test_no_metal_no_change(scans) -> None:
    plain, _, water = scans
    found, metal = ct.reduce_metal(plain, GEOMETRY, hann, water=water)
    assert found is plain
    assert not bool(metal.any())


def test_a_mask_that_fills_the_slice(scans) -> None:
    plain, _, water = scans
    with pytest.raises(ValueError, match="metal fills .* of the object"):
        ct.reduce_metal(plain, GEOMETRY, hann, threshold=-100.0, water=water)
