"""What a network was trained on, gathered from the batches themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...datasets import MRExample
from ..models.cartesian import mask_kind
from ..operators import XRayTransform


class Facts:
    """Ranges of coils, matrix, acceleration or views, and the kinds of masks.

    They end in the header of the weights, and scans unlike them are warned of. `figures` holds
    what else is to be kept of the training, of JSON's types.
    """

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self._ranges: dict[str, list[float]] = {}
        self._masks: set[str] = set()
        self.figures: dict[str, Any] = {}

    def see_mr(self, batch: MRExample) -> None:
        """Take note of a batch."""
        self._widen("coils", batch.kspace.shape[-3] if batch.mask is not None else 0)
        if batch.mask is None:
            self._masks.add("trajectory")
            return
        for size in batch.kspace.shape[-2:]:
            self._widen("matrix", size)
        for mask in batch.mask:
            self._widen("acceleration", round(1 / max(float(mask.float().mean()), 1e-6), 2))
            self._masks.add(mask_kind(mask.reshape(-1, *mask.shape[-2:])[0]))

    def see_ct(self, A: XRayTransform) -> None:
        """Take note of a geometry."""
        self._widen("views", A.range_shape[0])
        for size in A.domain_shape[-2:]:
            self._widen("matrix", size)

    def as_json(self) -> dict[str, Any]:
        """Of JSON's types, for `save_model`."""
        masks = {"masks": sorted(self._masks)} if self._masks else {}
        figures = {"figures": self.figures} if self.figures else {}
        return {"modality": self.modality, **self._ranges, **masks, **figures}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on from what `as_json` gave."""
        self._masks = set(facts.get("masks", ()))
        self.figures = dict(facts.get("figures", {}))
        others = ("modality", "masks", "figures")
        self._ranges = {name: list(value) for name, value in facts.items() if name not in others}

    def _widen(self, name: str, value: float) -> None:
        low, high = self._ranges.get(name, [value, value])
        self._ranges[name] = [min(low, value), max(high, value)]
