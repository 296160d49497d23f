"""CT: NeXus tomography with its files beside it, and CTSimU's scenarios."""

from __future__ import annotations

from dataclasses import replace

import ct_raw_files
import h5py
import numpy as np
import pytest
import raw_files
import torch

import spinray as sr


def test_nexus_frames_by_their_key(tmp_path):
    path = raw_files.write("nxtomo", tmp_path)
    raw = sr.open_raw(path)
    assert raw.axes == {"slice": 3}
    assert raw.missing == ()
    assert (raw.facts["projections"], raw.facts["flats"], raw.facts["darks"]) == (4, 2, 1)
    scan = raw.read()
    with h5py.File(tmp_path / "scan" / "frames.h5") as file:
        frames = file["entry/data"][()].astype(float)
    expected = -np.log((frames[3:7] - 10) / 190)
    assert np.allclose(scan.sinogram.numpy(), expected.swapaxes(0, 1), atol=1e-5)
    assert np.allclose(np.rad2deg(scan.geometry.angles), [0, 45, 90, 135])
    assert scan.geometry.column_spacing == pytest.approx(2e-3)
    assert scan.slice_spacing == pytest.approx(3e-3)
    assert torch.equal(raw.read(slice=1).sinogram, scan.sinogram[1])


def test_nexus_links_out_of_the_folder_are_refused(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    path = raw_files.write("nxtomo", folder)
    (folder / "scan" / "frames.h5").rename(tmp_path / "frames.h5")
    with pytest.raises(sr.FormatError, match="data are missing, or in a file that is not here"):
        sr.load(path)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/data"]
        file["entry/instrument/detector/data"] = h5py.ExternalLink("../frames.h5", "/entry/data")
    with pytest.raises(sr.FormatError, match="out of the folder: refused"):
        sr.load(path)


def test_nexus_without_angles_says_so(tmp_path):
    path = raw_files.write("nxtomo", tmp_path)
    with h5py.File(path, "a") as file:
        del file["entry/sample/rotation_angle"]
    assert "rotation angles" in sr.open_raw(path).missing[0]
    with pytest.raises(sr.FormatError, match="rotation angles"):
        sr.load(path)


def test_real_nexus_file(data_dir):
    """Projections, flats and darks of a beamline, linked from files beside it."""
    raw = sr.open_raw(data_dir / "nexus" / "k11-18014.nxs")
    assert (raw.facts["projections"], raw.facts["flats"], raw.facts["darks"]) == (3001, 100, 100)
    scan = raw.read(slice=slice(4, 6))
    assert scan.sinogram.shape == (2, 3001, 26)
    assert np.rad2deg(scan.geometry.angles[[0, -1]]) == pytest.approx([90, 270], abs=0.01)
    with h5py.File(data_dir / "nexus" / "k11-18014" / "k11-18014-imaging.h5") as file:
        frames = file["entry/detector/detector"][:, 4:6]
    with h5py.File(data_dir / "nexus" / "k11-18014.nxs") as file:
        key = file["entry/instrument/imaging/image_key"][()]
    assert np.array_equal(scan.counts.numpy(), frames[key == 0].swapaxes(0, 1))


def test_a_point_of_a_scenario_lies_where_it_is(tmp_path):
    """The stage turns the point; seen from the object, source and detector turn the other way."""
    scan = sr.load(raw_files.write("ctsimu", tmp_path))
    assert isinstance(scan.geometry, sr.ConeBeam)
    volume = sr.VolumeGrid((5, 9, 9), (1.5, 1.0, 1.0))
    image = sr.XRayTransform(scan.geometry, volume).adjoint(scan.sinogram).numpy()
    z, y, x = np.unravel_index(image.argmax(), image.shape)
    assert ((x - 4) * 1.0, (y - 4) * 1.0, (z - 2) * 1.5) == (3, 0, 1.5)


def test_real_scenario_turns_the_right_way(data_dir):
    scan = sr.load(data_dir / "conebeam_sim" / "tetra_metadata.json")
    assert scan.geometry.source_to_isocenter == 300
    assert scan.geometry.source_to_detector == 400
    volume = sr.VolumeGrid((40, 40, 40), 1.5)
    residuals = {}
    for turn in (1, -1):
        geometry = replace(scan.geometry, angles=turn * scan.geometry.angles)
        turned = scan.replace(geometry=geometry)
        image = sr.reconstruct(turned, "sirt", volume=volume, iterations=15).data
        projected = sr.XRayTransform(geometry, volume)(image)
        residuals[turn] = float((projected - scan.sinogram).norm())
    assert residuals[1] < 0.8 * residuals[-1]


@pytest.mark.parametrize("name", ["scenario.json", "p.raw", "f_0001.raw"])
def test_missing_parts_of_a_scenario(tmp_path, name):
    path = raw_files.write("ctsimu", tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(sr.FormatError, match=f"{name}: missing beside the metadata"):
        sr.load(path)


@pytest.mark.parametrize("axis", [(0.0, 0.0), (1.5, 1.5), (2.5, 0.5)])
def test_a_point_of_a_nikon_scan_lies_where_it_is(tmp_path, axis):
    """The sample turns clockwise; a shifted, and a rolled axis of rotation."""
    scan = sr.load(ct_raw_files.write_nikon(tmp_path, *axis))
    kind = sr.ConeBeam if axis[0] == axis[1] else sr.ModularBeam
    assert type(scan.geometry) is kind
    volume = sr.VolumeGrid((13, 21, 21), 0.4)
    image = sr.XRayTransform(scan.geometry, volume).adjoint(scan.sinogram).numpy()
    z, y, x = np.unravel_index(image.argmax(), image.shape)
    assert np.allclose(((x - 10) * 0.4, (y - 10) * 0.4, (z - 6) * 0.4), (2.0, 0.0, 1.2), atol=0.21)


def test_nikon_text_alone_says_what_is_missing(data_dir):
    raw = sr.open_raw(data_dir / "nikon" / "sim_barrel.xtekct")
    assert raw.missing == ("projections SNO20160626_R20_00_025Cu_*.tif in nikon",)
    assert raw.facts["views"] == 3142
    assert raw.facts["magnification"] == "14.69"
    with pytest.raises(sr.FormatError, match="matches 0 files"):
        raw.read()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Projections=12", "Projections=11", r"are \(12, 41, 61\) \(view, row, column\)"),
        ("SrcToObject=100.0", "SrcToObject=far", "srctoobject: is 'far', expected a number"),
        ("DetectorPixelsX=61", "DetectorPixelsX=1e9", "detectorpixelsx: is 1e\\+09"),
        ("WhiteLevel=60000.0", "", "whitelevel: is '', expected a number"),
    ],
)
def test_broken_nikon_texts(tmp_path, old, new, message):
    path = raw_files.write("nikon", tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)


def test_folder_of_tiff_with_a_geometry(tmp_path):
    path = raw_files.write("image folder", tmp_path)
    raw = sr.open_raw(path)
    assert raw.missing == ()
    scan = raw.read()
    assert isinstance(scan.geometry, sr.ConeBeam)
    assert np.rad2deg(scan.geometry.angles) == pytest.approx([0, 90, 180, 270])
    frames = np.arange(4 * 3 * 5).reshape(4, 3, 5) + 100
    # proj_9 comes before proj_10; our rows run upward.
    assert np.array_equal(scan.counts.numpy(), frames[:, ::-1])
    assert np.allclose(scan.sinogram.numpy(), -np.log(frames[:, ::-1] / 200), atol=1e-6)


def edf(frames: np.ndarray, **changes: str) -> bytes:
    """Images one behind the other, each with its header of 512 bytes."""
    kind = {"uint16": "UnsignedShort", "float32": "FloatValue"}[frames.dtype.name]
    out = b""
    for number, frame in enumerate(frames):
        said = {"HeaderID": f"EH:{number + 1:06d}:000000:000000", "ByteOrder": "HighByteFirst",
                "DataType": kind, "Dim_1": str(frame.shape[1]), "Dim_2": str(frame.shape[0]),
                "Size": str(frame.nbytes), **changes}  # fmt: skip
        text = "{\n" + "".join(f"{key} = {value} ;\n" for key, value in said.items())
        big = frame.astype(frame.dtype.newbyteorder(">"))
        out += text.ljust(510).encode() + b"}\n" + big.tobytes()
    return out


def test_folder_of_edf(tmp_path):
    path = raw_files.write("image folder", tmp_path)
    scan = sr.load(path)
    frames = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5) + 100
    for view, frame in enumerate(frames):
        (tmp_path / f"proj_{9 + view}.edf").write_bytes(edf(frame[None]))
    (tmp_path / "flat.edf").write_bytes(edf(np.full((2, 3, 5), 200, np.float32)))
    path.write_text(path.read_text().replace(".tif", ".edf"))
    again = sr.load(path)
    assert torch.equal(again.counts, scan.counts)
    assert torch.equal(again.sinogram, scan.sinogram)
    (tmp_path / "all.edf").write_bytes(edf(frames))
    path.write_text(path.read_text().replace("proj_*.edf", "all.edf"))
    assert torch.equal(sr.load(path).counts, scan.counts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Dim_1": "-5"}, "dim_1: is '-5', expected a number of pixels"),
        ({"Dim_1": "500000"}, "an image of 3000000 bytes is cut off"),
        ({"DataType": "Colour"}, "DataType: is 'colour'"),
        ({"Compression": "ByteOffset"}, "Compression: is 'ByteOffset', expected none"),
    ],
)
def test_broken_edf(tmp_path, changes, message):
    path = raw_files.write("image folder", tmp_path)
    path.write_text(path.read_text().replace("proj_*.tif", "all.edf"))
    frames = np.ones((4, 3, 5), np.uint16)
    (tmp_path / "all.edf").write_bytes(edf(frames, **changes))
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)
    (tmp_path / "all.edf").write_bytes(edf(frames)[:-1])
    with pytest.raises(sr.FormatError, match="is cut off after 29"):
        sr.load(path)


@pytest.mark.peer
def test_edf_as_fabio_writes_it(tmp_path):
    fabio = pytest.importorskip("fabio")
    path = raw_files.write("image folder", tmp_path)
    frames = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5) + 100
    image = fabio.edfimage.EdfImage(data=frames[0])
    for frame in frames[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "all.edf"))
    path.write_text(path.read_text().replace("proj_*.tif", "all.edf"))
    assert np.array_equal(sr.load(path).counts, frames[:, ::-1])


def test_rows_of_a_parallel_beam_in_a_folder(tmp_path):
    path = raw_files.write("image folder", tmp_path)
    path.write_text(
        "geometry: {angles_deg: [0, 45, 90, 135]}\nprojections: proj_*.tif\nblank: 200.0\n"
        "first_row: bottom\n"
    )
    raw = sr.open_raw(path)
    assert raw.axes == {"slice": 3}
    whole = raw.read()
    assert whole.sinogram.shape == (3, 4, 5)
    assert torch.equal(raw.read(slice=2).sinogram, whole.sinogram[2])
    path.write_text(path.read_text().replace("bottom", "top"))
    turned = sr.load(path)
    assert torch.equal(turned.sinogram, whole.sinogram.flip(0))
    assert torch.equal(sr.load(path, slice=slice(0, 2)).sinogram, turned.sinogram[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("geometry: {a: 1}\nprojections: ../*.tif\n", "must name files of this folder"),
        ("geometry: {a: 1}\nprojections: none*.tif\n", "matches 0 files"),
        ("geometry: {angles_deg: [1]}\nprojections: proj_*.tif\n", "has 1 views, there are 4"),
        ("geometry: &a {angles_deg: [1]}\nprojections: *a\n", "aliases are not taken"),
        ("geometry: !!python/object/apply:os.system [ls]\nprojections: a\n", "could not determine"),
        ("geometry: {}\nprojections: a\ncolour: red\n", "unknown colour"),
    ],
)
def test_yaml_of_strangers(tmp_path, text, message):
    path = raw_files.write("image folder", tmp_path)
    path.write_text(text)
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)


def test_a_scenario_names_the_file_to_open(tmp_path):
    path = tmp_path / "scan.json"
    path.write_text('{"file": {"file_type": "CTSimU Scenario"}}')
    with pytest.raises(sr.FormatError, match="open the metadata that names it"):
        sr.open_raw(path)
