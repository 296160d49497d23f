"""What a reader gives: a raw file that was looked at, and is read in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..scan import CTScan, MRScan
    from .acquisitions import Acquisitions

# Items of batch axes, by name: a number takes the axis away, a rising slice within it keeps it.
Part = Mapping[str, int | slice]


@dataclass(frozen=True, eq=False)
class RawFile:
    """A raw file of which only the headers were read.

    Parameters
    ----------
    format
        Name of the format.
    axes
        The batch axes of all its data, by name and size: what `read` can choose from.
    size
        Bytes of all its data as a scan holds them.
    facts
        What the headers say, by name.
    missing
        What has to be given to reconstruct it, a line each.
    take
        Reads the items at the places given for some of the axes; all items of the others.
    readouts
        The readouts with their headers, for formats that consist of them.
    """

    format: str
    axes: Mapping[str, int]
    size: int
    facts: Mapping[str, Any]
    take: Callable[[Part], MRScan | CTScan]
    missing: tuple[str, ...] = ()
    readouts: Acquisitions | None = field(default=None, repr=False)

    def read(self, **part: int | slice) -> MRScan | CTScan:
        """Read a scan, or a part of it: ``read(slice=3, repetition=slice(0, 10))``.

        An axis of which one item is chosen by its number is left out of the scan.

        Raises
        ------
        TypeError
            An axis that the file does not have.
        ValueError
            Items beyond the end of an axis.
        FormatError
            Broken data, or something is `missing`.
        """
        return self.take(self.checked(part))

    def checked(self, part: Part) -> Part:
        """The items with their numbers counted from the start of each axis; raises as `read`."""
        unknown = sorted(set(part) - set(self.axes))
        if unknown:
            raise TypeError(
                f"no axis {', '.join(unknown)} to choose from in {self.format}; this file has "
                f"{', '.join(f'{name} ({n})' for name, n in self.axes.items()) or 'none'}"
            )
        return {name: _checked(name, i, self.axes[name]) for name, i in part.items()}

    @property
    def item_size(self) -> int:
        """Bytes of one item of the batch."""
        return self.size // max(prod(self.axes.values()), 1)


def _checked(name: str, items: int | slice, count: int) -> int | slice:
    """The items with their numbers counted from the start of the axis."""
    if not isinstance(items, slice):
        if not -count <= items < count:
            raise ValueError(f"{name} {items}: the file has {count}, numbered from 0")
        return items % count
    places = range(count)[items]
    if not len(places) or places.step < 0:
        raise ValueError(f"{name} {items} chooses nothing, or backward, from {count}")
    return slice(places.start, places[-1] + 1, places.step)


def index_of(axes: Sequence[str], part: Part) -> tuple[int | slice, ...]:
    """Index that takes a part from an array whose first axes have these names."""
    return tuple(part.get(name, slice(None)) for name in axes)


def kept_axes(axes: Sequence[str], part: Part) -> tuple[str, ...]:
    """Names of the axes that remain after `index_of`."""
    return tuple(name for name in axes if isinstance(part.get(name, slice(None)), slice))


class Reader(Protocol):
    """A module or object that reads one format; others register theirs as `spinray.readers`.

    `matches` looks at the content of a file (or folder) and is quick; it may raise a
    `FormatError` if the file is broken in a way that no other reader could mend. `open_file` takes
    the format's options as keywords and reads headers only.
    """

    NAME: str

    def matches(self, path: Path) -> bool:
        """Whether the content looks like this format."""

    @property
    def open_file(self) -> Callable[..., RawFile]:
        """``open_file(path, **options)``."""
