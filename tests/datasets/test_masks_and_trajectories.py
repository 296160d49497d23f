"""Sampling masks and trajectories: where they sample, how much, and never outside the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinray.datasets import masks, trajectories


def test_equispaced_lines_and_centre() -> None:
    mask = masks.equispaced((32, 6), 4, calibration=6)
    lines = {0, 4, 8, 12, 16, 20, 24, 28} | {13, 14, 15, 16, 17, 18}
    assert set(torch.nonzero(mask[:, 2]).ravel().tolist()) == lines
    assert mask.dtype == torch.bool
    assert bool((mask == mask[:, :1]).all())
    shifted = masks.equispaced((3, 32, 6), 4, calibration=0, offset=1)
    assert torch.nonzero(shifted[2, :, 0]).ravel().tolist() == [1, 5, 9, 13, 17, 21, 25, 29]
    assert shifted.shape == (3, 32, 6)


def test_random_lines_count_and_seed() -> None:
    mask = masks.random_lines((64, 4), 4, calibration=8, seed=3)
    assert int(mask[:, 0].sum()) == 16
    assert bool(mask[28:36].all())
    assert torch.equal(mask, masks.random_lines((64, 4), 4, calibration=8, seed=3))
    assert not torch.equal(mask, masks.random_lines((64, 4), 4, calibration=8, seed=4))


def test_poisson_reaches_the_acceleration_and_keeps_the_centre() -> None:
    mask = masks.poisson((96, 80), 5, calibration=12, seed=1)
    assert mask.numel() / int(mask.sum()) == pytest.approx(5, abs=0.1)
    assert bool(mask[48 - 6 : 48 + 6, 40 - 6 : 40 + 6].all())
    volume = masks.poisson((96, 80, 3), 5, calibration=12, seed=1)
    assert torch.equal(volume, mask[..., None].expand(96, 80, 3))
    assert bool(masks.poisson((8, 8), 1).all())


def test_poisson_ends_where_sigpy_searches_for_ever() -> None:
    """Seed 0 has no density for this; the next seeds are tried."""
    assert masks._search((24, 30), 8, 6, 0) is None
    mask = masks.poisson((24, 30), 8, calibration=6, seed=0)
    assert mask.numel() / int(mask.sum()) == pytest.approx(8, abs=0.1)
    with pytest.raises(ValueError, match="no Poisson disc of 24 x 30 reaches"):
        masks.poisson((24, 30), 40, calibration=6)


def test_poisson_is_the_mask_of_the_published_figures() -> None:
    from sigpy.mri import poisson

    expected = poisson((230, 180), 4, calib=(24, 24), seed=0).real > 0
    assert np.array_equal(masks.poisson((230, 180), 4).numpy(), expected)


def test_poisson_gets_past_seeds_that_sigpy_fails_on() -> None:
    from sigpy.mri import poisson

    with pytest.raises(ValueError, match="Cannot generate"):
        poisson((96, 96), 4, calib=(24, 24), seed=0)
    mask = masks.poisson((96, 96), 4)
    assert mask.numel() / int(mask.sum()) == pytest.approx(4, abs=0.1)
    assert torch.equal(mask, masks.poisson((96, 96), 4))


def test_impossible_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="24 x 24 centre"):
        masks.poisson((32, 32), 8)
    with pytest.raises(ValueError, match="whole|1, 2"):
        masks.equispaced((32, 32), 2.5)
    with pytest.raises(ValueError, match="24 calibration lines of 32"):
        masks.random_lines((32, 32), 4)
    with pytest.raises(ValueError, match="at least 1"):
        masks.random_lines((32, 32), 0.5)
    with pytest.raises(ValueError, match="0 to 32"):
        masks.equispaced((32, 32), 2, calibration=40)


def test_radial_spokes_pass_the_centre_at_the_golden_angle() -> None:
    k = trajectories.radial(21, 64).reshape(21, 64, 2).double()
    assert float(k[:, 32].abs().max()) == 0
    step = k[:, 33] - k[:, 32]
    np.testing.assert_allclose(step.norm(dim=-1), 1 / 64, rtol=1e-5)
    angle = torch.atan2(step[:, 0], step[:, 1]).numpy()  # (y, x)
    turn = np.rad2deg(np.diff(angle)) % 360
    np.testing.assert_allclose(turn, 111.246117975, atol=1e-3)


def test_uniform_radial_covers_half_a_turn() -> None:
    k = trajectories.radial(4, 8, golden=False).reshape(4, 8, 2)
    angle = np.rad2deg(torch.atan2(k[:, 5, 0], k[:, 5, 1]).numpy())
    np.testing.assert_allclose(angle, (0, 45, 90, 135), atol=1e-4)


def test_kooshball_spreads_evenly_over_the_hemisphere() -> None:
    k = trajectories.kooshball(2000, 8).reshape(2000, 8, 3).double()
    way = (k[:, 5] - k[:, 4]) * 8
    np.testing.assert_allclose(way.norm(dim=-1), 1, rtol=1e-5)
    second_moment = way.T @ way / 2000
    np.testing.assert_allclose(second_moment, np.eye(3) / 3, atol=0.01)


@pytest.mark.parametrize("density", [1.0, 1.7])
def test_spiral_starts_at_the_centre_and_is_evenly_sampled(density: float) -> None:
    k = trajectories.spiral(6, 9000, 8.0, density=density).reshape(6, 9000, 2).double()
    assert float(k[:, 0].abs().max()) == 0
    steps = (k[:, 1:] - k[:, :-1]).norm(dim=-1)
    assert float(steps[:, 1:].max() / steps[:, 1:].min()) < 1.1
    assert float(k.norm(dim=-1).max()) == pytest.approx(0.5, abs=0.002)
    radius, angle = k[0].norm(dim=-1), torch.atan2(k[0, :, 0], k[0, :, 1])
    turned = np.unwrap(angle[1:].numpy())
    assert turned[-1] - turned[0] == pytest.approx(16 * np.pi, rel=0.05)
    inner = float((radius < 0.25).double().mean())
    assert inner == pytest.approx(0.25, abs=0.02) if density == 1 else inner > 0.3


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 300), readout=st.integers(1, 40), golden=st.booleans())
def test_samples_stay_inside_the_grid(count: int, readout: int, golden: bool) -> None:
    for k in (
        trajectories.radial(count, readout, golden=golden),
        trajectories.kooshball(count, readout),
        trajectories.spiral(count, readout, 1 + readout / 7),
    ):
        assert k.dtype == torch.float32
        assert k.shape[0] == count * readout
        assert float(k.min()) >= -0.5
        assert float(k.max()) < 0.5


def test_many_uniform_spokes_do_not_round_up_to_one_half() -> None:
    """At 20000 spokes the last one's end is 0.5 in float32."""
    assert float(trajectories.radial(20000, 2, golden=False).max()) < 0.5


def test_empty_trajectories_are_refused() -> None:
    with pytest.raises(ValueError, match="spokes must be positive"):
        trajectories.radial(0, 8)
    with pytest.raises(ValueError, match="density must be positive"):
        trajectories.spiral(1, 8, 2.0, density=0)
