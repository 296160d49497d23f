"""Model observers: whether a lesion can be seen, as a figure."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_laguerre, j1, ndtr

from .noise_power import NoisePower
from .reference import Array, as_array
from .resolution import TransferFunction

Values = NDArray[np.float64]
Channels = Literal["laguerre-gauss", "gabor"]


def npw_detectability(
    contrast: float,
    diameter: float,
    transfer: TransferFunction,
    noise: NoisePower,
    *,
    eye: bool = False,
) -> float:
    """Detectability index d' of a disc for the non-prewhitening observer.

    ``d'^2 = (integral |W T|^2)^2 / integral |W T|^2 N`` over frequencies, with the disc's spectrum
    W, the task transfer function T and the noise power spectrum N; with an eye filter, that of the
    human eye at normal viewing is a part of both.

    Parameters
    ----------
    contrast
        Of the disc in the image's unit.
    diameter
        Of the disc in mm.
    transfer
        From `ttf_disc` at about that contrast.
    noise
        From `noise_power_spectrum`, in the same unit.
    eye
        Whether the observer sees through an eye (NPWE).

    Raises
    ------
    ValueError
        A diameter that is not positive, noise without power.

    References
    ----------
    S. Richard et al., Med Phys 39, 4115 (2012); A. E. Burgess, Med Phys 21, 655 (1994).
    """
    if not diameter > 0:
        raise ValueError(f"diameter must be positive mm, got {diameter}")
    fy, fx = noise.frequencies
    f = np.hypot(fy[:, None], fx[None, :])
    size = np.pi * f * diameter
    airy = np.where(size > 0, 2 * j1(size) / np.maximum(size, 1e-12), 1)
    disc = contrast * np.pi * diameter**2 / 4 * airy
    seen = np.interp(f, transfer.frequencies, transfer.values, right=0.0)
    signal = (disc * seen) ** 2
    sight = _eye(f) ** 2 if eye else np.ones_like(f)
    cell = (fy[1] - fy[0]) * (fx[1] - fx[0])
    power = float((signal * sight**2 * noise.spectrum).sum() * cell)
    if not power > 0:
        raise ValueError("the noise has no power where the disc has: d' is infinite")
    return float((signal * sight).sum() * cell / np.sqrt(power))


def channelized_hotelling(
    present: Array,
    absent: Array,
    *,
    channels: Channels = "laguerre-gauss",
    width: float = 10.0,
    internal_noise: float = 0.0,
    seed: int = 0,
) -> tuple[float, float]:
    """Detectability index d' and area under the ROC curve of a channelised Hotelling observer.

    The first half of the images trains the template, the second is judged by it, and the other way
    round; both figures are means.

    Parameters
    ----------
    present, absent
        Regions with and without the lesion in their middle, ``(image, y, x)``.
    channels
        ``"laguerre-gauss"``: six round channels, for round lesions; ``"gabor"``: five directions at
        four octave bands and two phases, close to human observers.
    width
        Scale of the Laguerre-Gauss channels in pixels: about the lesion's diameter.
    internal_noise
        Standard deviation added to the observer's decision, over that of the decisions without
        lesion.
    seed
        Of the internal noise.

    Raises
    ------
    ValueError
        Shapes that differ, fewer images than two for each channel.

    References
    ----------
    H. H. Barrett et al., PNAS 90, 9758 (1993); B. D. Gallas, H. H. Barrett, JOSA A 20, 1725 (2003);
    S. Leng et al., Med Phys 40, 081908 (2013).
    """
    yes, no = (as_array(images).astype(np.float64) for images in (present, absent))
    if yes.ndim != 3 or no.ndim != 3 or yes.shape[1:] != no.shape[1:]:
        raise ValueError(f"expected (image, y, x) of one size, got {yes.shape} and {no.shape}")
    if not (internal_noise >= 0 and width > 0):
        raise ValueError("internal_noise must be 0 or more, width positive pixels")
    profiles = _channels(channels, yes.shape[1:], width)
    if min(len(yes), len(no)) < 2 * len(profiles):
        raise ValueError(
            f"{len(profiles)} channels need {2 * len(profiles)} images or more of each kind, got "
            f"{len(yes)} and {len(no)}"
        )
    a, b = (images.reshape(len(images), -1) @ profiles.T for images in (yes, no))
    random = np.random.default_rng(seed)
    figures = []
    for train, test in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        spread = (np.cov(a[train].T) + np.cov(b[train].T)) / 2
        template = np.linalg.lstsq(spread, a[train].mean(0) - b[train].mean(0), rcond=None)[0]
        with_, without = a[test] @ template, b[test] @ template
        extra = internal_noise * without.std()
        with_, without = (t + extra * random.standard_normal(len(t)) for t in (with_, without))
        deviation = np.sqrt((with_.var(ddof=1) + without.var(ddof=1)) / 2)
        figures.append(
            (
                (with_.mean() - without.mean()) / deviation,
                (with_[:, None] > without).mean() + 0.5 * (with_[:, None] == without).mean(),
            )
        )
    index, area = np.mean(figures, axis=0)
    return float(index), float(area)


def auc_of(detectability: float) -> float:
    """Area under the ROC curve that an index d' means for normal decisions."""
    return float(ndtr(detectability / np.sqrt(2)))


def _channels(kind: str, shape: tuple[int, ...], width: float) -> Values:
    """Profiles ``(channel, pixel)`` about the middle of a region, each of unit norm."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    r2 = y**2 + x**2
    if kind == "laguerre-gauss":
        g = 2 * np.pi * r2 / width**2
        profiles = [np.exp(-g / 2) * eval_laguerre(order, g) for order in range(6)]
    elif kind == "gabor":
        profiles = []
        # The bands 1/64 to 1/32, ... up to 1/8 to 1/4 cycles a pixel, at whose ends half is left.
        for frequency in 1.5 / np.array([64.0, 32.0, 16.0, 8.0]):
            fwhm = 3 * 2 * np.log(2) / np.pi / frequency
            envelope = np.exp(-4 * np.log(2) * r2 / fwhm**2)
            for turn in np.pi * np.arange(5) / 5:
                wave = 2 * np.pi * frequency * (x * np.cos(turn) + y * np.sin(turn))
                profiles += [envelope * np.cos(wave), envelope * np.sin(wave)]
    else:
        raise ValueError(f'channels must be "laguerre-gauss" or "gabor", got {kind!r}')
    stack = np.array(profiles).reshape(len(profiles), -1)
    return np.asarray(stack / np.linalg.norm(stack, axis=1, keepdims=True))


def _eye(frequency: Values) -> Values:
    """The eye's response to cycles per mm of a displayed image at 50 cm, enlarged three times."""
    cycles = frequency / 3 * 500 * np.pi / 180  # a degree
    return np.asarray(cycles**1.3 * np.exp(-0.04 * cycles**2))
