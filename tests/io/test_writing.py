"""Nothing is half written, and bad targets are found before the work."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.recon.io import check_writable
from spinray.recon.io.atomic import atomic

IMAGE = sr.Image(torch.rand(2, 4, 4))


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.h5"
    path.write_text("old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]


def test_a_failing_writer_leaves_nothing(tmp_path, monkeypatch):
    import nibabel

    def full(image: object, path: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(OSError, match="No space left"):
        IMAGE.save(tmp_path / "image.nii")
    assert not list(tmp_path.iterdir())


def test_a_stack_of_dicom_files_is_written_whole_or_not(tmp_path, monkeypatch):
    from pydicom.dataset import FileDataset

    save, calls = FileDataset.save_as, []

    def second_fails(self: FileDataset, *args: object, **options: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(self, *args, **options)

    monkeypatch.setattr(FileDataset, "save_as", second_fails)
    with pytest.raises(OSError, match="No space left"):
        IMAGE.save(tmp_path / "image.dcm")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["i.nii", "i.nii.gz", "i.dcm", "i.h5", "i.png", "i.npy"])
def test_only_the_result_is_left(tmp_path, name):
    sr.Image(torch.rand(4, 4)).save(tmp_path / name)
    sr.Image(torch.rand(4, 4)).save(tmp_path / name)  # over an old one
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("none/image.nii", FileNotFoundError, "its folder does not exist"),
        ("file/image.nii", NotADirectoryError, "is not a folder"),
        ("folder.nii", IsADirectoryError, "is a folder"),
        ("image.xyz", ValueError, r"image\.xyz: the suffix of Image files is one of \.nii"),
        ("image", ValueError, "the suffix of Image files"),
        (".nii", ValueError, "the suffix of Image files"),
    ],
)
def test_bad_targets(tmp_path, target, error, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.nii").mkdir()
    for attempt in (check_writable, IMAGE.save):
        with pytest.raises(error, match=message) as caught:
            attempt(tmp_path / target)
        assert "\n" not in str(caught.value)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write anywhere
    with pytest.raises(PermissionError, match="cannot be written .Permission denied"):
        check_writable(tmp_path / "image.nii")


def test_suffixes_belong_to_kinds(tmp_path):
    scan = sr.MRScan(kspace=np.ones((1, 4, 4), np.complex64))
    with pytest.raises(ValueError, match="suffix of MRScan files is one of .h5"):
        sr.save(scan, tmp_path / "scan.nii")
    check_writable(tmp_path / "scan.cfl", sr.MRScan)
    with pytest.raises(ValueError, match="suffix of CTScan files"):
        check_writable(tmp_path / "scan.cfl", sr.CTScan)
    with pytest.raises(TypeError, match="expected an Image"):
        sr.save("text", tmp_path / "scan.h5")


def test_unknown_options_are_named(tmp_path):
    with pytest.raises(TypeError, match="unknown option colour for .png; it has window"):
        IMAGE.save(tmp_path / "image.png", colour=1)


def test_what_a_format_cannot_hold(tmp_path):
    scan = sr.MRScan(kspace=np.ones((2,) * 6 + (1, 2, 2), np.complex64))
    with pytest.raises(ValueError, match="no counters for the batch axes"):
        sr.save(scan, tmp_path / "scan.h5")
    geometry = sr.ParallelBeam(np.arange(3.0), 4)
    with pytest.raises(ValueError, match="one stack of slices"):
        sr.save(sr.CTScan(torch.ones(2, 2, 3, 4), geometry), tmp_path / "scan.h5")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_found_before_hdf5_starts(tmp_path, monkeypatch):
    """HDF5 crashes the process when its disk runs full."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 16))
    things = {
        "a.h5": sr.MRScan(torch.ones(2, 64, 64, dtype=torch.complex64)),
        "b.h5": sr.CTScan(torch.ones(20, 30), sr.ParallelBeam(np.arange(20) * 0.1, 30)),
        "c.h5": sr.Image(torch.ones(64, 64), (1.0, 1.0), None),
    }
    for name, thing in things.items():
        with pytest.raises(OSError, match=r"No space left.*needs .* MB of 0.0655 MB free") as info:
            sr.save(thing, tmp_path / name)
        assert info.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
