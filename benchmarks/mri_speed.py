"""MR methods against BART, SigPy and pygrappa on a simulated scan: times, errors, memory.

    python -m benchmarks.mri_speed [--quick] [--output FILE.json]

Shepp and Logan's phantom in closed form, 8 coils, SNR 30. Peers run at weights that are usual for
them; `benchmarks.mri` sweeps them on real data. BART runs as a process, files included.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spinray.datasets import masks, reference_image, simulate_mr
from spinray.recon.metrics import nrmse
from spinray.recon.mri import espirit, grappa, root_sum_of_squares, wavelet_sense
from spinray.recon.operators import Fourier

from .bart import read_cfl, require_bart
from .common import run_suite
from .mri_cases import Undersampled
from .mri_peers import bart_runs, espirit_calls, sigpy_runs
from .protocol import OURS, Prepared, Task

CENTRE = 24


class Phantom:
    """A scan, its mask and the truth."""

    def __init__(self, n: int, mask: Tensor) -> None:
        scan = simulate_mr(matrix=n, coils=8, snr=30.0, seed=0)
        self.full, self.mask = scan.kspace, mask
        self.kspace = self.full * mask
        self.target = reference_image(scan).data
        self.scan = Undersampled(self.full, mask, self.target)
        self.opened = ExitStack()  # folders of peers, as long as this is
        weakref.finalize(self, self.opened.close)

    def image(self, call: Any, **how: Any) -> Prepared:
        return Prepared(call, self.scan.error, **how)

    # maps

    def maps(self, tool: str) -> Prepared:
        """Error: what of the coil images the maps cannot explain, inside the object."""
        images = Fourier(self.full.shape[1:]).adjoint(self.full)

        def error(maps: Any) -> float:
            s = torch.as_tensor(np.asarray(maps).squeeze())
            power = (s.abs() ** 2).sum(0).clamp_min(1e-12)
            explained = s * ((s.conj() * images).sum(0) / power)
            return nrmse(images, explained, mask=self.scan.inside)

        if tool == OURS:
            return Prepared(partial(espirit, self.full), error)
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory()))
        if tool == "bart":
            require_bart()
            call = espirit_calls(self.full, folder)["BART"]

            def whole() -> Any:
                call()
                return np.moveaxis(read_cfl(folder / "m"), -1, 0)

            return Prepared(whole, error, process=True)
        import sigpy  # noqa: F401  # says what is missing

        return Prepared(espirit_calls(self.full, folder)["SigPy"], error)

    # images

    def wavelets(self) -> Prepared:
        A = sr.Sense(espirit(self.kspace), mask=self.mask)
        return self.image(partial(wavelet_sense, A, self.kspace))

    def sense(self) -> Prepared:
        A = sr.Sense(espirit(self.kspace), mask=self.mask)
        return self.image(lambda: sr.conjugate_gradient(
            A, self.kspace, iterations=30, regularization=1e-3))  # fmt: skip

    def bart(self) -> Prepared:
        require_bart()
        prepare = self.opened.enter_context(bart_runs(self.kspace))
        call = prepare({"weight": 0.004, "iterations": 100})
        return self.image(call, process=True)

    def sigpy(self) -> Prepared:
        prepare = self.opened.enter_context(sigpy_runs(self.kspace))
        return self.image(lambda: prepare({"weight": 4e-3, "iterations": 100})())

    def grappa(self) -> Prepared:
        return self.image(lambda: self._rss(grappa(self.kspace)))

    def pygrappa(self) -> Prepared:
        from pygrappa import mdgrappa

        n, half = len(self.target), CENTRE // 2
        middle = slice(n // 2 - half, n // 2 + half)
        samples = self.kspace.numpy()
        centre = samples[:, middle, middle].copy()

        def call() -> Tensor:
            filled = mdgrappa(samples.copy(), centre, kernel_size=(5, 5), coil_axis=0)
            return self._rss(torch.from_numpy(np.ascontiguousarray(filled, np.complex64)))

        return self.image(call)

    @staticmethod
    def _rss(kspace: Tensor) -> Tensor:
        return root_sum_of_squares(Fourier(kspace.shape[1:]).adjoint(kspace))


def tasks(quick: bool = False, n: int | None = None) -> Iterator[Task]:
    """Coil maps, SENSE, l1-wavelet, GRAPPA."""
    n = n or (128 if quick else 256)
    shape, facts = (n, n), {"matrix": n, "coils": 8}
    poisson = cache(lambda: Phantom(n, masks.poisson(shape, 4, calibration=CENTRE)))
    lattice = cache(lambda: Phantom(n, masks.caipirinha(shape, (2, 2), calibration=CENTRE)))
    error = "NRMSE inside the object"
    maps = {tool: lambda tool=tool: poisson().maps(tool) for tool in (OURS, "bart", "sigpy")}
    yield Task("mri", "ESPIRiT maps", maps, "share that maps do not explain", facts)
    yield Task("mri", "SENSE, 4x", {OURS: lambda: poisson().sense()}, error, facts)
    wavelets = {OURS: lambda: poisson().wavelets(), "bart": lambda: poisson().bart(),
                "sigpy": lambda: poisson().sigpy()}  # fmt: skip
    yield Task("mri", "l1-wavelet, 4x", wavelets, error, facts)
    kernels = {OURS: lambda: lattice().grappa(), "pygrappa": lambda: lattice().pygrappa()}
    yield Task("mri", "GRAPPA, 2 x 2", kernels, error, facts)


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
