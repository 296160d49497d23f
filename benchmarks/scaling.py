"""How times grow with coils, pixels, samples, views, slices and threads; fitted powers; floors.

    spinray bench scaling [--quick] [--output FOLDER]

Two lines stand beside every NUFFT: torch's FFT of a grid twice as fine, and the time that the
measured bandwidth of memory takes to move image, that grid and samples once, which is a floor.
Beside CT stands the second.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ParallelBeam, VolumeGrid
from spinray.kernels.nufft import Plan

from .nufft import noise, radial
from .protocol import Row, interleaved, seconds_of, spread

ROUNDS = 5
BYTES = 8  # of a complex64


@dataclass(frozen=True)
class Point:
    """Work of one size: a call, and how much it must do at least."""

    call: Callable[[], Any]
    traffic: int  # bytes of what goes in and comes out, and of the grid once there and back
    fft: Callable[[], Any] | None = None


def nufft(coils: int = 8, matrix: int = 256, samples: int = 200_000) -> Point:
    """The adjoint along golden-angle spokes."""
    readout = 2 * matrix
    k = radial(max(samples // readout, 1), readout)
    plan, y = Plan(k, (matrix, matrix)), noise(coils, len(k))
    grid = torch.from_numpy(noise(coils, 2 * matrix, 2 * matrix))
    traffic = BYTES * coils * (len(k) + matrix**2 + 2 * grid[0].numel())
    return Point(partial(plan.adjoint, y), traffic, lambda: torch.fft.fft2(grid))


def projection(matrix: int = 256, views: int = 360, slices: int = 1) -> Point:
    """Parallel-beam projection of a stack."""
    columns = 3 * matrix // 2
    geometry = ParallelBeam(np.arange(views) * np.pi / views, columns, 1.0)
    image = np.random.default_rng(0).random((slices, matrix, matrix), np.float32)
    projector = Projector(geometry, VolumeGrid((matrix, matrix), (1.0, 1.0)))
    return Point(partial(projector.forward, image), 4 * slices * (matrix**2 + views * columns))


# what grows, from which sizes to which
Axis = tuple[str, Callable[..., Point], str, Sequence[int], Sequence[int]]
AXES: tuple[Axis, ...] = (
    ("NUFFT adjoint", nufft, "coils", (1, 2, 4, 8, 16, 32), (1, 2, 4)),
    ("NUFFT adjoint", nufft, "matrix", (64, 128, 256, 512, 1024), (64, 128, 256)),
    ("NUFFT adjoint", nufft, "samples", (25_000, 100_000, 400_000, 1_600_000), (25_000, 100_000)),
    ("CT projection", projection, "matrix", (64, 128, 256, 512), (64, 128, 256)),
    ("CT projection", projection, "views", (90, 180, 360, 720), (45, 90, 180)),
    ("CT projection", projection, "slices", (1, 2, 4, 8, 16, 32), (1, 2, 4)),
)


def bandwidth(megabytes: int = 256) -> float:
    """Bytes a second of a copy between arrays that no cache holds, reading and writing counted."""
    source = torch.ones(megabytes << 18)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / min(seconds_of(lambda: target.copy_(source)) for _ in range(5))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of size that time grows with: least squares of logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def along(axis: Axis, sizes: Sequence[int], speed: float, rounds: int) -> Row:
    """Times along one axis, the fitted power, and floors."""
    name, work, of, *_ = axis
    points = [work(**{of: size}) for size in sizes]
    clocks = {}
    for size, point in zip(sizes, points, strict=True):
        point.call()
        clocks[f"{size}"] = partial(seconds_of, point.call)
        if point.fft:
            point.fft()
            clocks[f"fft {size}"] = partial(seconds_of, point.fft)
    times = interleaved(clocks, rounds)
    row: Row = {
        "work": name, "of": of, "sizes": list(sizes),
        "times": [spread(times[f"{size}"]) for size in sizes],
        "memory floor": [point.traffic / speed for point in points],
    }  # fmt: skip
    if points[0].fft:
        row["torch's FFT"] = [spread(times[f"fft {size}"])["seconds"] for size in sizes]
    row["exponent"] = exponent(sizes, [t["seconds"] for t in row["times"]])
    return row


def threads(rounds: int) -> Iterator[Row]:
    """The same work on more and more threads."""
    before = torch.get_num_threads()
    counts = sorted({2**i for i in range(before.bit_length()) if 2**i <= before} | {before})
    for name, work in (("NUFFT adjoint", nufft), ("CT projection", projection)):
        point, times = work(), []
        try:
            for count in counts:
                torch.set_num_threads(count)
                point.call()
                times.append(spread([seconds_of(point.call) for _ in range(rounds)]))
        finally:
            torch.set_num_threads(before)
        row: Row = {"work": name, "of": "threads", "sizes": counts, "times": times}
        if len(counts) > 1:
            row["exponent"] = exponent(counts, [t["seconds"] for t in times])
        yield row


def measured(quick: bool) -> Iterator[Row]:
    """A row for every axis."""
    rounds, speed = (3, bandwidth(64)) if quick else (ROUNDS, bandwidth())
    for axis in AXES:
        row = along(axis, axis[4] if quick else axis[3], speed, rounds)
        row["bandwidth"] = speed
        print(f"  {row['work']} ~ {row['of']}^{row['exponent']:.2f}", flush=True)
        yield row
    yield from threads(rounds)
