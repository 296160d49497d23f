"""Stripes in the sinogram of a known object, and how little else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinray.benchmarks.ct_phantoms import HEAD, line_integrals_of
from spinray.kernels.ct.geometry import ParallelBeam
from spinray.recon import ct

GEOMETRY = ParallelBeam(np.arange(240) * np.pi / 240, 320, 1.0)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(line_integrals_of(HEAD, GEOMETRY, 4)).float()


@pytest.fixture(scope="module")
def striped(clean) -> torch.Tensor:
    """Gains that are off by 2 %: stripes of one to three columns."""
    generator = torch.Generator().manual_seed(0)
    stripes = torch.zeros(320)
    for column in torch.randperm(300, generator=generator)[:30]:
        width = int(torch.randint(1, 4, (1,), generator=generator))
        stripes[column : column + width] += 0.05 * torch.randn(1, generator=generator)
    noise = 0.005 * torch.randn(clean.shape, generator=generator)
    return clean + stripes + noise


def stripes_of(sinogram: torch.Tensor, clean: torch.Tensor) -> float:
    """Fine structure of what is the same in all views and should not be there."""
    profile = (sinogram - clean).mean(0)
    coarse = torch.nn.functional.avg_pool1d(profile[None], 9, 1, 4, count_include_pad=False)[0]
    return float((profile - coarse).std())


@pytest.mark.parametrize(
    ("method", "factor"), [("combined", 2), ("sorting", 2), ("filtering", 2), ("wavelet", 1.7)]
)
def test_stripes_go_and_the_object_stays(clean, striped, method, factor) -> None:
    found = ct.remove_rings(striped, method)
    assert found.shape == striped.shape
    assert found.dtype == striped.dtype
    assert stripes_of(found, clean) < stripes_of(striped, clean) / factor
    # Without stripes, little happens.
    unharmed = ct.remove_rings(clean, method)
    assert float((unharmed - clean).square().mean().sqrt()) < 0.01 * float(clean.std())


@pytest.mark.peer
def test_sorting_is_algotoms(striped) -> None:
    """algotom is the paper's authors' own program."""
    removal = pytest.importorskip("algotom.prep.removal", reason="algotom is not installed")
    peer = removal.remove_stripe_based_sorting(striped.double().numpy(), size=21)
    found = ct.remove_rings(striped.double(), "sorting")
    np.testing.assert_allclose(found.numpy(), peer, atol=1e-9)


def test_dead_and_flickering_columns(clean) -> None:
    broken = clean.clone()
    broken[:, 90:92] = broken[:, 90:92].mean(0)  # does not respond
    broken[:, 200] += torch.randn(240, generator=torch.Generator().manual_seed(1))  # flickers
    found = {m: ct.remove_rings(broken, m) for m in ("sorting", "combined")}
    for columns in (slice(90, 92), slice(200, 201)):
        error = {m: float((f - clean)[:, columns].square().mean().sqrt()) for m, f in found.items()}
        assert error["combined"] < 0.4 * error["sorting"], (columns, error)


def test_a_size_wider_than_the_stripe_takes_it(clean) -> None:
    broken = clean.clone()
    broken[:, 150:163] += 0.1
    error = [float((ct.remove_rings(broken, size=size) - clean)[:, 152:161].mean().abs())
             for size in (11, 41)]  # fmt: skip
    assert error[0] > 0.08
    assert error[1] < 0.03


def test_rows_of_a_detector_are_cleaned_by_themselves(striped) -> None:
    stack = torch.stack([striped, striped.flip(-1)], dim=1)  # (view, row, column)
    found = ct.remove_rings(stack, "sorting", detector_ndim=2)
    torch.testing.assert_close(found[:, 0], ct.remove_rings(striped, "sorting"))
    torch.testing.assert_close(found[:, 1], ct.remove_rings(striped.flip(-1), "sorting"))


def test_what_cannot_be_cleaned(striped) -> None:
    with pytest.raises(ValueError, match="combined, sorting, filtering, wavelet"):
        ct.remove_rings(striped, "magic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 views"):
        ct.remove_rings(striped[:8])
    with pytest.raises(ValueError, match="size of 3 to 320"):
        ct.remove_rings(striped, size=1)
