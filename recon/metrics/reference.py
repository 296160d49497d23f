"""Figures against a reference image, with the definitions of fastMRI's evaluation.

The target comes first. Images are NumPy arrays or tensors, ``(y, x)`` or volumes ``(slice, y, x)``;
the dynamic range is the volume's, not the slice's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = ArrayLike | Tensor
_WINDOW = 7  # pixels a side, of SSIM


def nmse(target: Array, image: Array, *, mask: Array | None = None) -> float:
    """Squared error over the squared norm of the target, in the whole image or inside a mask."""
    return nrmse(target, image, mask=mask) ** 2


def nrmse(
    target: Array, image: Array, *, mask: Array | None = None, fit_scale: bool = False
) -> float:
    """Norm of the error over the norm of the target, in the whole image or inside a mask.

    Parameters
    ----------
    target, image
        Real or complex, of one shape.
    mask
        Boolean, broadcasting to that shape; default: everywhere.
    fit_scale
        Scale the image by the factor that fits the target best inside the mask first: for
        reconstructions whose intensity is arbitrary.
    """
    t, x = _pair(target, image)
    if mask is not None:
        inside = _inside(mask, t.shape)
        t, x = t[inside], x[inside]
    size = float(np.linalg.norm(t))
    if size == 0:
        raise ValueError("the target is zero" + (" inside the mask" if mask is not None else ""))
    if fit_scale:
        power = np.vdot(x, x).real
        x = x * (np.vdot(x, t) / power if power else 0)
    return float(np.linalg.norm(t - x)) / size


def psnr(
    target: Array, image: Array, *, data_range: float | None = None, mask: Array | None = None
) -> float:
    """Peak signal-to-noise ratio in dB, of the whole image or inside a mask.

    `data_range` is the target's maximum by default: of the whole target, also with a mask.
    """
    from skimage.metrics import peak_signal_noise_ratio

    t, x = _pair(target, image, real=True)
    data_range = float(t.max()) if data_range is None else data_range
    if mask is not None:
        inside = _inside(mask, t.shape)
        t, x = t[inside], x[inside]
    return float(peak_signal_noise_ratio(t, x, data_range=data_range))  # type: ignore[no-untyped-call]


def ssim(
    target: Array, image: Array, *, data_range: float | None = None, mask: Array | None = None
) -> float:
    """Structural similarity: 7 x 7 uniform window, mean over slices.

    `data_range` is the volume's maximum by default. With a mask, the mean over the pixels inside it
    whose window lies in the image. Z. Wang et al., IEEE Trans Image Process 13, 600 (2004).
    """
    from skimage.metrics import structural_similarity

    t, x = _pair(target, image, real=True)
    if t.ndim not in (2, 3) or min(t.shape[-2:]) < _WINDOW:
        raise ValueError(f"ssim takes (y, x) or (slice, y, x) of {_WINDOW} or more, got {t.shape}")
    data_range = float(t.max()) if data_range is None else data_range
    slices = zip(t.reshape(-1, *t.shape[-2:]), x.reshape(-1, *t.shape[-2:]), strict=True)
    if mask is None:
        values = [
            structural_similarity(a, b, data_range=data_range)  # type: ignore[no-untyped-call]
            for a, b in slices
        ]
        return float(np.mean(values))
    maps = [
        structural_similarity(a, b, data_range=data_range, full=True)[1]  # type: ignore[no-untyped-call]
        for a, b in slices
    ]
    edge = _WINDOW // 2
    whole = (..., slice(edge, -edge), slice(edge, -edge))
    inside = _inside(mask, t.shape)[whole]
    return float(np.reshape(maps, t.shape)[whole][inside].mean())


def _inside(mask: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    given = as_array(mask).astype(bool)
    try:
        inside = np.broadcast_to(given, shape)
    except ValueError:
        raise ValueError(f"the mask is {given.shape}, the target {shape}: must broadcast") from None
    if not inside.any():
        raise ValueError("the mask is empty")
    return inside


def _pair(target: Array, image: Array, *, real: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    t, x = as_array(target), as_array(image)
    if t.shape != x.shape:
        raise ValueError(f"target is {t.shape}, image is {x.shape}: must agree")
    if real and (np.iscomplexobj(t) or np.iscomplexobj(x)):
        raise TypeError(f"needs magnitudes, got {t.dtype} and {x.dtype}")
    return t, x


def as_array(x: Array) -> NDArray[Any]:
    """NumPy in double precision."""
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "uif" else array
