"""From a raw file to an image: what `spinray recon` does to each file, as a value.

A `FileJob` says all of it, so that it can be sent to another machine that sees the same files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...kernels.ct.geometry import ParallelBeam, VolumeGrid
from ..image import Image
from ..io import save
from ..io.raw_file import RawFile
from ..io.reading import open_part, options_of
from ..scan import CTScan, MRScan
from .ct import centred, covers_every_ray
from .ct_chain import grid_of
from .dispatch import choose, reconstruct

FOUND = ", found"  # end of header["rotation_axis"] where nobody said it


@dataclass(frozen=True)
class FileJob:
    """A file to reconstruct.

    Parameters
    ----------
    source
        The raw file.
    method, options
        As for `reconstruct`.
    target
        Image to write; None to keep it in memory.
    read
        Options of `spinray.load`.
    matrix
        Image matrix: of MR files that do not say it; of CT, over the field of view.
    center
        Parallel beams: column of the rotation axis, "auto" or "vo" to find it. Default: found
        where the file does not say it.
    pixel_size
        Parallel beams: detector pixel in mm.
    device
        Where to compute.
    progress
        As for `reconstruct`.
    """

    source: Path
    method: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Path | None = None
    read: Mapping[str, Any] = field(default_factory=dict)
    matrix: tuple[int, ...] | None = None
    center: float | str | None = None
    pixel_size: float | None = None
    device: str = "cpu"
    progress: bool | None = None


@dataclass(frozen=True)
class Made:
    """What a job made: the image, or the file that it was written to, and how it was made."""

    metadata: Mapping[str, Any]
    image: Image | None = None
    path: Path | None = None


def run(job: FileJob) -> Made:
    """Do a job.

    Raises
    ------
    ValueError, TypeError
        A file, a method or options that do not fit.
    OSError
        A file that cannot be read or written; it is named.
    """
    raw, part = opened(job)
    return finished(job, reconstructed(job, adjusted(job, raw.read(**part))))


def opened(job: FileJob) -> tuple[RawFile, dict[str, int | slice]]:
    """The file, of which headers are read, and the items of it that the job chooses."""
    source, read = job.source, dict(job.read)
    known = options_of(source)
    own = [name for name in ("trajectory", "encoding") if name in read]
    if foreign := [f"--{name}" for name in own if name not in known]:
        raise ValueError(f"{source}: {' and '.join(foreign)} cannot be given for this kind of file")
    if job.matrix is not None and "image_shape" in known:
        read["image_shape"] = job.matrix
    return open_part(source, **read)


def adjusted(job: FileJob, scan: MRScan | CTScan) -> MRScan | CTScan:
    """The scan with the pixel size, the axis of rotation and the matrix that were given."""
    if isinstance(scan, MRScan):
        if job.center is not None or job.pixel_size is not None:
            raise ValueError(
                f"{job.source}: --center and --pixel-size are for CT, this is an MR scan"
            )
        if job.matrix is not None and "image_shape" not in options_of(job.source):
            raise ValueError(
                f"{job.source}: --matrix cannot be given, the file says the image's matrix"
            )
        return scan
    scan = _placed(job, scan)
    return scan if job.matrix is None else _on_matrix(scan, job.matrix, job.method)


def reconstructed(job: FileJob, scan: MRScan | CTScan) -> Image:
    """The image of a scan, on the job's device."""
    return reconstruct(scan.to(job.device), job.method, progress=job.progress, **dict(job.options))


def finished(job: FileJob, image: Image) -> Made:
    """Write the image where the job says so; a failure names the file."""
    if job.target is None:
        return Made(image.metadata, image)
    try:
        return Made(image.metadata, path=save(image, job.target))
    except OSError as error:
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, error.strerror, str(job.target)) from error


def axis_is_assumed(scan: CTScan) -> bool:
    """Whether a parallel-beam file does not say where its axis of rotation is."""
    assumed = "not in the file" in str(scan.header.get("rotation_axis"))
    geometry = scan.geometry
    return assumed and isinstance(geometry, ParallelBeam) and covers_every_ray(geometry)


def _placed(job: FileJob, scan: CTScan) -> CTScan:
    """The scan with the pixel size given, and the axis of rotation given or found."""
    geometry, pixel_size = scan.geometry, job.pixel_size
    if pixel_size is not None:
        if not isinstance(geometry, ParallelBeam) or not 0 < pixel_size < 1e3:
            raise ValueError(
                f"{job.source}: --pixel-size is for parallel beams and in mm, got {pixel_size:g} "
                f"for {geometry}"
            )
        header = {k: v for k, v in scan.header.items() if k != "pixel_size"}
        geometry = dataclasses.replace(geometry, column_spacing=pixel_size)
        scan = scan.replace(geometry=geometry, slice_spacing=pixel_size, header=header)
    if job.center == "vo":
        return centred(scan, method="vo")
    if job.center is not None:
        return centred(scan, None if isinstance(job.center, str) else job.center)
    if axis_is_assumed(scan):
        scan = centred(scan)
        axis = f"{scan.header['rotation_axis']}{FOUND}"
        scan = scan.replace(header={**scan.header, "rotation_axis": axis})
    return scan


def _on_matrix(scan: CTScan, shape: tuple[int, ...], method: str) -> CTScan:
    """A CT scan with a grid of `shape` over all that the method would reconstruct."""
    whole = grid_of(scan, choose(scan)[0] if method == "auto" else method)
    if len(shape) > whole.ndim:
        raise ValueError(
            f"--matrix of slices must be like 256x256, got {'x'.join(map(str, shape))}"
        )
    shape = (*whole.shape[: whole.ndim - len(shape)], *shape)
    spacing = tuple(size / n for size, n in zip(whole.extent, shape, strict=True))
    return scan.replace(volume=VolumeGrid(shape, spacing, whole.center))
