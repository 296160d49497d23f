"""Ramp filters for filtered back projection, built in the spatial domain."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

Filter = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]


def ramp_filter(
    length: int, spacing: float, name: Filter = "ram-lak", *, arc: float = 0.0, cutoff: float = 1.0
) -> NDArray[np.float64]:
    """Frequency response of a ramp filter for ``numpy.fft.rfft`` of `length` samples, in 1/mm.

    The ramp is the transform of its band-limited impulse response (Kak and Slaney, Principles of
    Computerized Tomographic Imaging, 1988, section 3.3): a ramp sampled in frequency instead has
    no response at zero and darkens the mean.

    Parameters
    ----------
    length
        Samples of the padded transform; at least twice the columns avoids wrap-around.
    spacing
        Distance of the samples in mm.
    name
        ``"ram-lak"``, or that times a window: ``"shepp-logan"`` (sinc), ``"cosine"``,
        ``"hamming"``, ``"hann"``.
    arc
        Angle between columns in radians for an equiangular fan: the response is multiplied by
        ``(n arc / sin(n arc))^2``; 0 for straight detectors.
    cutoff
        Fraction of the Nyquist frequency at which the window ends.

    Raises
    ------
    ValueError
        An unknown filter, a cut-off outside (0, 1].
    """
    if name not in get_args(Filter):
        raise ValueError(f"filter must be one of {', '.join(get_args(Filter))}, got {name!r}")
    if not 0 < cutoff <= 1:
        raise ValueError(f"cutoff must be in (0, 1], a fraction of Nyquist, got {cutoff}")
    n = np.minimum(np.arange(length), length - np.arange(length))
    response = np.zeros(length)
    response[0] = 0.25
    odd = n % 2 == 1
    response[odd] = -1 / (np.pi * n[odd]) ** 2
    if arc:
        angle = n * arc
        bend = np.ones(length)
        bend[1:] = (angle[1:] / np.sin(np.minimum(angle[1:], 0.95 * np.pi))) ** 2
        response *= bend
    ramp = np.fft.rfft(response).real / spacing
    f = np.fft.rfftfreq(length) * 2 / cutoff
    window = {
        "ram-lak": np.ones_like(f),
        "shepp-logan": np.sinc(f / 2),
        "cosine": np.cos(np.pi * f / 2),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * f),
        "hann": 0.5 + 0.5 * np.cos(np.pi * f),
    }[name]
    return np.asarray(ramp * window * (f <= 1 + 1e-12))


def filter_views(
    sinogram: Tensor,
    spacing: float,
    name: Filter,
    *,
    arc: float = 0.0,
    cutoff: float = 1.0,
    midpoints: bool = False,
) -> Tensor:
    """Ramp-filter ``(..., column)`` along the columns, zero padded to at least twice their number.

    The result is in the sinogram's unit over mm. With `midpoints`, the values halfway between the
    columns stand between them, ``2 * columns - 1`` in all: linear interpolation of these blurs far
    less than of the columns alone.
    """
    columns = sinogram.shape[-1]
    length = next_fast_len(2 * columns, real=True)
    response = ramp_filter(length, spacing, name, arc=arc, cutoff=cutoff)
    spectrum = torch.fft.rfft(sinogram, length)
    spectrum *= torch.from_numpy(response).to(sinogram)
    if not midpoints:
        filtered: Tensor = torch.fft.irfft(spectrum, length)[..., :columns]
        return filtered
    result = sinogram.new_empty((*sinogram.shape[:-1], 2 * columns - 1))
    result[..., ::2] = torch.fft.irfft(spectrum, length)[..., :columns]
    spectrum *= torch.from_numpy(_midpoint_response(length)).to(spectrum)
    result[..., 1::2] = torch.fft.irfft(spectrum, length)[..., : columns - 1]
    return result


def filtering_memory(columns: int, itemsize: int, *, midpoints: bool) -> int:
    """Bytes that `filter_views` holds at its peak for one line, the line included."""
    length = next_fast_len(2 * columns, real=True)
    return int(itemsize * (columns + 2 * length + 2 + (2 * columns if midpoints else 0)))


def _midpoint_response(length: int) -> NDArray[np.complex128]:
    """Frequency response of Lagrange interpolation by eight samples, half a sample ahead."""
    taps = np.array([1225, -245, 49, -5]) / 2048
    phase = 2j * np.pi * np.fft.rfftfreq(length)[:, None] * np.arange(4)
    step = np.exp(2j * np.pi * np.fft.rfftfreq(length)[:, None])
    return np.asarray(((np.exp(phase) * step + np.exp(-phase)) * taps).sum(1))
