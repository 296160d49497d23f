"""Images on disk: values, places, and other programs' reading of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

import spinray as sr
from spinray.datasets import reference_image, simulate_ct, simulate_mr
from spinray.recon.ct.hounsfield import WATER

OBLIQUE, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
FRAMES = {
    "axial": np.eye(3), "lps": np.diag([-1.0, -1, 1]), "sagittal": np.eye(3)[[1, 2, 0]],
    "flipped": np.diag([1.0, -1, -1]), "oblique": OBLIQUE,
}  # fmt: skip


def placed(frame: np.ndarray, spacing: tuple[float, ...] = (5.0, 2.0, 1.5)) -> sr.Image:
    """A stack of different values everywhere; columns of the frame are x, y, z in RAS."""
    data = torch.arange(3 * 4 * 6, dtype=torch.float32).reshape(3, 4, 6) + 1
    affine = np.eye(4)
    affine[:3, :3] = frame * spacing[::-1]
    affine[:3, 3] = [10, -20, 30]
    return sr.Image(data, spacing, affine, {"modality": "MR", "method": "sense"})


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nibabel_finds_each_voxel_in_its_place(tmp_path, name, suffix):
    image = placed(FRAMES[name])
    path = image.save(tmp_path / f"image{suffix}")
    nifti = nibabel.load(path)
    assert nifti.shape == (6, 4, 3)
    assert nifti.header.get_zooms() == pytest.approx((1.5, 2.0, 5.0))
    assert nifti.header["sform_code"] == nifti.header["qform_code"] == 1
    for form in (nifti.get_sform(), nifti.get_qform()):
        assert np.allclose(form, image.affine, atol=1e-4)
    assert nifti.get_fdata()[5, 1, 2] == image.data[2, 1, 5]


@pytest.mark.parametrize("name", FRAMES)
def test_pydicom_finds_each_voxel_in_its_place(tmp_path, name):
    image = placed(FRAMES[name])
    first = image.save(tmp_path / "image.dcm")
    assert first.name == "image_0001.dcm"
    files = sorted(tmp_path.glob("*.dcm"))
    assert len(files) == 3
    slices = [pydicom.dcmread(file) for file in files]
    assert len({d.SeriesInstanceUID for d in slices}) == 1
    assert len({d.SOPInstanceUID for d in slices}) == 3
    for z, d in enumerate(slices):
        values = d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept)
        assert np.allclose(values, image.data[z].numpy(), atol=float(d.RescaleSlope))
        row, column = np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))
        dy, dx = (float(s) for s in d.PixelSpacing)
        y, x = 1, 5
        place = np.array(d.ImagePositionPatient, float) + row * x * dx + column * y * dy
        expected = (image.affine @ [x, y, z, 1])[:3] * [-1, -1, 1]
        assert np.allclose(place, expected, atol=1e-4)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_dciodvfy_finds_no_errors(tmp_path, modality):
    image = placed(OBLIQUE)
    known = {
        "modality": modality, "method": "fbp", "repetition_time_ms": 500.0, "echo_time_ms": 5.0,
        "field_strength_t": 3.0, "patient_position": "HFS",
    }  # fmt: skip
    for metadata in (known, {**known, "ndim": 3}, {"modality": modality}):
        image = sr.Image(image.data * 1e-3, image.spacing, image.affine, metadata)
        path = image.save(tmp_path / "image.dcm")
        run = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
        assert "Error" not in run.stderr, run.stderr
        assert f"{modality}Image" in run.stderr


def test_ct_in_hounsfield_units(tmp_path):
    data = torch.tensor([[0.0, 0.02], [0.04, 0.03]])
    image = sr.Image(data, (1.0, 1.0), metadata={"modality": "CT"})
    again = sr.load_image(image.save(tmp_path / "ct.dcm", water=0.02))
    assert np.allclose(again.data.numpy(), [[-1000, 0], [1000, 500]], atol=0.05)
    assert again.metadata["units"] == "HU"
    d = pydicom.dcmread(tmp_path / "ct.dcm")
    assert "water 0.02/mm" in d.DerivationDescription
    assert d.RescaleType == "HU"


def test_water_of_a_ct_is_that_of_to_hounsfield(tmp_path):
    scan = simulate_ct("water", geometry="parallel", views=8, columns=32)
    image = reference_image(scan)
    assert float(image.data.max()) == pytest.approx(WATER)
    again = sr.load_image(image.save(tmp_path / "water.dcm"))
    step = float(pydicom.dcmread(tmp_path / "water.dcm").RescaleSlope)
    assert np.allclose(again.data, sr.ct.to_hounsfield(image.data), atol=step)
    assert float(again.data.max()) == pytest.approx(0, abs=step)


def letter_of(modality: str) -> sr.Image:
    if modality == "CT":
        scan = simulate_ct("letter-f", geometry="parallel", views=120, columns=64, photons=None)
        return sr.reconstruct(scan, "fbp")
    return sr.reconstruct(simulate_mr("letter-f", matrix=(60, 64), coils=1), "rss")


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_an_upright_letter_is_one_in_the_patient(tmp_path, modality):
    """Its top bar is anterior and its bars point to the left, as a radiologist sees an F."""
    image = letter_of(modality)
    d = pydicom.dcmread(image.save(tmp_path / "letter.dcm"))
    assert np.allclose(np.array(d.ImageOrientationPatient, float), [1, 0, 0, 0, 1, 0])
    nifti = nibabel.load(image.save(tmp_path / "letter.nii"))
    assert nibabel.aff2axcodes(nifti.affine) == ("L", "P", "S")
    values = image.magnitude()
    slope = float(d.RescaleSlope)
    shown = d.pixel_array * slope + float(d.RescaleIntercept)
    if modality == "CT":
        values = sr.ct.to_hounsfield(image.data).numpy()
    assert np.allclose(shown, values, atol=slope)
    stored = np.asarray(nifti.dataobj)[:, :, 0].T
    assert np.array_equal(stored, image.data.numpy())
    # Places in the phantom (x to the left, y to the back, in mm) and what is there.
    dy, dx = (float(s) for s in d.PixelSpacing)
    for (x, y), inside in {(-30, 60): 1.0, (45, -60): 0.8, (18, -5): 0.6, (45, 60): 0.0}.items():
        column, row = ((x, y) - np.array(d.ImagePositionPatient[:2], float)) / (dx, dy)
        i, j, _, _ = np.linalg.solve(nifti.affine, [-x, -y, 0, 1])
        assert (i, j) == pytest.approx((column, row), abs=1e-3)
        assert abs(image.data)[round(row), round(column)] == pytest.approx(inside, abs=0.15)


def test_the_truth_lies_where_the_image_does():
    grid = sr.VolumeGrid((40, 50), (6.0, 5.0), center=(10.0, -20.0))
    scan = simulate_ct("letter-f", geometry="parallel", views=60, columns=64, volume=grid)
    assert np.array_equal(reference_image(scan).affine, sr.reconstruct(scan, "fbp").affine)


@pytest.mark.parametrize(("matrix", "kind"), [((32, 32), "2D"), ((8, 32, 32), "3D")])
def test_dicom_says_how_the_encoding_went(tmp_path, matrix, kind):
    phantom = "shepp-logan" if kind == "2D" else "shepp-logan-3d"
    image = sr.reconstruct(simulate_mr(phantom, matrix=matrix, coils=1), "rss")
    assert pydicom.dcmread(image.save(tmp_path / "image.dcm")).MRAcquisitionType == kind
    unknown = sr.Image(image.data, image.spacing).save(tmp_path / "unknown.dcm")
    assert pydicom.dcmread(unknown).MRAcquisitionType == ""


def test_a_sheared_slice_is_no_dicom(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.5
    with pytest.raises(ValueError, match="right angles"):
        sr.Image(torch.ones(4, 4), affine=affine).save(tmp_path / "image.dcm")
    assert not list(tmp_path.iterdir())


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.complex64, torch.complex128]),
    suffix=st.sampled_from([".nii", ".nii.gz", ".h5", ".npy"]), volume=st.booleans(),
    frame=st.sampled_from(sorted(FRAMES)),
)  # fmt: skip
def test_what_is_saved_is_loaded(tmp_path_factory, shape, dtype, suffix, volume, frame):
    axes = 3 if volume and len(shape) > 2 else 2
    spacing = (3.0, 2.0, 1.5)[-axes:]
    affine = placed(FRAMES[frame]).affine.copy()
    affine[:3, :3] = FRAMES[frame] * ([1.5, 2.0, 3.0] if axes == 3 else [1.5, 2.0, 1.0])
    data = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    image = sr.Image(data, spacing, affine, {"method": "tv", "options": {"weight": 0.1}})
    again = sr.load_image(image.save(tmp_path_factory.mktemp("image") / f"image{suffix}"))
    assert again.data.dtype == dtype
    assert torch.equal(again.data, data)
    if suffix != ".npy":
        assert again.spacing == pytest.approx(spacing, rel=1e-5)
        assert np.allclose(again.affine, affine, atol=1e-5)
        assert again.metadata == image.metadata


def test_png_shows_first_row_on_top(tmp_path):
    data = torch.zeros(3, 4, 6)
    data[0, 0, 5] = data[2, 3, 0] = 1
    picture = np.array(Picture.open(sr.Image(data).save(tmp_path / "i.png", window=(0, 1))))
    assert picture.dtype == np.uint8
    rows, columns = picture.shape[0] // 4, picture.shape[1] // 6
    assert rows * columns >= 3
    tiles = picture.reshape(rows, 4, columns, 6).swapaxes(1, 2).reshape(-1, 4, 6)
    assert np.array_equal(tiles[:3], data.numpy() * 255)


def test_png_of_a_constant_image(tmp_path):
    path = sr.Image(torch.full((5, 5), 3.0)).save(tmp_path / "i.png")
    assert np.ptp(np.array(Picture.open(path))) == 0


def test_real_images(data_dir):
    image = sr.load_image(data_dir / "mr_images" / "colin27_t1.nii.gz")
    assert image.data.shape == (181, 217, 181)
    assert image.spacing == pytest.approx((1, 1, 1))
    raw = nibabel.load(data_dir / "mr_images" / "colin27_t1.nii.gz")
    assert image.data[100, 50, 20] == np.asarray(raw.dataobj)[20, 50, 100]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.nii", b"not an image", "is no image; formats known"),
        ("short.nii", None, "short.nii"),
        ("bad.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 50, "bad.dcm"),
        ("bad.nii.gz", b"\x1f\x8b" + b"\0" * 50, "bad.nii.gz"),
        ("empty", b"", "is no image"),
    ],
)
def test_broken_images(tmp_path: Path, name, content, message):
    path = tmp_path / name
    if content is None:
        whole = placed(np.eye(3)).save(tmp_path / "whole.nii")
        content = whole.read_bytes()[:-20]
    path.write_bytes(content)
    with pytest.raises(sr.FormatError, match=message):
        sr.load_image(path)


def test_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        sr.load_image(tmp_path / "none.nii")
