"""Whether an image explains its data as well as their noise allows, and no better."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators import LinearOperator

CLEAR = 5.0  # standard deviations beyond which a departure is no chance
MODEL = 0.1  # relative departure that an imperfect model of the scanner makes


@dataclass(frozen=True)
class ResidualTest:
    """What is left of the data, against their noise.

    Parameters
    ----------
    ratio
        Mean squared residual over the noise's variance: 1 where the image explains the data.
    deviations
        How far that is from 1, in standard deviations of what chance does.
    signal
        Mean square of the data themselves over the noise's variance: 1 for noise alone.
    verdict
        "consistent", "misfit" (the image contradicts the data, or the model does), "overfit" (the
        image follows the noise) or "noise" (the data hold nothing else).
    """

    ratio: float
    deviations: float
    signal: float
    verdict: str

    def __str__(self) -> str:
        text = {
            "consistent": "the image explains the data",
            "misfit": "the image does not explain the data: wrong model, or invented structure",
            "overfit": "the image follows the noise of the data",
            "noise": "the data hold nothing but noise: what the image shows is the prior's",
        }[self.verdict]
        return f"residual {self.ratio:.3g} of the noise's variance: {text}"


def residual_test(A: LinearOperator, x: Tensor, y: Tensor, noise: float) -> ResidualTest:
    """Compare ``A x - y`` with the known noise (chi-squared).

    Parameters
    ----------
    A
        The scan's operator.
    x
        Image, of A's domain.
    y
        Data, of A's range; samples that are zero in both are not counted (not measured).
    noise
        Standard deviation of the noise, of the real part where data are complex.

    Raises
    ------
    ValueError
        Noise that is not positive, shapes that do not fit, data that are zero.
    """
    if not noise > 0:
        raise ValueError(f"noise must be positive, got {noise}")
    with torch.no_grad():
        predicted = A(x)
    if predicted.shape != y.shape:
        raise ValueError(f"the image gives data {tuple(predicted.shape)}, got {tuple(y.shape)}")
    measured = (y != 0) | (predicted != 0)
    count = int(measured.sum()) * (2 if y.is_complex() else 1)
    if count == 0:
        raise ValueError("the data are zero: nothing was measured")
    chance = math.sqrt(2 / count)
    ratio, signal = (
        float(v.abs().double().square().sum()) / (noise**2 * count) for v in (predicted - y, y)
    )
    deviations = (ratio - 1) / chance
    if abs(signal - 1) < max(CLEAR * chance, MODEL):
        verdict = "noise"
    elif abs(deviations) < CLEAR or abs(ratio - 1) < MODEL:
        verdict = "consistent"
    else:
        verdict = "misfit" if ratio > 1 else "overfit"
    return ResidualTest(ratio, deviations, signal, verdict)
