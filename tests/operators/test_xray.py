from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import check_operator, dense

from spinray.kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    HelicalBeam,
    ModularBeam,
    ParallelBeam,
    VolumeGrid,
)
from spinray.recon.operators import Diagonal
from spinray.recon.operators.xray import XRayTransform

ANGLES = np.arange(7) * np.pi / 7


def _tilted(views: int) -> ModularBeam:
    """A laminography: the central ray is tilted out of the plane in which the source turns."""
    t, zero = 2 * np.pi * np.arange(views) / views, np.zeros(views)
    ray = np.stack([-np.sin(t), np.cos(t), zero + 0.3], 1)
    column = np.stack([np.cos(t), np.sin(t), zero], 1)
    row = np.cross(column, ray)
    return ModularBeam(-50 * ray, 40 * ray, 1.4 * row, 1.6 * column, 5, 9)


CASES = [
    (ParallelBeam(ANGLES, 17), VolumeGrid((12, 9), 1.2)),
    (FanBeam(ANGLES, 17, 1.5, 50.0, 90.0, "curved"), VolumeGrid((12, 9), 1.2)),
    (ConeBeam(ANGLES, 6, 17, 1.5, 1.5, 50.0, 90.0), VolumeGrid((5, 12, 9), 1.2)),
    (
        HelicalBeam(2 * ANGLES, 5, 9, 1.5, 1.5, 50.0, 90.0, "curved", pitch=3.0),
        VolumeGrid((4, 6, 5), 1.2),
    ),
    (_tilted(5), VolumeGrid((4, 6, 5), 1.2)),
]
IDS = ["parallel", "fan", "cone", "helical", "modular"]


@pytest.mark.parametrize(("geometry", "grid"), CASES, ids=IDS)
@pytest.mark.parametrize("model", ["separable-footprint", "joseph"])
def test_adjoint_and_derivatives(geometry, grid, model):
    operator = XRayTransform(geometry, grid, model=model)
    check_operator(operator, domain_dtype=torch.float64)


def test_slices_are_a_batch():
    operator = XRayTransform(*CASES[0])
    check_operator(operator, batch=(2, 3), domain_dtype=torch.float64)


def test_norm_is_of_real_data_unless_told_otherwise():
    operator = XRayTransform(*CASES[0])
    assert operator.norm() == pytest.approx(operator.norm(dtype=torch.float64), rel=0.01)
    weighted = Diagonal(torch.full(operator.range_shape, 2.0)) @ operator
    assert weighted.norm() == pytest.approx(2 * operator.norm(), rel=1e-4)
    assert (-weighted).H.norm() == pytest.approx(weighted.norm(), rel=0.01)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_norm_of_nonnegative_weights_needs_few_steps(case):
    operator = XRayTransform(*case)
    exact = float(torch.linalg.matrix_norm(dense(operator, dtype=torch.float64), 2))
    assert operator.norm(dtype=torch.float64) == pytest.approx(exact, rel=2e-3)
    limited = XRayTransform(case[0][:2], case[1])  # few views: close singular values
    exact = float(torch.linalg.matrix_norm(dense(limited, dtype=torch.float64), 2))
    assert 0.98 * exact < limited.norm(dtype=torch.float64) < exact * (1 + 1e-9)


def test_what_is_no_tensor_is_named():
    operator = XRayTransform(*CASES[0])
    with pytest.raises(TypeError, match="image must be a torch tensor, got ndarray"):
        operator(np.zeros(operator.domain_shape))
    with pytest.raises(TypeError, match="sinogram must be a torch tensor, got ndarray"):
        operator.adjoint(np.zeros(operator.range_shape))


def test_wrong_shape_is_named():
    operator = XRayTransform(*CASES[0])
    with pytest.raises(ValueError, match=r"image has shape \(9, 12\)"):
        operator(torch.zeros(9, 12))
