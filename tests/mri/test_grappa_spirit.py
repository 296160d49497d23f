"""Missing samples of k-space from their neighbours: GRAPPA and SPIRiT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mri_cases import brain, head, nrmse, regular, rss

from spinray.datasets import simulate_mr
from spinray.recon.mri import grappa, spirit


@pytest.fixture(scope="module")
def full() -> torch.Tensor:
    return head(64).kspace


@pytest.mark.parametrize("fill", [grappa, spirit])
@pytest.mark.parametrize("pattern", ["2x1", "1x2", "2x2", "caipirinha", "lines"])
def test_fills_in_what_was_left_out(full, fill, pattern):
    if pattern == "lines":
        mask = (torch.rand(64, 1, generator=torch.Generator().manual_seed(0)) < 0.5).expand(64, 64)
    elif pattern == "caipirinha":  # every third column of a line, moved on from line to line
        mask = (torch.arange(64)[:, None] + torch.arange(64)) % 3 == 0
    else:
        ry, rx = (int(n) for n in pattern.split("x"))
        mask = regular((64, 64), ry, rx)
    mask = mask | regular((64, 64), 64, 64, centre=20)
    kspace = full * mask
    filled = fill(kspace, mask)
    assert torch.equal(filled * mask, kspace)
    before, after = nrmse(rss(kspace), rss(full)), nrmse(rss(filled), rss(full))
    assert after < 0.3 * before


@pytest.mark.parametrize("fill", [grappa, spirit])
def test_scale_of_the_data_scales_the_result(full, fill):
    mask = regular((64, 64), 2, centre=24)
    one = fill(full * mask, mask)
    for scale in (1e-9, 1e9):
        torch.testing.assert_close(fill(full * mask * scale, mask) / scale, one, rtol=1e-3,
                                   atol=float(one.abs().max()) * 1e-5)  # fmt: skip


@pytest.mark.parametrize("fill", [grappa, spirit])
def test_a_separate_calibration_scan(full, fill):
    mask = regular((64, 64), 3)
    with pytest.raises(ValueError, match="calibration lines"):
        fill(full * mask, mask)
    reference = (full * regular((64, 64), 64, 64, centre=32))[:, 16:48, 16:48]
    before, after = rss(full * mask), rss(fill(full * mask, mask, reference=reference))
    assert nrmse(after, rss(full)) < 0.3 * nrmse(before, rss(full))


def test_batch_shares_the_mask_but_not_the_weights(full):
    mask = regular((64, 64), 2, centre=24)
    both = torch.stack([full, full.flip(0) * 2]) * mask
    filled = grappa(both, mask)
    torch.testing.assert_close(filled[0], grappa(both[0], mask))
    torch.testing.assert_close(filled[1], grappa(both[1], mask))


def test_volume_with_whole_readouts():
    scan = simulate_mr("shepp-logan-3d", matrix=(12, 32, 24), coils=6)
    mask = torch.zeros(12, 32, 1, dtype=torch.bool)
    z, y = torch.meshgrid(torch.arange(12), torch.arange(32), indexing="ij")
    mask[(y + z) % 2 == 0] = True  # CAIPIRINHA
    mask[2:10, 10:22] = True
    kspace = scan.kspace * mask
    for fill in (grappa, spirit):
        filled = fill(kspace, mask, ndim=3, kernel=3)
        assert torch.equal(filled * mask, kspace)
        truth = rss(scan.kspace, 3)
        assert nrmse(rss(filled, 3), truth) < 0.4 * nrmse(rss(kspace, 3), truth)


def test_nothing_is_made_up_beyond_the_measured_box(full):
    mask = regular((64, 64), 2, centre=24)
    mask[:14] = False
    filled = grappa(full * mask, mask)
    assert not filled[:, :13].any()
    assert filled[:, 13:].ne(0).all()  # the last line too, which lies one gap outside


def test_noise_alone_stays_finite():
    noise = torch.randn(4, 48, 48, dtype=torch.complex64,
                        generator=torch.Generator().manual_seed(0))  # fmt: skip
    mask = regular((48, 48), 2, centre=24)
    for fill in (grappa, spirit):
        filled = fill(noise * mask, mask)
        assert torch.isfinite(filled.abs()).all()
        assert filled.norm() <= 1.1 * noise.norm()


def test_bad_input(full):
    mask = regular((64, 64), 2, centre=24)
    for fill, name in ((grappa, "GRAPPA"), (spirit, "SPIRiT")):
        with pytest.raises(ValueError, match=f"{name} needs several coils"):
            fill(full[:1] * mask, mask)
        with pytest.raises(ValueError, match="must be odd"):
            fill(full * mask, mask, kernel=4)
        with pytest.raises(ValueError, match="complex"):
            fill(full.abs())
        with pytest.raises(ValueError, match=r"mask \(48, 64\) does not fit kspace \(64, 64\)"):
            fill(full * mask, mask[8:-8])
        with pytest.raises(TypeError, match="boolean"):
            fill(full * mask, mask.float())
        assert not fill(0 * full, mask, reference=full).any()
    with pytest.raises(ValueError, match="differ in coils"):
        grappa(full * mask, mask, reference=full[:4])


def test_double_precision(full):
    mask = regular((64, 64), 2, centre=24)
    kspace = full.to(torch.complex128) * mask
    for fill in (grappa, spirit):
        filled = fill(kspace, mask)
        assert filled.dtype == torch.complex128
        single = fill(full * mask, mask)
        assert float((filled - single).norm() / filled.norm()) < 1e-3


@pytest.mark.parametrize("fill", [grappa, spirit])
def test_brain_at_2x2(data_dir, fill):
    """pygrappa with a 7x7 kernel leaves 0.0566 (benchmarks/parallel_imaging.py runs it)."""
    under = brain(data_dir, "brain8ch_und2x2")
    assert nrmse(rss(fill(under)), rss(brain(data_dir))) < 0.0515


@pytest.mark.peer
def test_image_no_worse_than_pygrappa(data_dir):
    pygrappa = pytest.importorskip("pygrappa")
    under = brain(data_dir, "brain8ch_und2x2")
    centre = under[:, 105:125, 80:100]
    assert (centre != 0).any(0).all()
    theirs = pygrappa.mdgrappa(
        under.numpy().copy(), centre.numpy().copy(), kernel_size=(7, 7), coil_axis=0
    )
    truth = rss(brain(data_dir))
    theirs = nrmse(rss(torch.from_numpy(np.ascontiguousarray(theirs)).to(torch.complex64)), truth)
    assert theirs < 0.07  # it was given the data as it wants them
    assert nrmse(rss(grappa(under)), truth) < theirs
