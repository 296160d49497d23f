"""Cartesian readouts onto the k-space grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import ismrmrd
import numpy as np
import torch
from ismrmrd import xsd
from numpy.typing import NDArray
from torch import Tensor

from .encoding import center_of, image_shape, is_3d, require_plausible
from .errors import FormatError

if TYPE_CHECKING:
    from .acquisitions import Acquisitions

_THREADS = 4  # that copy readouts: it takes memory's speed, not many cores


def sort_lines(
    readouts: Acquisitions, layout: xsd.encodingType, places: NDArray[np.int64], batch: int
) -> dict[str, Any]:
    """Put each readout on its line ``(batch, coil, [kz,] ky, kx)`` and mark it in the mask.

    A readout's `center_sample` stands at the middle of the line (that of a reversed readout is
    counted after it is turned around). Lines measured several times are averaged. The
    oversampled part of the field of view along the readout is cut away, in the image domain.
    """
    matrix = layout.encodedSpace.matrixSize
    depth = matrix.z if is_3d(layout, readouts.head) else 1
    grid = (depth, matrix.y, matrix.x)
    coils = int(readouts.head["active_channels"][0])
    require_plausible((batch, coils, *grid), readouts.head)
    rows = _rows(readouts, layout, "kspace_encoding_step_1", "kspace_encode_step_1", matrix.y)
    slabs = np.zeros_like(rows)
    if depth > 1:
        slabs = _rows(readouts, layout, "kspace_encoding_step_2", "kspace_encode_step_2", depth)
    kspace = np.zeros((batch, coils, *grid), np.complex64)
    times = np.zeros((batch, *grid), np.uint16)
    spans = _spans(readouts, matrix.x)
    reverse = readouts.flagged(ismrmrd.ACQ_IS_REVERSE)
    targets = list(zip(places.tolist(), slabs.tolist(), rows.tolist(), strict=True))
    for (b, z, y), (first, low, high) in zip(targets, spans, strict=True):
        times[b, z, y, first + low : first + high] += 1
    again = int(times.max(initial=0)) > 1

    def put(part: NDArray[np.int64]) -> None:
        for i in part.tolist():
            first, low, high = spans[i]
            line = readouts.data[i][:, ::-1] if reverse[i] else readouts.data[i]
            b, z, y = targets[i]
            target = kspace[b, :, z, y, first + low : first + high]
            target[...] = target + line[:, low:high] if again else line[:, low:high]

    if again:
        put(np.arange(len(targets)))
        kspace /= np.maximum(times, 1)[:, None]
    else:  # no two readouts write to one place
        parts = np.array_split(np.arange(len(targets)), _THREADS)
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(put, parts))
    _require_finite(kspace, readouts)
    mask = times > 0
    shape = image_shape(layout, grid)
    if shape[-1] < matrix.x:
        kspace, mask = _crop_readout(kspace, mask, shape[-1])
    if depth == 1:
        kspace, mask, shape = kspace[:, :, 0], mask[:, 0], shape[1:]
    return {
        "kspace": kspace,
        "mask": mask,
        "image_shape": shape,
        "averages": _averages(times),
        "reversed_lines": _alternating(rows, reverse),
    }


def _averages(times: NDArray[np.uint16]) -> int:
    """How often every measured sample was, if all were as often; else 0."""
    most = times.max(initial=0)
    return int(most) if bool(((times == 0) | (times == most)).all()) else 0


def _alternating(rows: NDArray[np.int64], reverse: NDArray[np.bool_]) -> tuple[int, ...]:
    """Rows that only reversed readouts measured, if other rows have forward ones alone."""
    backward, forward = set(rows[reverse].tolist()), set(rows[~reverse].tolist())
    mixed = backward & forward
    return () if mixed or not forward else tuple(sorted(backward))


def _rows(
    readouts: Acquisitions, layout: xsd.encodingType, limit: str, counter: str, size: int
) -> NDArray[np.int64]:
    """Rows of the grid that hold the readouts: the limits' centre stands at size // 2."""
    steps = readouts.head["idx"][counter].astype(np.int64)
    rows = steps - center_of(layout, limit, steps, size) + size // 2
    outside = (rows < 0) | (rows >= size)
    if outside.any():
        first = int(np.argmax(outside))
        raise FormatError(
            None, f"readout {readouts.number[first]}", f"{counter} {steps[first]} falls on row "
            f"{rows[first]} of the {size} encoded",
        )  # fmt: skip
    return rows


def _spans(readouts: Acquisitions, size: int) -> list[tuple[int, int, int]]:
    """Grid column of sample 0 of each readout, and the samples to keep (first, last + 1)."""
    head = readouts.head
    count = head["number_of_samples"].astype(np.int64)
    low = head["discard_pre"].astype(np.int64)
    high = count - head["discard_post"]
    reverse = readouts.flagged(ismrmrd.ACQ_IS_REVERSE)
    low, high = np.where(reverse, count - high, low), np.where(reverse, count - low, high)
    center = head["center_sample"].astype(np.int64)
    if not center.any():  # never filled in
        center = count // 2
    first = size // 2 - center
    # Vendors disagree by one on the middle of an even readout: one sample may stand outside.
    outside = (first + low < -1) | (first + high > size + 1) | (low >= high)
    if outside.any():
        i = int(np.argmax(outside))
        raise FormatError(
            None, f"readout {readouts.number[i]}", f"samples {low[i]} to {high[i]} around centre "
            f"{center[i]} do not fit the encoded {size}",
        )  # fmt: skip
    low, high = np.maximum(low, -first), np.minimum(high, size - first)
    return list(zip(first.tolist(), low.tolist(), high.tolist(), strict=True))


def _require_finite(kspace: NDArray[Any], readouts: Acquisitions) -> None:
    if bool(torch.isfinite(torch.from_numpy(kspace).sum())):
        return  # NaN and infinity survive a sum
    for number, data in zip(readouts.number, readouts.data, strict=True):
        bad = ~np.isfinite(data)
        if bad.any():
            coil, sample = (int(axis[0]) for axis in np.nonzero(bad))
            raise FormatError(
                None, f"readout {number}", f"{int(bad.sum())} samples are NaN or infinite, first "
                f"in coil {coil}, sample {sample}",
            )  # fmt: skip
    if not bool(torch.isfinite(torch.from_numpy(kspace.view(np.float32))).all()):
        raise FormatError(None, "readouts", "overflow when averaged")


def _crop_readout(
    kspace: NDArray[Any], mask: NDArray[np.bool_], size: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Keep the middle `size` pixels of each line's image; values and noise level stay."""
    full = kspace.shape[-1]
    result = np.empty((*kspace.shape[:-1], size), kspace.dtype)
    for source, target in zip(kspace, result, strict=True):
        target[...] = _middle(torch.from_numpy(source), size).numpy()
    # A coarser sample counts as measured if the fine ones on both sides of it were.
    position = full // 2 + (np.arange(size) - size // 2) * (full / size)
    below = np.clip(np.floor(position + 1e-6).astype(int), 0, full - 1)
    above = np.clip(np.ceil(position - 1e-6).astype(int), 0, full - 1)
    measured = mask[..., below] & mask[..., above]
    if not measured.all():
        result *= measured[:, None]
    return result, measured


def _middle(lines: Tensor, size: int) -> Tensor:
    """K-space of the middle `size` pixels of the lines' images."""
    full = lines.shape[-1]
    if full % 2 or size % 2:
        image = torch.fft.ifft(torch.fft.ifftshift(lines, dim=-1), norm="ortho")
        first = full // 2 - size // 2
        image = torch.fft.fftshift(image, dim=-1)[..., first : first + size]
        part = torch.fft.fft(torch.fft.ifftshift(image, dim=-1), norm="ortho")
        return cast(Tensor, torch.fft.fftshift(part, dim=-1))
    # Of even lengths, the shifts before and after each transform are signs that cancel.
    image = torch.fft.ifft(lines, norm="ortho")
    half = size // 2
    image = torch.cat([image[..., :half], image[..., full - half :]], dim=-1)
    return cast(Tensor, torch.fft.fft(image, norm="ortho"))
