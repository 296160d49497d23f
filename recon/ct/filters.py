"""Ramp filters for filtered back projection, built in the spatial domain."""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.fft import next_fast_len
from torch import Tensor

# A window's name, or "mtf50=0.40": the kernel that keeps half of 0.40 cycles/mm.
Filter = str
WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
_TAPS = np.array([1225, -245, 49, -5]) / 2048  # of Lagrange interpolation halfway
_BY_MTF = re.compile(r"mtf50=(\d*\.?\d+)")


def ramp_filter(
    length: int,
    spacing: float,
    name: Filter = "ram-lak",
    *,
    arc: float = 0.0,
    cutoff: float = 1.0,
    midpoints: bool = True,
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
        ``"hamming"``, ``"hann"``; or ``"mtf50=0.40"``: a window after which the image's modulation
        transfer function is a half at 0.40 cycles/mm.
    arc
        Angle between columns in radians for an equiangular fan: the response is multiplied by
        ``(n arc / sin(n arc))^2``; 0 for straight detectors.
    cutoff
        Fraction of the Nyquist frequency at which the window ends.
    midpoints
        Whether values halfway between the samples will be back projected too, which blurs less: a
        kernel named by its MTF makes up for the blur.

    Raises
    ------
    ValueError
        An unknown filter, a cut-off outside (0, 1], a frequency that the samples do not hold.
    """
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
    f = np.asarray(np.fft.rfftfreq(length), dtype=np.float64)
    return np.asarray(ramp * _window(name, f, spacing, cutoff, midpoints))


def kernel_mtf(
    name: Filter,
    frequencies: ArrayLike,
    spacing: float,
    *,
    cutoff: float = 1.0,
    midpoints: bool = True,
) -> NDArray[np.float64]:
    """Modulation transfer function of a reconstruction kernel, the detector's cells included.

    The window of the ramp filter, times the blur by the cells' width and by linear interpolation in
    back projection. The focal spot and the turn during a view are not in it.

    Parameters
    ----------
    name, cutoff, midpoints
        As `ramp_filter`; `fbp` and `wfbp` back project with midpoints, `fdk` without.
    frequencies
        In cycles per mm, any shape.
    spacing
        Of the columns at the isocentre in mm.

    Raises
    ------
    ValueError
        As `ramp_filter`.
    """
    f = np.abs(np.asarray(frequencies, dtype=np.float64)) * spacing
    window = _window(name, f, spacing, cutoff, midpoints)
    return np.asarray(window * _blur(f, midpoints))


def mtf50(name: Filter, spacing: float, *, cutoff: float = 1.0, midpoints: bool = True) -> float:
    """Frequency in cycles per mm at which a kernel's `kernel_mtf` is a half."""
    f = np.linspace(0, 0.5 / spacing, 2001)
    values = kernel_mtf(name, f, spacing, cutoff=cutoff, midpoints=midpoints)
    below = np.flatnonzero(values <= 0.5)
    return float(f[below[0]] if below.size else f[-1])


def check_filter(name: Filter) -> None:
    """Raise a `ValueError` for a name that is no filter."""
    if name not in WINDOWS and not _BY_MTF.fullmatch(str(name)):
        raise ValueError(
            f"filter must be one of {', '.join(WINDOWS)}, or mtf50=FREQUENCY in cycles/mm, got "
            f"{name!r}"
        )


def _window(
    name: Filter, f: NDArray[np.float64], spacing: float, cutoff: float, midpoints: bool
) -> NDArray[np.float64]:
    """What the ramp is multiplied by at f cycles a sample."""
    check_filter(name)
    inside = f <= 0.5 * cutoff + 1e-12
    if by_mtf := _BY_MTF.fullmatch(name):
        half = float(by_mtf[1]) * spacing  # cycles a sample
        if not 0 < half < 0.45 * cutoff:
            raise ValueError(
                f"filter {name!r}: columns of {spacing:.3g} mm at the isocentre hold up to "
                f"{0.45 * cutoff / spacing:.3g} cycles/mm"
            )
        # A Gaussian, which makes up for the blur where it must rise; cells do not ring with it.
        rate = np.log(0.5 / _blur(np.array(half), midpoints)) / half**2
        return np.asarray(np.exp(rate * f**2) * inside)
    g = 2 * f / cutoff
    windows = {
        "ram-lak": np.ones_like(g),
        "shepp-logan": np.sinc(g / 2),
        "cosine": np.cos(np.pi * g / 2),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * g),
        "hann": 0.5 + 0.5 * np.cos(np.pi * g),
    }
    return np.asarray(windows[name] * inside)


def _blur(f: NDArray[np.float64], midpoints: bool) -> NDArray[np.float64]:
    """Blur by cells and by interpolation at f cycles a sample."""
    if not midpoints:
        return np.asarray(np.sinc(f) ** 3)
    halfway = 2 * sum(t * np.cos(2 * np.pi * f * (k + 0.5)) for k, t in enumerate(_TAPS))
    return np.asarray(np.sinc(f) * (1 + halfway) / 2 * np.sinc(f / 2) ** 2)


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
    response = ramp_filter(length, spacing, name, arc=arc, cutoff=cutoff, midpoints=midpoints)
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
    phase = 2j * np.pi * np.fft.rfftfreq(length)[:, None] * np.arange(4)
    step = np.exp(2j * np.pi * np.fft.rfftfreq(length)[:, None])
    return np.asarray(((np.exp(phase) * step + np.exp(-phase)) * _TAPS).sum(1))
