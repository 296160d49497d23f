"""MR datasets on tiny files of the public layouts, against what fastMRI's own transform yields."""

from __future__ import annotations

import math

import h5py
import numpy as np
import pytest
import torch
from dataset_files import fft, ifft, slices, write_fastmri

import spinray as sr
from spinray.datasets import (
    CalgaryCampinas,
    FastMRI,
    LineMask,
    PoissonMask,
    ScanFolder,
    SimulatedMR,
    collate,
    split_subjects,
    trajectories,
)

MASK = LineMask("equispaced_fraction", (0.2,), (3,))


@pytest.fixture
def brain(tmp_path):
    write_fastmri(tmp_path / "file_brain_1.h5", padding=(2, 3), patient_id="anna")
    write_fastmri(tmp_path / "file_brain_2.h5", depth=2, seed=1, acquisition="AXFLAIR")
    return tmp_path


def test_a_slice_of_fastmri(brain) -> None:
    data = FastMRI(brain, MASK, fixed_masks=True)
    assert [(p.name, n) for p, n in data.slices] == [
        ("file_brain_1.h5", 0), ("file_brain_1.h5", 1), ("file_brain_1.h5", 2),
        ("file_brain_2.h5", 0), ("file_brain_2.h5", 1),
    ]  # fmt: skip
    example = data[1]
    with h5py.File(brain / "file_brain_1.h5") as file:
        kspace, target, maximum = file["kspace"][1], file["reconstruction_rss"], file.attrs["max"]
        assert np.array_equal(example.target, target[1])
        assert example.max_value == maximum
    lines, calibration = MASK.lines(24, tuple(map(ord, "file_brain_1.h5")))
    lines[:2] = lines[-3:] = False
    assert np.array_equal(example.mask, lines[None, None])
    assert np.array_equal(example.kspace, kspace * lines)
    assert example.calibration == calibration
    assert (example.acquisition, example.crop_size, example.slice_number) == ("AXT2", (16, 16), 1)
    assert torch.equal(data[1].kspace, example.kspace)
    assert data.subjects(data.volumes[0]) == {"anna"}


@pytest.mark.peer
@pytest.mark.parametrize("matrix", [(32, 24), (32, 12)])
def test_official_transform(tmp_path, matrix) -> None:
    """k-space, mask, centre lines, target and crop as fastMRI's VarNetDataTransform gives them."""
    pytest.importorskip("fastmri", reason="no fastmri: pip install --no-deps fastmri")
    subsample = pytest.importorskip("fastmri.data.subsample")
    transforms = pytest.importorskip("fastmri.data.transforms")
    write_fastmri(tmp_path / "a.h5", matrix=matrix, crop=(16, 16) if matrix[1] > 16 else (16, 12))
    function = subsample.EquispacedMaskFractionFunc([0.2], [3])
    official = transforms.VarNetDataTransform(function)
    with h5py.File(tmp_path / "a.h5") as file:
        attributes = {"padding_left": 0, "padding_right": matrix[1], "recon_size": (16, 16),
                      **file.attrs}  # fmt: skip
        kspace, target = file["kspace"][1], file["reconstruction_rss"][1]
    expected = official(kspace, None, target, attributes, "a.h5", 1)
    found = FastMRI(tmp_path, MASK, fixed_masks=True)[1]
    assert torch.equal(torch.view_as_real(found.kspace), expected.masked_kspace)
    assert torch.equal(found.mask.ravel(), expected.mask.ravel())
    assert found.calibration == expected.num_low_frequencies
    assert torch.equal(found.target, expected.target)
    assert found.max_value == expected.max_value


def test_narrow_volumes_are_cropped_to_their_width(tmp_path) -> None:
    """As the FLAIR volumes that are narrower than their targets."""
    write_fastmri(tmp_path / "a.h5", matrix=(32, 12), crop=(16, 16), targets=False)
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["reconstruction_rss"] = target = rng.uniform(size=(3, 16, 16)).astype(np.float32)
    example = FastMRI(tmp_path)[0]
    assert example.crop_size == (12, 12)
    assert np.array_equal(example.target, target[0, 2:14, 2:14])
    assert example.max_value == pytest.approx(target.max())  # the file does not say it
    test = tmp_path / "test"
    test.mkdir()
    write_fastmri(test / "a.h5", matrix=(32, 12), crop=(16, 16), targets=False)
    assert FastMRI(test)[0].crop_size == (12, 12)


def test_test_data_keep_their_own_mask(tmp_path) -> None:
    own = np.zeros(24, dtype=bool)
    own[[1, 5, 9, 10, 11, 12, 13, 14, 18, 22]] = True
    write_fastmri(tmp_path / "a.h5", mask=own, targets=False)
    example = FastMRI(tmp_path, MASK)[0]
    assert np.array_equal(example.mask.ravel(), own)
    assert example.calibration == 6
    assert example.target is None
    assert example.max_value == 0


def test_single_coil_acquisitions_and_volumes(tmp_path, brain) -> None:
    assert {p.name for p in FastMRI(brain, acquisitions=["AXFLAIR"]).volumes} == {"file_brain_2.h5"}
    assert len(FastMRI(brain, volumes=["file_brain_1.h5"])) == 3
    knee = tmp_path / "knee"
    knee.mkdir()
    kspace = write_fastmri(knee / "k.h5", coils=None, acquisition="CORPD_FBK")
    example = FastMRI(knee, challenge="singlecoil")[2]
    assert np.array_equal(example.kspace[0], kspace[2])
    assert example.target is not None


def test_masks_are_new_each_time_unless_fixed(brain) -> None:
    data = FastMRI(brain, LineMask("random", (0.1,), (4,)))
    torch.manual_seed(5)
    first = [data[0].mask for _ in range(3)]
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(5)
    assert all(torch.equal(data[0].mask, mask) for mask in first)


def test_adjacent_slices_and_maps(brain) -> None:
    mask = LineMask("equispaced", (0.34,), (3,))
    data = FastMRI(brain, mask, adjacent=1, maps=True, fixed_masks=True)
    example = data[0]
    assert example.kspace.shape == (3, 4, 32, 24)
    assert torch.equal(example.kspace[0], example.kspace[1])  # the volume's first slice, repeated
    assert torch.equal(example.kspace[2], data[1].kspace[1])
    batch = collate([example, data[1]])
    assert (batch.kspace * batch.mask).shape == (2, 3, 4, 32, 24)
    assert example.maps.shape == (4, 32, 24)
    inside = example.maps.abs().square().sum(0)
    np.testing.assert_allclose(inside, 1, atol=1e-4)


def test_broken_volumes_are_left_out_and_listed(brain) -> None:
    (brain / "cut.h5").write_bytes((brain / "file_brain_1.h5").read_bytes()[:3000])
    with h5py.File(brain / "empty.h5", "w") as file:
        file["other"] = 1
    with pytest.warns(UserWarning, match=r"2 of 4 files.*cut.h5, empty.h5"):
        data = FastMRI(brain)
    assert len(data) == 5
    assert [path.name for path, _ in data.skipped] == ["cut.h5", "empty.h5"]
    assert "kspace" in data.skipped[1][1]


def test_missing_and_empty_data_say_where_they_are_to_be_had(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fastmri\.med\.nyu\.edu.*licence.*agreement"):
        FastMRI(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"empty, expected volumes.*fastmri\.med\.nyu\.edu"):
        FastMRI(tmp_path)
    with pytest.raises(FileNotFoundError, match="calgary-campinas-dataset"):
        CalgaryCampinas(tmp_path / "missing")


def write_calgary(path, depth: int = 6, matrix: tuple[int, int] = (20, 16)) -> np.ndarray:
    """As in the files: real and imaginary parts in turn, the image's origin in the corner."""
    images = slices((depth, 3, *matrix), noise=0)
    kspace = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1))
    stored = np.zeros((depth, *matrix, 6), dtype=np.float32)
    stored[..., ::2], stored[..., 1::2] = (
        part.transpose(0, 2, 3, 1) for part in (kspace.real, kspace.imag)
    )
    with h5py.File(path, "w") as file:
        file["kspace"] = stored
    return images


@pytest.mark.parametrize("matrix", [(20, 16), (21, 17)])
def test_calgary_campinas(tmp_path, matrix) -> None:
    images = write_calgary(tmp_path / "e1.h5", matrix=matrix)
    data = CalgaryCampinas(tmp_path, crop_ends=1)
    assert len(data) == 4
    example = data[0]
    assert example.slice_number == 1
    measured = int(np.ceil(0.85 * matrix[1]))
    assert example.mask.ravel().tolist() == [i < measured for i in range(matrix[1])]
    expected = fft(images[1])
    expected[..., measured:] = 0
    scale = np.sqrt(np.prod(matrix))  # the files are not orthonormal
    np.testing.assert_allclose(example.kspace / scale, expected, atol=1e-4)
    rss = np.sqrt((np.abs(ifft(expected)) ** 2).sum(0)) * scale
    np.testing.assert_allclose(example.target, rss, rtol=1e-4, atol=1e-3)
    peaks = [float(data[i].target.max()) for i in range(4)]
    assert example.max_value == pytest.approx(max(peaks))
    poisson = CalgaryCampinas(tmp_path, PoissonMask((2.0,), 4), crop_ends=1, fixed_masks=True)[0]
    assert poisson.mask.shape == (1, *matrix)
    assert not bool(poisson.mask[..., measured:].any())
    assert bool((poisson.kspace[:, ~poisson.mask[0]] == 0).all())


def test_folder_of_raw_scans(tmp_path, data_dir) -> None:
    """The real brain beside an undersampled one, which is left out."""
    names = ["brain8ch_full", "brain8ch_und2x2"]
    files = [data_dir / "mr_kspace" / f"{name}.cfl" for name in names]
    with pytest.warns(UserWarning, match="1 of 2 files"):
        data = ScanFolder(files, PoissonMask((4.0,)), fixed_masks=True, maps=True)
    assert "undersampled" in data.skipped[0][1]
    example = data[0]
    assert example.kspace.shape == (8, 180, 230)
    rss = sr.reconstruct(sr.load(files[0]), "rss").data
    torch.testing.assert_close(example.target, rss)
    assert example.max_value == float(rss.max())
    assert example.mask.numel() / int(example.mask.sum()) == pytest.approx(4, abs=0.1)
    operator = sr.Sense(example.maps, mask=example.mask[0])
    image = sr.conjugate_gradient(operator, example.kspace, iterations=10).abs()
    inside = example.target > 0.1 * example.max_value
    error = sr.metrics.nrmse(example.target, image, mask=inside, fit_scale=True)
    assert error < 0.12  # what the data set yields can be reconstructed


def test_targets_of_raw_scans_are_cut_as_images_are(tmp_path) -> None:
    """By fastMRI's rule, which differs from k-space's centre for an odd part of an even side."""
    images = slices((1, 2, 32, 24))[0]
    scan = sr.MRScan(torch.from_numpy(fft(images)).to(torch.complex64), image_shape=(15, 20))
    sr.save(scan, tmp_path / "a.h5")
    example = ScanFolder([tmp_path / "a.h5"])[0]
    assert example.crop_size == (15, 20)
    rss = np.sqrt((np.abs(images) ** 2).sum(0))
    expected = sr.metrics.center_crop(rss, (15, 20))
    np.testing.assert_allclose(example.target, expected, rtol=1e-4, atol=1e-4)


def test_simulated_mr_can_be_reconstructed(tmp_path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:48j, -1:1:40j]
    head = (np.hypot(y, 1.2 * x) < 0.8) * (100 + 20 * rng.uniform(size=(4, 48, 40)))
    head[0] = 0  # an empty slice is no example
    np.savez(tmp_path / "a.npz", images=head.astype(np.int16), spacing_mm=np.ones(3))
    data = SimulatedMR(tmp_path, LineMask("random", (0.2,), (2,)), maps="true", snr=1e6, fixed=True)
    assert len(data) == 3
    example = data[1]
    assert torch.equal(example.target, torch.from_numpy(head[2].astype(np.int16)).float())
    assert example.kspace.shape == (8, 48, 40)
    assert torch.equal(data[1].kspace, example.kspace)
    full = SimulatedMR(tmp_path, maps="true", snr=1e6, fixed=True)[1]
    rss = np.sqrt((np.abs(ifft(full.kspace.numpy())) ** 2).sum(0))
    np.testing.assert_allclose(rss, full.target, atol=0.01)
    image = sr.Sense(full.maps).adjoint(full.kspace)
    assert float(image.angle()[head[2] > 0].std()) > 0.1  # it has a phase


def test_a_smaller_matrix_is_a_coarser_scan_of_the_whole_object(tmp_path) -> None:
    y, x = np.mgrid[-1:1:81j, -1:1:96j]
    head = 100 * np.exp(-8 * (y**2 + 0.7 * x**2))[None]  # band-limited, wider than the matrix
    np.save(tmp_path / "a.npy", head.astype(np.float32))
    coarse = SimulatedMR(tmp_path, matrix=(48, 48), snr=1e6, fixed=True)[0].target
    # the image of 81 x 96 in a field of 96 x 96, every second pixel
    expected = np.zeros((96, 96))
    expected[8:89] = head[0]
    np.testing.assert_allclose(coarse, expected[::2, ::2], atol=0.1)
    padded = SimulatedMR(tmp_path, matrix=(100, 100), snr=1e6, fixed=True)[0].target
    assert float(padded.sum()) == pytest.approx(head.sum(), rel=1e-5)
    options = {"matrix": (96, 96), "snr": 1e6, "fixed": True}
    small = SimulatedMR(tmp_path, shrink=(0.5, 0.5), **options)[0].target
    np.testing.assert_allclose(small[24:72, 24:72], expected[::2, ::2], atol=0.1)
    with pytest.raises(ValueError, match="shrink must rise within"):
        SimulatedMR(tmp_path, shrink=(0.5, 1.5))
    with pytest.raises(ValueError, match=r"matrix must be \(y, x\) of 1 or more"):
        SimulatedMR(tmp_path, matrix=(0, 48))


def test_turned_slices_are_the_slices(tmp_path) -> None:
    image = np.random.default_rng(0).uniform(1, 9, (1, 24, 24)).astype(np.float32)
    np.save(tmp_path / "a.npy", image)
    data = SimulatedMR(tmp_path, turned=True, coils=2)
    upright = torch.from_numpy(image[0])
    ways = [torch.rot90(way, k) for k in range(4) for way in (upright, upright.flip(0))]
    torch.manual_seed(0)
    targets = [data[0].target for _ in range(30)]
    seen = {next(n for n, way in enumerate(ways) if torch.equal(t, way)) for t in targets}
    assert len(seen) > 4


def test_phases_follow_the_tissue_where_asked(tmp_path) -> None:
    """Outside a disc the field is a dipole's: it falls off, and differs from way to way."""
    y, x = np.mgrid[-32:32, -32:32]
    np.save(tmp_path / "a.npy", (100.0 * (np.hypot(y, x) < 10) + 20)[None].astype(np.float32))
    options = {"coils": 1, "snr": 1e6, "fixed": True}
    smooth, rough = (
        sr.Fourier((64, 64)).adjoint(SimulatedMR(tmp_path, susceptibility=s, **options)[0].kspace)
        for s in (0.0, 0.5)
    )
    torch.testing.assert_close(smooth.abs(), rough.abs(), rtol=1e-3, atol=1e-2)
    phase = (rough[0] * smooth[0].conj()).angle()
    assert 0 < float(phase.std()) <= 0.51
    jump = (phase[32, 38] - phase[32, 44]).abs(), (phase[38, 32] - phase[44, 32]).abs()
    assert max(map(float, jump)) > 5 * float((phase[32, 32] - phase[32, 36]).abs() + 1e-4)
    with pytest.raises(ValueError, match="susceptibility not negative"):
        SimulatedMR(tmp_path, susceptibility=-1.0)


def test_simulated_noise_is_what_was_asked(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.full((1, 64, 64), 50, dtype=np.float32))
    arguments = {"folder": tmp_path, "coils": 2, "fixed": True}
    clean, noisy = (SimulatedMR(snr=snr, **arguments)[0].kspace for snr in (1e9, 20.0))
    sigma = torch.view_as_real(noisy - clean).std()
    assert float(sigma) == pytest.approx(50 / 20, rel=0.03)
    # a configuration file has lists
    assert SimulatedMR(snr=[10.0, 20.0], **arguments)._snr == (math.log(10), math.log(20))
    for snr in (0.0, [20.0, 10.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="snr must be a number or two, positive"):
            SimulatedMR(snr=snr, **arguments)
    free = SimulatedMR(tmp_path, snr=20.0, coils=2)
    torch.manual_seed(0)
    assert not torch.equal(free[0].kspace, free[0].kspace)


def test_simulated_noise_is_where_something_was_measured(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.full((1, 64, 64), 50, dtype=np.float32))
    options = {"folder": tmp_path, "mask": PoissonMask((3.0,), 12), "coils": 8, "fixed": True}
    clean, noisy = (SimulatedMR(snr=snr, **options)[0] for snr in (1e9, 20.0))
    assert torch.equal(noisy.mask, clean.mask)
    assert noisy.mask.numel() / int(noisy.mask.sum()) == pytest.approx(3, abs=0.1)
    assert torch.equal((noisy.kspace != 0).all(0), noisy.mask[0])
    assert not bool(noisy.kspace[:, ~noisy.mask[0]].any())
    noise = torch.view_as_real((noisy.kspace - clean.kspace)[:, noisy.mask[0]])
    assert float(noise.mean()) == pytest.approx(0, abs=0.1)
    torch.testing.assert_close(noise.std((1, 2)), torch.full((8,), 2.5), rtol=0.08, atol=0)
    correlation = torch.corrcoef(noise.movedim(-1, 1).flatten(0, 1)) - torch.eye(16)
    assert float(correlation.abs().max()) < 0.12


@pytest.mark.parametrize("matrix", [(96, 80), (81, 96)])
@pytest.mark.parametrize("mask", [PoissonMask((6.0,), 20), LineMask("equispaced", (0.1,), (4,))])
def test_simulated_maps_are_espirit_s_within_one_percent(tmp_path, matrix, mask) -> None:
    y, x = np.mgrid[-1 : 1 : matrix[0] * 1j, -1 : 1 : matrix[1] * 1j]
    texture = np.random.default_rng(0).uniform(50, 150, matrix)
    np.save(tmp_path / "a.npy", (texture * (np.hypot(y, 1.2 * x) < 0.9))[None].astype(np.float32))
    data = SimulatedMR(tmp_path, mask, maps="espirit", snr=40.0)
    torch.manual_seed(0)
    for example in (data[0], data[0]):
        full = sr.mri.espirit(example.kspace)
        power = example.maps.abs().square().sum(0)
        torch.testing.assert_close(power, torch.ones(matrix), rtol=0, atol=1e-4)
        inside = example.target > 20
        error = (example.maps - full).abs().square().sum(0).sqrt()[inside]
        assert float(error.quantile(0.99)) < 0.01
        assert float(error.square().mean().sqrt()) < 0.003


def test_simulated_radial_scans(tmp_path) -> None:
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    np.save(tmp_path / "a.npy", (np.hypot(y - 0.2, x) < 0.5).astype(np.float32))
    spokes = trajectories.radial(80, 96)
    data = SimulatedMR(tmp_path, trajectory=spokes, maps="true", snr=1e6, coils=4)
    example = data[0]
    assert example.kspace.shape == (4, 80 * 96)
    assert example.mask is None
    operator = sr.Sense(example.maps, trajectory=example.trajectory)
    image = sr.conjugate_gradient(operator, example.kspace, iterations=15)
    assert sr.metrics.nrmse(example.target, image.abs()) < 0.1
    with pytest.raises(ValueError, match="without mask"):
        SimulatedMR(tmp_path, MASK, trajectory=spokes)


def test_dicom_slices_of_a_folder_are_one_volume(tmp_path) -> None:
    rng = np.random.default_rng(0)
    stack = torch.from_numpy(rng.uniform(1, 2, size=(3, 24, 20)).astype(np.float32))
    (tmp_path / "patient").mkdir()
    sr.save(sr.Image(stack, spacing=(5.0, 1.0, 1.0)), tmp_path / "patient" / "s.dcm")
    first, third = (tmp_path / "patient" / f"s_000{n}.dcm" for n in (1, 3))
    first.rename(tmp_path / "patient" / "z.dcm")  # places tell the order, names do not
    third.rename(tmp_path / "patient" / "a.dcm")
    data = SimulatedMR(tmp_path)
    assert [path.name for path in data.volumes] == ["patient"]
    torch.testing.assert_close(data.images(data.volumes[0]), stack, rtol=1e-4, atol=1e-4)


def test_subjects_are_split_whole() -> None:
    names = [f"s{i % 10}" for i in range(40)]
    train, val, test = split_subjects(names, (0.6, 0.2, 0.2), seed=4)
    assert (len(train), len(val), len(test)) == (6, 2, 2)
    assert sorted(train + val + test) == sorted(set(names))
    assert split_subjects(names[::-1], (0.6, 0.2, 0.2), seed=4) == [train, val, test]
    assert all(split_subjects(["a", "b", "c"], (0.98, 0.01, 0.01)))
    with pytest.raises(ValueError, match="2 subjects cannot make 3 parts"):
        split_subjects(["a", "b"])


def test_fastmri_volumes_without_a_header_are_no_other_data_set(tmp_path) -> None:
    with h5py.File(tmp_path / "file1.h5", "w") as file:
        file["kspace"] = np.ones((2, 3, 8, 8), np.complex64)
        file["reconstruction_rss"] = np.ones((2, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"^fastMRI: empty.* 1 of 1 files .*ismrmrd_header"):
        sr.datasets.open_dataset(tmp_path)
