"""BART as a process: its program, and the files that go in and come out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .protocol import MissingError

Complex = NDArray[np.complex64]


def has_bart() -> bool:
    """Whether it is on the PATH."""
    return shutil.which("bart") is not None


def require_bart() -> None:
    """Raise `MissingError` where it is not."""
    if not has_bart():
        raise MissingError("no program bart on the PATH")


def bart_version() -> str:
    """What it says of itself; nothing where it is not."""
    if not has_bart():
        return ""
    run = subprocess.run(["bart", "version"], check=False, capture_output=True, text=True)
    return run.stdout.strip().removeprefix("v")


def bart(*arguments: str) -> None:
    """Run a tool of it."""
    subprocess.run(["bart", *arguments], check=True, capture_output=True)


def read_cfl(path: Path) -> Complex:
    """An array in BART's order of axes, those of one item left out."""
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F").squeeze()


def write_cfl(path: Path, array: NDArray[Any]) -> str:
    """Write an array in BART's order of axes; the name that its tools take."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))
    return str(path)
