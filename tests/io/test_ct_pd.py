"""DICOM-CT-PD: scans written by the words of the manual are read, reconstructed and in place."""

from __future__ import annotations

import shutil
import subprocess
import warnings

import ct_pd_files
import numpy as np
import pydicom
import pytest
import torch
from ct_pd_files import ball
from typer.testing import CliRunner

import spinray as sr
from spinray.benchmarks.ct_phantoms import line_integrals_of
from spinray.recon.io.patient_position import POSITIONS, patient_frame, position_of

WATER = 0.0192
SMALL = {"columns": 100, "column_width": 6.0, "central": (50.75, 8.0), "views": 160}
BODY = ball(WATER, (5, -8, -99), (100, 80, 400))
BALLS = (
    ball(0.02, (60, 30, -99), 9), ball(0.03, (-55, 10, -103), 8), ball(0.025, (10, -60, -95), 8),
)  # fmt: skip
GRID = sr.VolumeGrid((30, 120, 120), (0.9, 2.0, 2.0), (21.0, 0.0, 0.0))
Z_SPOT = ((0.0, 0.45, 3.0), (0.0, -0.45, -3.0))
XY_SPOT = ((0.0022, 0.0, 0.5), (-0.0022, 0.0, -0.5))
XYZ_SPOT = tuple((a, z, 3 * np.sign(z)) for z in (0.45, -0.45) for a in (0.0022, -0.0022))


def lps_of(image: sr.Image) -> np.ndarray:
    """Places of all voxels in the patient, ``(z, y, x, 3)`` in mm."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in image.data.shape), indexing="ij")
    ras = np.stack([x, y, z, np.ones_like(x)], -1) @ image.affine.T
    return ras[..., :3] * (-1, -1, 1)


def check(image: sr.Image, turned=lambda place: place * (1, -1, 1), tolerance=0.15) -> None:
    """Water at 0 HU, balls where they are. `turned`: from the manual's frame to LPS."""
    data, places = image.data.double().numpy(), lps_of(image)
    voxel = float(np.prod(image.spacing))
    middle, radii = turned(BODY[1]), np.abs(turned(BODY[2]))
    inside = (((places - middle) / radii) ** 2)[..., :2].sum(-1) < 0.7
    for value, place, radius in BALLS:
        distance = np.linalg.norm(places - turned(place), axis=-1)
        near = distance < radius[0] + 5
        inside &= distance > radius[0] + 10
        extra = (data - WATER) * near
        center = (places * extra[..., None]).sum((0, 1, 2)) / extra.sum()
        np.testing.assert_allclose(center, turned(place), atol=tolerance)
        volume = 4 / 3 * np.pi * np.prod(radius)
        assert extra.sum() * voxel == pytest.approx(value * volume, rel=0.03)
    hu = 1000 * (data[inside] - WATER) / WATER
    assert abs(hu.mean()) < 1
    assert hu.std() < 8


def reconstructed(path, volume=GRID, **options) -> sr.Image:
    return sr.reconstruct(sr.load(path, **options), "wfbp", volume=volume)


@pytest.fixture(scope="module")
def helix(tmp_path_factory):
    """Three turns about the balls."""
    folder = tmp_path_factory.mktemp("helix")
    return ct_pd_files.write_scan(folder, (BODY, *BALLS), cells=2, **SMALL)


def test_recon_of_a_helix_is_in_place_and_in_hounsfield_units(helix, tmp_path, monkeypatch):
    from spinray.recon.cli.main import app

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["recon", str(helix), "-o", "helix.dcm", "--matrix", "120x120"])
    assert done.exit_code == 0, done.output
    files = sorted(tmp_path.glob("helix_*.dcm"))
    assert len(files) > 20
    slices = [pydicom.dcmread(file) for file in files]
    assert {d.PatientPosition for d in slices} == {"HFS"}
    assert {float(d.KVP) for d in slices} == {120.0}
    assert "water 0.0192/mm" in slices[0].DerivationDescription
    places, values = [], []
    for d in slices:
        row, column = np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))
        dy, dx = (float(s) for s in d.PixelSpacing)
        y, x = np.meshgrid(np.arange(d.Rows) * dy, np.arange(d.Columns) * dx, indexing="ij")
        places.append(
            np.array(d.ImagePositionPatient, float) + x[..., None] * row + y[..., None] * column
        )
        values.append(d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept))
    places, values = np.stack(places), np.stack(values)
    for value, place, _ in BALLS:
        distance = np.linalg.norm(places - place * (1, -1, 1), axis=-1)
        expected = 1000 * value / WATER
        assert values[distance < 3].mean() == pytest.approx(expected, abs=60)


@pytest.mark.parametrize("spots", [Z_SPOT, XY_SPOT, XYZ_SPOT], ids=["z", "xy", "xyz"])
def test_rays_of_a_flying_focal_spot_are_those_of_one_at_rest(tmp_path, spots):
    """Against closed forms of the geometry that is told; without shifts they are far off."""
    wide = {**SMALL, "columns": 160, "column_width": 3.0, "central": (80.75, 8.0), "turns": 0.5}
    body = ball(WATER, (70, -30, -117), (80, 50, 60))
    ct_pd_files.write_scan(tmp_path, (body,), spots, cells=1, **wide)
    scan = sr.load(tmp_path)
    assert type(scan.geometry) is sr.HelicalBeam
    assert scan.header["focal_spot"] == "rebinned to a source at rest"
    height = float(scan.affine[2, 3])
    value, place, radius = body
    same = [(value, place[0], -place[1], place[2] - height, *radius)]
    inner = np.s_[8:-8, 1:-1, 4:-4]

    def error(found: np.ndarray, geometry: sr.HelicalBeam) -> float:
        """RMS where the ray passes well inside, as a part of the mean."""
        true = line_integrals_of(same, geometry)
        deep = true[inner] > 0.35 * true.max()
        return float(np.sqrt(((found - true)[inner][deep] ** 2).mean()) / true[inner][deep].mean())

    rebinned = error(scan.sinogram.numpy(), scan.geometry)
    assert rebinned < 1.5e-3
    for file in tmp_path.glob("*.dcm"):
        d = pydicom.dcmread(file)
        for tag in (0x7033100B, 0x7033100C, 0x7033100D):
            d[tag].value = 0.0
        d.save_as(file)
    ignored = sr.load(tmp_path)
    assert "focal_spot" not in ignored.header
    assert error(ignored.sinogram.numpy(), ignored.geometry) > 3 * rebinned


def test_flying_focal_spot_to_the_image(tmp_path):
    ct_pd_files.write_scan(tmp_path, (BODY, *BALLS), XYZ_SPOT, cells=2, **SMALL)
    check(reconstructed(tmp_path))


@pytest.mark.parametrize(("direction", "feed"), [(-1.0, 14.0), (1.0, -14.0)])
def test_both_turns_and_both_ways_of_the_table(tmp_path, direction, feed):
    """Files transposed, in implicit representation and in another order, as some scanners'."""
    ct_pd_files.write_scan(
        tmp_path, (BODY, *BALLS), cells=2, direction=direction, feed=feed, transposed=True,
        implicit=True, shuffled=True, first_height=-99 - 1.5 * feed, **SMALL,
    )  # fmt: skip
    raw = sr.open_raw(tmp_path)
    assert raw.missing == ()
    scan = raw.read()
    height = float(scan.affine[2, 3])
    grid = sr.VolumeGrid(GRID.shape, GRID.spacing, (-99 - height, 0.0, 0.0))
    check(sr.reconstruct(scan, "wfbp", volume=grid))


@pytest.mark.parametrize("position", POSITIONS)
def test_every_patient_position(helix, tmp_path, position):
    """Where the parts of the body lie is told from which way up and first the patient lay."""
    # Along the scanner's axes, seen from the foot end: right, down, into the gantry.
    right, down, into = {
        "HFS": ("L", "P", "S"), "HFP": ("R", "A", "S"), "HFDR": ("P", "R", "S"),
        "HFDL": ("A", "L", "S"), "FFS": ("R", "P", "I"), "FFP": ("L", "A", "I"),
        "FFDR": ("A", "R", "I"), "FFDL": ("P", "L", "I"),
    }[position]  # fmt: skip
    axes = {"L": (1, 0, 0), "P": (0, 1, 0), "S": (0, 0, 1)}
    axes |= {"R": (-1, 0, 0), "A": (0, -1, 0), "I": (0, 0, -1)}
    turn = np.array([axes[right], axes[down], axes[into]]).T  # from right, down, into to LPS

    first = pydicom.dcmread(helix / "proj_00001.dcm")
    first.PatientPosition = position
    first.save_as(helix / "proj_00001.dcm")
    image = reconstructed(helix)
    check(image, lambda place: turn @ (place * (1, -1, 1)))
    assert image.metadata["patient_position"] == position
    image.save(tmp_path / "image.dcm")
    assert pydicom.dcmread(tmp_path / "image_0001.dcm").PatientPosition == position
    frame = patient_frame(position, (0.0, 0.0, 12.0))
    assert np.linalg.det(frame) == pytest.approx(1)  # no mirror
    found, offset = position_of(frame)
    assert (found, offset.tolist()) == (position, [0, 0, 12])


def test_what_the_file_says(tmp_path):
    ct_pd_files.write_scan(
        tmp_path, (BODY,), Z_SPOT, cells=1, photons=np.linspace(1e4, 1e5, 100),
        header={"Manufacturer": "ACME", "CTDIvol": 12.5}, turns=0.5, **SMALL,
    )  # fmt: skip
    raw = sr.open_raw(tmp_path / "proj_00003.dcm")  # any file stands for its folder
    facts = raw.facts
    assert raw.format == facts["format"] == "DICOM-CT-PD"
    assert (facts["views"], facts["views a turn"], facts["orbit"]) == ("80", "160", "helical")
    assert facts["flying focal spot"] == "FFSZ"
    assert facts["corrected"] == "beamhardening"
    assert facts["CTDIvol (mGy)"] == "12.5"
    assert facts["vendor"] == "ACME"
    assert facts["photons"] == "by column"
    assert raw.size == 4 * 80 * 16 * 100
    scan = raw.read()
    assert (scan.header["kvp"], scan.header["water"]) == (120.0, 0.0192)
    assert scan.photons.shape == (80, 1, 100)
    assert np.allclose(scan.photons[7, 0], np.linspace(1e4, 1e5, 100))
    assert scan[10:60:2].photons.shape == (25, 1, 100)


def test_photon_statistics_weigh_the_rays(tmp_path):
    from spinray.recon.pipelines.scan_noise import photons_of

    ct_pd_files.write_scan(
        tmp_path, (BODY,), cells=1, photons=np.full(100, 3e4), turns=0.5, **SMALL
    )
    scan = sr.load(tmp_path)
    photons = photons_of(scan)
    assert photons.source == "the scanner's photon statistics"
    assert torch.allclose(photons.weights, 3e4 * torch.exp(-scan.sinogram))
    low = sr.ct.lower_dose(scan.sinogram, 3e4, 0.25)
    assert low.shape == scan.sinogram.shape


def test_a_part_of_the_views(tmp_path):
    ct_pd_files.write_scan(tmp_path, (BODY,), cells=1, turns=1.0, **SMALL)
    whole = sr.load(tmp_path)
    part = sr.load(tmp_path, views=slice(20, 60))
    assert torch.equal(part.sinogram, whole.sinogram[20:60])
    assert np.allclose(np.diff(part.geometry.angles), np.diff(whole.geometry.angles)[20:59])
    heights = part.geometry.source_z + part.affine[2, 3]
    assert np.allclose(heights, whole.geometry.source_z[20:60] + whole.affine[2, 3], atol=1e-4)
    with pytest.raises(ValueError, match="views must be a range"):
        sr.load(tmp_path, views=3)
    with pytest.raises(sr.FormatError, match="chooses none"):
        sr.load(tmp_path, views=slice(900, 950))


def test_a_table_at_rest_is_a_circle(tmp_path):
    ct_pd_files.write_scan(tmp_path, (BODY,), cells=1, feed=0.0, turns=1.0, **SMALL)
    scan = sr.load(tmp_path)
    assert type(scan.geometry) is sr.ConeBeam
    assert scan.geometry.detector == "curved"
    assert scan.affine[2, 3] == pytest.approx(-120)


@pytest.mark.parametrize("detector", ["curved", "flat"])
@pytest.mark.parametrize("kind", ["helical", "circle"])
def test_scans_written_come_back(tmp_path, kind, detector):
    common = {"rows": 5, "columns": 12, "row_spacing": 2.0, "column_spacing": 3.0,
              "source_to_isocenter": 500.0, "source_to_detector": 900.0, "row_offset": 0.5,
              "column_offset": 0.25, "detector": detector}  # fmt: skip
    angles = np.linspace(0.3, 6.0, 40)
    geometry = sr.ConeBeam(angles, **common)
    if kind == "helical":
        geometry = sr.HelicalBeam(2 * angles, pitch=-9.0, **common)
    rng = np.random.default_rng(0)
    scan = sr.CTScan(
        rng.uniform(0, 6, geometry.shape).astype(np.float32), geometry,
        photons=rng.uniform(1e3, 1e5, (40, 1, 12)), affine=patient_frame("FFP", (0, 0, 55.0)),
        header={"kvp": 100.0, "water": 0.0201, "patient_position": "FFP"},
    )  # fmt: skip
    first = sr.save(scan, tmp_path / "scan.dcm")
    assert first.name == "scan_00001.dcm"
    again = sr.load(tmp_path)
    assert type(again.geometry) is type(geometry)
    assert np.allclose(again.sinogram, scan.sinogram, atol=6 / 65535)
    assert torch.allclose(again.photons, scan.photons)
    for name in ("row_offset", "column_offset", "detector", "source_to_detector"):
        assert getattr(again.geometry, name) == pytest.approx(getattr(geometry, name))
    turn = again.geometry.angles - geometry.angles
    assert np.allclose(np.mod(turn + 1, 2 * np.pi), 1, atol=1e-5)
    # z is kept up to the turns that are not counted in the file
    here = again.geometry.source_z + again.affine[2, 3] * -1
    there = geometry.source_z + 55
    assert np.allclose(here, there, atol=1e-4)
    for name in ("kvp", "water", "patient_position"):
        assert again.header[name] == scan.header[name]


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_finds_no_errors(tmp_path):
    scan = sr.datasets.simulate_ct(geometry="helical", views=16, columns=20, photons=None)
    scan = scan.replace(header={"kvp": 120.0}, photons=torch.full((48, 1, 20), 1e5))
    path = sr.save(scan, tmp_path / "scan.dcm")
    run = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    assert "Error" not in run.stderr, run.stderr
    assert "RawData" in run.stderr


def damaged(tmp_path, change) -> None:
    """Write a few views and change the third."""
    ct_pd_files.write_scan(tmp_path, (BODY,), cells=1, turns=0.05, **SMALL)
    file = tmp_path / "proj_00003.dcm"
    d = pydicom.dcmread(file)
    change(d)
    d.save_as(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop(0x70311001), r"\(7031,1001\) AngularPosition: holds 0 numbers"),
        (lambda d: setattr(d[0x70311003], "value", 400.0), "RadialDistance: runs from 400 to 595"),
        (lambda d: setattr(d[0x70311002], "value", 44.0), "strays by .* mm from a table"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-2]), "holds 3198 bytes, expected 3200"),
        (lambda d: setattr(d, "Rows", 99), "has 16 bits, 99 x 100"),
        (lambda d: setattr(d, "SeriesInstanceUID", "1.2.3"), "of another series or spectrum"),
        (lambda d: setattr(d[0x70311001], "value", float("nan")), "expected finite numbers"),
        (lambda d: setattr(d, "RescaleSlope", "1e38"), r"RescaleSlope: is 1e\+38"),
    ],
)
def test_broken_views(tmp_path, change, message):
    damaged(tmp_path, change)
    with pytest.raises(sr.FormatError, match=message) as error:
        sr.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_what_is_refused(tmp_path):
    ct_pd_files.write_scan(tmp_path, (BODY,), cells=1, turns=0.05, **SMALL)
    for tag, value, message in (
        (0x7029100B, "SPHERICAL", "is 'SPHERICAL', expected CYLINDRICAL or FLAT"),
        (0x70391009, "NO", "holds readings, expected line integrals"),
    ):
        for file in tmp_path.glob("*.dcm"):
            d = pydicom.dcmread(file)
            d[tag].value, kept = value, d[tag].value
            d.save_as(file)
        if value == "NO":
            assert "no logarithm" in sr.open_raw(tmp_path).missing[0]
        with pytest.raises(sr.FormatError, match=message):
            sr.load(tmp_path)
        for file in tmp_path.glob("*.dcm"):
            d = pydicom.dcmread(file)
            d[tag].value = kept
            d.save_as(file)
    parallel = sr.datasets.simulate_ct(geometry="parallel", views=8, columns=16)
    with pytest.raises(ValueError, match="holds one scan of a cone or helical beam"):
        sr.save(parallel, tmp_path / "a.dcm")
    scan = sr.load(tmp_path).replace(affine=np.diag([1.0, -1.0, 1.0, 1.0]))  # a mirror
    with pytest.raises(ValueError, match="no patient position has the CT frame"):
        sr.save(scan, tmp_path / "a.dcm")


def test_irregular_spots_are_refused():
    from spinray.recon.ct.focal_spot import rest_focal_spot

    geometry = sr.datasets.simulate_ct(geometry="helical", views=16, columns=20).geometry
    shifts = np.zeros((48, 3))
    shifts[5:9, 1] = 2.0
    with pytest.raises(ValueError, match="do not repeat themselves after 1, 2, 4 views"):
        rest_focal_spot(torch.zeros(geometry.shape), geometry, shifts)
    swaying = np.zeros((48, 3))
    swaying[:, 1] = np.random.default_rng(0).normal(0, 0.1, 48) + np.tile([1.0, -1.0], 24)
    with pytest.warns(UserWarning, match="sways by .* of a detector cell beside its 2 places"):
        rest_focal_spot(torch.zeros(geometry.shape), geometry, swaying)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made, same = rest_focal_spot(torch.ones(geometry.shape), geometry, np.zeros((48, 3)))
    assert torch.allclose(made, torch.ones(geometry.shape))
    assert np.array_equal(same.angles, geometry.angles)
