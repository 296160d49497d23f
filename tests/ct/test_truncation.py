"""A water disc that the detector cuts off, continued."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from spinray.datasets.phantoms import WATER, water_disc
from spinray.kernels.ct.geometry import FanBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct

ANGLES = np.arange(360) * np.pi / 180
WIDE = {
    "parallel": ParallelBeam(ANGLES[:180], 300, 1.0),
    "fan": FanBeam(ANGLES, 300, 1.9, 595.0, 1085.6, detector="curved"),
}


def narrow(geometry, cut):
    import dataclasses

    return dataclasses.replace(geometry, columns=geometry.columns - 2 * cut)


@pytest.mark.parametrize("name", WIDE)
def test_values_inside_are_those_of_water(name) -> None:
    wide, cut = WIDE[name], 75
    full = torch.from_numpy(water_disc(110).line_integrals(wide)).float()
    part, geometry = full[:, cut:-cut], narrow(wide, cut)
    grid = VolumeGrid((100, 100), (1.2, 1.2))
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    inside = torch.from_numpy(np.hypot(y, x) < 55)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the truncation
        cut_off = ct.fbp(part, geometry, grid)
    longer, wider = ct.extrapolate_truncation(part, geometry)
    reach = (wider.columns - geometry.columns) // 2
    assert torch.equal(longer[:, reach:-reach], part)
    continued = ct.fbp(longer, wider, grid)
    errors = [float((1000 * (x / WATER - 1))[inside].abs().mean()) for x in (cut_off, continued)]
    assert errors[0] > 100
    assert errors[1] < 15
    # The cylinder is that of the truth: level and slope at the edge say where it ends.
    beyond = longer[:, reach + part.shape[1] : reach + part.shape[1] + 20]
    torch.testing.assert_close(beyond, full[:, 300 - cut : 320 - cut], rtol=0.1, atol=0.02)


def test_views_that_are_whole_stay() -> None:
    geometry = WIDE["parallel"]
    full = torch.from_numpy(water_disc(100).line_integrals(geometry)).float()
    same, beam = ct.extrapolate_truncation(full, geometry)
    assert same is full
    assert beam is geometry


def test_what_cannot_be_continued() -> None:
    shifted = ParallelBeam(ANGLES, 100, 1.0, 30.0)
    with pytest.raises(ValueError, match="only one of its edges"):
        ct.extrapolate_truncation(torch.ones(360, 100), shifted)
    with pytest.raises(ValueError, match="24 columns"):
        ct.extrapolate_truncation(torch.ones(180, 20), ParallelBeam(ANGLES[:180], 20))
