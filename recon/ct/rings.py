"""Ring artefacts: stripes along the views of a sinogram, taken out before reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d, median_filter, uniform_filter1d
from torch import Tensor

from .corrections import bridged

Array = NDArray[np.float64]
RingMethod = Literal["combined", "sorting", "filtering", "wavelet"]

SIZE = 21  # columns of the medians: wider than the stripes that they find
_UNLIKE = 4.0  # times less or more fluctuation than on both sides: unresponsive or flickering
_SLOW = 0.05  # cycles a view: below it, a view is smooth enough to be sorted
_WAVELET, _LEVELS, _DAMPING = "db25", 2, 2.0  # more levels would damp the object near the axis


def remove_rings(
    sinogram: Tensor,
    method: RingMethod = "combined",
    *,
    size: int = SIZE,
    detector_ndim: int = 1,
) -> Tensor:
    """Remove stripes from a sinogram, which reconstruction would bend to rings.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``.
    method
        ``"combined"``: columns that do not respond, or flicker, are drawn from those beside them,
        then sorting. ``"sorting"``: readings of a column are sorted, which makes stripes straight,
        compared with the columns beside them, and put back. ``"filtering"``: the same for what
        changes slowly with the view, which leaves fine detail alone. ``"wavelet"``: low frequencies
        along the views are damped in the bands of fine detail along the columns, which leaves fewer
        traces than sorting where views are few.
    size
        Columns that a median compares: wider than the stripes.
    detector_ndim
        1 for a detector of columns, 2 for rows and columns.

    Returns
    -------
    Tensor
        Shaped and typed as the sinogram.

    Raises
    ------
    ValueError
        An unknown method, a size below 3 or beyond the columns, fewer than 16 views.

    References
    ----------
    N. T. Vo, R. C. Atwood, M. Drakopoulos, Opt Express 26, 28396 (2018); B. Münch et al., Opt
    Express 17, 8567 (2009).
    """
    if method not in get_args(RingMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(RingMethod))}, got {method!r}")
    rows = sinogram.movedim(-detector_ndim - 1, -2)  # (..., view, column)
    views, columns = rows.shape[-2:]
    if views < 16 or not 3 <= size <= columns:
        raise ValueError(
            f"rings need 16 views or more and a size of 3 to {columns} columns, got {views} views "
            f"and size {size}"
        )
    clean: Callable[[Array], Array] = {
        "sorting": lambda s: _sorted(s, size),
        "filtering": lambda s: _filtered(s, size),
        "combined": lambda s: _sorted(_without_unresponsive(s), size),
        "wavelet": _without_bands,
    }[method]
    result = torch.empty_like(rows)
    for place in np.ndindex(rows.shape[:-2]):  # one by one: in float64 all would fill the memory
        one = clean(rows[place].detach().cpu().double().numpy())
        result[place] = torch.from_numpy(one).to(sinogram)
    return result.movedim(-2, -detector_ndim - 1)


def _sorted(sinogram: Array, size: int) -> Array:
    """Median along the columns of sorted readings, put back where they came from."""
    order = np.argsort(sinogram, axis=0)
    ordered = np.take_along_axis(sinogram, order, axis=0)
    smooth = median_filter(ordered, (1, size), mode="reflect")
    result = np.empty_like(sinogram)
    np.put_along_axis(result, order, smooth, axis=0)
    return result


def _filtered(sinogram: Array, size: int) -> Array:
    slow = gaussian_filter1d(sinogram, 1 / (2 * np.pi * _SLOW), axis=0, mode="nearest")
    return np.asarray(sinogram - slow + _sorted(slow, size))


def _without_unresponsive(sinogram: Array) -> Array:
    """Draw columns that follow the object too little, or flicker, from those beside them."""
    fast = np.log(np.abs(sinogram - uniform_filter1d(sinogram, 11, axis=0)).mean(0) + 1e-12)
    half = SIZE // 2
    near = median_filter(fast, half, mode="nearest")
    place = np.arange(len(fast))
    left, right = (near[np.clip(place + way * half, 0, len(fast) - 1)] for way in (-1, 1))
    # An edge of the object changes one side only.
    dull = fast < np.minimum(left, right) - np.log(_UNLIKE)
    wild = fast > np.maximum(left, right) + np.log(_UNLIKE)
    dead = binary_dilation(dull | wild, iterations=1)
    dead[[0, -1]] = False
    if not dead.any() or dead.mean() > 0.3:
        return sinogram
    replaced = bridged(torch.from_numpy(sinogram.copy()), torch.from_numpy(dead))
    return np.asarray(replaced.numpy())


def _without_bands(sinogram: Array) -> Array:
    """Damp low frequencies along the views in the bands of detail along the columns."""
    views, columns = sinogram.shape
    margin = columns // 2
    wide = np.pad(sinogram, ((0, 0), (margin, margin)), mode="reflect")
    levels = max(min(_LEVELS, pywt.dwt_max_level(wide.shape[1], _WAVELET)), 1)
    smooth, *details = pywt.wavedec(wide, _WAVELET, mode="symmetric", level=levels, axis=1)
    frequency = np.arange(views // 2 + 1)[:, None]  # cycles a scan
    kept = -np.expm1(-(frequency**2) / (2 * _DAMPING**2))
    damped = [np.fft.irfft(kept * np.fft.rfft(band, axis=0), views, axis=0) for band in details]
    result = pywt.waverec([smooth, *damped], _WAVELET, mode="symmetric", axis=1)
    return np.asarray(result[:, margin : margin + columns])
