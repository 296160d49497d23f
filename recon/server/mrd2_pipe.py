"""MRD 2 in, MRD 2 out, by pipes: images leave while readouts still come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from ..extras import extra_library
from ..io.errors import FormatError, format_errors
from ..io.mrd_images import COUNTERS
from ..io.orientation import LPS_TO_RAS
from ..io.readers.mrd2 import ismrmrd_header, readout_header
from .live import Result
from .stream import Stream

_SOURCE = "standard input"


def pipe(source: BinaryIO, target: BinaryIO, method: str = "auto", **options: Any) -> int:
    """Reconstruct an MRD 2 stream into another, which begins with the same header.

    Parameters
    ----------
    source, target
        Binary streams; what is no readout is passed over.
    method, options
        As for `spinray.reconstruct`.

    Returns
    -------
    int
        The number of images, complex or magnitude as the method gives them.

    Raises
    ------
    FormatError
        The source is no MRD 2 stream, or ends in the middle.
    """
    mrd = extra_library("mrd", "vendors", "mrd-python")
    count = 0
    with _reading():
        try:
            reader = mrd.BinaryMrdReader(source)
        except RuntimeError as error:
            raise FormatError(
                _SOURCE, "", f"is no MRD 2 stream ({error}): files go without --stream, sessions "
                "of MRD 1 to spinray serve",
            ) from error  # fmt: skip
        header = reader.read_header()
    if header is None:
        raise FormatError(_SOURCE, "header", "missing")
    with Stream(ismrmrd_header(header).toXML(), method, **options) as stream:
        writer = mrd.BinaryMrdWriter(target)
        writer.write_header(header)

        def images() -> Iterator[Any]:
            nonlocal count
            for result in _results(_readouts(mrd, reader), stream):
                count += 1
                yield _item(mrd, result, count)
                target.flush()

        writer.write_data(images())
        writer.close()
    return count


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever the library raises where its stream ends is a `FormatError`."""
    with format_errors(_SOURCE):
        try:
            yield
        except BufferError as error:
            raise FormatError(None, "", "ends in the middle of an item") from error


def _readouts(mrd: Any, reader: Any) -> Iterator[Any]:
    """The readouts of a stream."""
    items = iter(reader.read_data())
    while True:
        with _reading():
            item = next(items, None)
        if item is None:
            return
        if isinstance(item, mrd.StreamItem.Acquisition):
            yield item.value


def _results(readouts: Iterator[Any], stream: Stream) -> Iterator[Result]:
    """Images as they are ready, between the readouts that come."""
    for number, readout in enumerate(readouts):
        head = readout_header(readout, number)[0]
        stream.push_arrays(head, readout.data, readout.trajectory.T)
        yield from stream.results(wait=False)
    stream.finish()
    yield from stream.results()


def _item(mrd: Any, result: Result, index: int) -> Any:
    """An image as MRD 2 has it, ``(channel, z, y, x)``."""
    image = result.image
    values = image.data.detach().cpu().numpy()
    volume = values.reshape((1,) * (4 - values.ndim) + values.shape)
    columns = LPS_TO_RAS @ image.affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    shape = np.array(volume.shape[:0:-1])
    position = LPS_TO_RAS @ image.affine[:3, 3] + columns @ (shape // 2)
    directions = (columns / lengths).T.astype(np.float32)
    is_complex = np.iscomplexobj(volume)
    head = mrd.ImageHeader(
        measurement_uid=int(result.head["measurement_uid"]),
        field_of_view=(lengths * shape).astype(np.float32),
        position=position.astype(np.float32),
        col_dir=directions[0], line_dir=directions[1], slice_dir=directions[2],
        patient_table_position=result.head["patient_table_position"].astype(np.float32),
        acquisition_time_stamp=int(result.head["acquisition_time_stamp"]),
        image_type=mrd.ImageType.COMPLEX if is_complex else mrd.ImageType.MAGNITUDE,
        image_index=index, image_series_index=1,
        **{name: int(result.head["idx"][name]) for name in COUNTERS},
    )  # fmt: skip
    text = mrd.ImageMetaValue.String(f"Spinray {image.metadata.get('method', '')}")
    kind = mrd.StreamItem.ImageComplexFloat if is_complex else mrd.StreamItem.ImageFloat
    pixels = volume.astype(np.complex64 if is_complex else np.float32)
    return kind(mrd.Image(head=head, data=pixels, meta={"ImageComments": [text]}))
