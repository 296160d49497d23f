"""What a session needs, and what a process holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ismrmrd import xsd

from ..io.errors import FormatError

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROCESS = 500 << 20  # bytes of a process with its libraries
_COPIES = 4  # of the raw data: as they came, sorted, coil maps, while it is solved


def memory_of(process: int) -> int:
    """Bytes that a process holds; 0 where it is gone or the system does not say."""
    try:
        with Path(f"/proc/{process}/statm").open() as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def memory_of_machine() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def need_of(header: xsd.ismrmrdHeader) -> int:
    """Bytes that reconstructing a scan will take, about, by the largest encoding of its protocol.

    All but the repetitions, which are let go one after another.

    Raises
    ------
    FormatError
        A number of channels that is none.
    """
    system = header.acquisitionSystemInformation
    coils = (system and system.receiverChannels) or 1
    if not isinstance(coils, int):
        raise FormatError(None, "XML header", f"receiverChannels is {coils!r:.100}")
    largest = 0
    for encoding in header.encoding:
        size = encoding.encodedSpace.matrixSize
        items = 1
        for name in ("slice", "contrast", "phase", "set"):
            items *= _count(getattr(encoding.encodingLimits, name))
        items *= min(_count(encoding.encodingLimits.repetition), 2)
        largest = max(largest, size.x * size.y * size.z * items)
    return _PROCESS + _COPIES * 8 * coils * largest


def _count(limit: Any) -> int:
    return 1 if limit is None else int(limit.maximum) + 1
