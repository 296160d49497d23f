"""A cluster of processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scanner_files

import spinray as sr


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two workers, each a process with its own memory, and a scheduler."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """MR of several slices, a stack of CT slices, and one that is broken."""
    folder = tmp_path_factory.mktemp("files")
    made = [
        scanner_files.scan_file(folder, f"mr{n}.h5", slices=n, matrix=32, coils=4) for n in (2, 3)
    ]
    ct = sr.datasets.simulate_ct(views=60, columns=48)
    stack = ct.replace(sinogram=ct.sinogram.expand(5, -1, -1).clone(), slice_spacing=2.0)
    sr.save(stack, folder / "ct.h5")
    return [*made, folder / "ct.h5"]


@pytest.fixture(scope="session")
def broken(files: list[Path]) -> Path:
    path = files[0].with_name("broken.h5")
    path.write_bytes(files[0].read_bytes()[:3000])
    return path
