from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import check_operator

from spinray.kernels.ct.geometry import ConeBeam, FanBeam, ParallelBeam, VolumeGrid
from spinray.recon.operators.xray import XRayTransform

ANGLES = np.arange(7) * np.pi / 7
CASES = [
    (ParallelBeam(ANGLES, 17), VolumeGrid((12, 9), 1.2)),
    (FanBeam(ANGLES, 17, 1.5, 50.0, 90.0, "curved"), VolumeGrid((12, 9), 1.2)),
    (ConeBeam(ANGLES, 6, 17, 1.5, 1.5, 50.0, 90.0), VolumeGrid((5, 12, 9), 1.2)),
]


@pytest.mark.parametrize(("geometry", "grid"), CASES, ids=["parallel", "fan", "cone"])
@pytest.mark.parametrize("model", ["separable-footprint", "joseph"])
def test_adjoint_and_derivatives(geometry, grid, model):
    operator = XRayTransform(geometry, grid, model=model)
    check_operator(operator, domain_dtype=torch.float64)


def test_slices_are_a_batch():
    operator = XRayTransform(*CASES[0])
    check_operator(operator, batch=(2, 3), domain_dtype=torch.float64)


def test_wrong_shape_is_named():
    operator = XRayTransform(*CASES[0])
    with pytest.raises(ValueError, match=r"image has shape \(9, 12\)"):
        operator(torch.zeros(9, 12))
