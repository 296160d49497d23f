"""Data crimes: each committed here on purpose is named; honest data raise no alarm."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from dataset_files import fft, ifft, slices, write_fastmri
from PIL import Image as Picture
from scipy.ndimage import zoom

import spinray as sr
from spinray.datasets import (
    FastMRI,
    ScanFolder,
    SimulatedMR,
    image_findings,
    kspace_findings,
    open_dataset,
    report,
    split_findings,
    twin_findings,
)


def crimes(findings) -> set[str]:
    return {finding.crime for finding in findings}


def kspace_of(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(fft(images))


@pytest.fixture(scope="module")
def brain(data_dir) -> torch.Tensor:
    """Honest: 8 coils of a real brain, (8, 180, 230)."""
    return sr.load(data_dir / "mr_kspace" / "brain8ch_full.cfl").kspace


@pytest.fixture(scope="module")
def coil_images(brain) -> np.ndarray:
    return ifft(brain.numpy().astype(complex))


def test_honest_kspace(brain, data_dir) -> None:
    assert not kspace_findings(brain)
    for coil in brain[::4]:
        assert not kspace_findings(coil[None])
    undersampled = sr.load(data_dir / "mr_kspace" / "brain8ch_und2x2.cfl").kspace
    assert not kspace_findings(undersampled)
    poisson = torch.from_numpy(np.load(data_dir / "mr_kspace" / "brain8ch_poisson.npy"))
    assert not kspace_findings(poisson)
    partial = brain.clone()
    partial[..., 190:] = 0  # partial Fourier: one side only
    assert not kspace_findings(partial)


def test_simulated_scans_are_honest() -> None:
    """Closed forms, with noise and without: no interpolation, no padding."""
    for snr in (None, 20.0):
        scan = sr.datasets.simulate_mr(matrix=96, coils=4, snr=snr)
        assert not kspace_findings(scan.kspace)


def test_honest_images(data_dir) -> None:
    """Images as scanners' reconstructions left them."""
    for name in ("cranium_hu", "head_phantom_hu", "abdomen_slices_hu"):
        hu = np.load(data_dir / "ct_images" / f"{name}.npz")["hu"]
        for index in np.linspace(0, len(hu) - 1, 3).astype(int):
            assert not image_findings(torch.from_numpy(hu[index].astype(float)), spectrum=False)
    body = np.load(data_dir / "mr_images" / "body_slices.npz")["images"]
    for image in body:
        assert not image_findings(torch.from_numpy(image.astype(float)))


def test_an_atlas_kept_in_8_bits_is_named(data_dir) -> None:
    """Colin27 came off a scanner, and went through uint8."""
    atlas = sr.load_image(data_dir / "mr_images" / "colin27_t1.nii.gz").data
    assert crimes(image_findings(atlas[90].double())) == {"8-bit image"}


@pytest.mark.parametrize("pad", [(8, 0), (0, 12), (40, 40)])
def test_zero_padded(brain, pad) -> None:
    padded = torch.nn.functional.pad(brain, (pad[1], pad[1], pad[0], pad[0]))
    found = kspace_findings(padded, where="a.h5")
    assert crimes(found) == {"zero-padded k-space"}
    assert all(finding.where == "a.h5" for finding in found)


def test_padding_that_the_header_tells_is_no_crime(brain) -> None:
    padded = torch.nn.functional.pad(brain, (10, 10))
    measured = torch.zeros(1, 250, dtype=torch.bool)
    measured[:, 10:240] = True
    assert not kspace_findings(padded, measured)


def test_zero_padding_hidden_by_rounding(brain) -> None:
    """Interpolated by padding, stored as images in single precision, transformed again."""
    padded = np.pad(brain.numpy(), ((0, 0), (60, 60), (50, 50)))
    images = ifft(padded).astype(np.complex64)
    assert crimes(kspace_findings(kspace_of(images))) == {"interpolated"}


@pytest.mark.parametrize(("factor", "order"), [(1.25, 3), (1.5, 1), (2, 1), (2, 0)])
def test_interpolated(coil_images, factor, order) -> None:
    parts = [
        zoom(part, (1, factor, factor), order=order, grid_mode=True, mode="nearest")
        for part in (coil_images.real, coil_images.imag)
    ]
    assert crimes(kspace_findings(kspace_of(parts[0] + 1j * parts[1]))) == {"interpolated"}
    magnitude = zoom(np.abs(coil_images[0]), factor, order=order, grid_mode=True, mode="nearest")
    assert "interpolated" in crimes(image_findings(torch.from_numpy(magnitude)))


def test_magnitude_images_as_kspace(coil_images) -> None:
    magnitude = np.sqrt((np.abs(coil_images) ** 2).sum(0, keepdims=True))
    assert crimes(kspace_findings(kspace_of(magnitude))) == {"Hermitian k-space"}
    turned = (magnitude * np.exp(0.7j)).astype(np.complex64)  # one phase for all is no phase
    assert "Hermitian k-space" in crimes(kspace_findings(kspace_of(turned)))
    rng = np.random.default_rng(0)
    real = (
        magnitude + 1e-2 * magnitude.max() * rng.normal(size=(2, *magnitude.shape)).view(float)[0]
    )
    noisy = real + 1e-2j * magnitude.max() * rng.normal(size=magnitude.shape)
    assert not kspace_findings(kspace_of(noisy))  # measured noise has no symmetry


@pytest.mark.parametrize("quality", [60, 85, 95])
@pytest.mark.parametrize("crop", [0, 3])
def test_jpeg(coil_images, quality, crop) -> None:
    magnitude = np.sqrt((np.abs(coil_images) ** 2).sum(0))
    eight = np.clip(255 * magnitude / np.percentile(magnitude, 99.9), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Picture.fromarray(eight).save(file, "JPEG", quality=quality)
    image = np.asarray(Picture.open(file)).astype(float)[crop:, crop:] * 0.37
    assert crimes(image_findings(torch.from_numpy(image))) == {"JPEG image", "8-bit image"}
    found = crimes(kspace_findings(kspace_of(image[None])))
    assert found == {"JPEG image", "8-bit image", "Hermitian k-space"}


def test_a_few_samples_say_nothing() -> None:
    torch.manual_seed(0)
    for side in (2, 3, 7, 15):
        assert not image_findings(torch.rand(side, side))
        assert not kspace_findings(torch.randn(1, side, side, dtype=torch.complex64))


def test_the_same_image_on_both_sides() -> None:
    first, second = (torch.from_numpy(np.abs(slices((3, 64, 64), seed))) for seed in (0, 1))
    first[0] = 0  # empty slices are like nothing, and keep their number
    copy = 7 * first[1:2] + 0.05 * torch.rand(1, 64, 64, dtype=torch.float64)
    found = twin_findings({"a": first}, {"b": second, "c": copy})
    assert [(finding.crime, finding.where) for finding in found] == [("same image", "a and c")]
    assert "slice 1 and slice 0" in found[0].detail


def test_different_patients_are_no_twins(data_dir) -> None:
    hu = np.load(data_dir / "ct_images" / "cranium_hu.npz")["hu"].astype(np.float32)
    phantom = np.load(data_dir / "ct_images" / "head_phantom_hu.npz")["hu"].astype(np.float32)
    body = np.load(data_dir / "mr_images" / "body_slices.npz")["images"].astype(np.float32)
    sides = [torch.from_numpy(x) for x in (hu, phantom, body)]
    assert not twin_findings({"a": sides[0]}, {"b": sides[1], "c": sides[2]})
    found = twin_findings({"even": sides[0][::2]}, {"odd": sides[0][1::2]})
    assert crimes(found) == {"same image"}  # neighbouring slices of one patient


def test_reports_name_crimes_and_leaks(tmp_path) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    for folder in (train, test):
        folder.mkdir()
    matrix = (96, 80)
    for index in range(3):
        write_fastmri(train / f"t{index}.h5", seed=index, matrix=matrix, crop=(64, 64),
                      padding=(3, 4), patient_id=f"p{index}")  # fmt: skip
    write_fastmri(test / "v.h5", seed=8, matrix=matrix, crop=(64, 64), patient_id="p1")
    write_fastmri(test / "w.h5", seed=2, matrix=matrix, crop=(64, 64), patient_id="p9")
    (test / "broken.h5").write_bytes(b"no HDF5")
    clean = report(FastMRI(train))
    assert not clean.findings
    assert (clean.volumes, clean.slices, clean.subjects, clean.checked) == (3, 9, 3, 3)
    assert "none found in 3 volumes" in str(clean)
    with pytest.warns(UserWarning, match="broken"):
        other = FastMRI(test)
    assert "left out: broken.h5" in str(report(other))
    leaks = split_findings(FastMRI(train), other)
    assert {(f.crime, f.where.rsplit("/")[-1]) for f in leaks} == {
        ("same subject", "p1"),
        ("same image", "w.h5"),
    }


def test_files_of_one_name_are_no_subject(tmp_path) -> None:
    """Where the data do not say whom they show, only the file itself is known again."""
    for index, side in enumerate(("train", "test")):
        (tmp_path / side).mkdir()
        image = np.abs(slices((1, 64, 64), index)).astype(np.float32)
        np.save(tmp_path / side / "image.npy", image)
    train, test = (SimulatedMR(tmp_path / side) for side in ("train", "test"))
    assert not split_findings(train, test)
    assert crimes(split_findings(train, train)) == {"same subject", "same image"}


def test_report_of_images_that_were_interpolated(tmp_path) -> None:
    image = zoom(np.abs(slices((2, 64, 64))), (1, 2, 2), order=1, grid_mode=True, mode="nearest")
    np.save(tmp_path / "a.npy", image.astype(np.float32))
    found = report(SimulatedMR(tmp_path))
    assert crimes(found.findings) == {
        "interpolated", "k-space simulated from images"
    }  # fmt: skip
    assert "data crime: interpolated: " in str(found)


def test_folders_are_told_apart(tmp_path) -> None:
    write_fastmri(tmp_path / "a.h5", coils=None)
    data = open_dataset(tmp_path)
    assert isinstance(data, FastMRI)
    assert data.challenge == "singlecoil"
    raw = tmp_path / "raw"
    raw.mkdir()
    sr.save(sr.MRScan(kspace_of(slices((1, 4, 32, 24))).to(torch.complex64)[0]), raw / "b.cfl")
    assert isinstance(open_dataset(raw), ScanFolder)
    with pytest.raises(ValueError, match="mr-images"):
        open_dataset(raw, "pictures")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_dataset(tmp_path / "none")
