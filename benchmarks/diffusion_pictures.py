"""The pictures of docs/diffusion.md, from a simulated scan: no data are needed.

python -m benchmarks.diffusion_pictures [--output FOLDER]
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor

mpl.use("Agg")

import matplotlib.pyplot as plt

from spinray.recon.models import EDMDenoiser

Panel = tuple[str, Tensor, float]  # title, image, white


def strip(panels: list[Panel], path: Path) -> None:
    """Images side by side, each from black to its white."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.9 * len(panels), 3.3), layout="constrained"
    )
    for axis, (title, image, white) in zip(axes, panels, strict=True):
        axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=white)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    print(path)


def draws(path: Path) -> None:
    """What the priors believe in, before any data."""
    panels: list[Panel] = []
    for name, title in (("prior-mr", "MR prior"), ("prior-ct", "CT prior")):
        prior = sr.load_model(name)
        assert isinstance(prior, EDMDenoiser)
        images = sr.diffusion.draw(prior, (144, 144), samples=2, passes=40, seed=3)
        panels += [
            (f"{title}, draw {i + 1}", x.abs(), float(x.abs().max())) for i, x in enumerate(images)
        ]
    strip(panels, path)


def posterior(folder: Path) -> None:
    """Samples, their spread beside the true error, and what the data do not tell."""
    scan = sr.datasets.simulate_mr(
        "head",
        matrix=(192, 192),
        coils=8,
        acceleration=6,
        mask="poisson",
        calibration=24,
        snr=40,
        seed=0,
    )
    truth = sr.datasets.reference_image(scan).data.abs()
    image = sr.reconstruct(scan, "dds", samples=8, passes=25)
    assert image.samples is not None
    assert image.deviation is not None
    scale = (truth * image.data.abs()).sum() / image.data.abs().square().sum()
    white = float(truth.quantile(0.995))
    error = (scale * image.data.abs() - truth).abs()
    strip(
        [
            ("true image", truth, white),
            ("sample 1", scale * image.samples[0].abs(), white),
            ("sample 2", scale * image.samples[1].abs(), white),
            ("mean of 8", scale * image.data.abs(), white),
            ("true error, x 10", 10 * error, white),
            ("standard deviation, x 10", 10 * scale * image.deviation, white),
        ],
        folder / "posterior.png",
    )
    A = sr.Sense(sr.mri.espirit(scan.kspace), mask=scan.mask)
    parts = sr.uncertainty.split(A, image.data)
    parts.picture(folder / "split.png")
    print(image.metadata["convergence"], f"added by the prior: {parts.fraction:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    draws(folder / "prior.png")
    posterior(folder)


if __name__ == "__main__":
    main()
