"""Clients of others: Gadgetron's (C++), and the one of the Python example server.

`gadgetron_ismrmrd_client` is looked for on the PATH, the other's folder in `SPINRAY_PYTHON_MRD`
(a clone of python-ismrmrd-server). Their images are those of `spinray recon`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
import scanner_files
from mrd_client import Running

import spinray as sr

pytestmark = pytest.mark.peer


def with_gadgetrons(source: Path, target: Path, port: int, method: str) -> None:
    program = shutil.which("gadgetron_ismrmrd_client")
    if program is None:
        pytest.skip("no gadgetron_ismrmrd_client on the PATH")
    words = [
        "-p",
        str(port),
        "-f",
        str(source),
        "-o",
        str(target),
        "-c",
        method,
        "-G",
        "images",
        "-t",
        "300000",
    ]
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def with_pythons(source: Path, target: Path, port: int, method: str) -> None:
    folder = os.environ.get("SPINRAY_PYTHON_MRD")
    if not folder:
        pytest.skip("SPINRAY_PYTHON_MRD names no clone of python-ismrmrd-server")
    words = [str(source), "-p", str(port), "-a", "127.0.0.1", "-o", str(target), "-c", method]
    done = subprocess.run(
        [sys.executable, "client.py", *words, "-G", "images"],
        capture_output=True, text=True, timeout=300, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def images_in(path: Path) -> list[ismrmrd.Image]:
    """All images of all series of a file, in the order of their slices."""
    with h5py.File(path) as file:
        series = [name for name, node in file["images"].items() if "data" in node]
    data = ismrmrd.Dataset(str(path), "images", create_if_needed=False)
    found = [data.read_image(s, n) for s in series for n in range(data.number_of_images(s))]
    data.close()
    return sorted(found, key=lambda image: image.slice)


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A Cartesian, a radial or an EPI scan as ISMRMRD."""
    kind = request.param
    if kind == "epi":  # real, with ramps, navigators and noise
        data_dir = request.getfixturevalue("data_dir")
        sr.io.convert(data_dir / "twix" / "ve11_epi.dat", tmp_path / "epi.h5")
    elif kind == "radial":
        scanner_files.scan_file(tmp_path, "radial.h5", trajectory="radial", slices=2)
    else:
        scanner_files.scan_file(tmp_path, "cartesian.h5")
    return tmp_path / f"{kind}.h5"


METHODS = {"cartesian": "sense", "radial": "gridding", "epi": "rss"}


@pytest.mark.parametrize("source", METHODS, indirect=True)
@pytest.mark.parametrize("send", [with_gadgetrons, with_pythons])
def test_images_are_those_of_recon(source: Path, send: Any, server: Running) -> None:
    method = METHODS[source.stem]
    target = source.with_name("images.h5")
    send(source, target, server.port, method)
    expected = sr.reconstruct(sr.load(source), method, progress=False).data.abs().numpy()
    wanted = expected.reshape(-1, *expected.shape[-2:])
    found = images_in(target)
    assert len(found) == len(wanted)
    for image, slice_ in zip(found, wanted, strict=True):
        assert np.linalg.norm(image.data[0, 0] - slice_) <= 1e-5 * np.linalg.norm(slice_)
        meta = ismrmrd.Meta.deserialize(image.attribute_string)
        assert method in meta["ImageComments"]
