"""Many files: in order, whatever happens to workers, files and folders."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scanner_files
import torch

import spinray as sr


def require_same(image: sr.Image, expected: sr.Image) -> None:
    """Threads add in another order: to rounding."""
    assert image.data.shape == expected.data.shape
    assert float((image.data - expected.data).norm()) <= 1e-3 * float(expected.data.norm())
    assert image.spacing == pytest.approx(expected.spacing)
    assert np.allclose(image.affine, expected.affine, atol=1e-6)
    assert image.metadata["method"] == expected.metadata["method"]


def one_by_one(files: list[Path], method: str = "auto", **options: Any) -> list[sr.Image]:
    return [sr.reconstruct(sr.load(path), method, progress=False, **options) for path in files]


@pytest.mark.parametrize("here", [True, False])
def test_images_come_in_the_order_of_the_files(files: list[Path], cluster: Any, here: bool) -> None:
    wanted = [files[2], *files]
    made = sr.reconstruct_many(wanted, scheduler=None if here else cluster)
    for image, expected in zip(made, one_by_one(wanted), strict=True):
        require_same(image, expected)


@pytest.mark.parametrize("here", [True, False])
def test_files_that_fail_are_named_and_the_others_made(
    files: list[Path], broken: Path, cluster: Any, tmp_path: Path, here: bool
) -> None:
    missing = files[0].with_name("missing.h5")
    wanted = [files[0], broken, files[1], missing]
    with pytest.raises(sr.FilesError, match="2 of 4 files failed") as caught:
        sr.reconstruct_many(
            wanted, "sense", iterations=3, output=tmp_path, retries=0,
            scheduler=None if here else cluster.scheduler_address,
        )  # fmt: skip
    error = caught.value
    assert list(error.failures) == [broken, missing]
    assert isinstance(error.failures[broken], sr.FormatError)
    assert isinstance(error.failures[missing], FileNotFoundError)
    assert "broken.h5" in str(error)
    assert error.results == [tmp_path / "mr2.nii.gz", None, tmp_path / "mr3.nii.gz", None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mr2.nii.gz", "mr3.nii.gz"]
    (expected,) = one_by_one([files[1]], "sense", iterations=3)
    written = sr.load_image(tmp_path / "mr3.nii.gz")
    scale = float(expected.data.abs().max())
    assert torch.allclose(written.data.abs(), expected.data.abs(), atol=1e-4 * scale)


def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path: Path, cluster: Any) -> None:
    """SIGKILL while it works, with values of its own still in its memory."""
    from distributed import Client

    files = [
        scanner_files.scan_file(tmp_path, f"{n}.h5", slices=2, matrix=48, snr=20 + n)
        for n in range(8)
    ]
    expected = one_by_one(files, "sense", iterations=200)
    killed: list[int] = []

    def kill() -> None:
        with Client(cluster, set_as_default=False) as client:
            pids = client.run(os.getpid)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                busy, held = client.processing(), client.has_what()
                for address, pid in pids.items():
                    if busy.get(address) and held.get(address):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        return
                time.sleep(0.01)

    murderer = threading.Thread(target=kill)
    murderer.start()
    made = sr.reconstruct_many(files, "sense", scheduler=cluster, iterations=200)
    murderer.join()
    assert killed
    for image, wanted in zip(made, expected, strict=True):
        require_same(image, wanted)


def test_what_cannot_work_is_said_before_the_work(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        sr.reconstruct_many(files, output=tmp_path / "missing")
    with pytest.raises(ValueError, match="same name"):
        sr.reconstruct_many([files[0], files[0]], output=tmp_path)
    with pytest.raises(ValueError, match="slabs must be 1 or more, got 0"):
        sr.reconstruct_many(files, slabs=0)
    assert sr.reconstruct_many([]) == []


def cone() -> sr.CTScan:
    return sr.datasets.simulate_ct(geometry="cone", views=40, columns=32)


def helix() -> sr.CTScan:
    return sr.datasets.simulate_ct(geometry="helical", views=160, columns=48)


SLABS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "slices": (lambda: scanner_files.scan(slices=7, matrix=32), "sense", {"iterations": 3}),
    "series": (
        lambda: scanner_files.scan(slices=4, repetitions=3, matrix=32), "llr", {"iterations": 3},
    ),
    "cone": (cone, "fdk", {}),
    "helix": (helix, "wfbp", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SLABS)
def test_slabs_put_together_are_the_whole(kind: str, tmp_path: Path) -> None:
    make, method, options = SLABS[kind]
    path = tmp_path / "scan.h5"
    sr.save(make(), path)
    (expected,) = one_by_one([path], method, **options)
    for slabs in (3, 50):
        (image,) = sr.reconstruct_many([path], method, slabs=slabs, **options)
        require_same(image, expected)
        assert 1 < image.metadata["slabs"] <= slabs


def test_slabs_of_a_ct_stack_on_workers(files: list[Path], cluster: Any, tmp_path: Path) -> None:
    options = {"rings": "sorting", "filter": "hann"}
    (expected,) = one_by_one(files[2:], "fbp", **options)
    (image,) = sr.reconstruct_many(files[2:], "fbp", slabs=2, scheduler=cluster, **options)
    require_same(image, expected)
    mixed = sr.reconstruct_many(files, slabs=2, scheduler=cluster, output=tmp_path)
    assert [path.name for path in mixed] == ["mr2.nii.gz", "mr3.nii.gz", "ct.nii.gz"]


@pytest.mark.parametrize(
    ("method", "options", "read"),
    [
        ("grasp", {"coils": 2}, {}),
        ("sense", {"coils": 2}, {}),
        ("sense", {}, {"slice": 1}),
    ],
)
def test_work_that_needs_the_whole_is_not_cut(
    files: list[Path], method: str, options: Any, read: Any
) -> None:
    with pytest.raises(sr.FilesError, match=r"slabs") as caught:
        sr.reconstruct_many(files[1:2], method, slabs=2, read=read, **options)
    assert isinstance(caught.value.failures[files[1]], ValueError)


def test_slabs_share_an_axis_of_rotation(data_dir: Path) -> None:
    tooth = data_dir / "ct_raw" / "tooth.h5"
    with pytest.raises(sr.FilesError, match="share their axis of rotation"):
        sr.reconstruct_many([tooth], "fbp", slabs=2)
