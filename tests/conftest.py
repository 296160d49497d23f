"""Real data, a browser, the command line."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scanner data, or a skip that says how to name one."""
    folder = Path(os.environ.get("SPINRAY_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real scanner data here: set SPINRAY_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, driven by Selenium; a skip where either is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@dataclass
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def spinray(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """The command line in this process, which loads everything once for all tests."""
    from spinray.recon.cli.main import main

    def run(*words: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["spinray", *map(str, words)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as exit_:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        said = capsys.readouterr()
        return Done(int(exit_.value.code or 0), said.out, said.err)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests for a card are skipped where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_card():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU with CuPy here"))


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available() and importlib.util.find_spec("cupy") is not None
