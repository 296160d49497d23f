"""Pieces of work on workers: tried again, lost and found, or failed for good."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from spinray.recon.cluster import crew


@pytest.fixture(autouse=True)
def functions_of_this_file_travel() -> None:
    """Workers do not have the tests' modules."""
    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])


def tries(path: Path) -> int:
    """Count a call, and say which it is."""
    with path.open("a") as file:
        file.write("x")
    return path.stat().st_size


def wrong_input(path: Path) -> None:
    tries(path)
    raise ValueError("no such method")


def bad_disk(path: Path, good_from: int) -> int:
    number = tries(path)
    if number < good_from:
        raise OSError(5, "Input/output error")
    return number


def deadly(path: Path) -> int:
    number = tries(path)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_deadly() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def square(x: Any) -> int:
    warnings.warn("approximately", stacklevel=1)
    return int(x.value if hasattr(x, "value") else x) ** 2


def total(pieces: list[Any]) -> int:
    return sum(piece.value for piece in pieces)


@pytest.mark.parametrize("here", [True, False])
def test_pieces_take_values_of_pieces(cluster: Any, here: bool) -> None:
    done: list[int] = []
    with crew(None if here else cluster) as workers:
        squares = [workers.submit(square, n) for n in range(5)]
        whole = workers.submit(square, workers.submit(total, squares))
        whole.when_done(lambda: done.append(1))
        outcome = whole.result()
    assert outcome.value == 30**2
    assert outcome.warned == (() if here else ("approximately",))
    assert done == [1]


def test_input_is_not_tried_again_but_a_disk_is(cluster: Any, tmp_path: Path) -> None:
    with crew(cluster, retries=2) as workers:
        pieces = [
            workers.submit(wrong_input, tmp_path / "a"),
            workers.submit(bad_disk, tmp_path / "b", 3),
            workers.submit(bad_disk, tmp_path / "c", 9),
        ]
        wrong, mended, failed = (piece.result() for piece in pieces)
    assert str(wrong.error) == "no such method"
    assert (tmp_path / "a").stat().st_size == 1
    assert mended.value == 3
    assert isinstance(failed.error, OSError)
    assert (tmp_path / "c").stat().st_size == 3


def test_a_worker_that_dies_in_a_piece(cluster: Any, tmp_path: Path) -> None:
    with crew(cluster) as workers:
        lost = workers.submit(deadly, tmp_path / "a")
        others = [workers.submit(square, n) for n in range(6)]
        assert lost.result().value == 2
        assert [piece.result().value for piece in others] == [n**2 for n in range(6)]


def test_a_piece_that_kills_every_worker_is_given_up(cluster: Any) -> None:
    with crew(cluster) as workers:
        assert "died" in str(workers.submit(always_deadly).result().error)
        assert workers.submit(square, 3).result().value == 9


def no_memory() -> None:
    raise RuntimeError("out of memory")


def test_here_whatever_a_piece_raises_is_an_outcome_too(tmp_path: Path) -> None:
    with crew() as workers:
        assert isinstance(workers.submit(bad_disk, tmp_path / "a", 5).result().error, OSError)
        assert str(workers.submit(no_memory).result().error) == "out of memory"
        assert workers.submit(square, 3).result().value == 9


def test_no_scheduler_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("spinray.recon.cluster._CONNECT", 0.5)
    with pytest.raises(OSError, match="tcp://127.0.0.1:9"), crew("tcp://127.0.0.1:9"):
        pass
    for address in ("head", "http://head:8786"):
        with pytest.raises(ValueError, match="such as tcp://head:8786, got"), crew(address):
            pass
