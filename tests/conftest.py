"""Where the tests find real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scanner data, or a skip that says how to name one."""
    folder = Path(os.environ.get("SPINRAY_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real scanner data here: set SPINRAY_DATA to a folder that has it")
    return folder
