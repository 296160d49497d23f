"""What ``spinray info`` says of a raw file: headers first, and the samples of one item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..io import RawFile
    from ..scan import CTScan, MRScan

_LARGEST_ITEM = 1 << 30  # bytes of samples that info looks at
# Facts of the header in the order in which a physicist asks for them.
_ORDER = (
    "format", "protocol", "sequence", "vendor", "system", "field_strength_t", "patient_position",
    "size", "axes", "readouts", "reversed_readouts", "coils", "samples", "sample_time_us",
    "repetition_time_ms", "echo_time_ms", "inversion_time_ms", "flip_angle_deg",
    "echo_train_length",
)  # fmt: skip
_UNKNOWN_AT_0 = "_time_us"  # headers that do not know a dwell time say 0


def file_facts(raw: RawFile) -> dict[str, Any]:
    """Protocol, encoding, coils, timing, what is missing, and a sound method."""
    said = {k: v for k, v in raw.facts.items() if k != "xml" and v not in (None, "", ())}
    said = {k: v for k, v in said.items() if isinstance(v, str | int | float | list | tuple)}
    said = {k: v for k, v in said.items() if v or not k.endswith(_UNKNOWN_AT_0)}
    facts: dict[str, Any] = {"format": raw.format}
    if raw.size:
        said["size"] = size_text(raw.size)
    if raw.axes:
        said["axes"] = dict(raw.axes)
    facts |= {name: said.pop(name) for name in _ORDER if name in said}
    facts |= _item_facts(raw, facts)
    facts |= {name: value for name, value in said.items() if name not in facts}
    if raw.missing:
        facts["missing"] = list(raw.missing)
    if "method auto" in facts:
        facts["method auto"] = facts.pop("method auto")  # the last word
    return facts


def shown(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that fit on a screen: nothing said twice, nothing that only programs want."""
    hidden = {"encoding", "larmor_frequency_hz", "scan", "noise samples"}
    hidden |= {"image"} if facts.get("image") == facts.get("matrix") else set()
    hidden |= {"measurement", "measurements"} if facts.get("measurements") == 1 else set()
    hidden |= {"acceleration", "calibration_mode"} if facts.get("acceleration") == 1 else set()
    if "matrix" not in facts:
        hidden -= {"scan"}
    return {name: value for name, value in facts.items() if name not in hidden}


def _item_facts(raw: RawFile, known: dict[str, Any]) -> dict[str, Any]:
    """What the samples of the first item show, if they are few enough to look at."""
    from ..io import FormatError

    if raw.item_size > _LARGEST_ITEM:
        return {"scan": f"not looked at: one item holds {size_text(raw.item_size)}"}
    if not raw.size:
        return {}
    try:
        scan = raw.read(**dict.fromkeys(raw.axes, 0))
    except FormatError as error:
        if not raw.missing:
            raise
        return {"scan": f"cannot be read as it is: {error.message}"}
    return {k: v for k, v in scan_facts(scan).items() if k not in known or k == "scan"}


def scan_facts(scan: MRScan | CTScan) -> dict[str, Any]:
    """What a physicist wants to know of a scan, by name."""
    from ..pipelines.ct_chain import grid_of
    from ..pipelines.dispatch import choose
    from ..scan import MRScan

    method, reason = choose(scan)
    facts: dict[str, Any] = {"scan": repr(scan)}
    if isinstance(scan, MRScan):
        facts |= {
            "matrix": list(scan.matrix),
            "image": list(scan.image_shape),
            "coils": scan.coils,
            "spacing (mm)": list(scan.spacing),
            "field of view (mm)": list(scan.field_of_view),
            "trajectory": _sampling(scan),
            "acceleration": round(scan.acceleration, 3),
            "noise samples": 0 if scan.noise is None else scan.noise.shape[-1],
            "orientation": orientation_words(scan.affine),
        }
    else:
        facts |= {
            "views": scan.geometry.shape[0],
            "detector": list(scan.geometry.shape[1:]),
            "grid": repr(grid_of(scan, method)),
            "readings": "counts" if scan.counts is not None else "line integrals",
        }
    # What the data show goes before what the file says; the XML is for programs.
    said = {str(k): v for k, v in scan.header.items() if isinstance(v, str | int | float | list)}
    said = {k: v for k, v in said.items() if v or not k.endswith(_UNKNOWN_AT_0)}
    facts |= {k: v for k, v in said.items() if k not in facts and k != "xml"}
    facts["method auto"] = f"{method} ({reason})"
    return facts


def _sampling(scan: MRScan) -> str:
    """Trajectory and how much of k-space was measured."""
    factor = scan.acceleration
    if not scan.is_cartesian:
        return scan.trajectory_kind
    if factor < 1.005:
        return "Cartesian, fully sampled"
    axes = " and ".join(scan.undersampled_axes)
    return f"Cartesian, {factor:.2f}x undersampled" + f" along {axes}" * bool(axes)


def orientation_words(affine: NDArray[np.float64] | None) -> str:
    """Where an image's axes point, nearest to the patient's."""
    if affine is None:
        return "not in the file"
    from nibabel.orientations import aff2axcodes

    words = {"L": "left", "R": "right", "A": "front", "P": "back", "S": "head", "I": "feet"}
    x, y, z = (words[code] for code in aff2axcodes(affine))  # type: ignore[no-untyped-call]
    return f"x to the {x}, y to the {y}, z to the {z}"


def size_text(size: float) -> str:
    """Bytes in the unit that suits them."""
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"
