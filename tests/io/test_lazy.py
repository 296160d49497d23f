"""Headers first: large files open at once, parts are read alone and take their own memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import peak_memory
import pytest
import raw_files
import torch
from ismrmrd.hdf5 import acquisition_header_dtype
from raw_files import COILS, KSPACE, NX, NY

import spinray as sr

WITH_REPETITIONS = {"ismrmrd": raw_files.write_ismrmrd, "stream": raw_files.write_stream,
                    "mrd2": raw_files.write_mrd2}  # fmt: skip


@pytest.mark.parametrize("kind", WITH_REPETITIONS)
def test_parts_are_those_of_the_whole(tmp_path, kind):
    raw = sr.open_raw(WITH_REPETITIONS[kind](tmp_path, repetitions=4))
    assert raw.axes == {"repetition": 4}
    assert raw.size == 4 * KSPACE.nbytes
    assert raw.item_size == KSPACE.nbytes
    whole = raw.read()
    assert whole.batch_axes == ("repetition",)
    for part, index in ((2, 2), (-1, 3), (slice(1, 3), slice(1, 3)), (slice(0, 4, 2), [0, 2])):
        scan = raw.read(repetition=part)
        assert torch.equal(scan.kspace, whole.kspace[index])


def test_embedded_calibration_lines_belong_to_their_repetition(tmp_path):
    path = raw_files.write_ismrmrd(tmp_path, repetitions=3)
    with h5py.File(path, "a") as file:
        lines = file["dataset/data"][()]
        middle = np.abs(lines["head"]["idx"]["kspace_encode_step_1"].astype(int) - NY // 2) < 2
        lines["head"]["flags"][middle] |= 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
        file["dataset/data"][...] = lines
    raw = sr.open_raw(path)
    part = raw.read(repetition=1)
    assert part.batch_shape == ()
    assert torch.equal(part.kspace, raw.read().kspace[1])


def test_what_cannot_be_chosen(tmp_path):
    raw = sr.open_raw(raw_files.write_ismrmrd(tmp_path, repetitions=3))
    with pytest.raises(TypeError, match=r"no axis slice .* this file has repetition \(3\)"):
        raw.read(slice=0)
    with pytest.raises(ValueError, match="repetition 3: the file has 3, numbered from 0"):
        raw.read(repetition=3)
    with pytest.raises(ValueError, match="chooses nothing, or backward"):
        raw.read(repetition=slice(2, 0, -1))
    with pytest.raises(TypeError, match="unknown option slice for ISMRMRD HDF5; it has encoding"):
        sr.load(tmp_path / "scan.h5", slice=1)


def test_slices_in_order_of_position(make_ismrmrd):
    """Numbers choose places in the stack, not in the order of measurement."""
    lines = [
        make_ismrmrd.readout(
            np.full((1, 8), height + 1), kspace_encode_step_1=y, slice=number,
            position=(0, 0, 5.0 * height), read_dir=(1, 0, 0), phase_dir=(0, 1, 0),
            slice_dir=(0, 0, 1),
        )
        for number, height in enumerate((2, 0, 1))
        for y in range(6)
    ]  # fmt: skip
    path = make_ismrmrd(lines)
    whole = sr.load(path)
    for height in range(3):
        scan = sr.load(path, slice=height)
        assert torch.equal(scan.kspace, whole.kspace[height])
        assert scan.affine[2, 3] == 5 * height
        assert np.allclose(scan.affine[:3, 3], (whole.affine @ [0, 0, height, 1])[:3])


@pytest.mark.parametrize("kind", ["npy", "fastmri", "bart", "zarr"])
def test_arrays_in_parts(tmp_path, kind):
    kspace = np.random.default_rng(0).normal(size=(5, COILS, NY, NX)).astype(np.complex64)
    path, axis = tmp_path / "scan", "batch"
    if kind == "npy":
        path = tmp_path / "scan.npy"
        np.save(path, kspace)
    elif kind == "bart":
        path, axis = sr.save(sr.MRScan(kspace, batch_axes=("slice",)), tmp_path / "a.cfl"), "slice"
    elif kind == "fastmri":
        axis = "slice"
        with h5py.File(path, "w") as file:
            file["kspace"] = kspace
            file["reconstruction_rss"] = np.arange(5.0 * 16).reshape(5, 4, 4)
    else:
        zarr = pytest.importorskip("zarr")
        array = zarr.open_group(str(path), mode="w").create_array(
            "kspace", shape=kspace.shape, dtype="c8", chunks=(1, 1, NY, NX)
        )
        array[...] = kspace
    raw = sr.open_raw(path)
    assert raw.axes == {axis: 5}
    assert torch.equal(raw.read(**{axis: 3}).kspace, torch.from_numpy(kspace[3]))
    part = raw.read(**{axis: slice(1, 4)})
    assert torch.equal(part.kspace, torch.from_numpy(kspace[1:4]))
    if kind == "fastmri":
        assert part.header["reconstruction_rss"].shape == (3, 4, 4)


def test_rows_of_a_tomography(data_dir):
    path = data_dir / "ct_raw" / "tooth.h5"
    whole = sr.load(path)
    assert sr.open_raw(path).axes == {"slice": 2}
    row = sr.load(path, slice=1)
    assert torch.equal(row.counts, whole.counts[1])
    # the mean of the flat fields is summed in another order
    torch.testing.assert_close(row.sinogram, whole.sinogram[1], rtol=0, atol=1e-6)


def sparse_ismrmrd(path: Path, coils: int, samples: int, repetitions: int, lines: int) -> None:
    """An ISMRMRD file whose samples are holes: every heap is written, nothing in it.

    The file is made by HDF5 with empty lists; then the references are pointed to heaps after its
    end, of which only the headers are on disk.
    """
    import struct

    count, size = repetitions * lines, 8 * coils * samples
    layout = h5py.vlen_dtype(np.float32)
    dtype = np.dtype([("head", acquisition_header_dtype), ("traj", layout), ("data", layout)])
    xml = raw_files.XML.replace(f"<x>{NX}</x>", f"<x>{samples}</x>").replace(
        f"<y>{NY}</y>", f"<y>{lines}</y>"
    ).replace(f"<center>{NY // 2}</center>", f"<center>{lines // 2}</center>")  # fmt: skip
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/xml", (1,), h5py.string_dtype("ascii"))[0] = xml
        data = file.create_dataset("dataset/data", (count,), dtype)
        rows = np.empty(count, dtype)
        rows["head"] = np.zeros((), acquisition_header_dtype)
        rows["head"]["number_of_samples"], rows["head"]["active_channels"] = samples, coils
        rows["head"]["center_sample"] = samples // 2
        rows["head"]["idx"]["kspace_encode_step_1"] = np.arange(count) % lines
        rows["head"]["idx"]["repetition"] = np.arange(count) // lines
        for name in ("traj", "data"):
            rows[name] = [np.zeros(0, np.float32)] * count
        data[...] = rows
        # As stored, where a reference to a list takes 16 bytes.
        start, width = data.id.get_offset(), data.dtype.itemsize
        at_data = data.dtype.fields["data"][1]
    heap = 16 + 16 + size + 16
    end = -(-path.stat().st_size // 4096) * 4096
    with path.open("r+b") as file:
        for i in range(count):
            at = end + i * heap
            file.seek(start + i * width + at_data)
            file.write(struct.pack("<IQI", 2 * coils * samples, at, 1))
            file.seek(at)
            file.write(b"GCOL\x01\0\0\0" + struct.pack("<Q", heap))
            file.write(struct.pack("<HHIQ", 1, 1, 0, size))
        file.truncate(end + count * heap)


@pytest.fixture(scope="module")
def twenty_gigabytes(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "scan.h5"
    sparse_ismrmrd(path, coils=32, samples=512, repetitions=600, lines=256)
    assert path.stat().st_size > 20e9
    if path.stat().st_blocks * 512 > 2e9:
        pytest.skip("the file system here has no holes in files")
    yield path
    path.unlink()


def test_twenty_gigabytes_open_in_a_second(twenty_gigabytes):
    sr.open_raw(twenty_gigabytes)
    start = time.process_time()
    raw = sr.open_raw(twenty_gigabytes)
    assert time.process_time() - start < 1
    assert raw.axes == {"repetition": 600}
    assert raw.size == 600 * 256 * 32 * 512 * 8


def test_memory_is_that_of_the_part(twenty_gigabytes):
    """One repetition of 34 MB: the process needs a few times that, not the file's 20 GB."""
    code = (
        "import resource, sys, spinray as sr\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "sr.load(sys.argv[2]); before = peak()\n"
        "scan = sr.load(sys.argv[1], repetition=300)\n"
        "print(scan.kspace.nbytes, peak() - before)"
    )
    small = raw_files.write_ismrmrd(twenty_gigabytes.parent.parent)
    command = [sys.executable, "-c", code, str(twenty_gigabytes), str(small)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    part, grown = map(int, run.stdout.split())
    assert part == 256 * 32 * 512 * 8
    # A page of each readout's header is looked at, which counts as memory until it is needed.
    assert grown < 4 * part + 600 * 256 * 2 * 4096


def test_lists_of_strangers(tmp_path):
    """References out of a heap, out of the file, and into another heap's data are refused."""
    path = raw_files.write_ismrmrd(tmp_path)
    sound = path.read_bytes()
    with h5py.File(path) as file:
        rows = file["dataset/data"]
        where = rows.id.get_chunk_info(2).byte_offset + rows.dtype.fields["data"][1]
    assert sound[where : where + 4] == (2 * COILS * NX).to_bytes(4, "little")
    for offset, value in ((4, 1 << 40), (4, 64), (12, 77), (0, 1 << 31)):
        changed = bytearray(sound)
        width = 8 if offset == 4 else 4
        changed[where + offset : where + offset + width] = value.to_bytes(width, "little")
        path.write_bytes(changed)
        with pytest.raises(sr.FormatError, match="dataset/data"):
            sr.load(path)


def test_text_of_any_length_costs_no_memory(tmp_path):
    """A string that declares two gigabytes: HDF5 would ask for them before it looks."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = KSPACE[None]
        file.attrs["acquisition"] = "x" * 300
    content = bytearray(path.read_bytes())
    where = content.index((300).to_bytes(4, "little"))
    assert sr.load(path).header["acquisition"] == "x" * 300
    content[where : where + 4] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(sr.FormatError, match="attribute acquisition"):
        sr.load(path)


def test_compressed_lists(tmp_path):
    """ISMRMRD behind deflate and shuffle."""
    path = raw_files.write_ismrmrd(tmp_path)
    with h5py.File(path) as file:
        rows, xml = file["dataset/data"][()], file["dataset/xml"][()]
        dtype = file["dataset/data"].dtype
    packed = tmp_path / "packed.h5"
    with h5py.File(packed, "w") as file:
        file["dataset/xml"] = xml
        file.create_dataset("dataset/data", data=rows, dtype=dtype, compression=4, shuffle=True,
                            chunks=(4,))  # fmt: skip
    assert np.array_equal(sr.load(packed).kspace.numpy(), KSPACE)


@peak_memory.needs_counters
def test_a_large_array_is_not_read_for_a_part_of_it(tmp_path):
    """128 MB: one item of half a megabyte."""
    path = tmp_path / "large.npy"
    kspace = np.ones((256, 1, 256, 256), np.complex64)
    np.save(path, kspace)
    code = (
        "import sys, spinray as sr\n"
        "def call(name): return sr.load(name, batch=3).kspace.numpy()\n"
        "peak(call, sys.argv[2])\n"
        "print(peak(call, sys.argv[1]))"
    )
    small = tmp_path / "small.npy"
    np.save(small, np.ones((4, 1, 256, 256), np.complex64))
    (grown,) = peak_memory.printed(code, path, small)
    assert grown < 20 << 20
