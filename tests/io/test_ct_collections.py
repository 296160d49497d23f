"""Public CT collections and Zeiss's containers as raw files."""

from __future__ import annotations

import ct_raw_files
import h5py
import numpy as np
import pytest
import raw_files
import torch
from scipy import io

import spinray as sr
from spinray.recon.metrics.lodopab import MAXIMUM


def test_lodopab_is_what_the_dataset_gives(tmp_path):
    path = raw_files.write("lodopab", tmp_path)
    raw = sr.open_raw(path)
    assert raw.axes == {"slice": 2}
    assert raw.facts["ground truth"] == "ground_truth_test_000.hdf5"
    scan = raw.read(slice=1)
    example = sr.datasets.LoDoPaB(tmp_path, "test")[1]
    assert torch.equal(scan.sinogram, example.sinogram)
    assert torch.allclose(scan.header["ground_truth"], example.target)
    assert scan.geometry == sr.datasets.LoDoPaB.geometry
    assert scan.grid.shape == (362, 362)
    whole = raw.read()
    assert whole.sinogram.shape == (2, 1000, 513)
    assert float(whole.sinogram[0].max()) == pytest.approx(0.01 * 1e3 * MAXIMUM)
    (tmp_path / "ground_truth_test_000.hdf5").unlink()
    alone = sr.open_raw(path)
    assert alone.facts["ground truth"] == "not beside it"
    assert "ground_truth" not in alone.read(slice=0).header


def test_other_hdf5_files_are_not_taken(tmp_path):
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((2, 1000, 512), np.float32)
    with pytest.raises(sr.FormatError, match="is no scan"):
        sr.load(path)


@pytest.mark.parametrize("kind", ["fips 5", "fips 7.3"])
def test_fips(tmp_path, kind):
    raw = sr.open_raw(raw_files.write(kind, tmp_path))
    assert raw.format == "FIPS MATLAB"
    assert raw.axes == {}
    scan = raw.read()
    expected = np.random.default_rng(2).uniform(0, 3, (12, 20))
    assert np.allclose(scan.sinogram, expected)
    geometry = scan.geometry
    assert type(geometry) is sr.FanBeam
    assert geometry.detector == "flat"
    assert np.rad2deg(geometry.angles) == pytest.approx(np.arange(12) * 30)
    assert (geometry.columns, geometry.column_spacing) == (20, 0.2)
    assert geometry.source_to_isocenter == pytest.approx(410.66)
    assert geometry.source_to_detector == pytest.approx(553.74)


@pytest.mark.peer
def test_fips_frame_is_that_of_astra(tmp_path):
    """HelTomo calls ASTRA's fanflat with these numbers; ASTRA's first image row is our last."""
    astra = pytest.importorskip("astra")
    angles = np.deg2rad(np.arange(0, 360, 3.0))
    parameters = {**ct_raw_files.FIPS, "angles": np.rad2deg(angles)}
    source, detector = 410.66, 553.74 - 410.66
    pixel = 0.2 / 1.3484
    image = np.zeros((64, 64), np.float32)
    image[10:20, 30:40] = 0.05 / pixel  # attenuation in 1/mm
    image[40:50, 12:17] = 0.1 / pixel
    volume = astra.create_vol_geom(64, 64)
    beam = astra.create_proj_geom("fanflat", 1.3484, 80, angles, source / pixel, detector / pixel)
    projector = astra.create_projector("strip_fanflat", beam, volume)
    number, sinogram = astra.create_sino(image[::-1].copy() * pixel, projector)
    astra.data2d.delete(number)
    data = {"sinogram": sinogram, "parameters": parameters}
    io.savemat(tmp_path / "scan.mat", {"CtData": data})
    scan = sr.load(tmp_path / "scan.mat")
    grid = sr.VolumeGrid((64, 64), pixel)
    projected = sr.XRayTransform(scan.geometry, grid)(torch.from_numpy(image))
    assert float((projected - scan.sinogram).norm() / scan.sinogram.norm()) < 0.02
    back = sr.reconstruct(scan, "fbp", volume=grid).data
    assert np.corrcoef(back.numpy().ravel(), image.ravel())[0, 1] > 0.95


def series_of(items: list[dict]) -> np.ndarray:
    """A structure array, as MATLAB's."""
    array = np.zeros(len(items), [(name, object) for name in items[0]])
    for place, item in enumerate(items):
        for name, value in item.items():
            array[place][name] = value
    return array


def test_fips_series(tmp_path):
    raw = sr.open_raw(ct_raw_files.write_fips(tmp_path, times=3))
    assert raw.axes == {"time": 3}
    whole = raw.read()
    assert whole.sinogram.shape == (3, 12, 20)
    assert torch.equal(raw.read(time=1).sinogram, whole.sinogram[1])
    found = io.loadmat(tmp_path / "scan.mat", simplify_cells=True)["CtDataFull"]
    later = {**found[2], "parameters": {**found[2]["parameters"], "angles": np.arange(12) * 15.0}}
    io.savemat(tmp_path / "scan.mat", {"CtDataFull": series_of([found[0], found[1], later])})
    raw = sr.open_raw(tmp_path / "scan.mat")
    assert np.rad2deg(raw.read(time=2).geometry.angles[1]) == pytest.approx(15)
    assert raw.read(time=slice(0, 2)).sinogram.shape == (2, 12, 20)
    with pytest.raises(sr.FormatError, match="differ from time to time: read one"):
        raw.read()


def test_fips_variables_of_their_own(tmp_path):
    values = {k: v for k, v in ct_raw_files.FIPS.items() if k != "pixelSizePost"}
    sinogram = np.arange(240.0).reshape(12, 20)
    io.savemat(tmp_path / "walnut.mat", {**values, "pixelSize": 0.05, "sinogram": sinogram})
    scan = sr.load(tmp_path / "walnut.mat")
    assert np.array_equal(scan.sinogram, sinogram)
    assert scan.geometry.column_spacing == 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distanceSourceOrigin": "far"}, "distanceSourceOrigin: holds no real numbers"),
        ({"distanceSourceOrigin": 600.0}, "makes no FanBeam: source_to_detector"),
        ({"angles": np.arange(11.0)}, r"has shape \(12, 20\) for 11 angles"),
        ({"pixelSizePost": None}, "pixelSizePost: missing"),
    ],
)
def test_broken_fips(tmp_path, change, message):
    parameters = {k: v for k, v in {**ct_raw_files.FIPS, **change}.items() if v is not None}
    data = {"sinogram": np.ones((12, 20)), "parameters": parameters}
    io.savemat(tmp_path / "scan.mat", {"CtData": data})
    with pytest.raises(sr.FormatError, match=message):
        sr.load(tmp_path / "scan.mat")


def test_matlab_kspace_goes_to_the_other_reader(tmp_path):
    for kind in ("matlab 5", "matlab 7.3"):
        assert sr.open_raw(raw_files.write(kind, tmp_path)).format == "MATLAB"


@pytest.mark.parametrize("number", [3000, 100])
def test_two_detect_is_what_the_dataset_gives(tmp_path, number):
    """Slices before 2831 stood one binned column aside."""
    path = ct_raw_files.write_two_detect(tmp_path, number, noisy=True)
    raw = sr.open_raw(path)
    assert (raw.facts["slice"], raw.facts["beam"]) == (str(number), "90 kV, 90 W")
    assert raw.missing == ()
    scan = raw.read()
    data = sr.datasets.TwoDeteCT(tmp_path)
    assert torch.allclose(scan.sinogram, data[0].sinogram, atol=1e-5)
    assert scan.geometry == data.geometry
    assert scan.grid == data.volume


def test_two_detect_needs_its_number(tmp_path):
    path = raw_files.write("2detect", tmp_path).rename(tmp_path / "scan")
    raw = sr.open_raw(path)
    assert "slice_number=" in raw.missing[0]
    with pytest.raises(sr.FormatError, match="lacks the number of the slice"):
        raw.read()
    assert sr.load(path, slice_number=3000).sinogram.shape == (3600, 956)


def test_zeiss(tmp_path):
    pytest.importorskip("olefile")
    raw = sr.open_raw(raw_files.write("zeiss", tmp_path))
    assert raw.missing == ()
    assert raw.facts["frame"] == "40 x 56 uint16"
    scan = raw.read()
    frames = ct_raw_files.zeiss_frames().astype(float)
    frames[2, :, 1:] = frames[2, :, :-1].copy()  # moved to the right by a pixel
    assert np.allclose(scan.counts, frames, atol=0.01)
    assert np.allclose(scan.sinogram, -np.log(frames / 1000), atol=1e-4)
    geometry = scan.geometry
    assert type(geometry) is sr.ConeBeam
    assert (geometry.source_to_isocenter, geometry.source_to_detector) == (30, 120)
    assert geometry.column_spacing == pytest.approx(5e-3 * 4)
    assert np.rad2deg(geometry.angles) == pytest.approx([0, 270, 180, 90])
    assert scan.header["kvp"] == 80


def test_zeiss_references_and_blank(tmp_path):
    pytest.importorskip("olefile")
    scan = sr.load(ct_raw_files.write_zeiss(tmp_path, references=3))
    assert float(scan.blank.mean()) == 1020
    assert float(sr.load(tmp_path / "scan.txrm", blank=500.0).blank) == 500


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ImageInfo/Angles", b"\0" * 8, "holds no 4 angles"),
        ("ImageInfo/XrayGeometry", b"\0" * 4, "parallel rays"),
        ("ImageInfo/ImageWidth", b"\xff\xff\xff\x7f", "ImageInfo: 4 frames of 40 x"),
        ("ImageInfo/DataType", b"\x07\0\0\0", "is 7, expected 3, 5, 10"),
        ("ImageData1/Image3", b"\0" * 100, "ImageData1/Image3: missing, or not of 4480 bytes"),
    ],
)
def test_broken_zeiss(tmp_path, name, content, message):
    pytest.importorskip("olefile")
    path = ct_raw_files.write_zeiss(tmp_path, **{name: content})
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)


def test_other_containers_are_told(tmp_path):
    pytest.importorskip("olefile")
    from ole_file import write_ole

    write_ole(tmp_path / "table.xls", {"Workbook": b"\0" * 5000})
    with pytest.raises(sr.FormatError, match=r"table\.xls"):
        sr.load(tmp_path / "table.xls")
