"""Hounsfield units, and their calibration by water and air for each tube voltage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

# Linear attenuation of water at 70 keV, about the effective energy of a 120 kVp beam, in 1/mm
# (NIST XCOM).
WATER = 0.0193


def to_hounsfield(image: Tensor, water: float = WATER, air: float = 0.0) -> Tensor:
    """Attenuation in 1/mm to Hounsfield units: air -1000, water 0.

    Parameters
    ----------
    image
        Linear attenuation in 1/mm, any shape.
    water, air
        Attenuation of water and of air in 1/mm as the scanner gives them, best from a calibration
        scan.

    Raises
    ------
    ValueError
        Water that is not positive, or not above air.
    """
    _check(water, air)
    return 1000 * (image - water) / (water - air)


def from_hounsfield(image: Tensor, water: float = WATER, air: float = 0.0) -> Tensor:
    """Hounsfield units to attenuation in 1/mm, the inverse of `to_hounsfield`."""
    _check(water, air)
    return water + (water - air) * image / 1000


@dataclass(frozen=True)
class HounsfieldCalibration:
    """Attenuation of water and of air in 1/mm as a scanner gives them, for each tube voltage.

    Parameters
    ----------
    points
        ``{kVp: (water, air)}``, attenuation in 1/mm.

    Raises
    ------
    ValueError
        No points, water that is not positive and above air.
    """

    points: Mapping[float, tuple[float, float]]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a calibration needs water and air for one tube voltage at least")
        values = {float(kvp): (float(w), float(a)) for kvp, (w, a) in self.points.items()}
        for water, air in values.values():
            _check(water, air)
        object.__setattr__(self, "points", dict(sorted(values.items())))

    def at(self, kvp: float | None) -> tuple[float, float]:
        """Water and air in 1/mm for a tube voltage.

        Raises
        ------
        ValueError
            A voltage that was not calibrated; None where there is more than one.
        """
        known = ", ".join(f"{v:g}" for v in self.points)
        if kvp is None and len(self.points) > 1:
            raise ValueError(f"the scan names no tube voltage, the calibration is for {known} kVp")
        if kvp is None:
            return next(iter(self.points.values()))
        near = min(self.points, key=lambda v: abs(v - kvp))
        if abs(near - kvp) > 1:
            raise ValueError(f"no calibration for {kvp:g} kVp: there are {known} kVp")
        return self.points[near]

    def with_point(self, kvp: float, water: float, air: float) -> HounsfieldCalibration:
        """The calibration with one voltage more, or that one anew."""
        return HounsfieldCalibration({**self.points, kvp: (water, air)})

    def save(self, path: str | PathLike[str]) -> None:
        """Write JSON: ``{"unit": "1/mm", "kvp": {"120": {"water": ..., "air": ...}}}``."""
        points = {f"{v:g}": {"water": w, "air": a} for v, (w, a) in self.points.items()}
        Path(path).write_text(json.dumps({"unit": "1/mm", "kvp": points}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> HounsfieldCalibration:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            Another file.
        """
        try:
            points = json.loads(Path(path).read_text())["kvp"]
            return cls({float(v): (p["water"], p["air"]) for v, p in points.items()})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f'{path}: no calibration: expected JSON like {{"unit": "1/mm", "kvp": {{"120": '
                '{"water": 0.0193, "air": 0.0}}}'
            ) from error


def calibrate_hounsfield(
    image: Tensor, water: Tensor, air: Tensor | None = None, *, kvp: float
) -> HounsfieldCalibration:
    """Calibration from the image of a water phantom.

    Parameters
    ----------
    image
        Attenuation in 1/mm, any shape.
    water, air
        Bool, shaped as the image: where there is water, and air; without air it is taken for zero.
    kvp
        Tube voltage of the scan.

    Raises
    ------
    ValueError
        No water, masks that do not fit, water that is not denser than air.
    """
    for name, mask in (("water", water), ("air", air)):
        if mask is not None and mask.shape != image.shape:
            raise ValueError(f"{name} is {tuple(mask.shape)}, the image {tuple(image.shape)}")
    if not bool(water.any()):
        raise ValueError("no water in the image: Hounsfield units cannot be calibrated without it")
    level = float(image[water].double().mean())
    floor = float(image[air].double().mean()) if air is not None and bool(air.any()) else 0.0
    return HounsfieldCalibration({kvp: (level, floor)})


def _check(water: float, air: float) -> None:
    if not water > 0:
        raise ValueError(f"the attenuation of water must be positive 1/mm, got {water}")
    if not water > air:
        raise ValueError(f"water must attenuate more than air, got {water} and {air} 1/mm")
