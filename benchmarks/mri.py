"""MR methods against BART and SigPy on a real brain scan: image error, time, JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.mri [--output FILE.json] [--rounds 5]

`brain8ch_full.cfl` (8 coils, 230 x 180) is undersampled by `sigpy.mri.poisson` (24 x 24
calibration, seed 0). Error: NRMSE of the magnitude inside the object (full-data root sum of
squares above 8 % of its 99.5 percentile), scale fitted there. The peers run at each weight of a
sweep and show the best; Spinray runs once, at its default weight. BART's times are of the whole
process, files included.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinray.recon.metrics import nrmse
from spinray.recon.mri import espirit, root_sum_of_squares, wavelet_sense
from spinray.recon.operators import Fourier, Sense

from .common import has, machine, medians, write

BART_WEIGHTS = (0.002, 0.003, 0.004, 0.006, 0.01)
SIGPY_WEIGHTS = (1e-3, 2e-3, 4e-3, 6e-3, 8e-3, 1.2e-2)
Complex = NDArray[np.complex64]


def write_cfl(path: Path, array: Complex) -> None:
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> Complex:
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F").squeeze()


def bart(*arguments: str) -> float:
    """Run one BART command and return its seconds."""
    start = time.perf_counter()
    subprocess.run(["bart", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


class Case:
    """The scan at one acceleration, and the bar's error."""

    def __init__(self, kspace: Complex, acceleration: int) -> None:
        import sigpy.mri

        mask = sigpy.mri.poisson(kspace.shape[1:], acceleration, calib=(24, 24), seed=0)
        self.mask = torch.from_numpy(np.abs(mask) > 0)
        self.kspace = torch.from_numpy(kspace) * self.mask
        images = Fourier(kspace.shape[1:]).adjoint(torch.from_numpy(kspace))
        self.target = root_sum_of_squares(images)
        self.inside = self.target > 0.08 * self.target.flatten().quantile(0.995)

    def error(self, image: Any) -> float:
        return nrmse(self.target, np.abs(np.asarray(image)), mask=self.inside, fit_scale=True)


def run_bart(case: Case, folder: Path) -> dict[str, float]:
    k, m, x = (str(folder / name) for name in "kmx")
    write_cfl(folder / "k", np.moveaxis(case.kspace.numpy(), 0, -1)[None])
    bart("ecalib", "-c0", "-m1", k, m)
    runs = []
    for weight in BART_WEIGHTS:
        seconds = bart("pics", "-l1", "-r", str(weight), "-i", "100", k, m, x)
        runs.append((case.error(read_cfl(folder / "x")), seconds, weight))
        seconds = bart("pics", "-l1", "-r", str(weight), k, m, x)  # its default, 30 iterations
        runs.append((case.error(read_cfl(folder / "x")), seconds, weight))
    return dict(zip(("nrmse", "seconds", "weight"), min(runs), strict=True))


def run_sigpy(case: Case) -> dict[str, float]:
    from sigpy.mri.app import EspiritCalib, L1WaveletRecon

    kspace = case.kspace.numpy()
    maps = EspiritCalib(kspace, crop=0, show_pbar=False).run()
    images = Fourier(kspace.shape[1:]).adjoint(case.kspace).numpy()
    scale = float(np.abs((maps.conj() * images).sum(0)).max())
    runs = []
    for weight in SIGPY_WEIGHTS:
        app = L1WaveletRecon(kspace, maps, weight * scale, max_iter=100, show_pbar=False)
        seconds, image = timed(app.run)
        runs.append((case.error(image), seconds, weight))
    return dict(zip(("nrmse", "seconds", "weight"), min(runs), strict=True))


def run_spinray(case: Case, peers: dict[str, float]) -> dict[str, Any]:
    """Error after the default iterations, and the seconds until each peer's error is reached."""
    maps = espirit(case.kspace)
    A = Sense(maps, mask=case.mask)
    history: list[tuple[float, torch.Tensor]] = []
    start = time.perf_counter()
    image = wavelet_sense(
        A,
        case.kspace,
        callback=lambda i, x, change: history.append((time.perf_counter() - start, x.clone())),
    )
    result: dict[str, Any] = {"nrmse": case.error(image), "seconds": time.perf_counter() - start}
    errors = [case.error(x) for _, x in history]
    for name, floor in peers.items():
        reached = next((t for (t, _), e in zip(history, errors, strict=True) if e <= floor), None)
        result[f"seconds to {name}'s error"] = reached
    return result


def espirit_times(kspace: Complex, folder: Path, rounds: int) -> dict[str, float]:
    """Medians of interleaved runs on the fully sampled scan."""
    write_cfl(folder / "k", np.moveaxis(kspace, 0, -1)[None])
    tensor = torch.from_numpy(kspace)
    espirit(tensor)
    calls: dict[str, Callable[[], Any]] = {"Spinray": lambda: espirit(tensor)}
    if shutil.which("bart"):
        calls["BART"] = lambda: bart("ecalib", "-c0", "-m1", str(folder / "k"), str(folder / "m"))
    if has("sigpy"):
        from sigpy.mri.app import EspiritCalib

        calls["SigPy"] = lambda: EspiritCalib(kspace, crop=0, show_pbar=False).run()
    return medians(calls, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/mri.json"))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the ESPIRiT timing")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SPINRAY_DATA", "../shared/data"))
    if not (data / "mr_kspace" / "brain8ch_full.cfl").exists():
        print("skipped: mr_kspace/brain8ch_full.cfl is not in SPINRAY_DATA")
        return
    kspace = read_cfl(data / "mr_kspace" / "brain8ch_full")
    kspace = np.ascontiguousarray(np.moveaxis(kspace, -1, 0))
    results: dict[str, Any] = {
        "machine": machine(),
        "l1-wavelet": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["espirit seconds"] = espirit_times(kspace, folder, arguments.rounds)
        print("ESPIRiT maps, seconds:", results["espirit seconds"])
        print(f"{'':6}{'tool':10}{'NRMSE':>8}{'seconds':>9}   ")
        for acceleration in (4, 8, 12):
            case = Case(kspace, acceleration)
            rows: dict[str, dict[str, Any]] = {}
            if shutil.which("bart"):
                rows["BART"] = run_bart(case, folder)
            rows["SigPy"] = run_sigpy(case)
            rows["Spinray"] = run_spinray(case, {peer: row["nrmse"] for peer, row in rows.items()})
            results["l1-wavelet"][f"{acceleration}x"] = rows
            for tool, row in rows.items():
                rest = {k: v for k, v in row.items() if k not in ("nrmse", "seconds")}
                rest = ", ".join(f"{k} {v:.3g}" if v else f"{k} never" for k, v in rest.items())
                print(
                    f"{acceleration:>4}x {tool:10}{row['nrmse']:8.4f}{row['seconds']:9.2f}   {rest}"
                )
    write(arguments.output, results)


if __name__ == "__main__":
    main()
