"""Deep image prior: an untrained, band-limited decoder fitted to one scan."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.channels import from_channels
from ..models.scaling import unit_norm
from ..operators import LinearOperator
from ..seeding import seeded
from ..solvers import conjugate_gradient, data_consistency
from ..solvers.common import Callback
from .splitting import held_back, restricted

LEVELS = 3  # doublings from the coarsest grid to the image's
INPUTS = 8  # channels of fixed noise that enter at each grid
JUDGE = 0.1  # of the samples decide when to stop
CHECK, PATIENCE = 20, 15  # steps between looks; looks without gain
RATE, AVERAGE = 3e-3, 0.97  # of the optimiser; of the running mean of the images
FIT_WEIGHTS, FIT_ITERATIONS = (0.01, 0.03, 0.1, 0.3, 1.0), 20  # of the image against full data
JITTER = 0.03  # of the input in each step, against its memory of single pixels


class Decoder(nn.Module):
    """Band-limited noise on several grids to an image: convolutions, smooth upsampling between.

    Bounded bandwidth is what keeps an untrained network from fitting noise first: the noise that
    enters on each grid is low-pass, and grids are doubled by interpolation.

    Parameters
    ----------
    shape
        ``(y, x)`` of the image.
    channels
        1 for real images, 2 for complex ones.
    chans
        Width of all layers.
    band
        Width of the noise's Gaussian spectrum, cycles per pixel of each grid.
    """

    def __init__(
        self, shape: tuple[int, int], channels: int, chans: int = 48, band: float = 0.3
    ) -> None:
        super().__init__()
        self.shape = shape
        coarse = [-(-n // (1 << LEVELS)) for n in shape]
        self.layers = nn.ModuleList()
        for level in range(LEVELS + 1):
            noise = _smooth_noise([n << level for n in coarse], band)
            self.register_buffer(f"noise{level}", noise)
            carried = chans if level else 0
            self.layers.append(
                nn.Sequential(*_block(carried + INPUTS, chans), *_block(chans, chans))
            )
        self.tail = nn.Conv2d(chans, channels, 1)

    def forward(self, jitter: float = 0.0) -> Tensor:
        """Image ``(1, channels, y, x)``."""
        x = None
        for level, layer in enumerate(self.layers):
            noise = self.get_buffer(f"noise{level}")
            noise = noise + jitter * torch.randn_like(noise)
            if x is not None:
                up = functional.interpolate(
                    x, scale_factor=2.0, mode="bilinear", align_corners=False
                )
                noise = torch.cat((up, noise), 1)
            x = layer(noise)
        image: Tensor = self.tail(x)
        return image[..., : self.shape[0], : self.shape[1]]


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.SiLU(),
    ]


def _smooth_noise(shape: list[int], band: float) -> Tensor:
    """Noise of unit variance ``(1, INPUTS, y, x)`` with a Gaussian spectrum."""
    ky, kx = (torch.fft.fftfreq(n) for n in shape)
    window = torch.exp(-(ky[:, None] ** 2 + kx**2) / (2 * band**2))
    spectrum = window * torch.fft.fft2(torch.randn(1, INPUTS, *shape))
    noise: Tensor = torch.fft.ifft2(spectrum).real
    return noise / noise.std()


def deep_image_prior(
    A: LinearOperator,
    y: Tensor,
    measured: Tensor,
    *,
    iterations: int = 1500,
    centre: Tensor | None = None,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Fit an untrained `Decoder` to one scan, and stop by samples that it does not see.

    What the network has not reached by then a least-squares fit around its image adds, as closely
    as the same samples approve.

    Parameters
    ----------
    A
        Image ``(y, x)`` to data, such as `Sense` or `XRayTransform`.
    y
        Data of one scan, ``A.range_shape``.
    measured
        Bool, broadcasting to the data: which samples were measured.
    iterations
        Steps of the optimiser, at most.
    centre
        Samples never held back, shaped as `measured`.
    seed
        Of input, weights and held-back samples.
    callback
        ``callback(step, image, loss)`` after each step.

    Returns
    -------
    Tensor
        ``(y, x)``, from the running mean of the images at the best step.

    Raises
    ------
    ValueError
        An operator of volumes, no step, samples too few to hold some back.

    References
    ----------
    D. Ulyanov et al., CVPR (2018); Y. Liu et al., The devil is in the upsampling, CVPR (2024).
    """
    if len(A.domain_shape) != 2:
        raise ValueError(f"dip reconstructs slices (y, x), the operator has {A.domain_shape}")
    if iterations < 1:
        raise ValueError(f"dip needs 1 step or more, got {iterations}")
    shape = (int(A.domain_shape[0]), int(A.domain_shape[1]))
    generator = torch.Generator().manual_seed(seed)
    given, judge = held_back(measured, JUDGE, generator, keep=centre)
    scaled, norm = unit_norm(A, y)
    with torch.no_grad():
        rough = conjugate_gradient(restricted(A, given), y * given, iterations=5)
        scale = float(rough.abs().amax().clamp_min(1e-30))
    data = y / (norm * scale)
    with seeded(seed, y.device):
        network = Decoder(shape, 2 if y.is_complex() else 1).to(y.real)
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        best, result, waited = float("inf"), torch.zeros_like(rough), 0
        mean: Tensor | None = None
        for step in range(iterations):
            out = network(JITTER)
            image = (from_channels(out) if y.is_complex() else out)[0, 0]
            predicted = scaled(image)
            loss = ((predicted - data) * given).abs().square().sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            still = image.detach()
            mean = still if mean is None else AVERAGE * mean + (1 - AVERAGE) * still
            if callback is not None:
                callback(step, scale * still, float(loss.detach()))
            if (step + 1) % CHECK and step + 1 < iterations:
                continue
            with torch.no_grad():
                score = float(((scaled(mean) - data) * judge).abs().square().sum())
            waited = 0 if score < best else waited + 1
            if score < best:
                best, result = score, mean
            if waited == PATIENCE:
                break
        return scale * _fitted(scaled, data, result, given, judge, measured)


def _fitted(
    A: LinearOperator, data: Tensor, image: Tensor, given: Tensor, judge: Tensor, measured: Tensor
) -> Tensor:
    """The image fitted to all data, as closely as predicts the held-back samples best."""

    def fit(samples: Tensor, weight: float) -> Tensor:
        B = restricted(A, samples)
        return data_consistency(
            B, B.adjoint(data * samples), image, image.real.new_full((1, 1), weight),
            iterations=FIT_ITERATIONS,
        )  # fmt: skip

    def misfit(x: Tensor) -> float:
        return float(((A(x) - data) * judge).abs().square().sum())

    with torch.no_grad():
        scores = {weight: misfit(fit(given, weight)) for weight in FIT_WEIGHTS}
        weight = min(scores, key=lambda w: scores[w])
        return image if misfit(image) <= scores[weight] else fit(measured, weight)
