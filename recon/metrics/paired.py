"""Whether one method is better than another on the same volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PairedTest:
    """The difference of two methods over the same volumes.

    Parameters
    ----------
    count
        Volumes.
    difference
        Mean of first minus second.
    interval
        Its bootstrap confidence interval.
    confidence
        Of that interval.
    effect
        Matched-pairs rank-biserial correlation: 1 where the first is larger on every volume, -1
        where the second is.
    p_value
        Two-sided, of Wilcoxon's signed-rank test.
    """

    count: int
    difference: float
    interval: tuple[float, float]
    confidence: float
    effect: float
    p_value: float

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"difference {self.difference:+.4g} ({self.confidence:.0%} interval {low:+.4g} to "
            f"{high:+.4g}), effect {self.effect:+.2f}, p = {self.p_value:.2g}, n = {self.count}"
        )


def paired_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> PairedTest:
    """Compare a figure of two methods volume by volume.

    Parameters
    ----------
    first, second
        One figure a volume, ``(volume,)``, in the same order.
    confidence
        Of the bias-corrected accelerated bootstrap interval of the mean difference.
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap.

    Raises
    ------
    ValueError
        Other shapes, fewer than two volumes, NaN or infinity.

    References
    ----------
    F. Wilcoxon, Biometrics Bull 1, 80 (1945). D. Kerby, Comprehensive Psychol 3, 1 (2014).
    """
    from scipy.stats import bootstrap, rankdata, wilcoxon

    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ValueError(f"expected two figures a volume, (volume,) of 2 or more, got {a.shape} "
                         f"and {b.shape}")  # fmt: skip
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("the figures hold NaN or infinity")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    difference = a - b
    mean = float(difference.mean())
    moved = difference[difference != 0]
    if np.ptp(difference) == 0:  # no spread: nothing to resample
        interval = (mean, mean)
    else:
        found = bootstrap(
            (difference,), np.mean, confidence_level=confidence, n_resamples=resamples,
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        interval = (float(found.low), float(found.high))
    if not moved.size:
        return PairedTest(a.size, mean, interval, confidence, 0.0, 1.0)
    ranks = rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    return PairedTest(
        a.size, mean, interval, confidence, effect, float(wilcoxon(difference).pvalue)
    )
