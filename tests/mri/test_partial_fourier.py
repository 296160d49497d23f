"""Partial Fourier and asymmetric echoes."""

from __future__ import annotations

import pytest
import torch
from mri_cases import head, nrmse, rss

import spinray as sr
from spinray.recon.mri import homodyne, pocs
from spinray.recon.operators import Fourier


@pytest.fixture(scope="module")
def full() -> torch.Tensor:
    """A head in coils that have a smooth phase each."""
    return head(96, coils=4).kspace


def magnitude(images: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(images, dim=-3)


@pytest.mark.parametrize("axis", [0, 1])  # phase encoding, asymmetric echo
@pytest.mark.parametrize("low", [True, False])
def test_the_missing_side_comes_back(full, axis, low):
    mask = torch.ones(96, 96, dtype=torch.bool)
    missing = slice(0, 36) if low else slice(60, 96)
    mask[(missing, slice(None)) if axis == 0 else (slice(None), missing)] = False
    kspace, truth = full * mask, rss(full)
    plain = nrmse(rss(kspace), truth)
    assert nrmse(magnitude(homodyne(kspace)), truth) < 0.3 * plain
    filled = pocs(kspace)
    assert torch.equal(filled * mask, kspace)
    assert nrmse(rss(filled), truth) < 0.3 * plain


def test_both_axes_need_pocs(full):
    kspace = full.clone()
    kspace[:, :36] = 0
    kspace[:, :, 64:] = 0
    with pytest.raises(ValueError, match="use pocs"):
        homodyne(kspace)
    assert nrmse(rss(pocs(kspace)), rss(full)) < 0.8 * nrmse(rss(kspace), rss(full))


def test_whole_k_space_is_left_alone(full):
    torch.testing.assert_close(homodyne(full), Fourier((96, 96)).adjoint(full))
    assert torch.equal(pocs(full), full)


def test_phase_of_the_image_is_kept(full):
    kspace = full.clone()
    kspace[:, :36] = 0
    image, truth = homodyne(kspace), Fourier((96, 96)).adjoint(full)
    bright = truth.abs() > 0.3 * truth.abs().max()
    assert float((image * truth.conj())[bright].angle().abs().quantile(0.95)) < 0.1


def test_scale(full):
    kspace = full.clone()
    kspace[:, :36] = 0
    for scale in (1e-9, 1e9):
        torch.testing.assert_close(pocs(kspace * scale) / scale, pocs(kspace), rtol=1e-3, atol=1e-4)


def test_bad_input(full):
    kspace = full.clone()
    kspace[:, :46] = 0
    with pytest.raises(ValueError, match="2 beyond the middle: 4 are needed"):
        pocs(kspace)
    with pytest.raises(ValueError, match="nothing was measured"):
        pocs(torch.zeros_like(full))
    with pytest.raises(ValueError, match="complex"):
        homodyne(full.abs())
    with pytest.raises(ValueError, match="does not fit kspace"):
        homodyne(full, torch.ones(96, 90, dtype=torch.bool))


def test_as_an_option(full):
    mask = torch.ones(96, 96, dtype=torch.bool)
    mask[:36] = False
    scan = sr.MRScan(full * mask, mask=mask)
    image = sr.reconstruct(scan, "rss", partial_fourier="pocs").data
    torch.testing.assert_close(image, rss(pocs(full * mask, mask)))
    with pytest.raises(ValueError, match="zero-fill, homodyne, pocs"):
        sr.reconstruct(scan, "rss", partial_fourier="margosian")
