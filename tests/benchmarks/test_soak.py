"""A short soak: what the long one looks at, and that it notices what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import spinray as sr
from spinray.benchmarks import soak


def test_a_short_soak_loses_nothing() -> None:
    found = soak.soak(seconds=1.0, least=21)
    assert found["sessions"] >= 21
    assert found["broken off by the client"] >= 2
    assert found["images"] > 20
    assert (found["images lost"], found["images wrong"]) == (0, 0)
    assert "failed" not in found
    assert found["raw files kept"] == found["sessions"]
    assert found["raw files that were not finished"] == 0
    assert found["server alive"]
    assert found["memory in MB"]["peak"] > 100


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (list, {"images": 0, "images lost": 2, "images wrong": 0}),
        (
            lambda: [sr.Image(torch.ones(4, 4)), sr.Image(torch.zeros(4, 4))],
            {"images": 2, "images lost": 0, "images wrong": 1},
        ),
    ],
)
def test_lost_and_wrong_images_are_counted(
    monkeypatch: pytest.MonkeyPatch, answer: Any, expected: dict[str, int]
) -> None:
    monkeypatch.setattr(sr, "send", lambda *_, **__: answer())
    wish = soak.Wish("scan.h5", "rss", torch.ones(2, 4, 4))  # type: ignore[arg-type]
    assert soak._served(0, wish) == expected


def test_a_refused_session_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise sr.client.ServerError("the server is shutting down")

    monkeypatch.setattr(sr, "send", refuse)
    wish = soak.Wish("scan.h5", "rss", torch.ones(2, 4, 4))  # type: ignore[arg-type]
    assert soak._served(0, wish) == {"failed": 1, "images lost": 2}
