"""What a session may take: memory of the pool, files of the folder of models."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from spinray.recon.server import pool as pools
from spinray.recon.server.configuration import Configuration
from spinray.recon.server.pool import Pool, RefusedError


class Idle:
    """A worker that is no process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def is_alive(self) -> bool:
        return True


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Three sessions at once on six cores, 120 bytes."""
    monkeypatch.setattr(pools, "Worker", Idle)
    monkeypatch.setattr(pools, "_LOOK", 0.01)
    return Pool(sessions=3, cores=6, memory=120)


class Waiting(threading.Thread):
    """A session that asks for a worker."""

    def __init__(self, pool: Pool, need: int) -> None:
        super().__init__(daemon=True)
        self.pool, self.need = pool, need
        self.told: list[int] = []
        self.worker: Any = None
        self.start()

    def run(self) -> None:
        self.worker = self.pool.acquire(self.need, on_wait=self.told.append, gone=lambda: False)


def test_a_share_is_what_the_protocol_needs_or_its_part_of_all(pool: Pool) -> None:
    assert pool.share(10) == 40
    assert pool.share(100) == 100
    with pytest.raises(RefusedError, match="needs about"):
        pool.share(121)


def test_what_does_not_fit_waits_and_is_not_overtaken(pool: Pool) -> None:
    """Beside a large scan there is no room for a second; the third would fit, but came later."""
    large = Waiting(pool, 100)
    large.join(5)
    assert large.worker.threads == 2
    second = Waiting(pool, 40)
    while not second.told:
        time.sleep(0.01)
    third = Waiting(pool, 10)
    while not third.told:
        time.sleep(0.01)
    assert (second.told, third.told) == ([1], [2])
    assert second.worker is third.worker is None
    pool.release(large.worker, 100)
    for waiting in (second, third):
        waiting.join(5)
        assert waiting.worker is not None


def test_a_scan_larger_than_what_is_left_runs_alone(pool: Pool) -> None:
    """Nobody else has memory: it is not kept waiting for ever."""
    alone = Waiting(pool, 130)
    alone.join(5)
    assert alone.worker is not None


def test_networks_are_those_of_the_folder_alone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "net.safetensors").touch()
    (tmp_path / "secret").touch()

    def within(name: Any) -> dict[str, Any]:
        return Configuration("unrolled", {"weights": name}).within(models).options

    assert within("net.safetensors") == {"weights": str(models / "net.safetensors")}
    for name in ("../secret", str(tmp_path / "secret"), "other", 3):
        with pytest.raises(ValueError, match=r"this server has net\.safetensors"):
            within(name)
