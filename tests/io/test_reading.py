"""`load` tells formats apart by content and says what is wrong in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import raw_files

import spinray as sr
from spinray.recon import io


def write_npy(path):
    with path.open("wb") as file:
        np.save(file, np.ones((2, 4, 4), np.complex64))
    return path


def test_content_counts_not_the_suffix(tmp_path, make_ismrmrd):
    lines = [make_ismrmrd.readout(np.ones((1, 8)), kspace_encode_step_1=y) for y in range(6)]
    for name in ("scan.cfl", "scan.npy", "scan", "scan.txt"):
        assert sr.load(make_ismrmrd(lines, name=name)).header["format"] == "ISMRMRD HDF5"
    assert sr.load(write_npy(tmp_path / "kspace.h5")).header["format"] == "NumPy npy/npz"


def test_formats():
    assert io.formats() == (
        "ISMRMRD HDF5", "ISMRMRD stream", "MRD 2", "fastMRI HDF5", "Data Exchange HDF5",
        "NeXus tomography", "CTSimU", "Nikon XTEK", "TIFF projections with YAML", "DICOM-CT-PD",
        "RTK geometry", "Varian cone beam", "Zeiss TXRM", "LoDoPaB-CT", "2DeteCT", "FIPS MATLAB",
        "Siemens twix",
        "Pulseq sequence", "Bruker ParaVision", "Philips list/data", "Philips raw/lab/sin",
        "GE P-file", "MATLAB", "NumPy npy/npz", "Zarr", "BART cfl",
    )  # fmt: skip


def test_other_packages_add_formats(tmp_path, monkeypatch):
    """An entry point `spinray.readers` names an object with NAME, matches and open_file."""
    from importlib.metadata import EntryPoint, EntryPoints

    from spinray.recon.io import reading

    (tmp_path / "acme_reader.py").write_text(
        "import numpy as np\n"
        "from spinray import MRScan\n"
        "from spinray.recon.io import RawFile\n"
        "NAME = 'Acme'\n"
        "def matches(path): return path.is_file() and path.read_bytes()[:4] == b'ACME'\n"
        "def open_file(path, gain=1.0):\n"
        "    def take(part): return MRScan(np.full((1, 4, 4), gain, np.complex64))\n"
        "    return RawFile(NAME, {}, 128, {'format': NAME}, take)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = EntryPoints([EntryPoint("acme", "acme_reader", reading.ENTRY_POINTS)])
    monkeypatch.setattr(reading, "entry_points", lambda group: points.select(group=group))
    reading.readers.cache_clear()
    try:
        (tmp_path / "scan").write_bytes(b"ACME")
        assert sr.load(tmp_path / "scan", gain=3).kspace[0, 0, 0] == 3
        assert io.formats()[0] == "Acme"
        with pytest.raises(TypeError, match="unknown option colour for Acme; it has gain"):
            sr.load(tmp_path / "scan", colour=1)
    finally:
        monkeypatch.undo()
        reading.readers.cache_clear()


def test_broken_packages_cost_no_other_format(tmp_path, monkeypatch):
    from importlib.metadata import EntryPoint

    from spinray.recon.io import reading

    broken = EntryPoint("acme", "no_such_module_here", reading.ENTRY_POINTS)
    monkeypatch.setattr(reading, "entry_points", lambda group: [broken])
    reading.readers.cache_clear()
    try:
        with pytest.warns(
            UserWarning, match=r"reader acme \(no_such_module_here\) is left out: No"
        ):
            assert sr.load(write_npy(tmp_path / "a.npy")).coils == 2
    finally:
        monkeypatch.undo()
        reading.readers.cache_clear()


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        sr.load(tmp_path / "none.h5")
    assert str(error.value) == f"{tmp_path / 'none.h5'}: no such file or folder"


def test_folders(tmp_path):
    with pytest.raises(sr.FormatError, match="is a folder without files"):
        sr.load(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(sr.FormatError, match="holds no scan; formats known: ISMRMRD"):
        sr.load(tmp_path)
    write_npy(tmp_path / "a.npy")
    assert sr.load(tmp_path).coils == 2
    write_npy(tmp_path / "b.npy")
    with pytest.raises(sr.FormatError, match=r"holds 2 scans \(a\.npy, b\.npy\): name one"):
        sr.load(tmp_path)


def test_no_scan(tmp_path):
    path = tmp_path / "notes.h5"
    path.write_text("hello")
    with pytest.raises(sr.FormatError, match="is no scan; formats known: ISMRMRD") as error:
        sr.load(path)
    assert str(error.value).startswith(str(path))
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(sr.FormatError, match="is no scan"):
        sr.load(path)
    path.write_bytes(b"")
    with pytest.raises(sr.FormatError, match="is empty"):
        sr.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(sr.FormatError, match="neither a file nor a folder"):
        sr.load(tmp_path / "pipe")
    with pytest.raises(sr.FormatError, match="is a folder without files"):
        sr.load(tmp_path)


def test_unknown_options_are_named(tmp_path):
    with pytest.raises(TypeError, match="unknown option colour for NumPy npy/npz; it has image_sh"):
        sr.load(write_npy(tmp_path / "a.npy"), colour=1)


def test_format_errors_are_one_line_and_survive_pickling(tmp_path):
    import pickle

    error = sr.FormatError("a.h5", "dataset/xml", "two\nlines")
    assert str(error) == "a.h5, dataset/xml: two lines"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, ValueError)


def test_importing_is_light():
    code = (
        "import sys, spinray.recon.io; "
        "print([m for m in ('torch', 'h5py', 'nibabel', 'pydicom', 'ismrmrd') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("npy", {"spacing": "abc"}, "spacing must be numbers such as 1.5,1.5, got 'abc'"),
        ("matlab 5", {"spacing": 0.5}, "spacing must be numbers .*, got 0.5"),
        ("matlab 5", {"variable": 3}, "variable must be text, got 3"),
        ("ge", {"field_of_view": 240}, "field_of_view must be numbers"),
        ("bart", {"image_shape": (4.5, 4)}, "image_shape must be whole numbers"),
        ("twix ve", {"measurement": "last"}, "measurement must be a whole number, got 'last'"),
        ("rtk", {"blank": "abc"}, "blank must be a finite number, got 'abc'"),
        ("rtk", {"spacing": (1.0, 2.0, 3.0)}, "spacing must be two numbers .* or a finite number"),
        ("hnd", {"blank": float("nan")}, "blank must be a finite number, got nan"),
    ],
)
def test_values_that_options_do_not_take(tmp_path, kind, options, message):
    path = raw_files.write(kind, tmp_path)
    with pytest.raises(TypeError, match=f"^{re.escape(str(path))}: {message}"):
        sr.load(path, **options)


@pytest.mark.parametrize("number", [100000, 1e5, np.float32(1e5)])
def test_a_blank_reading_may_be_any_number(tmp_path, number):
    scan = sr.load(raw_files.write("hnd", tmp_path), blank=number)
    assert scan.blank.item() == 1e5
