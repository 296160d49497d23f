"""Echo-planar readouts: ramps, ghosts, and a real measurement of a phantom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mri_cases import head, lines_at, rss

from spinray.datasets import simulate_mr
from spinray.recon.mri import (
    correct_ghost,
    entropy_phase,
    navigator_phase,
    regrid_readouts,
    trapezoid_positions,
)
from spinray.recon.operators import Fourier

N, DELAY, HEIGHT = 64, 0.7, 0.4
REVERSE = torch.arange(N) % 2 == 1


@pytest.fixture(scope="module")
def measured():
    """A head by EPI."""
    return by_epi(head(N))


def by_epi(scan):
    """K-space without and with delay, navigators, and where a ghost would lie."""
    cells = (np.arange(N) - N // 2) / N
    ky, kx = np.meshgrid(cells, cells, indexing="ij")
    turned = torch.tensor([np.exp(1j * HEIGHT), 1])

    def echo(ky, kx, reverse):
        shift = np.where(reverse, -DELAY, DELAY)[:, None] / N
        lines = lines_at(scan, ky, kx + shift)
        return lines * turned[reverse.long()].to(lines)[:, None]

    own = torch.tensor([False, True, False])
    navigators = echo(np.zeros((3, N)), np.broadcast_to(cells, (3, N)), own)
    truth = rss(scan.kspace)
    inside = truth > 0.05 * truth.max()
    near = torch.nn.functional.max_pool2d(inside[None].float(), 5, 1, 2)[0] > 0
    return {
        "plain": scan.kspace,
        "delayed": echo(ky, kx, REVERSE),
        "navigators": (navigators, own),
        "inside": inside,
        "ghost": inside.roll(N // 2, 0) & ~near,
    }


def level(kspace, measured) -> float:
    """Mean of the region of the ghost over the mean of the object."""
    image = rss(kspace)
    return float(image[measured["ghost"]].mean() / image[measured["inside"]].mean())


def test_navigators_remove_the_ghost(measured):
    assert level(measured["delayed"], measured) > 0.5
    phase = navigator_phase(*measured["navigators"])
    assert float(phase[N // 2]) == pytest.approx(-HEIGHT, abs=0.01)
    assert float(phase[-1] - phase[0]) == pytest.approx(4 * np.pi * DELAY * (N - 1) / N, abs=0.05)
    assert level(correct_ghost(measured["delayed"], REVERSE, phase), measured) < 0.01


def test_no_navigators_are_needed(measured):
    phase = entropy_phase(measured["delayed"], REVERSE)
    assert level(correct_ghost(measured["delayed"], REVERSE, phase), measured) < 0.01
    noise = 0.02 * measured["delayed"].abs().max()
    noisy = measured["delayed"] + noise * torch.randn(
        measured["delayed"].shape, dtype=torch.complex64,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    found = entropy_phase(noisy, REVERSE)
    assert float((found - phase).abs().max()) < 0.1


@pytest.mark.parametrize("phantom", ["shepp-logan", "letter-f", "water", "head"])
def test_sharp_edges_leave_no_ghost(phantom):
    """What differs from the scan without delay, whose edges ring by themselves."""
    measured = by_epi(simulate_mr(phantom, matrix=N, coils=8))
    delayed, still = measured["delayed"], measured["plain"] * np.exp(0.5j * HEIGHT)
    signal = float(rss(still)[measured["inside"]].mean())

    def ghost(kspace):
        rest = (kspace - still) * (kspace != 0)  # the ends of readouts are left out
        return float(rss(rest)[measured["ghost"]].mean()) / signal

    assert ghost(delayed) > 0.3
    for phase in (navigator_phase(*measured["navigators"]), entropy_phase(delayed, REVERSE)):
        assert ghost(correct_ghost(delayed, REVERSE, phase)) < 0.01


def test_without_a_ghost_nothing_moves(measured):
    phase = entropy_phase(measured["plain"], REVERSE)
    assert float(phase.abs().max()) < 0.02
    scaled = entropy_phase(measured["delayed"] * 1e-9, REVERSE)
    torch.testing.assert_close(scaled, entropy_phase(measured["delayed"], REVERSE), atol=1e-2,
                               rtol=0)  # fmt: skip


def test_navigators_of_a_batch(measured):
    navigators, own = measured["navigators"]
    phases = navigator_phase(torch.stack([navigators, navigators.conj()]), own)
    torch.testing.assert_close(phases[0], navigator_phase(navigators, own))
    lines = torch.stack([measured["delayed"]] * 2)
    both = correct_ghost(lines, REVERSE, phases)
    torch.testing.assert_close(both[1], correct_ghost(lines[1], REVERSE, phases[1]))


def test_trapezoid_is_the_integral_of_its_gradient():
    times = {"ramp_up": 30.0, "flat_top": 80.0, "ramp_down": 20.0, "delay": 7.0}
    positions = trapezoid_positions(100, 1.1, size=64, **times)
    fine = np.linspace(0, 130, 1_300_001)
    gradient = np.interp(fine, [0, 30, 110, 130], [0, 1, 1, 0])
    area = np.concatenate([[0], np.cumsum((gradient[1:] + gradient[:-1]) / 2) * 1e-4])
    at = np.interp(7 + 1.1 * (np.arange(100) + 0.5), fine, area) - area[-1] / 2
    covered = np.interp(7 + 110, fine, area) - np.interp(7, fine, area)
    np.testing.assert_allclose(positions.numpy(), at * 64 / covered, atol=1e-6)
    plain = trapezoid_positions(64, 2.0, ramp_up=0, flat_top=128, ramp_down=0)
    torch.testing.assert_close(plain, torch.arange(64, dtype=torch.float64) - 31.5)
    with pytest.raises(ValueError, match="do not fit a gradient of 130"):
        trapezoid_positions(100, 1.3, **times)


def test_ramp_samples_make_the_image_of_even_ones():
    scan = head(N)
    positions = trapezoid_positions(2 * N, 1.0, ramp_up=30, flat_top=80, ramp_down=30, delay=6,
                                    size=N)  # fmt: skip
    cells = (np.arange(N) - N // 2) / N
    ky, kx = np.meshgrid(cells, positions.numpy() / N, indexing="ij")
    even = regrid_readouts(lines_at(scan, ky, kx), positions, N)
    assert float((rss(even) - rss(scan.kspace)).norm() / rss(scan.kspace).norm()) < 0.01
    with pytest.raises(ValueError, match="positions"):
        regrid_readouts(even, positions, N)


def test_even_samples_stay_as_they_are():
    generator = torch.Generator().manual_seed(0)
    lines = torch.randn(3, 32, dtype=torch.complex64, generator=generator)
    positions = torch.arange(32, dtype=torch.float64) - 16
    torch.testing.assert_close(regrid_readouts(lines, positions, 32), lines)


def test_bad_input(measured):
    with pytest.raises(ValueError, match="one direction"):
        entropy_phase(measured["plain"], torch.zeros(N, dtype=torch.bool))
    with pytest.raises(ValueError, match="one reverse a line"):
        navigator_phase(measured["navigators"][0], REVERSE)
    with pytest.raises(ValueError, match="do not fit"):
        correct_ghost(measured["plain"], REVERSE[:-1], torch.zeros(N))
    silence = torch.zeros(2, N, N, dtype=torch.complex64)
    assert torch.isfinite(entropy_phase(silence, REVERSE)).all()
    assert not navigator_phase(silence, REVERSE).any()


def test_real_epi_of_a_phantom(data_dir):
    """A Siemens EPI with ramp sampling, three navigators, two coils, and corners that are air."""
    twixtools = pytest.importorskip("twixtools")
    file = twixtools.read_twix(str(data_dir / "twix" / "ve11_epi.dat"), verbose=False)
    blocks = [b for b in file[-1]["mdb"] if not b.is_flag_set("ACQEND")]
    positions = trapezoid_positions(160, 3.1, ramp_up=160, flat_top=240, ramp_down=160, delay=32)
    lines, reverse = [], torch.tensor([b.is_flag_set("REFLECT") for b in blocks])
    for block, backward in zip(blocks, reverse.tolist(), strict=True):
        line = torch.from_numpy(np.array(block.data))
        line = line.flip(-1) if backward else line
        lines.append(regrid_readouts(line, -positions.flip(0) if backward else positions, 160))
    is_navigator = torch.tensor([b.is_flag_set("PHASCOR") for b in blocks])
    data = torch.stack(lines, 1)
    kspace, own = data[:, ~is_navigator], reverse[~is_navigator]

    def corner(kspace):
        image = torch.linalg.vector_norm(Fourier((80, 160)).adjoint(kspace), dim=0)[:, 40:120]
        return float(image[8:16, 3:10].mean() / image[40:60, 30:50].mean())

    phase = navigator_phase(data[:, is_navigator], reverse[is_navigator])
    before = corner(kspace)
    assert before > 0.06
    assert corner(correct_ghost(kspace, own, phase)) < 0.6 * before
    assert corner(correct_ghost(kspace, own, entropy_phase(kspace, own))) < 0.5 * before
