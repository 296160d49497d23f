"""Cone beams of radiotherapy: RTK's geometry and stacks, Varian's projections."""

from __future__ import annotations

import re
from pathlib import Path

import ct_raw_files
import numpy as np
import pytest
import raw_files
import torch

import spinray as sr
from spinray.recon.io.varian_images import read_projection


def matrices(text: str) -> np.ndarray:
    """RTK's own projection matrices in the file."""
    found = re.findall(r"<Matrix>(.*?)</Matrix>", text, re.S)
    return np.array([np.array(part.split(), float).reshape(3, 4) for part in found])


def seen_at(geometry: sr.ModularBeam | sr.ConeBeam, places: np.ndarray) -> np.ndarray:
    """Columns and rows, from the middle, at which points (x, y, z) are seen, ``(view, n, 2)``."""
    if isinstance(geometry, sr.ConeBeam):
        turn = geometry.angles
        x = np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)
        y = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], -1)
        z = np.broadcast_to([0.0, 0, 1], x.shape)
        sid, sdd = geometry.source_to_isocenter, geometry.source_to_detector
        column, row = geometry.column_spacing * x, geometry.row_spacing * z
        source = -sid * y
        middle = (sdd - sid) * y + geometry.column_offset * column + geometry.row_offset * row
    else:
        source, middle = geometry.source, geometry.detector_center
        column, row = geometry.column_vector, geometry.row_vector
    found = []
    for s, m, u, v in zip(source, middle, column, row, strict=True):
        for place in places:
            # s + t (place - s) = m + a u + b v
            _, a, b = np.linalg.solve(np.stack([place - s, -u, -v], 1), m - s)
            found.append((a, b))
    return np.reshape(found, (len(source), len(places), 2))


PLACES = np.array([(0.0, 0, 0), (30, -20, 10), (-50, 40, -25), (5, 60, 35)])


def test_points_are_seen_where_rtk_sees_them(tmp_path):
    """Tilted and shifted panels against the matrices that RTK wrote into the file."""
    path = raw_files.write("rtk", tmp_path)
    raw = sr.open_raw(path)
    assert raw.missing == ()
    scan = raw.read()
    assert type(scan.geometry) is sr.ModularBeam
    # (x, y, z) here is (x, z, -y) there: y runs along the axis, z up.
    there = np.column_stack([PLACES[:, 0], PLACES[:, 2], -PLACES[:, 1], np.ones(len(PLACES))])
    seen = np.einsum("vij,nj->vni", matrices(ct_raw_files.RTK_XML), there)
    u, v = seen[..., 0] / seen[..., 2], seen[..., 1] / seen[..., 2]
    found = seen_at(scan.geometry, PLACES)
    assert np.allclose(found[..., 0] + 4, (u + 3.2) / 0.8, atol=1e-8)
    assert np.allclose(found[..., 1] + 2.5, (v + 2.0) / 1.1, atol=1e-8)


@pytest.mark.parametrize("packed", [False, True])
def test_line_integrals_of_a_stack(tmp_path, packed):
    path = ct_raw_files.write_rtk(tmp_path, packed)
    stack = np.random.default_rng(5).uniform(0, 3, (2, 6, 9)).astype(np.float32)
    scan = sr.load(path)
    assert np.array_equal(scan.sinogram, stack)
    assert scan.counts is None
    assert sr.load(tmp_path).geometry == scan.geometry  # the only scan in its folder


def straight(text: str, **changes: float) -> str:
    """The geometry without tilts and source offsets, its matrices left out."""
    for name in ("SourceOffset.", "InPlaneAngle", "OutOfPlaneAngle"):
        text = re.sub(f"<{name}>.*?</{name}>".replace("SourceOffset.>", "SourceOffset[XY]>"), "",
                      text)  # fmt: skip
    text = re.sub("<Matrix>.*?</Matrix>", "", text, flags=re.S)
    for name, value in changes.items():
        text = re.sub(f"<{name}>.*?</{name}>", "", text)
        text = text.replace('version="3">', f'version="3"><{name}>{value}</{name}>')
    return text


def test_a_panel_that_turns_is_a_cone_beam(tmp_path):
    path = raw_files.write("rtk", tmp_path)
    tilted = sr.load(path)
    path.write_text(straight(ct_raw_files.RTK_XML))
    scan = sr.load(path)
    geometry = scan.geometry
    assert type(geometry) is sr.ConeBeam
    assert np.rad2deg(geometry.angles) == pytest.approx([30, 60])
    assert geometry.column_offset == pytest.approx(5 / 0.8)  # the stack is centred in u
    assert geometry.row_offset == pytest.approx((0.75 - 7) / 1.1)
    # a panel that sways has views of its own, in the same places
    text = path.read_text().replace(
        "<GantryAngle>60", "<ProjectionOffsetX>5.5</ProjectionOffsetX><GantryAngle>60"
    )
    path.write_text(text)
    swaying = sr.load(path)
    assert type(swaying.geometry) is sr.ModularBeam
    one, other = (seen_at(g, PLACES) for g in (geometry, swaying.geometry))
    assert np.allclose(one[0], other[0])
    assert np.allclose(one[1] - other[1], [0.5 / 0.8, 0])
    assert not np.allclose(one, seen_at(tilted.geometry, PLACES), atol=0.1)


def test_a_curved_detector(tmp_path):
    path = raw_files.write("rtk", tmp_path)
    path.write_text(
        straight(ct_raw_files.RTK_XML, RadiusCylindricalDetector=1536, ProjectionOffsetX=0)
    )
    geometry = sr.load(path).geometry
    assert (type(geometry), geometry.detector) == (sr.ConeBeam, "curved")
    path.write_text(straight(ct_raw_files.RTK_XML, RadiusCylindricalDetector=800))
    with pytest.raises(sr.FormatError, match="expected the source's distance 1536 mm"):
        sr.load(path)


def test_readings_in_tiff_files(tmp_path):
    import tifffile

    path = tmp_path / "geometry.xml"
    path.write_text(straight(ct_raw_files.RTK_XML))
    assert sr.open_raw(path).missing == ("projections *.mha, *.mhd or *.tif",)
    frames = np.random.default_rng(0).integers(100, 900, (2, 4, 6)).astype(np.uint16)
    for view, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"p{9 + view}.tif", frame)
    raw = sr.open_raw(path)
    assert len(raw.missing) == 2
    with pytest.raises(sr.FormatError, match="lacks pixel size: spacing=.*; what the detector"):
        raw.read()
    scan = sr.load(path, spacing=(1.5, 2.0), blank=1000.0)
    assert np.array_equal(scan.counts, frames)
    assert np.allclose(scan.sinogram, -np.log(frames / 1000.0), atol=1e-6)
    assert (scan.geometry.row_spacing, scan.geometry.column_spacing) == (1.5, 2.0)
    with pytest.raises(ValueError, match="spacing must be positive mm"):
        sr.load(path, spacing=-1, blank=1000.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<GantryAngle>60</GantryAngle>", "", "GantryAngle: is '', expected a number"),
        ("<GantryAngle>60<", "<GantryAngle>sixty<", "GantryAngle: is 'sixty'"),
        ("Distance>1536<", "Distance>0<", "parallel rays are not read"),
        ("<!DOCTYPE RTKGEOMETRY>", '<!DOCTYPE a [<!ENTITY b "c">]>', "declares entities: refused"),
        ("</RTKThree", "</RTKFour", "mismatched tag"),
    ],
)
def test_broken_geometries(tmp_path, old, new, message):
    path = raw_files.write("rtk", tmp_path)
    path.write_text(ct_raw_files.RTK_XML.replace(old, new))
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"DimSize = 9 6 2", b"DimSize = 9 6 3", "has 2 projections, the images 3"),
        (b"DimSize = 9 6 2", b"DimSize = 90000 60000 2", r"declares \d+ bytes from"),
        (b"DimSize = 9 6 2", b"DimSize = 9 x 2", "DimSize|invalid literal"),
        (b"1 0 0 0 1 0 0 0 1", b"0 1 0 1 0 0 0 0 1", "turns the axes"),
        (b"MET_FLOAT", b"MET_COLOUR", "ElementType: is 'MET_COLOUR'"),
        (b"LOCAL", b"../../etc/passwd", "is missing in this folder"),
    ],
)
def test_broken_stacks(tmp_path, old, new, message):
    path = raw_files.write("rtk", tmp_path)
    stack = tmp_path / "projections.mha"
    stack.write_bytes(stack.read_bytes().replace(old, new))
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path)


def test_hnd(tmp_path):
    path = raw_files.write("hnd", tmp_path)
    raw = sr.open_raw(path)
    assert "blank=" in raw.missing[0]
    assert (raw.facts["views"], raw.facts["frame"], raw.facts["kvp"]) == (3, "5 x 8", 125.0)
    scan = sr.load(path, blank=139000.0)
    images = ct_raw_files.varian_images()
    assert np.array_equal(scan.counts, images)
    assert np.allclose(scan.sinogram, -np.log(images / 139000.0), atol=1e-5)
    geometry = scan.geometry
    assert np.rad2deg(geometry.angles) == pytest.approx([10, 40, 70])
    assert geometry.source_to_isocenter == pytest.approx(1000.2)
    assert geometry.source_to_detector == pytest.approx(1501.5)
    assert geometry.column_offset == pytest.approx(-149.5 / 0.4)
    assert geometry.row_offset == pytest.approx(2.5 / 0.5)
    assert scan.header["kvp"] == 125.0


def test_xim(tmp_path):
    """Compressed and plain frames, an empty one, each over its norm chamber; air likewise."""
    path = raw_files.write("xim", tmp_path)
    raw = sr.open_raw(path)
    assert raw.missing == ()
    scan = raw.read()
    images = ct_raw_files.varian_images()
    chambers = np.array([500, 510, 520])[:, None, None]
    assert np.allclose(scan.sinogram, -np.log(images / chambers / 200.0), atol=1e-5)
    assert np.rad2deg(scan.geometry.angles) == pytest.approx([175, 145, 115])
    assert scan.geometry.column_offset == pytest.approx(-3.0 / 0.4)
    assert scan.geometry.row_offset == pytest.approx(2.0 / 0.5)
    assert sr.load(tmp_path).geometry == scan.geometry
    stated = sr.load(path, blank=2e5 * 510 / 1000)
    assert torch.allclose(stated.sinogram, scan.sinogram, atol=1e-5)


def test_wide_steps_and_wrapping_differences(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 1 << 30, (9, 12)).astype(np.uint32)
    (tmp_path / "a.xim").write_bytes(ct_raw_files.xim_bytes(image))
    (tmp_path / "a.hnd").write_bytes(ct_raw_files.hnd_bytes(image, 0.0))
    for name in ("a.xim", "a.hnd"):
        assert np.array_equal(read_projection(tmp_path / name).readings, image)


@pytest.mark.peer
def test_rtk_reads_the_same(tmp_path):
    """RTK's own readers of .xim and .hnd, geometry and pixels."""
    itk = pytest.importorskip("itk")
    rtk = getattr(itk, "RTK", None)
    if rtk is None:
        pytest.skip("itk-rtk is not installed")
    for kind, reader, io in (
        ("hnd", rtk.VarianObiGeometryReader, itk.HndImageIO),
        ("xim", rtk.VarianProBeamGeometryReader, itk.XimImageIO),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        path = raw_files.write(kind, folder)
        files = sorted(str(p) for p in folder.rglob(f"Proj*.{kind}"))
        files = [file for file in files if "00000.xim" not in file]
        theirs = reader.New()
        theirs.SetXMLFileName(str(path))
        theirs.SetProjectionsFileNames(files)
        theirs.UpdateOutputData()
        geometry = theirs.GetGeometry()
        scan = sr.load(path, blank=139000.0)
        assert np.rad2deg(scan.geometry.angles) == pytest.approx(
            np.rad2deg(geometry.GetGantryAngles()), abs=1e-6
        )
        spacing = scan.geometry.column_spacing
        assert scan.geometry.column_offset * spacing == pytest.approx(
            geometry.GetProjectionOffsetsX()[0]
        )
        assert scan.geometry.row_offset * scan.geometry.row_spacing == pytest.approx(
            geometry.GetProjectionOffsetsY()[0]
        )
        image = itk.imread(files[0], itk.UI, imageio=io.New())
        assert np.array_equal(itk.array_from_image(image), read_projection(Path(files[0])).readings)


@pytest.mark.peer
def test_stacks_that_itk_writes(tmp_path):
    itk = pytest.importorskip("itk")
    stack = np.random.default_rng(5).uniform(0, 3, (2, 6, 9)).astype(np.float32)
    image = itk.image_from_array(stack)
    image.SetSpacing((0.8, 1.1, 1.0))
    image.SetOrigin((-3.2, -2.0, 0.0))
    raw_files.write("rtk", tmp_path)
    for name in ("projections.mha", "projections.mhd"):
        (tmp_path / "projections.mha").unlink(missing_ok=True)
        for packed in (False, True):
            itk.imwrite(image, str(tmp_path / name), compression=packed)
            scan = sr.load(tmp_path / "geometry.xml")
            assert np.array_equal(scan.sinogram, stack)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:200], r"Proj_001\.hnd.*header"),
        (lambda b: b[:1100], r"Proj_001\.hnd.*pixels"),
        (lambda b: b[:120] + b"\xff\xff\xff\x7f" + b[124:], "size: is 5 x 2147483647"),
        (lambda b: b[:1024] + b"\xff" * 8 + b[1032:], "lookup table: tells 0 of 31 widths"),
    ],
)
def test_broken_hnd(tmp_path, change, message):
    path = raw_files.write("hnd", tmp_path)
    file = tmp_path / "Proj_001.hnd"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(sr.FormatError, match=message):
        sr.load(path, blank=1e5)
