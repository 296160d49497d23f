import numpy as np
import pytest
import torch
from mri_cases import nrmse, rss

import spinray as sr
from spinray.datasets import simulate_mr
from spinray.recon.mri import grappa, split_slice_grappa
from spinray.recon.operators import MultibandSense
from spinray.recon.operators.multiband import slice_phases

SHIFTS = (0.0, 0.5)


@pytest.fixture(scope="module")
def slices() -> torch.Tensor:
    """Two phantoms, the coils around the second turned by three, ``(slice, coil, ky, kx)``."""
    one, two = (simulate_mr(name, matrix=64, coils=8).kspace for name in ("head", "shepp-logan"))
    return torch.stack([one, (two * (one.norm() / two.norm())).roll(3, 0)])


@pytest.fixture(scope="module")
def together(slices) -> torch.Tensor:
    return (slices * slice_phases(SHIFTS, 64, slices)).sum(0)


def error(images: torch.Tensor, slices: torch.Tensor) -> float:
    return max(nrmse(image, truth) for image, truth in zip(images, rss(slices), strict=True))


def centre(slices: torch.Tensor) -> torch.Tensor:
    kept = torch.zeros_like(slices)
    kept[..., 16:48, 16:48] = slices[..., 16:48, 16:48]
    return kept


def test_split_slice_grappa(slices, together):
    separated = split_slice_grappa(together, centre(slices), SHIFTS)
    assert separated.shape == slices.shape
    assert error(rss(separated), slices) < 0.05


def test_it_blocks_the_other_slice(slices):
    """Signal of one slice alone must not come out in the other."""
    alone = slices[0] * slice_phases(SHIFTS, 64, slices)[0]
    separated = split_slice_grappa(alone, centre(slices), SHIFTS)
    assert float(separated[1].norm() / separated[0].norm()) < 0.1


def test_with_lines_left_out(slices, together):
    mask = torch.zeros(64, 1, dtype=torch.bool)
    mask[::2] = True
    separated = split_slice_grappa(together * mask, centre(slices), SHIFTS, step=2)
    assert not separated[:, :, 1::2].any()
    filled = grappa(separated, mask, reference=centre(slices))
    assert error(rss(filled), slices) < 0.15


def test_scale(slices, together):
    one = split_slice_grappa(together, centre(slices), SHIFTS)
    for scale in (1e-9, 1e9):
        other = split_slice_grappa(together * scale, centre(slices) * scale, SHIFTS) / scale
        assert float((other - one).norm() / one.norm()) < 1e-3


@pytest.mark.parametrize("algorithm", ["sense", "split-slice-grappa"])
@pytest.mark.parametrize("step", [1, 2])
def test_as_a_method(slices, together, algorithm, step):
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[::step] = True
    reference = sr.MRScan(
        slices[:, :, 16:48, 16:48], spacing=(5.0, 2.0, 2.0), batch_axes=("slice",)
    )
    header = {"multiband_shifts": SHIFTS, "calibration": reference}
    scan = sr.MRScan(torch.stack([together, 2 * together]), mask=mask, header=header,
                     batch_axes=("repetition",))  # fmt: skip
    image = sr.reconstruct(scan, "multislice", algorithm=algorithm)
    assert image.data.shape == (2, 2, 64, 64)
    assert image.spacing == (5.0, 2.0, 2.0)
    assert error(image.data[0].abs(), slices) < (0.05 if step == 1 else 0.15)
    assert float(image.data[1].abs().mean() / image.data[0].abs().mean()) == pytest.approx(2, 0.02)


def test_repetitions_share_their_maps(slices, together, monkeypatch):
    made = []
    espirit = sr.mri.espirit
    monkeypatch.setattr(sr.mri, "espirit", lambda *a, **k: made.append(1) or espirit(*a, **k))
    header = {"multiband_shifts": SHIFTS,
              "calibration": sr.MRScan(slices, batch_axes=("slice",))}  # fmt: skip
    scan = sr.MRScan(torch.stack([together] * 3), header=header, batch_axes=("repetition",))
    sr.reconstruct(scan, "multislice", iterations=2)
    assert len(made) == 1


def test_bad_input(slices, together):
    with pytest.raises(ValueError, match="one shift a slice"):
        split_slice_grappa(together, slices, (0.0,))
    with pytest.raises(ValueError, match="calibration lines"):
        split_slice_grappa(together, slices * (torch.arange(64) % 2)[:, None], SHIFTS)
    with pytest.raises(ValueError, match="needs several coils"):
        split_slice_grappa(together[:1], slices[:, :1], SHIFTS)
    with pytest.raises(ValueError, match="multiband_shifts"):
        sr.reconstruct(sr.MRScan(together), "multislice")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(together.shape, dtype=together.dtype, generator=generator)
    assert np.isfinite(split_slice_grappa(noise, slices, SHIFTS).abs().numpy()).all()
    A = MultibandSense(slices, SHIFTS)
    with pytest.raises(ValueError, match="slices"):
        A(together)
