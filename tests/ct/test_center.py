from __future__ import annotations

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.benchmarks.ct_phantoms import HEAD, line_integrals_of
from spinray.kernels.ct.geometry import ParallelBeam
from spinray.recon import ct


@pytest.mark.parametrize("offset", [-23.37, 0.0, 0.25, 11.8])
@pytest.mark.parametrize(
    "angles",
    [np.arange(181) * np.pi / 180, np.arange(240) * np.pi / 240, np.arange(400) * np.pi / 150],
    ids=["0 to 180", "180 open", "480"],
)
def test_center_is_found_to_a_tenth_of_a_column(offset, angles):
    sinogram = measured(ParallelBeam(angles, 320, 1.0, offset))
    for method in ("correlation", "vo"):
        found = ct.center_of_rotation(sinogram, angles, method)
        assert abs(found - (159.5 - offset)) < 0.12, method


def measured(geometry):
    clean = torch.from_numpy(line_integrals_of(HEAD, geometry, 4))
    return ct.line_integrals(ct.simulate_counts(clean, 2e4, seed=0), 2e4)


@pytest.mark.parametrize("offset", [-100.3, 85.0, 0.0])
def test_half_acquired_scans_have_their_axis_anywhere(offset):
    """A whole turn with the detector shifted to one side: half of the object in each view."""
    angles = np.arange(720) * np.pi / 360
    geometry = ParallelBeam(angles, 280, 0.7, offset)
    clean = torch.from_numpy(sr.datasets.phantoms.head().line_integrals(geometry))
    sinogram = ct.line_integrals(ct.simulate_counts(clean, 1e5, seed=0), 1e5)
    found = ct.center_of_rotation(sinogram, angles)
    assert abs(found - (139.5 - offset)) < 0.2


@pytest.mark.peer
def test_vos_method_is_near_algotoms():
    calculation = pytest.importorskip("algotom.prep.calculation", reason="algotom is not installed")
    angles = np.arange(181) * np.pi / 180
    sinogram = measured(ParallelBeam(angles, 320, 1.0, 7.4))
    peer = float(calculation.find_center_vo(sinogram.numpy(), step=0.1))
    assert abs(ct.center_of_rotation(sinogram, angles, "vo") - peer) < 0.25


def test_two_methods_agree_on_a_real_tooth(data_dir):
    scan = sr.load(data_dir / "ct_raw" / "tooth.h5")
    found = {m: ct.center_of_rotation(scan.sinogram, scan.geometry.angles, m)
             for m in ("correlation", "vo")}  # fmt: skip
    assert abs(found["correlation"] - found["vo"]) < 0.25
    assert abs(found["vo"] - 295.8) < 0.3


def test_an_unknown_method():
    with pytest.raises(ValueError, match="correlation, vo"):
        ct.center_of_rotation(torch.ones(181, 32), np.arange(181) * np.pi / 180, "guess")


def test_too_few_angles():
    with pytest.raises(ValueError, match="half a turn"):
        ct.center_of_rotation(torch.ones(90, 32), np.arange(90) * np.pi / 180)
