"""Files made to hang, to fill the memory or to lead out of their folder: refused, and at once."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ct_raw_files
import h5py
import numcodecs
import numpy as np
import pytest
import raw_files
import zarr

import spinray as sr
from spinray.recon.io.hdf5 import find, open_hdf5
from spinray.recon.io.jcamp import Parameters
from spinray.recon.io.protocol import parse_header
from spinray.recon.io.twix_protocol import Protocol

LONG = 40_000  # characters: their square is many seconds, twice them is nothing


def replaced(path: Path, old: str, new: str) -> Path:
    text = path.read_text("latin-1")
    assert old in text
    path.write_text(text.replace(old, new, 1), "latin-1")
    return path


def list_of_blanks(folder: Path) -> Any:
    path = raw_files.write("list data", folder)
    return sr.load(replaced(path.with_suffix(".list"), "# === END", "\n" * LONG + "# === END"))


def list_of_spaces(folder: Path) -> Any:
    path = raw_files.write("list data", folder)
    line = f".  0  0  0  a{' ' * 3 * LONG}b\n"
    return sr.load(replaced(path.with_suffix(".list"), "# === END", f"{line}# === END"))


def lab_of_blanks(folder: Path) -> Any:
    path = raw_files.write("lab raw", folder)
    sin = path.with_suffix(".sin")
    sin.write_text(sin.read_text() + "\n" * LONG + "x")
    return sr.load(path)


def nikon_of_spaces(folder: Path) -> Any:
    path = raw_files.write("nikon", folder)
    return sr.load(replaced(path, "[XTekCT]\n", f"[XTekCT]\na{' ' * LONG}=b\n"))


def jcamp_of(text: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        (folder / "acqp").write_text(f"##TITLE=x\n##$A={text}\n##END=")
        parameters = Parameters(folder / "acqp")
        return parameters.text("A")

    return read


def twix_of_braces(folder: Path) -> Any:
    return Protocol({"Meas": '<ParamLong."x">{' * (LONG // 4)}).parameter("x")


def yaml_of_base_60(folder: Path) -> Any:
    path = raw_files.write("image folder", folder)
    path.write_text(path.read_text() + "first_row: 1" + ":01" * 4 * LONG + "\n")
    with pytest.raises(sr.FormatError, match="YAML"):
        sr.load(path)


def nrrd_of_brackets(folder: Path) -> Any:
    head = f"NRRD0004\ntype: float\nsizes: 2 2\nencoding: raw\nspace directions: {'(' * 2 * LONG}"
    (folder / "a.nrrd").write_bytes(head.encode() + b"\n\n" + bytes(16))
    return sr.load_image(folder / "a.nrrd")


@pytest.mark.parametrize("read", [
    list_of_blanks, list_of_spaces, lab_of_blanks, nikon_of_spaces, jcamp_of(f"({' ' * LONG}x"),
    jcamp_of("<" * 2 * LONG), twix_of_braces, yaml_of_base_60, nrrd_of_brackets,
])  # fmt: skip
def test_time_grows_with_the_length(tmp_path, read):
    start = time.process_time()
    read(tmp_path)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("text", ["@00000000099999999999*(0)", f"@16777216*({'1' * 100})"])
def test_lists_do_not_repeat_beyond_measure(tmp_path, text):
    (tmp_path / "acqp").write_text(f"##TITLE=x\n##$A={text}\n##END=")
    with pytest.raises(sr.FormatError, match="repeats values"):
        Parameters(tmp_path / "acqp").numbers("A")


def test_places_of_numbers_are_narrow(tmp_path):
    """A flat field named %999999999d is a name of a gigabyte."""
    path = raw_files.write("ctsimu", tmp_path)
    metadata = json.loads(path.read_text())
    field = {"filename": "flat_%999999999d.raw", "number": 2}
    metadata["output"]["projections"]["flat_field"] = field
    path.write_text(json.dumps(metadata))
    with pytest.raises(sr.FormatError, match="expected a number such as %04d"):
        sr.load(path)


def test_entities_of_headers_are_refused():
    xml = '<!DOCTYPE h [<!ENTITY e "x">]><ismrmrdHeader>&e;</ismrmrdHeader>'
    with pytest.raises(sr.FormatError, match="XML header: declares entities: refused"):
        parse_header(xml)


def test_soft_links_that_branch(tmp_path):
    """Each link leads four times through the next one, and the root is its own member."""
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["self"] = file["/"]
        for i in range(12):
            file[f"link{i}"] = h5py.SoftLink("/".join([f"link{i + 1}"] * 4))
        file["link12"] = h5py.SoftLink("self")
    start = time.process_time()
    with open_hdf5(tmp_path / "links.h5") as file:
        assert find(file, "link12/self/link12") == file["/"]
        with pytest.raises(sr.FormatError, match="circle"):
            find(file, "link0")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("old", "new"), [
    ("Name=", "Name=../*/"), ("Name=", "Name=**/"), ("InputFolderName=", "InputFolderName=.."),
])  # fmt: skip
def test_nikon_stays_in_its_folder(tmp_path, old, new):
    path = raw_files.write("nikon", tmp_path)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(old)]
    inner = path.parent / "inner"
    inner.mkdir()
    for file in list(tmp_path.rglob("*.tif")):
        file.rename(tmp_path / file.name)  # beside the inner folder: none of its business
    moved = inner / path.name
    moved.write_text("\n".join([*lines, new]))
    with pytest.raises(sr.FormatError, match=r"must name files of this folder|matches 0 files"):
        sr.load(moved)


def test_brackets_in_a_nikon_name_are_letters(tmp_path):
    path = raw_files.write("nikon", tmp_path)
    expected = sr.load(path).counts
    name = next(line[5:] for line in path.read_text().splitlines() if line.startswith("Name="))
    for file in tmp_path.rglob("*.tif"):
        file.rename(file.with_name(file.name.replace(name, "scan [1]")))
    assert np.array_equal(sr.load(replaced(path, f"Name={name}", "Name=scan [1]")).counts, expected)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_swell(tmp_path, packing):
    sound = raw_files.write("npz", tmp_path)
    with zipfile.ZipFile(sound) as theirs, zipfile.ZipFile(tmp_path / "a", "w", packing) as ours:
        ours.writestr("kspace.npy", theirs.read("kspace.npy"))
    with pytest.raises(sr.FormatError, match="is packed otherwise than NumPy packs"):
        sr.load(tmp_path / "a")


def test_archives_are_read_when_asked_for(tmp_path):
    """A part that nobody asks for may be broken; objects are refused from the header on."""
    path = tmp_path / "scan.npz"
    np.savez(path, kspace=raw_files.KSPACE, notes=np.arange(1000.0))
    content = path.read_bytes()
    at = content.index(np.arange(400.0, 500).tobytes())
    path.write_bytes(content[:at] + b"\xff" * 8 + content[at + 8 :])
    assert np.array_equal(sr.load(path).kspace, raw_files.KSPACE)
    np.savez(path, kspace=raw_files.KSPACE, notes=np.array([{}], object))
    with pytest.raises(sr.FormatError, match=r"notes: holds Python objects \(a pickle\): refused"):
        sr.open_raw(path)


@pytest.mark.parametrize("codec", [{"filters": [{"id": "pickle"}]}, {"compressor": {"id": "lzma"}}])
def test_codecs_of_stores(tmp_path, codec):
    folder = tmp_path / "scan.zarr" / "kspace"
    zarr.create_array(str(folder), data=raw_files.KSPACE, zarr_format=2)
    said = json.loads((folder / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**said, **codec}))
    with pytest.raises(sr.FormatError, match=r"is packed by (pickle|lzma): refused"):
        sr.open_raw(folder.parent)


def test_chunks_that_swell(tmp_path):
    """Two kilobytes of Zstandard in a chunk of 768 bytes that hold 64 megabytes."""
    folder = tmp_path / "scan.zarr" / "kspace"
    zarr.create_array(str(folder), data=raw_files.KSPACE)
    assert np.array_equal(sr.load(folder.parent).kspace, raw_files.KSPACE)
    chunk = next(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(numcodecs.Zstd().encode(bytes(64 << 20)))
    with pytest.raises(sr.FormatError, match="swells beyond the size of a chunk"):
        sr.open_raw(folder.parent)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stores_of_samples(tmp_path, zarr_format):
    """All arguments of a scan, in shards where the format has them."""
    k = np.random.default_rng(0).uniform(-0.5, 0.49, (48, 2))
    shards = {"chunks": (1, 24), "shards": (2, 48)} if zarr_format == 3 else {}
    arrays = {"trajectory": k, "image_shape": np.array([4, 4]), "readout_length": np.array([8])}
    root = tmp_path / "scan.zarr"
    kspace = raw_files.KSPACE.reshape(2, 48)
    zarr.create_array(str(root / "kspace"), data=kspace, zarr_format=zarr_format, **shards)
    for name, array in arrays.items():
        zarr.create_array(str(root / name), data=array, zarr_format=zarr_format)
    scan = sr.load(root)
    assert np.array_equal(scan.kspace, kspace)
    assert np.array_equal(scan.trajectory, k)
    assert scan.readout_length == 8


def test_keys_that_no_geometry_has(tmp_path):
    """A misspelt offset must not be passed over."""
    path = raw_files.write("image folder", tmp_path)
    replaced(path, "geometry:\n", "geometry:\n  column_ofset: 0.5\n")
    with pytest.raises(sr.FormatError, match="has no column_ofset; it has angles_deg, angles"):
        sr.load(path)


def test_images_of_no_space(tmp_path):
    head = (
        "NRRD0004\ntype: float\nsizes: 3 2 2\nencoding: raw\nspace directions: none (1,0,0) (0,1,0)"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\n\n" + bytes(48))
    with pytest.raises(sr.FormatError, match="an axis is none of space"):
        sr.load_image(tmp_path / "a.nrrd")
    head = "NRRD0004\ntype: float\nsizes: 2 2\nencoding: raw\nbyte skip: 4"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\n\n" + bytes(20))
    with pytest.raises(sr.FormatError, match="byte skip: is 4, expected data right after"):
        sr.load_image(tmp_path / "a.nrrd")


def test_edf_of_many_images(tmp_path):
    """Headers are looked at one by one, not the rest of the file each time."""
    path = ct_raw_files.write_edf_folder(tmp_path)
    one = b"{ HeaderID = x; DataType = UnsignedByte; Dim_1 = 1; Dim_2 = 1; }\n\1"
    (tmp_path / "all.edf").write_bytes(one * 20_000)
    start = time.process_time()
    with pytest.raises(sr.FormatError, match="has 4 views, there are 20000"):
        sr.open_raw(path)
    assert time.process_time() - start < 1


def test_pictures_beyond_measure(tmp_path):
    path = raw_files.write("png", tmp_path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(sr.FormatError, match="IHDR: Image size"):
        sr.load_image(path)


def test_volumes_beyond_measure(tmp_path):
    for kind in ("nii", "nii.gz"):
        path = raw_files.write(kind, tmp_path)
        plain = path.read_bytes() if kind == "nii" else gzip.decompress(path.read_bytes())
        content = plain[:42] + struct.pack("<3h", 30000, 30000, 3) + plain[48:]
        path.write_bytes(content if kind == "nii" else gzip.compress(content))
        with pytest.raises(sr.FormatError, match=r"dim: declares \(30000, 30000, 3"):
            sr.load_image(path)
