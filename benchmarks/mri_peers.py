"""BART and SigPy on one undersampled scan: l1-wavelet at every weight of a sweep, ESPIRiT."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spinray.recon.operators import Fourier

from .bart import Complex, bart, has_bart, read_cfl, write_cfl
from .common import has
from .mri_cases import Undersampled

BART_WEIGHTS = (0.002, 0.003, 0.004, 0.006, 0.01)
BART_ITERATIONS = (30, 100)  # its default, and more
SIGPY_WEIGHTS = (1e-3, 2e-3, 4e-3, 6e-3, 8e-3, 1.2e-2)
SIGPY_ITERATIONS = 100

Settings = dict[str, float]
Run = Callable[[], Any]


@contextmanager
def bart_runs(kspace: Tensor) -> Iterator[Callable[[Settings], Run]]:
    """Maps in a folder; from settings to a call that runs ``bart pics`` and reads its image."""
    with tempfile.TemporaryDirectory() as name:
        k = write_cfl(Path(name) / "k", np.moveaxis(kspace.numpy(), 0, -1)[None])
        m, x = (str(Path(name) / file) for file in "mx")
        bart("ecalib", "-c0", "-m1", k, m)

        def prepare(settings: Settings) -> Run:
            words = ("-r", str(settings["weight"]), "-i", str(settings["iterations"]))

            def run() -> Complex:
                bart("pics", "-l1", *words, k, m, x)
                return read_cfl(Path(x))

            return run

        yield prepare


@contextmanager
def sigpy_runs(kspace: Tensor) -> Iterator[Callable[[Settings], Run]]:
    """Maps; from settings to a call that makes SigPy's image."""
    from sigpy.mri.app import EspiritCalib, L1WaveletRecon

    samples = kspace.numpy()
    maps = EspiritCalib(samples, crop=0, show_pbar=False).run()
    images = Fourier(kspace.shape[1:]).adjoint(kspace).numpy()
    scale = float(np.abs((maps.conj() * images).sum(0)).max())

    def prepare(settings: Settings) -> Run:
        app = L1WaveletRecon(
            samples, maps, settings["weight"] * scale, max_iter=int(settings["iterations"]),
            show_pbar=False,
        )  # fmt: skip
        return app.run  # type: ignore[no-any-return]

    yield prepare


def peers() -> dict[str, tuple[Callable[..., Any], list[Settings]]]:
    """The installed ones: how to run them, and the settings that are swept."""
    found: dict[str, tuple[Callable[..., Any], list[Settings]]] = {}
    if has_bart():
        found["BART"] = (
            bart_runs,
            [{"weight": w, "iterations": i} for w in BART_WEIGHTS for i in BART_ITERATIONS],
        )
    if has("sigpy"):
        found["SigPy"] = (
            sigpy_runs, [{"weight": w, "iterations": SIGPY_ITERATIONS} for w in SIGPY_WEIGHTS]
        )  # fmt: skip
    return found


def best(name: str, scan: Undersampled) -> dict[str, float]:
    """The least error of a peer's sweep, and the settings that reach it."""
    runs, sweep = peers()[name]
    with runs(scan.kspace) as prepare:
        found = [(scan.error(prepare(settings)()), settings) for settings in sweep]
    error, settings = min(found, key=lambda pair: pair[0])
    return {"nrmse": error, **settings}


def espirit_calls(kspace: Tensor, folder: Path) -> dict[str, Run]:
    """ESPIRiT maps of a full scan ``(coil, y, x)``; BART's as a process, files included."""
    calls: dict[str, Run] = {}
    if has_bart():
        k, m = write_cfl(folder / "k", np.moveaxis(kspace.numpy(), 0, -1)[None]), str(folder / "m")
        calls["BART"] = lambda: bart("ecalib", "-c0", "-m1", k, m)
    if has("sigpy"):
        from sigpy.mri.app import EspiritCalib

        calls["SigPy"] = lambda: EspiritCalib(kspace.numpy(), crop=0, show_pbar=False).run()
    return calls
