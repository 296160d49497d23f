import numpy as np
import pytest
import torch
from mri_cases import nrmse

import spinray as sr
from spinray.datasets import reference_image, simulate_mr
from spinray.recon.mri import radial_delays, shift_spokes

SHIFT = torch.tensor([[0.6, 0.1], [0.1, -0.4]])  # cells of k-space


@pytest.fixture(scope="module")
def late() -> sr.MRScan:
    """A radial scan whose spokes were played elsewhere than its trajectory says."""
    scan = simulate_mr("head", matrix=64, coils=8, trajectory="radial", acceleration=2)
    played = shift_spokes(scan.trajectory, scan.readout_length, SHIFT / 64)
    places = played.numpy() / np.array(scan.spacing)
    kspace = scan.header["coils"].kspace(scan.header["phantom"], places)
    scale = 1 / (64 * np.prod(scan.spacing))
    return scan.replace(kspace=torch.from_numpy(scale * kspace).to(torch.complex64))


@pytest.mark.parametrize("noise", [0, 0.002])
def test_finds_the_shift(late, noise):
    kspace = late.kspace / late.kspace.abs().max()
    generator = torch.Generator().manual_seed(0)
    kspace = kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    found = radial_delays(kspace, late.trajectory, late.readout_length)
    torch.testing.assert_close(found * 64, SHIFT, atol=0.03, rtol=0)


def test_corrected_image_is_better(late):
    truth = reference_image(late).data
    plain = nrmse(sr.reconstruct(late, "gridding").data, truth)
    image = sr.reconstruct(late, "gridding", delays=True)
    assert nrmse(image.data, truth) < 0.7 * plain
    along_y = float(image.metadata["spoke_shift_cells"].split(",")[0])
    assert along_y == pytest.approx(0.6, abs=0.03)


def test_bad_input(late):
    with pytest.raises(ValueError, match="full, straight spokes"):
        radial_delays(late.kspace, late.trajectory.abs(), late.readout_length)
    with pytest.raises(ValueError, match="readouts of 100"):
        radial_delays(late.kspace, late.trajectory, 100)
    with pytest.raises(ValueError, match="readouts of 0"):
        radial_delays(late.kspace, late.trajectory, 0)
    one = torch.stack([torch.zeros(128), (torch.arange(128) - 64) / 128], -1).repeat(3, 1)
    with pytest.raises(ValueError, match="wide angle"):
        radial_delays(late.kspace[:, :384], one, 128)
    with pytest.raises(ValueError, match="2D radial"):
        sr.reconstruct(simulate_mr(matrix=32, coils=2), "rss", delays=True)
