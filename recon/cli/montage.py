"""Pictures of results: images beside their reference, with the difference and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.atomic import atomic
from ..metrics import nrmse, psnr, ssim

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Panel:
    """One image ``(y, x)`` of a montage and its title."""

    title: str
    image: Array


def figures(reference: Array, image: Array) -> dict[str, float]:
    """NRMSE, PSNR and SSIM of a slice ``(y, x)``."""
    target, estimate = reference[None], image[None]
    return {
        "NRMSE": nrmse(target, estimate),
        "PSNR": psnr(target, estimate),
        "SSIM": ssim(target, estimate),
    }


def montage(
    path: Path,
    title: str,
    panels: Sequence[Panel],
    reference: Panel,
    *,
    window: tuple[float, float],
    error_scale: float = 5.0,
) -> None:
    """Draw the panels and the reference in one grey window, and below them their errors.

    The last panel is the result; `error_scale` is how many times the errors are amplified.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    everything = [*panels, reference]
    columns = len(everything)
    height, width = reference.image.shape
    size = (2.6 * columns, 2 * 2.6 * height / width + 0.9)
    figure, axes = plt.subplots(2, columns, figsize=size, facecolor="black", squeeze=False)
    low, high = window
    for column, panel in enumerate(everything):
        top, bottom = axes[0, column], axes[1, column]
        for axis in (top, bottom):
            axis.set_axis_off()
        top.imshow(panel.image, cmap="gray", vmin=low, vmax=high)
        top.set_title(panel.title, color="white", fontsize=9)
        if panel is reference:
            bottom.text(
                0.5, 0.5, f"errors\nx {error_scale:g}", color="white", ha="center", fontsize=9,
                transform=bottom.transAxes,
            )  # fmt: skip
            continue
        error = np.abs(panel.image - reference.image) * error_scale
        bottom.imshow(error, cmap="magma", vmin=0, vmax=high - low)
        measured = figures(reference.image, panel.image)
        bottom.set_title(
            f"NRMSE {measured['NRMSE']:.3f}  PSNR {measured['PSNR']:.1f} dB  "
            f"SSIM {measured['SSIM']:.3f}",
            color="white",
            fontsize=7,
        )
    figure.suptitle(title, color="white", fontsize=11)
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 0.97))
    try:
        with atomic(path) as temporary:
            figure.savefig(temporary, dpi=110, facecolor="black")
    finally:
        plt.close(figure)
