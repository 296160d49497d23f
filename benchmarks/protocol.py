"""The protocol of all speed jobs: a task is one piece of work that several tools do.

Everything that a tool needs before it can start is made by its `prepare`, outside the clock. Calls
are warmed up, measured for error and memory, and then timed one of each in turn, so that a machine
that slows down slows all alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

Row = dict[str, Any]
OURS = "spinray"  # how the names of our own tools begin
SLOW = 1.0  # seconds; calls above it run in the first rounds only
SLOW_ROUNDS = 3
LONG = 5.0  # seconds; calls above it are not made once more for warmth, and are timed once
LETTERS = 200  # of what an error says
_COUNTERS = Path("/proc/self/clear_refs")


class MissingError(ImportError):
    """A program that a tool needs is not installed."""


@dataclass(frozen=True)
class Prepared:
    """What a tool is about to do: a call, and the error of what it returns.

    `error` is None where nothing is computed. `gpu` has the call timed by CUDA events; `process`
    says that it runs elsewhere, so that its memory is not counted. `seconds` finds the time in what
    the call returns, where only a part of it counts.
    """

    call: Callable[[], Any]
    error: Callable[[Any], float] | None
    gpu: bool = False
    process: bool = False
    seconds: Callable[[Any], float] | None = None

    def timed(self) -> float:
        """Make the call: its seconds."""
        return seconds_of(self.call, gpu=self.gpu, found=self.seconds)


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Parameters
    ----------
    suite, name
        Where it belongs; what it is.
    tools
        Name of each tool to a function that prepares it. ImportError means that it is not
        installed.
    error_name
        What `Prepared.error` measures, in words.
    facts
        Numbers that tell this task from others of its name: coils, tolerance.
    per
        Units of work in a call (slices, views, iterations): times are of one unit.
    """

    suite: str
    name: str
    tools: Mapping[str, Callable[[], Prepared]]
    error_name: str
    facts: Mapping[str, float] = field(default_factory=dict)
    per: int = 1

    @property
    def words(self) -> str:
        """Name and facts."""
        return ", ".join([self.name, *(f"{k} {v:g}" for k, v in self.facts.items())])

    def __str__(self) -> str:
        return f"{self.suite}: {self.words}"


def measure(task: Task, rounds: int, peers: Sequence[str] | None = None) -> list[Row]:
    """A row for every tool of a task; one that is missing or fails has a row that says so.

    Parameters
    ----------
    task
        The work.
    rounds
        How many times each call is timed.
    peers
        Peers to run, by the beginnings of their names. Default: all that are installed.
    """
    rows: list[Row] = []
    ready: dict[str, Prepared] = {}
    for tool, prepare in task.tools.items():
        if peers is not None and not named(tool, (OURS, *peers)):
            continue
        row: Row = {
            "suite": task.suite, "job": task.name, "tool": tool, "facts": dict(task.facts),
            "status": "ok", "error of": task.error_name,
        }  # fmt: skip
        rows.append(row)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                prepared = prepare()
                row |= first_calls(prepared)
        except ImportError as missing:
            row["status"] = f"not installed: {one_line(missing)}"
        except Exception as failure:
            row["status"] = f"failed: {type(failure).__name__}: {one_line(failure)}"
        else:
            ready[tool] = prepared
    times = interleaved({tool: p.timed for tool, p in ready.items()}, rounds)
    for row in rows:
        if row["tool"] in times:
            row |= spread([t / task.per for t in times[row["tool"]]])
    return rows


def named(tool: str, beginnings: Sequence[str]) -> bool:
    """Whether a tool's name begins with one of these, large letters or small."""
    return tool.lower().startswith(tuple(name.lower() for name in beginnings))


def first_calls(prepared: Prepared) -> Row:
    """Warm up: compiles, fills caches; then the error of the result and the peak of memory."""
    start = time.perf_counter()
    out, memory = with_peak_memory(prepared)
    if time.perf_counter() - start < LONG:
        del out
        out, memory = with_peak_memory(prepared)
    return {"memory": memory, "error": None if prepared.error is None else prepared.error(out)}


def interleaved(
    clocks: Mapping[str, Callable[[], float]], rounds: int, slow_rounds: int = SLOW_ROUNDS
) -> dict[str, list[float]]:
    """Seconds of each, one of each in turn; slow ones stop after the first rounds, long ones at once."""
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for turn in range(rounds):
        for name, clock in clocks.items():
            limit = LONG if turn < slow_rounds else SLOW
            if not turn or median(times[name]) <= limit:
                times[name].append(clock())
    return times


def spread(times: Sequence[float]) -> Row:
    """Median of times, their quartiles and the least: what a row keeps."""
    quartiles = quantiles(times, n=4, method="inclusive") if len(times) > 1 else [times[0]] * 3
    low, middle, high = quartiles
    return {
        "seconds": middle, "low": low, "high": high, "least": min(times), "rounds": len(times),
    }  # fmt: skip


def seconds_of(
    call: Callable[[], Any], *, gpu: bool = False, found: Callable[[Any], float] | None = None
) -> float:
    """Seconds of one call: on a GPU between two events of the stream, or found in its result."""
    if found is not None:
        return found(call())
    if not gpu:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    call()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after)) / 1e3


def with_peak_memory(prepared: Prepared) -> tuple[Any, int | None]:
    """What a call returns, and its peak of memory in bytes over what was held before.

    None where nobody counts it: outside Linux, in other processes and by other allocators than
    torch's on a card.
    """
    if prepared.gpu and not prepared.process:
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        out = prepared.call()
        return out, torch.cuda.max_memory_allocated() - held
    if prepared.process or not _COUNTERS.exists():
        return prepared.call(), None
    _give_back()
    before = _resident("VmRSS")
    try:
        _COUNTERS.write_text("5")  # the peak starts anew
    except OSError:  # a container that forbids it
        return prepared.call(), None
    out = prepared.call()
    return out, max(_resident("VmHWM") - before, 0)


def _give_back() -> None:
    """Hand what earlier calls freed to the system, where a new call could hide in it."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _resident(key: str) -> int:
    found = re.search(key + r":\s+(\d+)", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def one_line(error: BaseException) -> str:
    """What an error says, cut where it goes on for long."""
    words = " ".join(str(error).split())
    return words if len(words) <= LETTERS else f"{words[: LETTERS - 1]}…"


def rows_of(
    tasks: Iterable[Task], rounds: int, peers: Sequence[str] | None = None
) -> Iterator[Row]:
    """Measure tasks one after another, and say what was found."""
    for task in tasks:
        print(task, flush=True)
        for row in measure(task, rounds, peers):
            print(f"  {row['tool']:26} {shown(row)}", flush=True)
            yield row


def shown(row: Row) -> str:
    """A row in words."""
    if row["status"] != "ok":
        return str(row["status"])
    memory = "" if row["memory"] is None else f"{row['memory'] / 1e6:8.1f} MB"
    error = "" if row["error"] is None else f"error {row['error']:.1e}"
    quartiles = f"({1e3 * row['low']:.2f} to {1e3 * row['high']:.2f})"
    return f"{1e3 * row['seconds']:10.2f} ms {quartiles} {error} {memory}"
