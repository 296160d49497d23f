"""What a scan of the simulators costs a loader worker, which has one core.

    python -m benchmarks.simulators [--quick] [--output FILE.json]

The options are those of `experiments/mr_unrolled.yaml` and `ct_unrolled.yaml`, the image is a
phantom's: no data are needed. Poisson discs are at hand, as they are after some hundreds of scans,
and CT's slices are projected, as they are where nothing turns them (`benchmarks.ct` times the projector).
The error of MR scans is that of their coil maps beside ESPIRiT's of every pixel, inside the object;
of CT scans that of the noise's variance, where it is known.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from spinray.datasets import LineMask, MaskMixture, PoissonMask, SimulatedCT, SimulatedMR
from spinray.datasets.examples import MRExample
from spinray.datasets.phantoms import mr_grid, phantom

from .common import run_suite
from .protocol import OURS, Prepared, Task

SCANS = 24  # a call


class MRScans:
    """Scans of a head on n x n pixels, eight coils, ESPIRiT maps, 4x to 12x."""

    def __init__(self, n: int) -> None:
        mask = MaskMixture(
            [
                PoissonMask((4.0, 6.0, 8.0, 10.0, 12.0), 24),
                LineMask("equispaced", (0.08, 0.04), (4, 8)),
                LineMask("random", (0.08, 0.06), (4, 6)),
            ],
            turned=True,
        )
        image = phantom("shepp-logan").image(mr_grid((n, n), (240.0, 240.0)))
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "head.npy", image[None].astype(np.float32))
            self.data = SimulatedMR(
                Path(folder), mask, matrix=(n, n), shrink=(0.7, 1.0), turned=True,
                susceptibility=1.0, snr=(20.0, 150.0), maps="espirit",
            )  # fmt: skip

    def prepared(self) -> Prepared:
        torch.manual_seed(0)
        self.scans()

        def call() -> list[MRExample]:
            torch.manual_seed(0)
            return self.scans()

        return Prepared(call, lambda scans: max(_map_error(scan) for scan in scans))

    def scans(self) -> list[MRExample]:
        return [self.data[0] for _ in range(SCANS)]


def _map_error(scan: MRExample) -> float:
    """Root mean square over the object of the maps' distance from those of every pixel."""
    assert scan.maps is not None
    assert scan.target is not None
    inside = scan.target > 0.1 * scan.target.max()
    square = (scan.maps - sr.mri.espirit(scan.kspace)).abs().square().sum(0)
    return math.sqrt(float(square[inside].mean()))


class CTScans:
    """Scans of a head on n x n pixels, a fan of 984 views, 1e4 photons."""

    PHOTONS, NOISE = 1e4, 5.0

    def __init__(self, n: int) -> None:
        spacing = 230.4 / n
        image = phantom("head").image(sr.VolumeGrid((n, n), (spacing, spacing)))
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "head.npy", sr.ct.to_hounsfield(torch.from_numpy(image))[None])
            self.data = SimulatedCT(
                Path(folder), spacing=spacing, photons=self.PHOTONS, electronic_noise=self.NOISE
            )

    def prepared(self) -> Prepared:
        torch.manual_seed(0)
        self.scans()
        return Prepared(self.scans, self.error)

    def scans(self) -> list[torch.Tensor]:
        return [self.data[0].sinogram for _ in range(SCANS)]

    def error(self, scans: list[torch.Tensor]) -> float:
        found = torch.stack(scans).double()
        photons = self.PHOTONS * torch.exp(-found.mean(0))
        expected = (photons + self.NOISE**2) / photons**2
        return abs(float((found.var(0) / expected)[photons > 100].mean()) - 1)


def tasks(quick: bool = False) -> Iterator[Task]:
    """One scan each, in one thread."""
    torch.set_num_threads(1)  # the kernels follow
    n = 160
    yield Task("simulators", "SimulatedMR, a scan", {OURS: lambda: MRScans(n).prepared()},
               "rms of the maps", {"matrix": n, "coils": 8}, SCANS)  # fmt: skip
    n = 128 if quick else 256
    yield Task("simulators", "SimulatedCT, noise of a scan", {OURS: lambda: CTScans(n).prepared()},
               "relative error of the variance", {"matrix": n, "views": 984}, SCANS)  # fmt: skip


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
