"""The front door: what is listed, what is imported, how fast."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import spinray

ROOT = Path(__file__).resolve().parent.parent
NO_PACKAGES = {"tests", "experiments", "docs", "build"}


def test_every_package_is_listed_in_pyproject() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"spinray"}
    for init in ROOT.rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if parts and not parts[0].startswith(".") and parts[0] not in NO_PACKAGES:
            found.add(".".join(("spinray", *parts)))
    assert set(listed) == found


@pytest.mark.parametrize("name", [n for n in spinray.__all__ if n != "__version__"])
def test_every_public_name_exists_and_says_what_it_is(name: str) -> None:
    assert getattr(spinray, name).__doc__


def test_no_module_hides_the_function_it_holds() -> None:
    """Importing ``package.name`` would put the module in the place of ``package``'s `name`."""
    stubs = [path for path in ROOT.rglob("__init__.pyi") if ".venv" not in path.parts]
    lines = [(stub, line) for stub in stubs for line in stub.read_text().splitlines()]
    assert len(lines) > 50
    for stub, line in lines:
        if match := re.match(r"from \.([\w.]*) import (\w+)", line):
            module, name = match.groups()
            shares = module == name and (stub.parent / f"{name}.py").exists()
            assert not shares, f"{stub}: {line}"


def test_import_is_fast_and_leaves_torch_alone() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import spinray; "
        "dt = time.perf_counter() - t; "
        "heavy = [m for m in ('torch', 'numba', 'numpy', 'h5py') if m in sys.modules]; "
        "print(dt, *heavy)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    outputs = [run.stdout.split() for run in runs]
    assert all(len(output) == 1 for output in outputs), f"imported with spinray: {outputs[0][1:]}"
    assert min(float(output[0]) for output in outputs) < 0.3


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == spinray.__version__
    assert f"version: {spinray.__version__}\n" in (ROOT / "CITATION.cff").read_text()
