"""Samplers against a Gaussian posterior, whose mean and covariance are known in closed form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

import spinray as sr
from spinray.recon.arrays import item_scale
from spinray.recon.ct.hounsfield import WATER
from spinray.recon.diffusion import Prior, draw, noise_levels, plug_and_play, sample
from spinray.recon.diffusion.problem import apparent_noise
from spinray.recon.diffusion.samplers import Draws, ancestral, fitting_memory
from spinray.recon.models import EDMDenoiser

SHAPE = 8, 6
DEVIATION, NOISE = 0.5, 0.2
COUNT = 400


class WhiteGaussian:
    """Images ``mean + DEVIATION noise``, of which the best denoiser is known."""

    def __init__(self, mean: Tensor) -> None:
        self.mean, self.passes = mean, 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.passes += 1
        share = DEVIATION**2 / (DEVIATION**2 + sigma**2)
        return share * x + (1 - share) * self.mean

    def deviation(self, sigma: float) -> float:
        return sigma * DEVIATION / math.hypot(sigma, DEVIATION)


class Case:
    """Half of k-space of an image from the prior, or every other row of a real one."""

    def __init__(self, complex_images: bool) -> None:
        generator = torch.Generator().manual_seed(1)
        dtype = torch.complex64 if complex_images else torch.float32
        factor = math.sqrt(2) if complex_images else 1
        self.mean = torch.randn(SHAPE, dtype=dtype, generator=generator)
        self.mask = torch.rand(SHAPE, generator=generator) < 0.5
        mask = sr.Sampling(self.mask)
        # a factor of 3: samplers must find the operator's norm
        self.A = 3 * (mask @ sr.Fourier(SHAPE) if complex_images else mask)
        self.A.dtype = dtype
        noise = [factor * torch.randn(SHAPE, dtype=dtype, generator=generator) for _ in range(2)]
        self.truth = self.mean + DEVIATION * noise[0]
        self.y = self.A(self.truth) + NOISE * (noise[1] * self.mask)
        # of the measured coefficients, in which the posterior is independent
        precision = 1 / DEVIATION**2 + 9 / NOISE**2
        self.posterior = (
            self.coefficients(self.mean) / DEVIATION**2 + 3 * self.y / NOISE**2
        ) / precision
        self.posterior = torch.where(self.mask, self.posterior, self.coefficients(self.mean))
        self.deviations = torch.where(self.mask, precision**-0.5, DEVIATION)
        self.parts = 2 if complex_images else 1

    def coefficients(self, x: Tensor) -> Tensor:
        return sr.Fourier(SHAPE)(x) if x.is_complex() else x


@pytest.fixture(scope="module", params=[True, False], ids=["complex", "real"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def _statistics(case: Case, images: Tensor) -> tuple[float, float, float]:
    """Root mean square of the error of the mean in standard errors; deviations over the true."""
    c = case.coefficients(images)
    error = (c.mean(0) - case.posterior).abs() / (case.deviations * math.sqrt(case.parts / len(c)))
    ratio = (c.var(0) / case.parts).sqrt() / case.deviations
    inside, outside = ratio[case.mask], ratio[~case.mask]
    rms = [float(v.square().mean().sqrt()) for v in (error, inside, outside)]
    return rms[0], rms[1], rms[2]


@pytest.mark.parametrize(
    ("sampler", "passes", "eta"),
    [("dds", 400, 1), ("dds", 400, 0.5), ("dds", 400, 0), ("dps", 400, 1), ("daps", 60, 1),
     ("langevin", 600, 1)],
)  # fmt: skip
def test_mean_and_covariance_are_the_posteriors(
    case: Case, sampler: str, passes: int, eta: float
) -> None:
    prior = WhiteGaussian(case.mean)
    images = sample(
        prior, case.A, case.y, sampler=sampler, samples=COUNT, passes=passes, noise=NOISE,
        eta=eta, start=50.0, seed=2,
    )  # fmt: skip
    assert images.shape == (COUNT, *SHAPE)
    assert prior.passes <= passes
    error, inside, outside = _statistics(case, images)
    assert error < 1.5
    assert inside == pytest.approx(1, abs=0.07)
    assert outside == pytest.approx(1, abs=0.07)


def test_diffpir_finds_the_mean(case: Case) -> None:
    """Its spread is not the posterior's: the images stand around the right mean all the same."""
    images = sample(
        WhiteGaussian(case.mean), case.A, case.y, sampler="diffpir", samples=COUNT, passes=100,
        noise=NOISE, start=50.0,
    )  # fmt: skip
    distance = (case.coefficients(images).mean(0) - case.posterior).abs()
    assert float(distance[case.mask].max()) < 0.1
    assert float(distance.max()) < 0.2


def test_few_passes_find_the_mean_too(case: Case) -> None:
    for sampler in ("dds", "dps", "diffpir", "daps"):
        images = sample(
            WhiteGaussian(case.mean), case.A, case.y, sampler=sampler, samples=COUNT, passes=12,
            noise=NOISE,
        )  # fmt: skip
        distance = (case.coefficients(images).mean(0) - case.posterior).abs()
        assert float(distance.max()) < 0.25, sampler


@pytest.mark.parametrize("sampler", [*sr.diffusion.SAMPLERS, "pnp"])
def test_the_weight_is_of_the_priors_variance(case: Case, sampler: str) -> None:
    """Noisy data, which the prior outweighs: multiplied by 20, the prior has no more say."""
    noise = 2.0
    for weight in (1.0, 20.0):
        share = 9 / noise**2 / (9 / noise**2 + 1 / (weight * DEVIATION**2))
        expected = case.coefficients(case.mean) + share * case.mask * (
            case.y / 3 - case.coefficients(case.mean)
        )
        prior, options = WhiteGaussian(case.mean), {"noise": noise, "weight": weight}
        if sampler == "pnp":
            image = plug_and_play(prior, case.A, case.y, iterations=60, start=20.0, **options)
        else:
            passes = 600 if sampler == "langevin" else 60
            image = sample(
                prior, case.A, case.y, sampler=sampler, samples=COUNT, passes=passes, start=50.0,
                **options,
            ).mean(0)  # fmt: skip
        distance = (case.coefficients(image) - expected).abs()[case.mask]
        assert float(distance.mean()) < 0.1, weight


def test_plug_and_play_finds_the_most_likely_image(case: Case) -> None:
    image = plug_and_play(
        WhiteGaussian(case.mean), case.A, case.y, noise=NOISE, iterations=30, start=20.0
    )
    distance = (case.coefficients(image) - case.posterior).abs()
    assert float(distance.max()) < 0.15


def test_momentum_gets_there_in_fewer_passes(case: Case) -> None:
    """A weak prior, from far away: what the data leave open moves slowly."""
    far = torch.zeros_like(case.mean)
    options = {"noise": NOISE, "initial": far, "start": 0.5 * DEVIATION, "iterations": 12}

    def distance(momentum: float) -> float:
        image = plug_and_play(
            WhiteGaussian(case.mean), case.A, case.y, momentum=momentum, **options
        )
        return float((case.coefficients(image) - case.posterior).abs().mean())

    assert distance(0.4) < 0.7 * distance(0.0)
    with pytest.raises(ValueError, match="momentum must lie from 0 to below 1, got 1"):
        distance(1.0)


def test_plug_and_play_ends_at_a_part_of_the_noise(case: Case) -> None:
    prior, levels = WhiteGaussian(case.mean), []

    class Listening(WhiteGaussian):
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            levels.append(sigma)
            return prior(x, sigma)

    options = {"iterations": 4, "noise": 0.3}  # of an operator of norm 3: 0.1 in the image
    plug_and_play(Listening(case.mean), case.A, case.y, **options)
    assert levels[0] == pytest.approx(1)
    assert levels[3] == pytest.approx(0.04, rel=0.02)
    plug_and_play(Listening(case.mean), case.A, case.y, initial=case.truth, **options)
    assert levels[4] == pytest.approx(0.05)
    image = plug_and_play(
        Listening(case.mean), case.A, 0.01 * case.y, iterations=3, noise=0.0, scale=0.01
    )
    assert levels[-1] == pytest.approx(0.002)
    # after the last pass the data have their say: without noise, what was measured is kept
    c = 100 * case.coefficients(image)[case.mask]
    torch.testing.assert_close(c, (case.y / 3)[case.mask], rtol=0, atol=0.02)


def test_samples_repeat_and_do_not_depend_on_each_other(case: Case) -> None:
    prior = WhiteGaussian(case.mean)
    options = {"passes": 5, "noise": NOISE, "seed": 7}
    many = sample(prior, case.A, case.y, samples=3, **options)
    torch.testing.assert_close(sample(prior, case.A, case.y, samples=1, **options), many[:1])
    assert not torch.allclose(many[0], many[1])
    other = sample(prior, case.A, case.y, samples=1, **{**options, "seed": 8})
    assert not any(torch.allclose(other[0], one) for one in many)  # neighbouring seeds share none


def test_a_good_initial_image_is_kept_and_the_scale_has_no_effect(case: Case) -> None:
    prior = WhiteGaussian(case.mean)
    options = {"passes": 5, "noise": NOISE, "samples": 2}
    near = sample(prior, case.A, case.y, initial=case.truth, start=1e-3, weight=1e-6, **options)
    torch.testing.assert_close(near, case.truth.expand(2, *SHAPE), atol=0.02, rtol=0)
    plain = sample(prior, case.A, case.y, **options)
    options["noise"] *= 1e-3
    small = sample(prior, case.A, 1e-3 * case.y, scale=1e-3, **options)
    torch.testing.assert_close(1e3 * small, plain, rtol=1e-4, atol=1e-4)


def test_the_prior_alone_gives_the_prior(case: Case) -> None:
    complex_images = case.parts == 2
    images = draw(
        WhiteGaussian(case.mean), SHAPE, samples=COUNT, passes=200, complex_images=complex_images
    )
    spread = (images - case.mean).abs().square().mean() / case.parts
    assert float(spread.sqrt()) == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("coils", [1, 8])
@pytest.mark.parametrize("acceleration", [1, 3])
def test_the_noise_is_found_where_it_is_not_given(coils: int, acceleration: int) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(96, 80, dtype=torch.complex64)
    image[30:60, 20:60] = 1
    maps = torch.randn(coils, 1, 1, dtype=torch.complex64, generator=generator)
    maps = (maps / torch.linalg.vector_norm(maps)).expand(coils, 96, 80)
    mask = torch.rand(96, 80, generator=generator) < 1 / acceleration
    A = 3 * sr.Sense(maps, mask=mask)
    noise = torch.randn(coils, 96, 80, dtype=torch.complex64, generator=generator)
    y = A(image) + 0.1 * math.sqrt(2) * mask * noise
    least_squares = sr.conjugate_gradient(A, y, iterations=10)
    assert apparent_noise(A, least_squares) == pytest.approx(0.1, rel=0.1)


def test_networks_work_on_double_precision(case: Case) -> None:
    torch.manual_seed(0)
    network = EDMDenoiser(case.parts == 2, chans=(4, 6), blocks=1, patch=16)
    options = {"noise": NOISE, "scale": 1.0, "iterations": 3}
    single = plug_and_play(network, case.A, case.y, **options)
    double = plug_and_play(network, case.A, case.y.to(_double(case.y.dtype)), **options)
    assert double.dtype == _double(single.dtype)
    torch.testing.assert_close(double.to(single.dtype), single, rtol=1e-3, atol=1e-4)
    for sampler in sr.diffusion.SAMPLERS:
        image = sample(
            network, case.A, case.y.to(double.dtype), sampler=sampler, passes=6, noise=NOISE
        )
        assert image.dtype == double.dtype, sampler


def test_networks_see_images_of_order_one(case: Case) -> None:
    """MR in units of the image's robust maximum, whatever the data's; CT in units of water."""
    torch.manual_seed(0)
    network = EDMDenoiser(case.parts == 2, chans=(4, 6), blocks=1, patch=16)
    options = {"iterations": 3}
    if case.parts == 2:
        plain = plug_and_play(network, case.A, case.y, noise=NOISE, **options)
        large = plug_and_play(network, case.A, 1e3 * case.y, noise=1e3 * NOISE, **options)
        torch.testing.assert_close(large, 1e3 * plain, rtol=1e-3, atol=1e-2)
        scale = float(item_scale(case.mean, 2))
        warm = plug_and_play(
            network, case.A, case.y, noise=NOISE, initial=case.mean, **options
        )  # fmt: skip
        same = plug_and_play(
            network, case.A, case.y, noise=NOISE, initial=case.mean, scale=scale, **options
        )
        torch.testing.assert_close(warm, same)
    else:
        plain = plug_and_play(network, case.A, case.y, noise=NOISE, **options)
        water = plug_and_play(network, case.A, case.y, noise=NOISE, scale=WATER, **options)
        torch.testing.assert_close(plain, water)


def _double(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype.is_complex else torch.float64


def test_memory_has_no_influence_on_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their numbers nor the places of the tiles, which move from pass to pass."""
    torch.manual_seed(0)
    network = EDMDenoiser(chans=(4, 6), blocks=1, patch=8)
    A, y = sr.Fourier((20, 17)), torch.randn(20, 17, dtype=torch.complex64)
    options = {"samples": 2, "passes": 3, "noise": 0.5, "scale": 1.0}
    together = sample(network, A, y, **options)
    denoise = Prior.__call__

    def short(self: Prior, x: Tensor, sigma: float) -> Tensor:
        if len(x) > 1 and sigma < 1:  # not in the first pass
            raise torch.OutOfMemoryError
        return denoise(self, x, sigma)

    monkeypatch.setattr(Prior, "__call__", short)
    with pytest.warns(UserWarning, match="going on with 1 samples"):
        apart = sample(network, A, y, **options)
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-4)


def test_short_memory_means_fewer_at_a_time() -> None:
    sizes = []

    def run(draws: Draws) -> Tensor:
        drawn = draws(torch.zeros(2))
        sizes.append(len(drawn))
        if len(drawn) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return drawn

    with pytest.warns(UserWarning, match="going on with 2 samples at a time"):
        found = fitting_memory(run, [5, 6, 7, 8, 9])
    assert sizes == [5, 3, 2, 2, 1]
    torch.testing.assert_close(found, Draws([5, 6, 7, 8, 9])(torch.zeros(2)))
    with pytest.raises(RuntimeError, match="another"):
        fitting_memory(lambda draws: (_ for _ in ()).throw(RuntimeError("another")), [1])


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_new_noise_is_that_of_the_reverse_diffusion(eta: float) -> None:
    """Of variance ``eta^2 s^2 (1 - s^2 / S^2)`` from level S to s; the noise of all is s."""
    x, clean, high, low = torch.full((1, 40000), 3.0), torch.ones(1, 40000), 2.0, 0.8
    moved = ancestral(x, clean, high, low, eta, Draws([0]))
    fresh = eta * low * math.sqrt(1 - (low / high) ** 2)
    kept = math.sqrt(low**2 - fresh**2) / high
    assert float(moved.mean()) == pytest.approx(1 + kept * 2, abs=0.02)
    assert float(moved.std()) == pytest.approx(fresh, abs=0.01)


def test_levels_fall_and_the_last_noise_is_none() -> None:
    levels = noise_levels(10, 3.0, 0.02)
    assert levels[0] == pytest.approx(3)
    assert levels[-1] == pytest.approx(0.02)
    assert all(a > b for a, b in itertools.pairwise(levels))
    x, clean = torch.randn(2, 4), torch.randn(2, 4)
    torch.testing.assert_close(ancestral(x, clean, 0.1, 0.0, 1.0, Draws([1, 2])), clean)


def test_what_does_not_fit_is_said(case: Case) -> None:
    prior = WhiteGaussian(case.mean)
    with pytest.raises(ValueError, match="sampler must be one of dds, dps"):
        sample(prior, case.A, case.y, sampler="ddpm")
    with pytest.raises(ValueError, match="samples and passes must be 1 or more"):
        sample(prior, case.A, case.y, passes=0)
    with pytest.raises(ValueError, match="one scan at a time"):
        sample(prior, case.A, case.y[None].expand(2, *SHAPE))
    with pytest.raises(ValueError, match="is zero: no ray or sample"):
        sample(prior, 0 * sr.Sampling(torch.ones(SHAPE, dtype=torch.bool)), case.y, noise=0.1)
    with pytest.raises(ValueError, match="noise and scale must be positive"):
        sample(prior, case.A, case.y, noise=-1.0)
    with pytest.raises(TypeError, match="a prior is an EDMDenoiser.*got str"):
        sample("prior-mr", case.A, case.y)
    with pytest.raises(TypeError, match="got UNet"):
        plug_and_play(sr.models.UNet(1, 1, 4, 2), case.A, case.y)
    with pytest.raises(ValueError, match=r"initial image has shape \(3, 3\)"):
        sample(prior, case.A, case.y, initial=torch.zeros(3, 3))
    with pytest.raises(ValueError, match="seed below 2"):
        sample(prior, case.A, case.y, seed=10**17)
    with pytest.raises(ValueError, match="samples must be 1 or more"):
        draw(prior, SHAPE, samples=0)
    with pytest.raises(ValueError, match=r"shape must be \(\[z,\] y, x\)"):
        draw(prior, (8,))
    with pytest.raises(ValueError, match="noise levels must fall and stay positive, got 0"):
        sample(prior, case.A, case.y, noise=NOISE, start=0.0)
    with pytest.raises(ValueError, match="a prior of another modality"):
        sample(EDMDenoiser(case.parts == 1), case.A, case.y)
    with pytest.raises(ValueError, match="weight must be positive, got 0"):
        plug_and_play(prior, case.A, case.y, weight=0.0)


class Steep(WhiteGaussian):
    """A network whose gradient is far steeper than its mean error says."""

    def deviation(self, sigma: float) -> float:
        return super().deviation(sigma) / 5


@pytest.mark.parametrize(
    ("sampler", "kind", "weight"),
    [("dps", Steep, 1.0), ("dps", WhiteGaussian, 20.0), ("langevin", WhiteGaussian, 20.0)],
)
def test_steps_stay_stable(
    case: Case, sampler: str, kind: type[WhiteGaussian], weight: float
) -> None:
    images = sample(
        kind(case.mean), case.A, case.y, sampler=sampler, samples=4, passes=100, noise=NOISE / 10,
        weight=weight,
    )  # fmt: skip
    assert float((case.coefficients(images).mean(0) - case.posterior).abs()[case.mask].max()) < 0.5


def test_arrays_and_double_precision(case: Case) -> None:
    network = sr.models.EDMDenoiser(case.parts == 2, chans=(4, 6), blocks=1, patch=32)
    plain = sample(network, case.A, case.y, passes=3, noise=NOISE, scale=1.0)
    found = sample(network, case.A, case.y.numpy(), passes=3, noise=NOISE, scale=1.0)
    torch.testing.assert_close(found, plain)
    wide = case.y.to(torch.complex128 if case.parts == 2 else torch.float64)
    assert sample(network, case.A, wide, passes=3, noise=NOISE, scale=1.0).dtype == wide.dtype
