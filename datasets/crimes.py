"""Data crimes: data that are not what the scanner measured, and splits that leak.

Reconstruction learned or tested on k-space that was zero-padded, interpolated or computed from
processed images looks 25 to 48 % better than it is (E. Shimron et al., PNAS 119, e2117203119,
2022). Each check looks for the trace that one process leaves; none proves that data are raw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..recon.mri import root_sum_of_squares
from ..recon.operators import Fourier

_PADDING = 0.02  # of an axis, on both sides: scanners leave a line or two
_HERMITIAN = 1e-6  # of the energy: noise leaves more in any measured k-space
_CLIFF = 1e4  # fall of the power spectrum within a tenth of its half-width; noise fills it up
_COHERENCE = 0.35  # of the phases of k-space with those a fifth of the axis away and more
_SHORT = 16  # samples of an axis: fewer say nothing about its spectrum
_GREYS = 256
_PIXELS = 4096  # that differ from zero: fewer say nothing about grey levels
_BLOCKS = 0.08  # decades of power by which one grid of blocks stands out from the 63 others
_TWIN = 0.995  # correlation of two images at 32 x 32: a head and its neighbouring slice pass
_ICON = 32


@dataclass(frozen=True)
class Finding:
    """One crime.

    Parameters
    ----------
    crime
        Its name: "zero-padded k-space", "interpolated", "Hermitian k-space", "8-bit image",
        "JPEG image", "same subject", "same image", "k-space simulated from images", "projections
        simulated from images".
    where
        Volume, or pair of volumes.
    detail
        What was seen.
    """

    crime: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.crime}: {self.where}: {self.detail}"


def kspace_findings(kspace: Tensor, mask: Tensor | None = None, where: str = "") -> list[Finding]:
    """Look for zero-padding, interpolation and conjugate symmetry, and for crimes of its image.

    Parameters
    ----------
    kspace
        One slice, ``(coil, ky, kx)``, complex, centred.
    mask
        Where it was measured, broadcasting to ``(ky, kx)``: what lies outside is no padding.
    where
        Name of the volume, for the findings.

    Raises
    ------
    ValueError
        Another shape, real data.
    """
    if kspace.ndim != 3 or not kspace.is_complex():
        raise ValueError(
            f"kspace must be complex (coil, ky, kx), got {kspace.dtype} {tuple(kspace.shape)}"
        )
    kspace = kspace.to(torch.complex128)
    shape = (int(kspace.shape[-2]), int(kspace.shape[-1]))
    measured = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
    findings = _padding(kspace, measured, where)
    if (symmetric := _conjugate_symmetry(kspace)) is not None:
        findings.append(Finding("Hermitian k-space", where, symmetric))
    dense = kspace[:, _rows(measured)][:, :, _rows(measured.T)]
    complete = bool(measured[_rows(measured)][:, _rows(measured.T)].all())
    holed = float((dense != 0).any(0).double().mean()) < 0.95
    if not complete or holed:
        return findings  # undersampled: no image to look at
    image = root_sum_of_squares(Fourier(dense.shape[-2:]).adjoint(dense))
    if kspace.shape[0] == 1:
        findings += _greys(image, where) + _jpeg(image, where)
    named = {finding.crime for finding in findings}
    if not named & {"JPEG image", "zero-padded k-space"}:
        findings += _interpolation(dense, where)
    return findings


def image_findings(image: Tensor, where: str = "", *, spectrum: bool = True) -> list[Finding]:
    """Look for 8-bit grey levels, JPEG blocks and interpolation.

    Parameters
    ----------
    image
        Real ``(y, x)``.
    where
        Name of the volume, for the findings.
    spectrum
        Whether interpolation is looked for: CT images are band-limited by their kernel.
    """
    image = image.double()
    findings = _greys(image, where) + _jpeg(image, where)
    if spectrum and not any(finding.crime == "JPEG image" for finding in findings):
        kspace = Fourier(image.shape).forward(image.to(torch.complex128))
        findings += _interpolation(kspace[None], where)
    return findings


def twin_findings(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[Finding]:
    """Images that stand on both sides of a split, whatever their scale: one finding a pair.

    Parameters
    ----------
    first, second
        Images ``(slice, y, x)`` by the names of their volumes.
    """
    left, right = ({name: _icons(x) for name, x in side.items()} for side in (first, second))
    findings = []
    for a, icons in left.items():
        for b, others in right.items():
            alike = icons @ others.T
            if not alike.numel() or float(alike.max()) < _TWIN:
                continue
            i, j = np.unravel_index(int(alike.argmax()), tuple(alike.shape))
            detail = f"slice {i} and slice {j} correlate by {float(alike.max()):.4f}"
            findings.append(Finding("same image", f"{a} and {b}", detail))
    return findings


def _rows(measured: Tensor) -> Tensor:
    """Rows that hold a measured sample."""
    return measured.any(dim=1)


def _padding(kspace: Tensor, measured: Tensor, where: str) -> list[Finding]:
    """Zeros on both sides of an axis, where the file says that samples were measured."""
    findings = []
    filled = (kspace != 0).any(dim=0)
    for axis, name in ((0, "ky"), (1, "kx")):
        expected = measured.any(dim=1 - axis).nonzero().ravel()
        found = (filled & measured).any(dim=1 - axis).nonzero().ravel()
        if not found.numel():
            continue
        before = int(found[0] - expected[0])
        after = int(expected[-1] - found[-1])
        if min(before, after) >= max(2, _PADDING * expected.numel()):
            detail = f"{found.numel()} of {expected.numel()} lines along {name} hold anything"
            findings.append(Finding("zero-padded k-space", where, detail))
    return findings


def _conjugate_symmetry(kspace: Tensor) -> str | None:
    """Whether every coil's image has one phase throughout: then k-space was made from magnitudes.

    The energy outside a constant phase is ``1 - |sum x^2| / sum |x|^2``, halved.
    """
    images = Fourier(kspace.shape[-2:]).adjoint(kspace).flatten(1)
    energy = images.abs().square().sum(1)
    if not bool((energy > 0).all()):
        return None
    outside = (1 - images.square().sum(1).abs() / energy) / 2
    if float(outside.max()) > _HERMITIAN:
        return None
    return (
        f"conjugate-symmetric to {float(outside.max()):.1g} of its energy: the transform of a "
        "magnitude image, without phase or noise"
    )


def _interpolation(kspace: Tensor, where: str) -> list[Finding]:
    """A cliff in the power spectrum, or copies of it that an interpolation kernel left."""
    findings = []
    power = kspace.abs().square().sum(0)
    whitened = kspace / kspace.abs().clamp_min(1e-30)
    for axis, name in ((0, "y"), (1, "x")):
        if kspace.shape[axis + 1] < _SHORT:
            continue
        fall, place = _steepest_fall(power.mean(dim=1 - axis).numpy())
        if fall > _CLIFF:
            detail = f"the spectrum falls {fall:.0f} times at {place:.0%} of its width along {name}"
            findings.append(Finding("interpolated", where, detail))
            continue
        coherence, factor = _strongest_copy(whitened.movedim(axis + 1, -1).flatten(0, -2))
        if coherence > _COHERENCE:
            detail = (
                f"k-space repeats itself along {name} ({coherence:.0%} of its phases), as after "
                f"interpolation by {factor:.3g}"
            )
            findings.append(Finding("interpolated", where, detail))
    return findings


def _steepest_fall(profile: NDArray[np.float64]) -> tuple[float, float]:
    """Largest ratio of neighbouring bands of a spectrum, on both sides alike, and its place."""
    n = len(profile)
    half = n // 2
    distance = np.abs(np.arange(n) - half) / half
    width = max(0.05, 2 / half)
    best, place = 1.0, 0.0
    for edge in np.arange(0.3, 1 - width, width / 2):
        falls = []
        for side in (np.arange(n) < half, np.arange(n) >= half):
            inner = profile[side & (distance > edge - width) & (distance <= edge)]
            outer = profile[side & (distance > edge + 2 / n) & (distance <= edge + 2 / n + width)]
            if not inner.size or not outer.size:
                return best, place
            falls.append(inner.mean() / max(outer.mean(), 1e-300))
        if min(falls) > best:
            best, place = float(min(falls)), float(edge)
    return best, place


def _strongest_copy(lines: Tensor) -> tuple[float, float]:
    """How coherent k-space's phases are with themselves at a distance, and the zoom it tells of.

    A kernel that fills in pixels between others by a factor z leaves copies of the spectrum 1/z of
    the axis away. `lines` are phases ``(line, frequency)``; without copies the coherence at any
    distance from a fifth to four fifths of the axis is near zero.
    """
    n = lines.shape[-1]
    spectrum = torch.fft.fft(lines, n=2 * n)
    correlation = torch.fft.ifft(spectrum.abs().square().sum(0)).abs()[:n]
    distance = torch.arange(n, device=lines.device)
    pairs = (n - distance) * lines.shape[0]
    coherence = correlation / pairs
    first, last = max(n // 5, 2), max(4 * n // 5, 3)
    index = first + int(coherence[first : last + 1].argmax())
    return float(coherence[index]), n / index


def _greys(image: Tensor, where: str) -> list[Finding]:
    """At most 256 grey levels, evenly spaced by the eye of rounding."""
    peak = float(image.abs().max())
    if not peak:
        return []
    steps = torch.round(image / peak * 1e5)
    levels = int(torch.unique(steps).numel())
    if int((steps != 0).sum()) < _PIXELS or levels > _GREYS:
        return []
    return [Finding("8-bit image", where, f"{levels} grey levels")]


def _jpeg(image: Tensor, where: str) -> list[Finding]:
    """High frequencies of 8 x 8 blocks that vanish on one grid, and on no shifted one."""
    from scipy.fft import dctn

    pixels = image.numpy()
    rows, columns = (n // 8 - 1 for n in pixels.shape)
    if min(rows, columns) < 4:
        return []
    high = np.add.outer(np.arange(8), np.arange(8)) >= 6
    floor = (1e-4 * pixels.std()) ** 2 or 1.0
    scores = np.empty((8, 8))
    for y, x in np.ndindex(8, 8):
        part = pixels[y : y + 8 * rows, x : x + 8 * columns]
        blocks = part.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
        blocks = blocks[np.ptp(blocks, axis=(1, 2)) > 0]
        if len(blocks) < 16:
            return []
        coefficients = dctn(blocks, axes=(1, 2), norm="ortho")[:, high]
        scores[y, x] = np.log10(coefficients**2 + floor).mean()
    lowest, next_lowest = np.sort(scores.ravel())[:2]
    if next_lowest - lowest < _BLOCKS:
        return []
    y, x = np.unravel_index(int(scores.argmin()), scores.shape)
    lost = 10 ** (np.median(scores) - lowest)
    detail = f"8 x 8 blocks from ({y}, {x}) hold {lost:.2g} times less high frequency than others"
    return [Finding("JPEG image", where, detail)]


def _icons(images: Tensor) -> Tensor:
    """Images ``(slice, y, x)`` as unit vectors of 32 x 32 pixels without mean; empty: zero."""
    small = torch.nn.functional.adaptive_avg_pool2d(images.double()[:, None], _ICON).flatten(1)
    small = small - small.mean(1, keepdim=True)
    size = small.norm(dim=1, keepdim=True)
    least = 0.05 * float(size.max()) if size.numel() else 0.0
    return torch.where(size > least, small / size.clamp_min(1e-300), 0)
