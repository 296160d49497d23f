"""Tensors that functions make stand where their input does, shown without a card.

What is made without naming a device is made on "meta", where tensors have no values and mix with no
others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import spinray as sr
from spinray.recon import ct
from spinray.recon.solvers import cgls, mlem, sart

GEOMETRY = sr.ParallelBeam(np.arange(40) * np.pi / 40, 48, 2.0)
CONE = sr.ConeBeam(np.arange(12) * np.pi / 6, 6, 32, 4.0, 4.0, 300.0, 500.0)
A = sr.XRayTransform(GEOMETRY, sr.VolumeGrid((32, 32), 2.0))


def _scan() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    disc = sr.datasets.phantoms.water_disc(25).line_integrals(GEOMETRY)
    sinogram = torch.from_numpy(disc).float()
    counts = ct.simulate_counts(sinogram, 60.0, electronic_noise=2.0, seed=0)
    blank = ct.simulate_counts(torch.zeros(9, 48), 60.0, electronic_noise=2.0, seed=1)
    dark = 2 * torch.randn(9, 48, generator=torch.Generator().manual_seed(2))
    return sinogram, counts, blank, dark


P, COUNTS, BLANK, DARK = _scan()
WEIGHTS = ct.statistical_weights(COUNTS, electronic_noise=2.0)
SHORT = {"iterations": 2}
CASES: dict[str, Callable[[], object]] = {
    "line_integrals": lambda: ct.line_integrals(
        COUNTS,
        BLANK,
        DARK,
        monitor=ct.linear_monitor(BLANK, BLANK, 40, DARK),
        bad=ct.bad_pixels(BLANK, DARK, COUNTS),
    ),
    "gain unknown": lambda: ct.line_integrals(COUNTS, BLANK[0]),
    "dead": lambda: ct.line_integrals(COUNTS, BLANK * (torch.arange(48, device=BLANK.device) != 7)),
    "gain": lambda: ct.detector_gain(BLANK, DARK),
    "simulate_counts": lambda: ct.simulate_counts(P, 1e3, dose=0.5, electronic_noise=3.0),
    "lower_dose": lambda: ct.lower_dose(P, 1e3, 0.2, electronic_noise=3.0),
    "weights": lambda: ct.statistical_weights(COUNTS, bad=ct.bad_pixels(BLANK)),
    "air": lambda: ct.normalize_air(P, 3),
    "rings": lambda: ct.remove_rings(P),
    "scatter": lambda: ct.correct_scatter(P, GEOMETRY, ct.ScatterKernel(0.1, 20.0)),
    "scatter of rows": lambda: ct.correct_scatter(
        P.new_ones(12, 6, 32), CONE, ct.ScatterKernel(0.1, 20.0)
    ),
    "truncation": lambda: ct.extrapolate_truncation(P + 0.2, GEOMETRY),
    "metal": lambda: ct.reduce_metal(
        P + 2.0 * (P.max() * 0.97 < P), GEOMETRY, ct.fbp, threshold=300.0
    ),
    "centre": lambda: ct.center_of_rotation(P, GEOMETRY.angles),
    "fbp": lambda: ct.fbp(P, GEOMETRY),
    "fdk": lambda: ct.fdk(P.new_zeros(12, 6, 32), CONE),
    "pwls": lambda: ct.pwls(A, P, WEIGHTS, **SHORT),
    "mltr": lambda: ct.mltr(A, COUNTS, 60.0, background=4.0, **SHORT),
    "tv, auto": lambda: ct.tv(A, P, weights=WEIGHTS, weight="auto", **SHORT),
    "tgv": lambda: ct.tgv(A, P, weights=WEIGHTS, weight="auto", **SHORT),
    "sart": lambda: sart(ct.ordered_views(A, 4), P, **SHORT),
    "mlem": lambda: mlem(ct.ordered_views(A, 4), P, background=0.1, **SHORT),
    "cgls": lambda: cgls(A, P, weights=WEIGHTS, noise=0.1, **SHORT),
}


class Elsewhere(TorchFunctionMode):
    """Makes tensors on "meta" where no device is named."""

    MAKERS = (torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones,
              torch.zeros)  # fmt: skip

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.MAKERS:
            kwargs.setdefault("device", "meta")
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_stands_with_the_input(name) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CASES[name]()
        with Elsewhere():
            found = CASES[name]()
    expected, found = (x if isinstance(x, tuple) else (x,) for x in (expected, found))
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other)


def test_materials_meet_where_one_of_them_is() -> None:
    for library in ("xraylib", "spekpy"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra spectra)")
    beam = ct.Spectrum(np.array([50.0, 70.0]), np.array([1.0, 1.0]))
    paths = {"teflon": torch.ones(48), "water": torch.ones(40, 48, device="meta")}
    (first, *_) = beam.each_energy(paths)
    assert first.device.type == "meta"
