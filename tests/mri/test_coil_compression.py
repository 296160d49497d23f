import numpy as np
import pytest
import torch
from mri_cases import brain, head, nrmse, rss

import spinray as sr
from spinray.recon.mri import compress_coils, compression_matrices


@pytest.fixture(scope="module")
def full() -> torch.Tensor:
    return head(48, coils=12).kspace


@pytest.mark.parametrize("geometric", [False, True])
def test_all_coils_keep_everything(full, geometric):
    matrices = compression_matrices(full, 12, geometric=geometric)
    virtual = compress_coils(full, matrices)
    torch.testing.assert_close(rss(virtual), rss(full), rtol=1e-3, atol=1e-5)
    unitary = matrices @ matrices.mH
    torch.testing.assert_close(unitary, torch.eye(12).to(unitary).expand_as(unitary), atol=1e-5,
                               rtol=0)  # fmt: skip


def test_few_virtual_coils_keep_the_image_and_geometric_ones_keep_more(data_dir):
    kspace = brain(data_dir)
    errors = []
    for geometric in (False, True):
        virtual = compress_coils(kspace, compression_matrices(kspace, 4, geometric=geometric))
        assert virtual.shape == (4, 230, 180)
        errors.append(nrmse(rss(virtual), rss(kspace)))
    assert errors[0] < 0.02
    assert errors[1] < 0.4 * errors[0]


def test_geometric_virtual_coils_are_smooth_along_the_readout(full):
    """Without alignment, singular vectors jump in phase and order from place to place."""
    matrices = compression_matrices(full, 4, geometric=True)
    overlap = torch.linalg.matrix_norm(matrices[1:] @ matrices[:-1].mH - torch.eye(4), dim=(1, 2))
    assert float(overlap[12:36].max()) < 0.5


def test_lines_that_were_not_measured_stay_empty(full):
    mask = torch.arange(48) % 3 == 0
    kspace = full * mask[:, None]
    for geometric in (False, True):
        virtual = compress_coils(kspace, compression_matrices(kspace, 5, geometric=geometric))
        assert torch.equal((virtual != 0).any(0)[:, 0], mask)


def test_samples_and_batches(full):
    samples = full.reshape(12, -1)
    matrices = compression_matrices(samples, 6, ndim=1)
    assert compress_coils(samples, matrices, ndim=1).shape == (6, 48 * 48)
    both = torch.stack([full, 2 * full])
    virtual = compress_coils(both, compression_matrices(both, 6))
    torch.testing.assert_close(virtual[1], 2 * virtual[0])
    geometric = compression_matrices(both, 6, geometric=True)
    torch.testing.assert_close(compress_coils(both, geometric)[0], compress_coils(full, geometric))


def test_scale(full):
    one = compression_matrices(full, 4)
    for scale in (1e-9, 1e9):
        other = compression_matrices(full * scale, 4)
        torch.testing.assert_close((other @ one.mH).abs(), torch.eye(4), atol=1e-3, rtol=0)


def test_as_an_option_of_any_method(full):
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[::2] = mask[16:32] = True
    scan = sr.MRScan(full * mask, mask=mask)
    for compression in ("svd", "geometric"):
        image = sr.reconstruct(scan, "grappa", coils=6, compression=compression).data
        assert nrmse(image, rss(full)) < 0.05
    with pytest.raises(ValueError, match="1 or more"):
        sr.reconstruct(scan, "grappa", coils=0)


def test_bad_input(full):
    with pytest.raises(ValueError, match="between 1 and 12"):
        compression_matrices(full, 13)
    with pytest.raises(ValueError, match="zero"):
        compression_matrices(torch.zeros_like(full), 4)
    with pytest.raises(ValueError, match="take 12 coils"):
        compress_coils(full[:6], compression_matrices(full, 4))
    with pytest.raises(ValueError, match="48 positions"):
        compress_coils(full[..., :40], compression_matrices(full, 4, geometric=True))
    with pytest.raises(ValueError, match="complex"):
        compression_matrices(full.abs(), 4)
    assert np.isfinite(compression_matrices(full, 1).abs().numpy()).all()
