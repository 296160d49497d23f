"""Where the tests find real data."""

from __future__ import annotations

import importlib.util
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests for a card are skipped where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_card():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU with CuPy here"))


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available() and importlib.util.find_spec("cupy") is not None
