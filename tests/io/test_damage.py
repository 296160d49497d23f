"""Damaged files end in a `FormatError` that names the file, never in another error or a hang."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import spinray as sr

Make = Callable[..., Path]
KINDS = ("ismrmrd", "radial", "fastmri", "data exchange", "npz", "npy", "bart")


def sound_file(kind: str, folder: Path, make_ismrmrd: Make) -> Path:
    """A small sound file of each format."""
    rng = np.random.default_rng(0)
    kspace = (rng.normal(size=(2, 6, 8)) + 1j).astype(np.complex64)
    k = rng.uniform(-0.5, 0.49, (8, 2)).astype(np.float32)
    if kind in ("ismrmrd", "radial"):
        lines = [
            make_ismrmrd.readout(
                kspace[:, y], k if kind == "radial" else None, kspace_encode_step_1=y
            )
            for y in range(6)
        ]
        trajectory = "radial" if kind == "radial" else "cartesian"
        return make_ismrmrd(lines, make_ismrmrd.encoding(trajectory=trajectory))
    path = folder / "scan"
    if kind == "fastmri":
        with h5py.File(path, "w") as file:
            file.create_dataset("kspace", data=kspace[None], compression="gzip")
    elif kind == "data exchange":
        counts = np.full((3, 4, 5), 10.0, np.float32)
        scan = sr.CTScan(
            geometry=sr.ParallelBeam(np.arange(4.0), 5), counts=counts, blank=np.float32(20)
        )
        shutil.move(sr.save(scan, folder / "scan.h5"), path)
    elif kind == "npz":
        np.savez(folder / "scan.npz", kspace=kspace, mask=np.ones((6, 8), bool))
        path = folder / "scan.npz"
    elif kind == "npy":
        np.save(folder / "scan.npy", kspace)
        path = folder / "scan.npy"
    else:
        path = sr.save(sr.MRScan(kspace=kspace), folder / "scan.cfl")
    return path


def refused(path: Path, **options: object) -> str:
    """The message of the one permitted error, within five seconds."""
    start = time.perf_counter()
    with pytest.raises(sr.FormatError) as error:
        sr.load(path, **options)
    assert time.perf_counter() - start < 5
    message = str(error.value)
    assert message.startswith(str(path.with_suffix("")))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_anywhere(kind, tmp_path, make_ismrmrd):
    path = sound_file(kind, tmp_path, make_ismrmrd)
    sr.load(path)
    whole = path.read_bytes()
    for length in np.unique(np.linspace(0, len(whole) - 1, 60).astype(int)).tolist():
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes(kind, tmp_path, make_ismrmrd):
    """A changed byte may go unseen, but never ends in anything but a scan or a FormatError."""
    path = sound_file(kind, tmp_path, make_ismrmrd)
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    # The first kilobytes of HDF5 hold the structure: hit them more often than the data.
    places = np.concatenate([rng.integers(0, len(whole), 80), rng.integers(0, 2048, 120)])
    for place in places % len(whole):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        start = time.perf_counter()
        with contextlib.suppress(sr.FormatError):
            sr.load(path)
        assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "line 2"),
        ("# Dimensions\n", "line 2"),
        ("# Dimensions\n8 6 x 2\n", "is '8 6 x 2', expected 1 to 16 positive sizes"),
        ("# Dimensions\n8 -6 1 2\n", "expected 1 to 16 positive sizes"),
        ("# Dimensions\n8 0 1 2\n", "expected 1 to 16 positive sizes"),
        ("# Dimensions\n8 6 1 3\n", "holds 768 bytes, its header declares"),
        ("# Dimensions\n8 6 1 1\n", "holds 768 bytes, its header declares"),
        ("# Dimensions\n99999999 99999999 99999999 2\n", "holds 768 bytes"),
        ("# Dimensions\n" + "9" * 5000 + "\n", "expected 1 to 16 positive sizes"),
        ("# Dimensions\n" + "1 " * 17 + "\n", "expected 1 to 16 positive sizes"),
    ],
)
def test_bart_headers(tmp_path, make_ismrmrd, header, message):
    path = sound_file("bart", tmp_path, make_ismrmrd)
    path.with_suffix(".hdr").write_text(header)
    found = refused(path)
    assert message in found or "is no scan" in found


def test_bart_pairs_need_both(tmp_path, make_ismrmrd):
    path = sound_file("bart", tmp_path, make_ismrmrd)
    content = path.read_bytes()
    path.unlink()
    assert "scan.cfl: missing beside its header" in refused(path.with_suffix(".hdr"))
    path.write_bytes(content)
    path.with_suffix(".hdr").unlink()
    assert "scan.hdr: missing: a cfl needs the header" in refused(path)


@pytest.mark.parametrize("kind", ["ismrmrd", "radial", "fastmri", "npz", "npy", "bart"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_kspace(kind, value, tmp_path, make_ismrmrd):
    path = sound_file(kind, tmp_path, make_ismrmrd)
    kspace = np.ones((2, 6, 8), np.complex64)
    kspace[1, 3, 2] = value
    if kind == "npz":
        np.savez(path, kspace=kspace)
    elif kind == "npy":
        np.save(path, kspace)
    elif kind == "bart":
        kspace.tofile(path)
    elif kind == "fastmri":
        with h5py.File(path, "a") as file:
            del file["kspace"]
            file["kspace"] = kspace[None]
    else:
        lines = [
            make_ismrmrd.readout(kspace[:, y], np.zeros((8, 2)), kspace_encode_step_1=y)
            for y in range(6)
        ]
        trajectory = "radial" if kind == "radial" else "cartesian"
        path = make_ismrmrd(lines, make_ismrmrd.encoding(trajectory=trajectory))
        assert "readout 3" in refused(path)
    assert "NaN" in refused(path)


def edit_ismrmrd(path: Path, change: Callable[[np.ndarray], None]) -> Path:
    with h5py.File(path, "a") as file:
        rows = file["dataset/data"][()]
        change(rows)
        file["dataset/data"][()] = rows
    return path


def set_head(name: str, value: float, place: int = 2) -> Callable[[np.ndarray], None]:
    def change(rows: np.ndarray) -> None:
        rows["head"][name][place] = value

    return change


def set_counter(name: str, value: int, place: int = 2) -> Callable[[np.ndarray], None]:
    def change(rows: np.ndarray) -> None:
        rows["head"]["idx"][name][place] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_head("number_of_samples", 9), "data[2]: holds 32 numbers of k-space, its header says"),
        (set_head("number_of_samples", 65535), "its header says 262140"),
        (set_head("active_channels", 1), "data[2]: holds 32 numbers of k-space"),
        (set_head("center_sample", 60000), "readout 2: samples 0 to 8 around centre 60000"),
        (set_head("discard_pre", 60000), "readout 2: samples 60000 to 8"),
        (set_head("encoding_space_ref", 9, 0), ""),
        (
            set_counter("kspace_encode_step_1", 6),
            "readout 2: kspace_encode_step_1 6 falls on row 6",
        ),
        (set_counter("kspace_encode_step_1", 65535), "readout 2: kspace_encode_step_1 65535"),
    ],
)
def test_readout_headers(tmp_path, make_ismrmrd, change, message):
    path = edit_ismrmrd(sound_file("ismrmrd", tmp_path, make_ismrmrd), change)
    if message:
        assert message in refused(path)
    else:
        assert "are of encoding 9, the header has 1" in refused(path, encoding=9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</ismrmrdHeader>", "", "XML header: not well-formed"),
        ("<?xml", "\x01<?xml", "XML header: not well-formed"),
        ("<x>8</x>", "<x>-8</x>", "encodedSpace has matrix [-8, 6, 1]"),
        ("<x>8</x>", "<x>eight</x>", "encodedSpace has matrix ['eight', 6, 1]"),
        ("<x>8</x>", "", "do not fit the encoded 1"),
        ("<x>80.0</x>", "<x>nan</x>", "field of view [nan, 60.0, 5.0]"),
        ("ismrmrdHeader", "otherHeader", "expected an ismrmrdHeader"),
        ("encoding>", "decoding>", "has no encoding"),
        ("<x>8</x><y>6</y>", "<x>65535</x><y>65535</y>", "but 96 samples were measured"),
        ("<x>8</x>", "<x>4</x>", "do not fit the encoded 4"),
        ("<center>3</center>", "<center>60000</center>", "falls on row"),
    ],
)
def test_xml_headers(tmp_path, make_ismrmrd, old, new, message):
    path = sound_file("ismrmrd", tmp_path, make_ismrmrd)
    with h5py.File(path, "a") as file:
        xml = file["dataset/xml"][0].decode()
        assert old in xml
        file["dataset/xml"][0] = xml.replace(old, new).encode()
    assert message in refused(path)


def test_entity_bombs_do_not_go_off(tmp_path, make_ismrmrd):
    path = sound_file("ismrmrd", tmp_path, make_ismrmrd)
    entities = "".join(
        f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' if i else '<!ENTITY e1 "ha">' for i in range(12)
    )
    bomb = f"<!DOCTYPE h [{entities}]><ismrmrdHeader>&e12;</ismrmrdHeader>"
    with h5py.File(path, "a") as file:
        file["dataset/xml"][0] = bomb.encode()
    assert "XML header" in refused(path)


@pytest.mark.parametrize("name", ["dataset/data", "dataset/xml"])
def test_missing_or_foreign_parts_of_ismrmrd(tmp_path, make_ismrmrd, name):
    path = sound_file("ismrmrd", tmp_path, make_ismrmrd)
    with h5py.File(path, "a") as file:
        del file[name]
    assert "is no scan" in refused(path)
    with h5py.File(path, "a") as file:
        file[name] = np.arange(5.0)
    assert name in refused(path)


def test_declared_sizes_are_not_believed(tmp_path):
    """Datasets of terabytes that store nothing."""
    path = tmp_path / "huge"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (10**4, 10**4, 10**4), np.complex64, chunks=(1, 64, 64))
    assert "of which the file stores 0" in refused(path)
    with h5py.File(path, "w") as file:
        for name in ("data", "data_white"):
            file.create_dataset(
                f"exchange/{name}", (10**5, 10**4, 10**4), np.float32, chunks=(1, 64, 64)
            )
    assert "of which the file stores 0" in refused(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_declared_numpy_sizes_are_not_believed(tmp_path, suffix):
    import io
    import zipfile

    header = io.BytesIO()
    description = {"descr": "<c8", "fortran_order": False, "shape": (10**6, 10**6, 10**3)}
    np.lib.format.write_array_header_1_0(header, description)
    path = tmp_path / f"huge{suffix}"
    if suffix == ".npy":
        path.write_bytes(header.getvalue() + b"\0" * 64)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("kspace.npy", header.getvalue() + b"\0" * 64)
    refused(path)


def test_no_other_file_is_opened(tmp_path):
    """External links, external storage, virtual data sets: refused."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kspace"] = np.ones((1, 2, 4, 4), np.complex64)
    path = tmp_path / "scan"
    with h5py.File(path, "w") as file:
        file["kspace"] = h5py.ExternalLink(str(secret), "kspace")
    refused(path)
    with h5py.File(path, "w") as file:
        file["exchange/data"] = h5py.ExternalLink(str(secret), "kspace")
    assert "links to another file" in refused(path)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((1, 2, 4, 4), np.complex64)
        layout[...] = h5py.VirtualSource(str(secret), "kspace", (1, 2, 4, 4))
        file.create_virtual_dataset("kspace", layout)
    assert "keeps its data in another file" in refused(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (2, 4, 4), np.float32, external=[(str(secret), 0, 128)])
    assert "keeps its data in another file" in refused(path)


def test_links_in_a_circle(tmp_path):
    path = tmp_path / "scan"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = h5py.SoftLink("/exchange/other")
        file["exchange/other"] = h5py.SoftLink("/exchange/data")
    assert "circle" in refused(path)


def test_soft_links_within_the_file_work(tmp_path):
    path = tmp_path / "scan"
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.ones((3, 2, 4))
        file["exchange/data"] = h5py.SoftLink("/entry/data")
        file["exchange/data_white"] = np.full((1, 2, 4), 2.0)
        file["exchange/theta"] = [0.0, 60, 120]
    assert np.allclose(sr.load(path).sinogram.numpy(), np.log(2))
