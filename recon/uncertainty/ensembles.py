"""Samples of networks' answers: ensembles and Monte-Carlo dropout, judged as posterior samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from ..seeding import seeded

DROPOUT = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout
POOL = 1.5  # pixels


def statistics(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of samples, and standard deviation of their magnitude (of the value, if real).

    Parameters
    ----------
    samples
        ``(sample, ...)``; the deviation of a single one is zero.
    """
    values = samples.abs() if samples.is_complex() else samples
    return samples.mean(0), values.std(0, correction=min(1, len(samples) - 1))


def pooled(deviation: Tensor) -> Tensor:
    """Standard deviation of a pixel and its neighbours: a few samples tell one pixel's poorly.

    Of eight samples it is off by a quarter. Variances are averaged by a Gaussian of 1.5 pixels in
    the plane.

    Parameters
    ----------
    deviation
        ``(*batch, [z,] y, x)``, such as `Image.deviation`.
    """
    variance = deviation.square().numpy(force=True)
    smooth = gaussian_filter(variance, POOL, axes=(-2, -1), mode="nearest")
    return torch.from_numpy(smooth).to(deviation).sqrt()


def ensemble_samples(networks: Sequence[Callable[..., Tensor]], *inputs: Any) -> Tensor:
    """Answers ``(network, ...)`` of several networks to the same input.

    Parameters
    ----------
    networks
        Trained apart, such as by other seeds of ``spinray train``: two or more.
    inputs
        What each is called with: ``A, y`` for unrolled networks.

    Raises
    ------
    ValueError
        Fewer than two networks.

    References
    ----------
    B. Lakshminarayanan et al., NeurIPS (2017).
    """
    if len(networks) < 2:
        raise ValueError(f"an ensemble needs two networks or more, got {len(networks)}")
    with torch.no_grad():
        return torch.stack([network(*inputs) for network in networks])


def dropout_samples(network: nn.Module, *inputs: Any, samples: int = 8, seed: int = 0) -> Tensor:
    """Answers ``(sample, ...)`` of one network whose dropout stays on.

    Parameters
    ----------
    network
        With dropout layers of a probability above zero.
    inputs
        What it is called with.
    samples
        How many answers.
    seed
        Of what is dropped.

    Raises
    ------
    ValueError
        A network without dropout, no sample.

    References
    ----------
    Y. Gal, Z. Ghahramani, ICML (2016).
    """
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples}")
    layers = [layer for layer in network.modules() if isinstance(layer, DROPOUT) and layer.p > 0]
    if not layers:
        raise ValueError(
            f"{type(network).__name__} has no dropout: make it with drop_prob above 0 and train it "
            "so, or use an ensemble"
        )
    before = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.train()
        device = next(network.parameters()).device
        with torch.no_grad(), seeded(seed, device):
            return torch.stack([network(*inputs) for _ in range(samples)])
    finally:
        for layer, mode in zip(layers, before, strict=True):
            layer.train(mode)
