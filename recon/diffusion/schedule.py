"""The noise levels that a sampler visits."""

from __future__ import annotations

HIGHEST, LOWEST = 10.0, 0.01  # in units of the image's robust maximum
CURVATURE = 7.0  # of the schedule; the larger, the more levels are low


def noise_levels(count: int, high: float = HIGHEST, low: float = LOWEST) -> list[float]:
    """Falling standard deviations from `high` to `low`, dense where they are low.

    Parameters
    ----------
    count
        How many: network passes, for most samplers.
    high, low
        First and last level.

    Raises
    ------
    ValueError
        No level, or levels that do not fall.

    References
    ----------
    T. Karras et al., EDM, NeurIPS (2022), equation 5.
    """
    if count < 1:
        raise ValueError(f"a sampler needs 1 network pass or more, got {count}")
    if not 0 < low <= high:
        raise ValueError(f"noise levels must fall and stay positive, got {high} to {low}")
    if count == 1:
        return [high]
    first, last = high ** (1 / CURVATURE), low ** (1 / CURVATURE)
    return [
        (first + (last - first) * index / (count - 1)) ** CURVATURE for index in range(count)
    ]  # fmt: skip
