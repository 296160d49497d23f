"""What is done to raw CT data before any method: options that all CT methods take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args

import torch
from torch import Tensor

from ...kernels.ct.geometry import (
    CircularBeam,
    ConeBeam,
    FanBeam,
    Geometry,
    HelicalBeam,
    ParallelBeam,
    VolumeGrid,
)
from ...kernels.warn import warn
from ..ct import (
    HounsfieldCalibration,
    ScatterKernel,
    bad_pixels,
    correct_scatter,
    extrapolate_truncation,
    fbp,
    fdk,
    line_integrals,
    normalize_air,
    read_spectrum,
    reduce_metal,
    remove_rings,
    to_hounsfield,
    tube_spectrum,
    water_correction,
)
from ..ct.helix import plan_helix
from ..ct.hounsfield import WATER
from ..ct.rings import RingMethod
from ..ct.spectra import FILTRATION
from ..image import Image
from ..scan import CTScan
from .registry import option
from .scan_noise import beam_of, with_photons

Finish = Callable[[Image], Image]


@dataclass(frozen=True)
class ReadingOptions:
    """Options of the chain from readings to line integrals that make an image."""

    bad_pixels: bool = option(
        False, "find pixels that are odd, noisy, stuck or saturated, and bridge them"
    )
    saturation: float | None = option(None, "reading at which the detector saturates")
    air: int | None = option(
        None, "columns at each edge that see only air: takes drifts of the beam out of each view"
    )
    scatter: str | None = option(
        None, "take first-order scatter off: AMPLITUDE,WIDTH of the kernel, in mm on the detector"
    )
    rings: str | None = option(None, "take rings out", choices=get_args(RingMethod))
    beam_hardening: str | None = option(
        None, "make water even: tube voltage in kVp, or a file with keV and photons"
    )
    filtration: str = option(
        ",".join(f"{m}={t:g}" for m, t in FILTRATION.items()), "of the tube, in mm, for kVp"
    )
    truncation: bool = option(
        False, "continue views that the detector cuts off by a cylinder of water"
    )
    metal: float | None = option(
        None, "reduce metal artefacts (NMAR): what exceeds so many HU is metal, such as 3000"
    )
    water: float | None = option(None, "attenuation of water in 1/mm, which is 0 HU")
    calibration: str | None = option(
        None, "file of spinray metrics water --calibration: HU by tube voltage"
    )


def prepared_readings(scan: CTScan, options: ReadingOptions) -> tuple[CTScan, Finish]:
    """The scan with its corrections, and what is left to do to the image.

    Raises
    ------
    ValueError
        Options that do not suit the scan.
    """
    if options.bad_pixels or options.saturation is not None:
        scan = without_bad_pixels(scan, options.saturation)
    detector, beam = len(scan.geometry.shape) - 1, beam_of(scan)
    done: list[str] = []
    if options.air is not None:
        scan = scan.replace(sinogram=normalize_air(scan.sinogram, options.air))
        done.append("air")
    if options.scatter is not None:
        kernel = _scatter_kernel(options.scatter)
        scan = scan.replace(sinogram=correct_scatter(scan.sinogram, _circular(scan), kernel))
        done.append("scatter")
    if options.rings is not None:
        method = cast(RingMethod, options.rings)
        scan = scan.replace(sinogram=remove_rings(scan.sinogram, method, detector_ndim=detector))
        done.append(f"rings by {method}")
    water, air = _water(scan, options)
    if options.beam_hardening is not None:
        scan, found = without_beam_hardening(scan, options.beam_hardening, options.filtration)
        water = found if water is None else water
        done.append("beam hardening")
    if done:
        scan = with_photons(scan, beam)
    if water is None and isinstance(stated := scan.header.get("water"), float):
        water = stated  # the scanner's own calibration
    if options.truncation:
        scan = without_truncation(scan, WATER if water is None else water)
        beam = None
        done.append("truncation")
    put_back: Finish = _as_it_is
    if options.metal is not None:
        scan, put_back = without_metal(scan, options.metal, WATER if water is None else water)
        scan = with_photons(scan, beam)
        done.append("metal")
    units = {} if water is None else {"water": water, "air": air}
    notes = {"corrections": ", ".join(done)} if done else {}

    def finish(image: Image) -> Image:
        image = put_back(image)
        return Image(image.data, image.spacing, image.affine, {**image.metadata, **units, **notes})

    return scan, finish


def without_bad_pixels(scan: CTScan, saturation: float | None) -> CTScan:
    """Line integrals anew, bad pixels bridged."""
    if scan.counts is None or scan.blank is None:
        raise ValueError("bad pixels are found in readings: this scan has line integrals only")
    ndim = len(scan.geometry.shape) - 1
    counts, blank, dark = scan.counts, scan.blank, scan.dark
    if scan.batch_shape and blank.ndim > ndim:  # slices: each has its row of the detector
        flat = counts.reshape(-1, *scan.geometry.shape)
        rows = []
        for i, one in enumerate(flat):
            readings = _row(blank, i, len(flat)), None if dark is None else _row(dark, i, len(flat))
            rows.append(bad_pixels(*readings, one, saturation=saturation, detector_ndim=ndim))
        bad = torch.stack(rows).reshape(*scan.batch_shape, 1, *rows[0].shape)
    else:
        white = blank.expand(scan.geometry.shape[1:]) if blank.ndim < ndim else blank
        one_scan = None if scan.batch_shape else counts
        bad = bad_pixels(white, dark, one_scan, saturation=saturation, detector_ndim=ndim)
    if saturation is not None and (clipped := int((counts >= saturation).sum())):
        warn(
            f"{clipped} of {counts.numel()} readings are saturated ({saturation:g} and above): "
            "their line integrals are too large"
        )
    # Without beam in the blank scan, they are dead to every method that weighs rays.
    floor = 0.0 if dark is None else float(dark.min())
    blank = torch.where(bad, min(floor, 0.0) - 1, blank)
    sinogram = line_integrals(counts, blank, dark, detector_ndim=ndim, bad=bad)
    header = {**scan.header, "bad_pixels": int(bad.sum())}
    return scan.replace(sinogram=sinogram, counts=counts, blank=blank, dark=dark, header=header)


def without_beam_hardening(scan: CTScan, spectrum: str, filtration: str) -> tuple[CTScan, float]:
    """Line integrals that are proportional to the thickness of water, and water in 1/mm."""
    try:
        kvp = float(spectrum.lower().removesuffix("kvp"))
    except ValueError:
        beam = read_spectrum(spectrum)
    else:
        beam = tube_spectrum(kvp, _filters(filtration))
        scan = scan.replace(header={"kvp": kvp, **scan.header})
    correction = water_correction(beam)
    return scan.replace(sinogram=correction(scan.sinogram)), correction.water


def without_truncation(scan: CTScan, water: float) -> CTScan:
    """Wider views, reconstructed on the grid that the narrow detector covers."""
    grid = grid_of(scan, "wfbp")
    sinogram, geometry = extrapolate_truncation(scan.sinogram, _circular(scan), water=water)
    # nothing is known of the photons of columns that were made up
    return scan.replace(sinogram=sinogram, geometry=geometry, volume=grid, photons=None)


def without_metal(scan: CTScan, threshold: float, water: float) -> tuple[CTScan, Finish]:
    """Line integrals without metal, and what puts the metal back into the image."""
    geometry = scan.geometry
    if isinstance(geometry, HelicalBeam) or not isinstance(
        geometry, ParallelBeam | FanBeam | ConeBeam
    ):
        raise ValueError(
            f"metal is reduced in parallel, fan and circular cone beams, not {geometry}"
        )
    sinogram, metal = reduce_metal(
        scan.sinogram, geometry, _analytic, threshold=threshold, water=water
    )
    if not bool(metal.any()):
        warn(f"nothing exceeds {threshold:g} HU: no metal was reduced")
        return scan, _as_it_is

    def put_back(image: Image) -> Image:
        first = _analytic(scan.sinogram, geometry, scan.grid)
        dense = to_hounsfield(first, water) > threshold
        data = torch.where(dense, first.to(image.data), image.data)
        return Image(data, image.spacing, image.affine, image.metadata)

    return scan.replace(sinogram=sinogram), put_back


def _as_it_is(image: Image) -> Image:
    return image


def _analytic(sinogram: Tensor, geometry: Geometry, volume: VolumeGrid) -> Tensor:
    reconstruct = fdk if isinstance(geometry, ConeBeam) else fbp
    return reconstruct(sinogram, geometry, volume, filter="hann")


def _circular(scan: CTScan) -> CircularBeam:
    if not isinstance(scan.geometry, CircularBeam):
        raise ValueError(
            f"this correction is for parallel, fan and cone beams, not {scan.geometry}"
        )
    return scan.geometry


def grid_of(scan: CTScan, method: str) -> VolumeGrid:
    """The grid that a method reconstructs on: the scan's own, or what it covers.

    `wfbp` takes the heights of a helix that are seen from all sides, other methods all that some
    ray passes.
    """
    if scan.volume is None and method == "wfbp" and isinstance(scan.geometry, HelicalBeam):
        return plan_helix(scan.geometry)[1]
    return scan.grid


def _water(scan: CTScan, options: ReadingOptions) -> tuple[float | None, float]:
    """Attenuation of water, if it is known, and of air."""
    if options.calibration is None:
        if options.water is not None and not options.water > 0:
            raise ValueError("water must be positive 1/mm, got 0")
        return options.water, 0.0
    if options.water is not None:
        raise ValueError("give water or a calibration, not both")
    kvp = scan.header.get("kvp")
    if kvp is None and options.beam_hardening is not None:
        text = options.beam_hardening.lower().removesuffix("kvp")
        kvp = float(text) if text.replace(".", "", 1).isdigit() else None
    return HounsfieldCalibration.load(options.calibration).at(kvp)


def _scatter_kernel(text: str) -> ScatterKernel:
    try:
        amplitude, width = (float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"scatter must be AMPLITUDE,WIDTH such as 0.05,80, got {text!r}") from None
    return ScatterKernel(amplitude, width)


def _filters(text: str) -> dict[str, float]:
    filters = {}
    for part in text.split(","):
        material, _, thickness = part.partition("=")
        try:
            filters[material.strip()] = float(thickness)
        except ValueError:
            raise ValueError(
                f"filtration must be MATERIAL=MM, such as Al=6,Cu=0.2, got {text!r}"
            ) from None
    return filters


def _row(reading: Tensor, index: int, count: int) -> Tensor:
    """One slice's frames ``(frame, column)`` of a reading with or without slices."""
    if reading.ndim < 3:
        return reading
    flat = reading.reshape(-1, *reading.shape[-2:])
    return flat[index if len(flat) == count else 0]
