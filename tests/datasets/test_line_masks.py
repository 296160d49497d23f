"""fastMRI's line masks: the official bits, frozen here and against the package where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinray.datasets import LineMask, PoissonMask, masks

OFFICIAL = {
    "random": "RandomMaskFunc",
    "equispaced": "EquiSpacedMaskFunc",
    "equispaced_fraction": "EquispacedMaskFractionFunc",
    "magic": "MagicMaskFunc",
    "magic_fraction": "MagicMaskFractionFunc",
}
FROZEN = {  # printed by the official package, 0.3.0: 40 lines, fraction 0.1, 4x, seed 42
    "random": "0000111000100000001111000000010010000100",
    "equispaced": "0010001000100010001111100010001000100010",
    "equispaced_fraction": "0001000001000001001111000001000001000000",
    "magic": "0001000100010001001111010001000100010001",
    "magic_fraction": "0000100000010000001111000001000000100000",
}


def official(kind: str):
    subsample = pytest.importorskip(
        "fastmri.data.subsample", reason="no fastmri: pip install --no-deps fastmri"
    )
    return getattr(subsample, OFFICIAL[kind])


@pytest.mark.peer
@pytest.mark.parametrize("kind", OFFICIAL)
@pytest.mark.parametrize("count", [368, 372, 40, 75, 320])
@pytest.mark.parametrize(("fractions", "accelerations"), [((0.08,), (4,)), ((0.08, 0.04), (4, 8))])
def test_official_bits(kind: str, count: int, fractions, accelerations) -> None:
    theirs = official(kind)(fractions, accelerations)
    ours = LineMask(kind, fractions, accelerations)
    name = tuple(map(ord, "file1000031.h5"))
    for seed in (0, 42, 2**31, name):
        expected, calibration = theirs((1, 20, count, 2), seed=seed)
        found, lines = ours((20, count), seed)
        assert found.dtype == torch.bool
        assert found.shape == (1, count)
        assert torch.equal(found[0], expected.ravel().bool())
        assert lines == calibration
    for offset in range(3):
        expected, _ = theirs((1, 20, count, 2), offset=offset, seed=1)
        assert np.array_equal(ours.lines(count, 1, offset)[0], expected.ravel().bool())


@pytest.mark.peer
@pytest.mark.parametrize("kind", OFFICIAL)
def test_official_bits_in_a_row_and_in_any_combination(kind: str) -> None:
    """A generator that moves on, as fastMRI's does in training."""
    theirs = official(kind)((0.08, 0.04, 0.02), (4, 8), allow_any_combination=True, seed=3)
    ours = LineMask(kind, (0.08, 0.04, 0.02), (4, 8), any_combination=True)
    random = np.random.RandomState(3)
    for _ in range(12):
        expected, _ = theirs((1, 20, 368, 2))
        assert np.array_equal(ours.lines(368, random)[0], expected.ravel().bool())


@pytest.mark.parametrize("kind", OFFICIAL)
def test_frozen_official_bits(kind: str) -> None:
    lines, _ = LineMask(kind, (0.1,), (4,)).lines(40, 42)
    assert "".join("01"[int(bit)] for bit in lines) == FROZEN[kind]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(OFFICIAL)),
    count=st.integers(32, 400),
    acceleration=st.integers(2, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_centre_is_full_and_a_seed_is_a_mask(kind, count, acceleration, seed) -> None:
    sampler = LineMask(kind, (0.04,), (acceleration,))
    mask, calibration = sampler((8, count), seed)
    first = (count - calibration + 1) // 2
    assert bool(mask[0, first : first + calibration].all())
    assert torch.equal(mask, sampler((8, count), seed)[0])
    if kind.endswith("fraction"):
        assert int(mask.sum()) == pytest.approx(count / acceleration, abs=0.12 * count + 2)


def test_bad_line_masks_are_named() -> None:
    with pytest.raises(ValueError, match="random, equispaced"):
        LineMask("radial")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 center_fractions and 1 accelerations"):
        LineMask("random", (0.08, 0.04), (4,))
    with pytest.raises(ValueError, match="20 lines of the centre of 40"):
        LineMask("random", (0.5,), (4,)).lines(40, 0)


def test_poisson_sampler_draws_masks() -> None:
    sampler = PoissonMask((4.0, 8.0), calibration=12)
    accelerations = set()
    for seed in range(6):
        mask, calibration = sampler((96, 80), seed)
        assert calibration == 12
        assert bool(mask[42:54, 34:46].all())
        assert torch.equal(mask, sampler((96, 80), seed)[0])
        accelerations.add(round(mask.numel() / int(mask.sum())))
    assert accelerations == {4, 8}


@pytest.mark.parametrize(("shape", "calibration"), [((64, 64), 12), ((75, 60), 12), ((61, 61), 13)])
def test_poisson_discs_are_varied_and_keep_their_statistics(shape, calibration) -> None:
    sampler = PoissonMask((6.0,), calibration)
    drawn = [sampler(shape, seed)[0] for seed in range(60)]
    assert len({mask.numpy().tobytes() for mask in drawn}) > 40
    first = [n // 2 - calibration // 2 for n in shape]
    rows, columns = (slice(f, f + calibration) for f in first)
    assert all(bool(mask[rows, columns].all()) for mask in drawn)
    accelerations = torch.tensor([mask.numel() / float(mask.sum()) for mask in drawn])
    assert float((accelerations - 6).abs().max()) < 0.15
    # As dense as fresh discs of sigpy's, ring by ring, and as far from each other.
    fresh = [masks.poisson(shape, 6, calibration=calibration, seed=seed) for seed in range(40, 60)]
    y, x = (np.abs(np.arange(n) + 0.5 - n / 2) / n * 2 for n in shape)
    ring = (4 * np.hypot(y[:, None], x)).astype(int)
    ours, theirs = (torch.stack(ms).float().mean(0).numpy() for ms in (drawn, fresh))
    for number in range(4):
        expected = theirs[ring == number].mean()
        assert ours[ring == number].mean() == pytest.approx(expected, rel=0.05)
    outer = ring >= 2
    touching = [
        float((m[1:] & m[:-1]).numpy()[outer[1:] & outer[:-1]].mean()) for m in drawn + fresh
    ]
    assert np.mean(touching[:60]) == pytest.approx(np.mean(touching[60:]), abs=0.01)
    again = sampler(shape, 3)[0]
    again.fill_(False)  # a mask is the caller's
    assert torch.equal(sampler(shape, 3)[0], drawn[3])


def test_caipirinha_shifts_every_line() -> None:
    mask = masks.caipirinha((8, 12), (2, 3), shift=1)
    rows = {y - 4: sorted(x - 6 for x in row.nonzero().ravel().tolist())
            for y, row in enumerate(mask) if row.any()}  # fmt: skip
    assert rows == {
        -4: [-5, -2, 1, 4],
        -2: [-4, -1, 2, 5],
        0: [-6, -3, 0, 3],
        2: [-5, -2, 1, 4],
    }
    assert int(mask.sum()) == 8 * 12 // 6
    aliases = torch.fft.fft2(masks.caipirinha((12, 12), (2, 3)).double()).abs()
    assert int((aliases > 1e-9).sum()) == 6  # where a period divides the matrix: R of them


def test_caipirinha_centre_and_volume() -> None:
    mask = masks.caipirinha((12, 10, 3), (2, 2), shift=0, calibration=4)
    assert mask.shape == (12, 10, 3)
    assert bool(mask[4:8, 3:7].all())
    plain = masks.caipirinha((12, 10), (2, 2), shift=0)
    assert torch.equal(plain, torch.from_numpy(np.indices((12, 10)) % 2 == [[[0]], [[1]]]).all(0))
    with pytest.raises(ValueError, match="shift must be 0 to 1"):
        masks.caipirinha((12, 10), (2, 2), shift=2)
    with pytest.raises(ValueError, match="two whole numbers"):
        masks.caipirinha((12, 10), (2, 0))
