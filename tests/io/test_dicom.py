"""DICOM images: series and multi-frame objects come back in place, and validators accept them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import spinray as sr
from spinray.recon.io.patient_position import POSITIONS

OBLIQUE, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
FRAMES = {
    "axial": np.eye(3), "lps": np.diag([-1.0, -1, 1]), "sagittal": np.eye(3)[[1, 2, 0]],
    "coronal": np.eye(3)[[0, 2, 1]], "feet first": np.diag([1.0, -1, -1]), "oblique": OBLIQUE,
}  # fmt: skip


def letter(
    frame: np.ndarray = FRAMES["lps"], shape: tuple[int, ...] = (4, 12, 10), **metadata: object
) -> sr.Image:
    """An F that leans from slice to slice: no two of its turns and mirrors are alike."""
    data = torch.zeros(shape)
    data[..., 2:10, 2] = 1.0
    data[..., 2, 2:8] = 0.8
    data[..., 5, 2:6] = 0.6
    for z in range(shape[-3]):
        data[..., z, :, :] = torch.roll(data[..., z, :, :], z, -1) + 0.01 * z
    if len(shape) > 3:
        data *= torch.arange(1.0, shape[0] + 1).reshape(-1, *[1] * 3)
    affine = np.eye(4)
    affine[:3, :3] = frame * (1.5, 2.0, 5.0)
    affine[:3, 3] = [10, -20, 30]
    return sr.Image(data, (5.0, 2.0, 1.5), affine, {"modality": "MR", **metadata})


def at_places(image: sr.Image, places: np.ndarray) -> np.ndarray:
    """Values of the nearest voxels at places in RAS mm, ``(n, 3)``."""
    index = np.rint((places - image.affine[:3, 3]) @ np.linalg.inv(image.affine[:3, :3]).T)
    x, y, z = index.astype(int).T
    return image.data.numpy()[..., z, y, x]


def places_of(image: sr.Image) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in image.spatial_shape), indexing="ij")
    index = np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)])
    return (image.affine @ index)[:3].T


@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("name", FRAMES)
def test_each_voxel_comes_back_to_its_place(tmp_path, name, multiframe):
    if multiframe:
        pytest.importorskip("highdicom")
    image = letter(FRAMES[name])
    image.save(tmp_path / "letter.dcm", multiframe=multiframe)
    assert len(list(tmp_path.iterdir())) == (1 if multiframe else 4)
    again = sr.load_image(tmp_path)
    assert again.spacing == pytest.approx(image.spacing, rel=1e-5)
    assert sorted(again.spatial_shape) == sorted(image.spatial_shape)
    places = places_of(image)
    found = at_places(again, places)
    np.testing.assert_allclose(found, image.data.numpy().ravel(), atol=3e-5)
    if not multiframe:  # the order of the slices is ours, too
        np.testing.assert_allclose(again.affine, image.affine, atol=1e-4)


@pytest.mark.parametrize("multiframe", [False, True])
def test_batches_come_back(tmp_path, multiframe):
    if multiframe:
        pytest.importorskip("highdicom")
    image = letter(shape=(3, 4, 12, 10))
    image.save(tmp_path / "series.dcm", multiframe=multiframe)
    again = sr.load_image(tmp_path)
    assert again.data.shape == image.data.shape
    np.testing.assert_allclose(again.data, image.data, atol=1e-4)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("shape", [(4, 12, 10), (2, 4, 12, 10), (1, 12, 10)])
def test_dciodvfy_finds_no_errors(tmp_path, shape, modality, multiframe):
    if multiframe:
        pytest.importorskip("highdicom")
    image = letter(shape=shape, method="tv", options={"weight": 0.1}, kvp=120.0)
    image = sr.Image(
        image.data * 0.02, image.spacing, image.affine, {**image.metadata, "modality": modality}
    )
    path = image.save(tmp_path / "a.dcm", multiframe=multiframe)
    run = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    assert "Error" not in run.stderr, run.stderr
    kind = f"LegacyConvertedEnhanced{modality}Image" if multiframe else f"{modality}Image"
    assert f"\n{kind}\n" in run.stderr


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("position", POSITIONS)
def test_patient_positions(tmp_path, position):
    path = letter(patient_position=position).save(tmp_path / "a.dcm")
    assert pydicom.dcmread(path).PatientPosition == position
    run = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    assert "Error" not in run.stderr, run.stderr
    assert sr.load_image(tmp_path).metadata["patient_position"] == position


@pytest.mark.parametrize("multiframe", [False, True])
def test_program_version_and_options_are_told_but_no_names(tmp_path, multiframe):
    if multiframe:
        pytest.importorskip("highdicom")
    options = {"weight": 0.1, "filter": "hann", "weights": "/home/jane.roe/net.safetensors"}
    image = letter(method="tv", options=options, protocol="secret", patient="Jane Roe")
    path = image.save(tmp_path / "a.dcm", multiframe=multiframe)
    content = path.read_bytes()
    assert b"jane" not in content.lower()
    assert b"secret" not in content
    d = pydicom.dcmread(path)
    assert d.ImageType[0] == "DERIVED"
    assert not [e for e in d.iterall() if e.tag.is_private]
    equipment = [
        item for item in d.ContributingEquipmentSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    ]  # fmt: skip
    assert equipment[0].ContributionDescription == "Reconstruction: tv, weight=0.1, filter=hann"
    assert equipment[0].SoftwareVersions == sr.__version__
    assert d.PatientName == d.PatientID == ""


def test_hounsfield_units_are_not_converted_again(tmp_path):
    image = letter(modality="CT")
    image.save(tmp_path / "a.dcm", water=0.02)
    once = sr.load_image(tmp_path)
    (tmp_path / "again").mkdir()
    once.save(tmp_path / "again" / "a.dcm")
    twice = sr.load_image(tmp_path / "again")
    assert float(once.data.max()) > 1e4
    torch.testing.assert_close(twice.data, once.data, atol=2.0, rtol=0)


def test_folders_convert(tmp_path):
    from spinray.recon.cli.main import app

    folder = tmp_path / "series"
    folder.mkdir()
    image = letter()
    image.save(folder / "a.dcm")
    done = CliRunner().invoke(app, ["convert", str(folder), str(tmp_path / "a.nii.gz")])
    assert done.exit_code == 0, done.output
    nifti = sr.load_image(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(nifti.data, image.data, atol=3e-5)
    np.testing.assert_allclose(nifti.affine, image.affine, atol=1e-4)
    pytest.importorskip("highdicom")
    arguments = ["convert", str(folder), str(tmp_path / "m.dcm"), "--multiframe", "--anonymize"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert pydicom.dcmread(tmp_path / "m.dcm").NumberOfFrames == 4


def test_order_is_told_by_places_not_names(tmp_path):
    image = letter(FRAMES["oblique"])
    image.save(tmp_path / "a.dcm")
    files = sorted(tmp_path.glob("*.dcm"))
    for number, file in enumerate(files):
        d = pydicom.dcmread(file)
        d.InstanceNumber = (3, 1, 4, 2)[number]
        d.save_as(tmp_path / f"x{(2, 0, 3, 1)[number]}.dcm")
        file.unlink()
    (tmp_path / "LICENSE").write_text("CC BY 3.0")
    again = sr.load_image(tmp_path)
    np.testing.assert_allclose(at_places(again, places_of(image)), image.data.ravel(), atol=3e-5)


def change(folder: Path, number: int, **attributes: object) -> None:
    file = sorted(folder.glob("*.dcm"))[number]
    d = pydicom.dcmread(file)
    for name, value in attributes.items():
        setattr(d, name, value)
    d.save_as(file)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "holds 2 series"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, "they are no stack"),
        ({"ImagePositionPatient": [0, 0, 300]}, "expected even distances"),
        ({"ImagePositionPatient": None}, "missing: slices without places"),
        ({"Rows": 6, "Columns": 20}, "of the first file"),
        ({"PixelData": b"\0\0"}, "letter_0003.dcm"),
        ({"RescaleSlope": "1e300"}, "RescaleSlope: is 1e\\+300"),
        ({"SamplesPerPixel": 3}, "expected grey slices"),
    ],
)
def test_series_that_are_no_volume(tmp_path, attributes, message):
    letter().save(tmp_path / "letter.dcm")
    change(tmp_path, 2, **attributes)
    with pytest.raises(sr.FormatError, match=message):
        sr.load_image(tmp_path)


def test_a_missing_slice_of_a_batch(tmp_path):
    letter(shape=(2, 4, 12, 10)).save(tmp_path / "letter.dcm")
    sorted(tmp_path.glob("*.dcm"))[5].unlink()
    with pytest.raises(sr.FormatError, match="7 slices at 4 places: some are missing"):
        sr.load_image(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(sr.FormatError, match="holds no DICOM images"):
        sr.load_image(tmp_path)
    letter().save(tmp_path / "letter.dcm")
    path = tmp_path / "letter_0001.dcm"
    d = pydicom.dcmread(path)
    d.NumberOfFrames = 2
    d.PixelData += d.PixelData
    d.save_as(path)
    with pytest.raises(sr.FormatError, match="2 frames without their places"):
        sr.load_image(path)
    d.PerFrameFunctionalGroupsSequence = [Dataset()]
    d.save_as(path)
    with pytest.raises(sr.FormatError, match="has 1 items for 2 frames"):
        sr.load_image(path)


def test_a_bomb_is_refused(tmp_path):
    path = letter(shape=(1, 12, 10)).save(tmp_path / "a.dcm")
    whole = path.read_bytes()
    d = pydicom.dcmread(path)
    d.Rows = d.Columns = 65535
    d.save_as(path)
    with pytest.raises(sr.FormatError, match="more than the file holds"):
        sr.load_image(path)
    path.write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99\0"))
    with pytest.raises(sr.FormatError, match=r"a\.dcm"):
        sr.load_image(path)
