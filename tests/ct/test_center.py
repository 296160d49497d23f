from __future__ import annotations

import numpy as np
import pytest
import torch
from ct_phantoms import HEAD, line_integrals_of

from spinray.kernels.ct.geometry import ParallelBeam
from spinray.recon import ct


@pytest.mark.parametrize("offset", [-23.37, 0.0, 0.25, 11.8])
@pytest.mark.parametrize(
    "angles",
    [np.arange(181) * np.pi / 180, np.arange(240) * np.pi / 240, np.arange(400) * np.pi / 150],
    ids=["0 to 180", "180 open", "480"],
)
def test_center_is_found_to_a_tenth_of_a_column(offset, angles):
    geometry = ParallelBeam(angles, 320, 1.0, offset)
    clean = torch.from_numpy(line_integrals_of(HEAD, geometry, 4))
    counts = ct.simulate_counts(clean, 2e4, seed=0)
    sinogram = ct.line_integrals(counts, 2e4)
    assert abs(ct.center_of_rotation(sinogram, angles) - (159.5 - offset)) < 0.1


def test_too_few_angles():
    with pytest.raises(ValueError, match="half a turn"):
        ct.center_of_rotation(torch.ones(90, 32), np.arange(90) * np.pi / 180)
