"""The viewer as a piece of a page: its data and the element that `viewer.js` fills."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .series import BITS, Series

LIMIT = 7_000_000  # bytes of a page's data, of 8 MB that pages open at once with everywhere


def stage(
    series: Sequence[Series], *, fit_scale: bool = False, focus: bool = False, limit: int = LIMIT
) -> str:
    """HTML of a viewer; the first series is the reference until the reader chooses another.

    Values are rounded to fewer bits, then slices are left out evenly, until it fits: the viewer
    says so, and how many values are not finite.

    Parameters
    ----------
    series
        What is shown side by side.
    fit_scale
        Whether images begin with their scale fitted to the reference's: units that differ.
    focus
        Whether keys go to this viewer as the page opens.
    limit
        Bytes that its text may take.

    Raises
    ------
    ValueError
        Nothing to show, or not even one slice of each fits.
    """
    if not series:
        raise ValueError("nothing to show: give one image at least")
    text, note = _fitting(series, limit)
    data = {"series": text, "fitScale": fit_scale, "focus": focus, "note": note}
    script = json.dumps(data).replace("<", "\\u003c")  # a name may hold </script>
    return (
        '<section class="viewer" tabindex="0" aria-label="Images side by side">'
        f'<script type="application/json">{script}</script></section>'
    )


def _fitting(series: Sequence[Series], limit: int) -> tuple[list[dict[str, Any]], str]:
    slices = max(len(s.values) for s in series)
    step, tries = 1, [(bits, 1) for bits in BITS]
    while step < slices:
        step = min(2 * step, slices)
        tries.append((BITS[-1], step))
    for bits, step in tries:
        packed = [s.packed(bits, step) for s in series]
        if sum(len(p["data"]) for p in packed) <= limit:
            notes = [f"values rounded to {bits} bits"] * (bits < BITS[0])
            notes += [f"one slice of {step}"] * (step > 1)
            notes += [
                f"{count} values of {s.name} that are not finite as 0"
                for s in series
                if (count := np.count_nonzero(~np.isfinite(s.values)))
            ]
            return packed, ", ".join(notes)
    raise ValueError(
        f"{len(series)} images of {series[0].values.shape[1:]} do not fit into {limit / 1e6:g} MB: "
        "show fewer"
    )
