"""Learning from one scan: better than what it starts from, stopped by samples it does not see."""

from __future__ import annotations

import math

import pytest
import torch

import spinray as sr
from spinray.recon.models import MoDL, UNet
from spinray.recon.zero_shot import (
    deep_image_prior,
    held_back,
    inverse_of_noise,
    noise2inverse,
    restricted,
    untrained,
    zs_ssl,
)
from spinray.recon.zero_shot import self_supervised as module
from spinray.recon.zero_shot.self_supervised import relative_misfit


def _scan() -> sr.MRScan:
    return sr.datasets.simulate_mr(
        "head", matrix=(40, 32), coils=4, acceleration=3, calibration=8, snr=20, seed=3
    )


def _encoding(scan: sr.MRScan) -> tuple[sr.Sense, torch.Tensor, torch.Tensor]:
    full = sr.datasets.simulate_mr("head", matrix=(40, 32), coils=4)
    images = sr.Fourier((40, 32)).adjoint(full.kspace)
    truth = torch.linalg.vector_norm(images, dim=0)
    maps = images / truth.clamp_min(1e-3 * truth.max())
    return sr.Sense(maps, mask=scan.mask), truth, scan.mask


def _error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image.abs() - truth).norm() / truth.norm())


def test_samples_are_held_back_once_and_the_centre_never() -> None:
    generator = torch.Generator().manual_seed(0)
    measured = torch.rand(60, 50, generator=generator) < 0.5
    keep = torch.zeros_like(measured)
    keep[28:32, 23:27] = True
    stay, held = held_back(measured, 0.3, generator, keep=keep)
    assert not bool((stay & held).any())
    assert torch.equal(stay | held, measured)
    assert not bool((held & keep).any())
    assert float(held.sum() / measured.sum()) == pytest.approx(0.3, abs=0.04)
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_back(measured, 1.0, generator)
    with pytest.raises(ValueError, match="too few to hold some back"):
        held_back(keep, 0.5, generator, keep=keep)
    scan = _scan()
    A, truth, mask = _encoding(scan)
    B = restricted(A, mask & (torch.arange(32) < 16))
    assert not bool(B(truth + 0j)[..., 16:].any())
    torch.testing.assert_close(B(truth + 0j)[..., :16], A(truth + 0j)[..., :16])


def test_zs_ssl_learns_from_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPLITS", 4)
    scan = _scan()
    A, truth, mask = _encoding(scan)
    torch.manual_seed(0)
    start = MoDL(3, 5, (8, 12), 1)
    before = _error(start(A, scan.kspace).detach(), truth)
    losses = []
    image = zs_ssl(
        A, scan.kspace, mask, rounds=12, network=start,
        callback=lambda step, x, loss: losses.append(loss),
    )  # fmt: skip
    assert len(losses) == 48
    assert sum(losses[-4:]) < 0.97 * sum(losses[:4])
    assert _error(image, truth) < 0.95 * before
    double = zs_ssl(A, scan.kspace.to(torch.complex128), mask, rounds=1, network=start)
    assert double.dtype == torch.complex128
    again = zs_ssl(A, scan.kspace, mask, rounds=1, network=start)
    torch.testing.assert_close(again, zs_ssl(A, scan.kspace, mask, rounds=1, network=start))
    with pytest.raises(ValueError, match="zs-ssl needs 1 round or more, got 0"):
        zs_ssl(A, scan.kspace, mask, rounds=0)


def test_zs_ssl_learns_from_what_the_network_does_not_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network that gives back what it sees, and nothing else, is wrong by all that is held."""

    class Adjoint(MoDL):
        def forward(
            self, A: sr.LinearOperator, y: torch.Tensor, initial=None, noise=None
        ) -> torch.Tensor:
            seen.append(y != 0)
            assert noise == 0.25
            return A.adjoint(y) + 0 * self.log_weight.sum()

    def checked(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        judged.append(y != 0)
        return relative_misfit(predicted, y)

    monkeypatch.setattr(module, "relative_misfit", checked)
    seen: list[torch.Tensor] = []
    judged: list[torch.Tensor] = []

    A = sr.Sense(torch.ones(1, 24, 20, dtype=torch.complex64))
    y, losses = torch.randn(1, 24, 20, dtype=torch.complex64), []
    centre = torch.zeros(24, 20, dtype=torch.bool)
    centre[8:16, 8:14] = True
    image = zs_ssl(
        A, y, torch.ones(24, 20, dtype=torch.bool), rounds=1, network=Adjoint(1, 1, (2, 4), 1),
        noise=0.25, centre=centre,
        callback=lambda step, x, loss: losses.append(loss),
    )  # fmt: skip
    assert len(judged) == len(losses) + 2  # the first and the last time to decide when to stop
    assert torch.equal(judged[0], judged[-1])
    assert not any(bool((a & b).any()) for a, b in zip(seen, judged, strict=False))
    assert not any(bool((a & judged[-1]).any()) for a in seen[:-1] + judged[1:-1])
    assert all(bool(a[:, centre].all()) for a in seen)
    assert losses == pytest.approx([2.0] * len(losses), rel=1e-4)  # l2 and l1, each all of it
    torch.testing.assert_close(image, A.adjoint(y))  # in the end it sees all samples


def test_zs_ssl_begins_at_its_initial_image_and_keeps_it_where_learning_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SPLITS", 2)
    scan = _scan()
    A, truth, mask = _encoding(scan)
    image = truth * torch.exp(1j * torch.linspace(0, 1, 32))
    asked = []

    def initial(samples: torch.Tensor) -> torch.Tensor:
        asked.append(samples)
        return image

    y = A(image)
    found = zs_ssl(A, y, mask, rounds=1, initial=initial)  # perfect, and fits: nothing to learn
    torch.testing.assert_close(found, image, rtol=1e-3, atol=1e-4)
    assert all(bool((samples <= mask).all()) for samples in asked)
    assert torch.equal(asked[-1], mask)
    assert not any(torch.equal(samples, mask) for samples in asked[:-1])
    monkeypatch.setattr(module, "RATE", 1.0)
    monkeypatch.setattr(module, "FIRST_WEIGHT", 1e3)
    kept = zs_ssl(A, scan.kspace, mask, rounds=2, initial=initial)
    torch.testing.assert_close(kept, image, rtol=0.05, atol=0.02)


def test_zs_ssl_stops_when_the_held_out_samples_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPLITS", 2)
    monkeypatch.setattr(module, "PATIENCE", 2)
    monkeypatch.setattr(module, "RATE", 1.0)  # ruins the network in one step
    scan = _scan()
    A, _truth, mask = _encoding(scan)
    steps = []
    zs_ssl(
        A, scan.kspace, mask, rounds=20, network=MoDL(2, 4, (4, 6), 1),
        callback=lambda step, x, loss: steps.append(step),
    )  # fmt: skip
    assert len(steps) < 20


def test_dip_fits_a_scan_better_than_zero_filling() -> None:
    truth = torch.as_tensor(sr.datasets.phantom("head").image(sr.VolumeGrid((48, 48), 5.0))).float()
    truth /= truth.max()
    mask = torch.rand(48, 48, generator=torch.Generator().manual_seed(1)) < 0.4
    mask[22:27, 22:27] = True
    A = sr.Sampling(mask) @ sr.Fourier((48, 48))
    y = A(truth + 0j)
    image = deep_image_prior(A, y, mask, iterations=400)
    assert image.shape == truth.shape
    assert _error(image, truth) < 0.9 * _error(A.adjoint(y), truth)
    double = deep_image_prior(A, y.to(torch.complex128), mask, iterations=1)
    assert double.dtype == torch.complex128
    with pytest.raises(ValueError, match="dip reconstructs slices"):
        deep_image_prior(sr.Fourier((4, 4, 4)), torch.zeros(4, 4, 4, dtype=torch.complex64), mask)
    with pytest.raises(ValueError, match="dip needs 1 step or more, got 0"):
        deep_image_prior(A, y, mask, iterations=0)


def test_dip_closes_by_a_fit_as_close_as_held_back_samples_approve() -> None:
    scan = _scan()
    A, truth, mask = _encoding(scan)
    given, judge = held_back(mask, 0.2, torch.Generator().manual_seed(0))
    clean = A(truth + 0j)
    found = untrained._fitted(A, clean, 0.5 * truth + 0j, given, judge, mask)
    assert _error(found, truth) < 0.5 * _error(0.5 * truth, truth)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    noisy = clean + 0.3 * clean.abs().square().mean().sqrt() * noise * mask
    assert torch.equal(untrained._fitted(A, noisy, truth + 0j, given, judge, mask), truth + 0j)


def test_noise2inverse_denoises_without_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = sr.FanBeam(
        torch.arange(128) * 2 * math.pi / 128, 96, 4.0, source_to_isocenter=595.0,
        source_to_detector=1085.6,
    )  # fmt: skip
    volume = sr.VolumeGrid((64, 64), 2.5)
    truth = sr.datasets.phantom("head").image(volume)
    truth = torch.as_tensor(truth).float()
    clean = sr.XRayTransform(geometry, volume)(truth)
    counts = sr.ct.simulate_counts(clean, 300.0, seed=1)
    noisy = sr.ct.line_integrals(counts, 300.0)
    noise = _error(sr.ct.fbp(noisy, geometry, volume), truth)
    image = noise2inverse(noisy, geometry, volume, steps=250, chans=8)
    assert image.shape == (64, 64)
    assert _error(image, truth) < 0.6 * noise
    batches: list[int] = []
    forward = UNet.forward
    monkeypatch.setattr(
        UNet, "forward", lambda self, x: (batches.append(len(x)), forward(self, x))[1]
    )
    parts: list[tuple[torch.Tensor, sr.Geometry]] = []
    monkeypatch.setattr(
        inverse_of_noise, "fbp", lambda p, g, v: (parts.append((p, g)), sr.ct.fbp(p, g, v))[1]
    )
    stack = torch.stack([noisy] * 5).double()
    images = noise2inverse(stack, geometry, volume, steps=2, chans=4)
    assert images.shape == (5, 64, 64)
    assert images.dtype == torch.float64
    torch.testing.assert_close(images[0], images[4])
    for first, (part, beam) in enumerate(parts):  # each set of views with its own angles
        torch.testing.assert_close(part, stack[:, first::4])
        assert list(beam.angles) == list(geometry.angles[first::4])
    assert len(parts) == 4
    assert max(batches) == 4  # memory of one slice, however many there are
    with pytest.raises(ValueError, match="needs 32 views or more, got 16"):
        noise2inverse(noisy[::8], geometry[::8], volume)
    with pytest.raises(ValueError, match="needs 1 step or more, got 0"):
        noise2inverse(noisy, geometry, volume, steps=0)


def test_predictions_from_eight_sides_lie_on_each_other() -> None:
    """A network that changes nothing gives the mean; one that adds a pattern, it from each side."""
    images = torch.rand(inverse_of_noise.SPLITS, 12, 12, generator=torch.Generator().manual_seed(0))
    found = inverse_of_noise._prediction(lambda x: x, images)  # type: ignore[arg-type]
    torch.testing.assert_close(found, images.mean(0))
    seen = torch.rand(12, 12, generator=torch.Generator().manual_seed(1))
    sides = [torch.rot90(way, k) for way in (seen, seen.flip(-1)) for k in range(4)]
    found = inverse_of_noise._prediction(lambda x: x + seen, images)  # type: ignore[arg-type]
    torch.testing.assert_close(found, images.mean(0) + torch.stack(sides).mean(0))
