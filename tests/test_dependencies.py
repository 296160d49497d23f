"""Every package that Spinray imports is one that installing Spinray brings."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imported() -> dict[str, Path]:
    """Top-level names of other packages, and a file that imports each."""
    files = [
        path for part in ("datasets", "kernels", "recon") for path in (ROOT / part).rglob("*.py")
    ]
    found: dict[str, Path] = {}
    for file in [*ROOT.glob("*.py"), *files]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            else:
                continue
            found |= {name.split(".")[0]: file for name in names}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}
    providers = packages_distributions()
    found = imported()
    assert len(found) > 10
    for name, file in found.items():
        distributions = {d.lower().replace("_", "-") for d in providers.get(name, [name])}
        installed = any(d == known or known.startswith(f"{d}-")  # cupy-cuda12x has cupy
                        for d in distributions for known in declared)  # fmt: skip
        assert installed, f"{file} imports {name} of {distributions}: not in pyproject.toml"
