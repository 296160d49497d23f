"""Data Exchange files as beamlines write them."""

from __future__ import annotations

from pathlib import Path

import ct_raw_files
import h5py
import numpy as np
import pytest
import torch

import spinray as sr

VIEWS, ROWS, COLUMNS = 6, 3, 8
RNG = np.random.default_rng(0)
FRAMES = {
    "data": RNG.integers(100, 900, (VIEWS, ROWS, COLUMNS)).astype(np.uint16),
    "data_white": RNG.integers(900, 1100, (4, ROWS, COLUMNS)).astype(np.uint16),
    "data_dark": RNG.integers(0, 9, (2, ROWS, COLUMNS)).astype(np.uint16),
}

BLIND_ROW = np.full((2, ROWS, COLUMNS), 1000.0) * [[[1], [0], [1]]]


def make(path: Path, theta: np.ndarray, units: str | None, order: tuple[int, ...] = (0, 1, 2)):
    with h5py.File(path, "w") as file:
        for name, frames in FRAMES.items():
            file[f"exchange/{name}"] = frames.transpose(order)
            axes = [("theta", "y", "x")[i] for i in order]
            file[f"exchange/{name}"].attrs["axes"] = ":".join(axes)
        file["exchange/theta"] = theta
        if units:
            file["exchange/theta"].attrs["units"] = units
    return path


def expected() -> np.ndarray:
    data, white, dark = (FRAMES[name].astype(float) for name in FRAMES)
    dark = dark.mean(axis=0)
    lines = -np.log((data - dark) / (white.mean(axis=0) - dark))
    return lines.swapaxes(0, 1)


@pytest.mark.parametrize("units", ["degrees", "deg", None, "radians", "rad"])
def test_angles_by_their_units(tmp_path, units):
    radians = np.linspace(0, np.pi, VIEWS)
    theta = radians if units and units.startswith("rad") else np.rad2deg(radians)
    scan = sr.load(make(tmp_path / "scan.nxs", theta, units))
    assert np.allclose(scan.geometry.angles, radians)
    assert np.allclose(scan.sinogram.numpy(), expected(), atol=1e-5)
    assert np.array_equal(scan.counts.numpy(), FRAMES["data"].swapaxes(0, 1))


def test_sinogram_order(tmp_path):
    scan = sr.load(make(tmp_path / "scan", np.linspace(0, 180, VIEWS), "degrees", (1, 0, 2)))
    assert np.allclose(scan.sinogram.numpy(), expected(), atol=1e-5)


def test_pixel_size(tmp_path):
    path = make(tmp_path / "scan", np.linspace(0, 180, VIEWS), "degrees")
    with h5py.File(path, "a") as file:
        for axis, size in (("x", 1.5), ("y", 2.5)):
            node = file.create_dataset(
                f"measurement/instrument/detector/{axis}_actual_pixel_size", data=size
            )
            node.attrs["units"] = "microns"
    scan = sr.load(path)
    assert scan.geometry.column_spacing == pytest.approx(1.5e-3)
    assert scan.slice_spacing == pytest.approx(2.5e-3)


def test_real_tooth(data_dir):
    path = data_dir / "ct_raw" / "tooth.h5"
    scan = sr.load(path)
    assert tuple(scan.sinogram.shape) == (2, 181, 640)
    with h5py.File(path) as file:
        group = file["exchange"]
        dark, white = group["data_dark"][:].mean(axis=0), group["data_white"][:].mean(axis=0)
        lines = -np.log((group["data"][:] - dark) / (white - dark))
        theta = np.deg2rad(group["theta"][:])
    assert np.allclose(scan.sinogram.numpy(), lines.swapaxes(0, 1), atol=1e-5)
    assert np.allclose(scan.geometry.angles, theta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exchange/theta": None}, r"exchange/theta: missing: load\(path, angles=...\)"),
        ({"exchange/theta": np.arange(4.0)}, r"exchange/theta: has \(4,\) angles"),
        ({"exchange/data_white": None}, "exchange/data_white: missing"),
        ({"exchange/data_white": np.ones((2, 3, 3))}, "exchange/data_white: has frames of"),
        ({"exchange/data_white": np.zeros((2, ROWS, COLUMNS))}, "blank and dark exchanged"),
        ({"exchange/data_white": BLIND_ROW}, "1 of 3 rows have none"),
        ({"exchange/data_white": np.full((2, ROWS, COLUMNS), np.nan)}, "NaN"),
        ({"exchange/data": np.ones((6, 8))}, r"exchange/data: has shape \(6, 8\)"),
        ({"exchange/data": "text"}, "exchange/data: holds"),
        ({"exchange/data": np.full((VIEWS, ROWS, COLUMNS), np.nan)}, "NaN"),
        ({"exchange/theta": np.full(VIEWS, np.nan)}, "exchange/theta: makes no ParallelBeam"),
    ],
)
def test_what_does_not_fit(tmp_path, change, message):
    path = make(tmp_path / "scan", np.linspace(0, 180, VIEWS), "degrees")
    with h5py.File(path, "a") as file:
        for name, value in change.items():
            del file[name]
            if value is not None:
                file[name] = value
    with pytest.raises(sr.FormatError, match=message) as error:
        sr.load(path)
    assert str(path) in str(error.value)


DEAD = ((0, 3), (0, 4), (1, 0), (2, COLUMNS - 1))  # row and column


def make_dead(path: Path) -> Path:
    """A neighbouring pair inside a row, and one pixel at either edge."""
    make(path, np.linspace(0, 180, VIEWS), "degrees")
    with h5py.File(path, "a") as file:
        for row, column in DEAD:
            for key in ("data_white", "data_dark"):
                file[f"exchange/{key}"][:, row, column] = 5
    return path


def test_dead_pixels_are_interpolated(tmp_path):
    with pytest.warns(UserWarning, match="4 of 24 detector pixels are dead"):
        scan = sr.load(make_dead(tmp_path / "scan"))
    lines = expected()
    lines[0, :, 3] = (2 * lines[0, :, 2] + lines[0, :, 5]) / 3
    lines[0, :, 4] = (lines[0, :, 2] + 2 * lines[0, :, 5]) / 3
    lines[1, :, 0], lines[2, :, -1] = lines[1, :, 1], lines[2, :, -2]
    assert np.allclose(scan.sinogram.numpy(), lines, atol=1e-5)
    assert scan.header["dead_pixels"] == len(DEAD)
    assert "dead_pixels" not in sr.load(make(tmp_path / "sound", np.arange(6.0), None)).header


def test_dead_pixels_of_a_detector_with_rows(tmp_path):
    """Cone beam: the same pixels, ``(view, row, column)``."""
    with pytest.warns(UserWarning, match="dead"):
        stack = sr.load(make_dead(tmp_path / "scan"))
    cone = sr.ConeBeam(
        np.arange(VIEWS), rows=ROWS, columns=COLUMNS, row_spacing=1.0, column_spacing=1.0,
        source_to_isocenter=100.0, source_to_detector=150.0,
    )  # fmt: skip
    counts, blank, dark = (
        reading.swapaxes(0, 1) for reading in (stack.counts, stack.blank, stack.dark)
    )
    with pytest.warns(UserWarning, match="4 of 24"):
        scan = sr.CTScan(geometry=cone, counts=counts, blank=blank, dark=dark)
    assert np.array_equal(scan.sinogram.numpy(), stack.sinogram.swapaxes(0, 1).numpy())


def test_dead_pixels_are_warned_of_once(tmp_path, recwarn):
    with pytest.warns(UserWarning, match="dead"):
        scan = sr.load(make_dead(tmp_path / "scan"))
    recwarn.clear()
    sr.save(scan, tmp_path / "again.h5")
    assert not recwarn
    with h5py.File(tmp_path / "again.h5") as file:
        assert "spinray/sinogram" not in file


def test_angles_may_be_given(tmp_path):
    path = make(tmp_path / "scan", np.linspace(0, 180, VIEWS), "degrees")
    angles = np.linspace(0, 1, VIEWS)
    assert np.array_equal(sr.load(path, angles=angles).geometry.angles, angles)


def test_photons_and_the_place_in_the_patient_are_kept(tmp_path):
    geometry = sr.ConeBeam(np.arange(4) * 0.1, 3, 5, 1.0, 1.0, 100.0, 200.0)
    affine = np.array([[0.0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, -70], [0, 0, 0, 1]])
    header = {"kvp": 100.0, "water": 0.021, "patient_position": "FFP"}
    scan = sr.CTScan(
        np.ones(geometry.shape, np.float32), geometry, affine=affine, header=header,
        photons=np.arange(20.0).reshape(4, 1, 5),
    )  # fmt: skip
    again = sr.load(sr.save(scan, tmp_path / "scan.h5"))
    assert np.array_equal(again.photons, scan.photons)
    assert np.array_equal(again.affine, affine)
    assert header.items() <= again.header.items()


def test_photons_of_each_row_go_with_their_row(tmp_path):
    geometry = sr.ParallelBeam(np.linspace(0, 3, 4), 5)
    sinogram, photons = (torch.rand(3, 4, 5) + 1 for _ in range(2))
    path = sr.save(sr.CTScan(sinogram, geometry, photons=photons), tmp_path / "scan.h5")
    assert torch.equal(sr.load(path, slice=1).photons, photons[1])
    assert torch.equal(sr.load(path, slice=slice(1, 3)).photons, photons[1:])
    path = sr.save(sr.CTScan(sinogram, geometry, photons=photons[:1]), tmp_path / "one.h5")
    assert torch.equal(sr.load(path, slice=slice(1, 3)).photons, photons[:1])


def test_title_and_sample_are_kept(tmp_path):
    path = ct_raw_files.write_data_exchange(tmp_path)
    with h5py.File(path, "a") as file:
        file["measurement/sample/name"] = "tooth"
    scan = sr.load(path)
    assert (scan.header["title"], scan.header["sample"]) == ("tomography", "tooth")
    again = sr.load(sr.io.convert(path, tmp_path / "again.h5"))
    assert (again.header["title"], again.header["sample"]) == ("tomography", "tooth")
    hidden = sr.load(sr.io.convert(path, tmp_path / "hidden.h5", anonymize=True))
    assert not {"title", "sample"} & set(hidden.header)
