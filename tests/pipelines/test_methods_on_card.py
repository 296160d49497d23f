"""Every method gives on a card what it gives on the CPU."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
import torch

import spinray as sr
from spinray.benchmarks.quality import MAPS, SLOW
from spinray.benchmarks.references import REFERENCES, Scan
from spinray.recon.pipelines.registry import Method

SCANS = {reference.name: reference for reference in REFERENCES}
KINDS = (
    "MR, Cartesian 4x", "MR, radial 4x", "MR, dynamic, 13 spokes a frame", "CT, low dose",
    "CT, circular cone", "CT, helix",
)  # fmt: skip
ITERATIONS = 5  # of methods that iterate: more would only tell rounding apart
CLOSE = 5e-3


@cache
def scan_of(name: str) -> Scan:
    return SCANS[name].make(0, 48)[0]


def image_or_refusal(name: str, method: Method, device: str) -> torch.Tensor | str:
    options = {"progress": False, **SCANS[name].options.get(method.name, {})}
    if "iterations" in {option.name for option in method.options}:
        options["iterations"] = ITERATIONS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sr.reconstruct(scan_of(name).to(device), method.name, **options).data
    except (TypeError, ValueError, FileNotFoundError) as refusal:
        return str(refusal).replace(f"on {device}", "")


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param(name, method, id=f"{name}, {method.name}")
        for name in KINDS
        for method in sr.methods(SCANS[name].modality)
        if method.name not in (*SLOW, *MAPS)
    ],
)
def test_as_on_the_cpu(name, method):
    expected = image_or_refusal(name, method, "cpu")
    found = image_or_refusal(name, method, "cuda")
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        pytest.skip(f"does not suit: {expected}")
    assert found.is_cuda
    assert float((found.cpu() - expected).norm() / expected.norm()) < CLOSE
