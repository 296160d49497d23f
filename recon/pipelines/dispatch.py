"""`reconstruct`: the one door from a scan to an image."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ...kernels.ct.geometry import CircularBeam, ConeBeam, HelicalBeam, VolumeGrid
from ..ct.helix import plan_helix
from ..ct.redundancy import angular_range
from ..image import Image
from ..scan import CTScan, MRScan
from .ct_chain import ReadingOptions, prepared_readings
from .progress import tracker
from .raw_chain import prepared
from .registry import find, modality_of

log = logging.getLogger("spinray")


def reconstruct(
    scan: MRScan | CTScan,
    method: str = "auto",
    *,
    volume: VolumeGrid | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Image:
    """Reconstruct an image from raw data, on the device where the data lie.

    Parameters
    ----------
    scan
        An `MRScan` or a `CTScan`.
    method
        A name from `spinray.methods()`, or ``"auto"``: a sound one for this scan; the image's
        metadata say which and why.
    volume
        CT only: the grid to reconstruct on. Default: the scan's, which covers the field of view.
    progress
        Whether to draw progress bars on stderr. Default: if it is a terminal.
    options
        Options of the method; ``spinray methods NAME`` lists them.

    Returns
    -------
    Image
        MR: complex or magnitude ``(*batch, [z,] y, x)``. CT: attenuation per mm.

    Raises
    ------
    ValueError
        An unknown method, one that cannot take this scan, or an option value that does not fit.
    TypeError
        Something that is no scan, or an option of another method.
    """
    modality = modality_of(scan)
    if volume is not None:
        if isinstance(scan, MRScan):
            raise ValueError("volume= is for CT; an MRScan carries its image_shape and spacing")
        scan = scan.replace(volume=volume)
    reason = "asked for"
    if method == "auto":
        method, reason = choose(scan)
        log.info("method %s: %s", method, reason)
    recipe = find(method, scan)
    parsed = recipe.parse(options)
    start = time.perf_counter()
    if isinstance(scan, MRScan):
        scan = prepared(scan, parsed)
        image = recipe.run(scan, parsed, tracker(progress))
    elif isinstance(parsed, ReadingOptions):
        scan, finish = prepared_readings(scan, parsed)
        image = finish(recipe.run(scan, parsed, tracker(progress)))
    else:
        image = recipe.run(scan, parsed, tracker(progress))
    protocol = {k: v for k, v in scan.header.items() if isinstance(v, int | float | str)}
    protocol.pop("xml", None)
    made = {
        **({"ndim": scan.ndim} if isinstance(scan, MRScan) else {}),
        "modality": {"mri": "MR", "ct": "CT"}[modality],
        "method": method,
        "reason": reason,
        "options": asdict(parsed),
        "seconds": round(time.perf_counter() - start, 3),
    }
    return replace(image, metadata={**protocol, **image.metadata, **made})


def choose(scan: MRScan | CTScan) -> tuple[str, str]:
    """Name of a sound method for this scan, and why."""
    if isinstance(scan, MRScan):
        return _choose_mri(scan)
    return _choose_ct(scan)


def _choose_mri(scan: MRScan) -> tuple[str, str]:
    if shifts := scan.header.get("multiband_shifts"):
        return "multislice", f"{len(shifts)} slices excited together"
    if not scan.is_cartesian:
        if scan.coils == 1:
            return "gridding", "non-Cartesian samples of a single coil"
        return "sense", "non-Cartesian samples of several coils"
    if scan.acceleration < 1.05:
        return "rss", "fully sampled Cartesian k-space"
    if scan.coils == 1:
        return "l1-wavelet", f"one coil, {scan.acceleration:.1f}x undersampled"
    return "l1-wavelet", f"{scan.coils} coils, {scan.acceleration:.1f}x undersampled"


def _choose_ct(scan: CTScan) -> tuple[str, str]:
    geometry = scan.geometry
    views, columns = geometry.shape[0], geometry.shape[-1]
    if isinstance(geometry, HelicalBeam):
        return _choose_helical(scan, geometry)
    if not isinstance(geometry, CircularBeam):
        return "sirt", "a geometry that no analytic method takes"
    covered, needed = angular_range(geometry)
    if covered < needed:
        return "tv", f"the views cover {np.rad2deg(covered):.0f}° of {np.rad2deg(needed):.0f}°"
    if views < columns / 4:
        return "tv", f"only {views} views for {columns} detector columns"
    name = "fdk" if isinstance(geometry, ConeBeam) else "fbp"
    return name, f"{views} views for {columns} detector columns"


def _choose_helical(scan: CTScan, geometry: HelicalBeam) -> tuple[str, str]:
    try:
        plan_helix(geometry, scan.volume)
    except ValueError as error:
        return "sirt", f"wfbp does not take this helix: {error}"
    turns = float(np.ptp(geometry.angles)) / (2 * np.pi)
    return "wfbp", f"a helix of {turns:.1f} turns without gaps"
