"""Pulseq sequences by themselves: what they would acquire. Data come with them, not in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..pulseq import is_sequence, read_sequence
from ..raw_file import Part, RawFile

NAME = "Pulseq sequence"


def matches(path: Path) -> bool:
    """Whether a file begins as Pulseq's do."""
    return is_sequence(path)


def open_file(path: Path) -> RawFile:
    """Look at a sequence; `spinray.io.read_sequence` gives its trajectory and labels."""
    sequence = read_sequence(path)
    view = 1e3 * np.array(sequence.field_of_view)
    reach = np.abs(sequence.places).max(axis=0)
    facts = {
        "format": NAME,
        "name": sequence.name,
        "duration_s": round(sequence.duration, 3),
        "field_of_view_mm": " x ".join(f"{v:g}" for v in view),
        "samples": len(sequence.places),
        "excitations": int(sequence.excitation.max()) + 1,
        "reach_per_m": " x ".join(f"{k:.1f}" for k in reach),
        "labels": ", ".join(sequence.labels) or "none",
    }

    def take(part: Part) -> None:
        raise FormatError(
            None, "", "is a Pulseq sequence without data: load the raw file with sequence=this file"
        )

    missing = ("raw data: load the scanner's file with this sequence (sequence=, or beside it)",)
    return RawFile(NAME, {}, 0, facts, take, missing)  # type: ignore[arg-type]
