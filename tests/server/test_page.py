"""The live page in Chromium, while sessions come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scanner_files
from mrd_client import Running, opened

TEXT = "return document.getElementById(arguments[0]).textContent"
ROWS = (
    "return [...document.querySelectorAll('#sessions tr')].map("
    "row => [...row.cells].map(cell => cell.textContent))"
)
WIDTH = "return document.getElementById('picture').naturalWidth"


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    """The page as it is after its first look at the server."""
    browser.get_log("browser")
    browser.get(f"http://127.0.0.1:{server.watch}/")
    until(browser, lambda: text(browser, "status") == "is running")
    yield browser
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def text(browser: Any, name: str) -> str:
    return str(browser.execute_script(TEXT, name))


def rows(browser: Any) -> list[list[str]]:
    return list(browser.execute_script(ROWS))


def until(browser: Any, condition: Callable[[], bool]) -> None:
    """Wait for what the page shows; it looks once a second."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60, 0.1).until(lambda _: condition())


def test_a_session_is_shown_while_it_runs(page: Any, server: Running, tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=2, matrix=64, coils=16)
    images = int(text(page, "images"))
    client, lines = opened(server, path, "sense iterations=4")
    until(page, lambda: text(page, "running") == "1")
    client.send(*lines[:20])
    until(page, lambda: rows(page)[0][1:4] == ["running", "sense", "20"])
    waiting, _ = opened(server, path)
    until(page, lambda: text(page, "waiting") == "1")
    half = next(i for i, line in enumerate(lines) if line.idx.slice == 1 and line.flags < 1 << 18)
    client.send(*lines[20 : half + 1])  # the first slice is complete
    until(page, lambda: text(page, "images") == str(images + 1))
    (running,) = (row for row in rows(page) if row[1] == "running")
    assert running[4] == "1"
    assert running[5].endswith(" s")
    assert text(page, "latency") == running[5]
    until(page, lambda: page.execute_script(WIDTH) == 64)
    before = page.find_element("id", "picture").get_attribute("src")
    seen = set()

    def sent_more() -> bool:
        seen.add(text(page, "throughput"))
        return any(not word.startswith("0.0 ") and word != "0 MB/s" for word in seen)

    client.send(*lines[half + 1 :])
    until(page, sent_more)
    client.messages.close()
    assert len(client.answers().images) == 2
    until(page, lambda: text(page, "images") == str(images + 2))
    until(page, lambda: "done" in [row[1] for row in rows(page)])
    assert page.find_element("id", "picture").get_attribute("src") != before
    waiting.socket.close()
    waiting.out.detach()
    until(page, lambda: (text(page, "running"), text(page, "waiting")) == ("0", "0"))


def test_a_problem_is_shown_as_text(page: Any, server: Running, tmp_path: Path) -> None:
    """Whatever a client says is no code of the page."""
    path = scanner_files.scan_file(tmp_path, slices=1)
    client, lines = opened(server, path, '{"method": "<b>sense"}')
    client.send(*lines[:1])
    client.answers()
    until(page, lambda: rows(page)[0][1:3] == ["failed", "<b>sense"])
    assert "unknown method '<b>sense'" in rows(page)[0][6]
    assert not page.find_elements("css selector", "#sessions b")


def test_the_page_is_empty_at_first_and_says_when_the_server_is_gone(
    browser: Any, start: Callable[..., Running]
) -> None:
    server = start("--token", "secret")
    browser.get(f"http://127.0.0.1:{server.watch}/?token=secret")
    until(browser, lambda: text(browser, "status") == "is running")
    assert (text(browser, "images"), text(browser, "latency")) == ("0", "none yet")
    assert not browser.find_element("css selector", "figure").is_displayed()
    server.stop()
    until(browser, lambda: text(browser, "status") == "does not answer")
    browser.get("about:blank")  # it would go on asking
    browser.get_log("browser")
