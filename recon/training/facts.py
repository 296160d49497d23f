"""What a network was trained on, gathered from the batches themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, distributed

from ...datasets import Finding, MRExample
from ..arrays import difference_noise
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
        self._words: dict[str, set[str]] = {}
        self.figures: dict[str, Any] = {}

    def see_mr(self, batch: MRExample) -> None:
        """Take note of a batch."""
        if batch.mask is None:
            self._widen("coils", batch.kspace.shape[-2])
            self._add("masks", "trajectory")
            return
        self._widen("coils", batch.kspace.shape[-3])
        for size in batch.kspace.shape[-2:]:
            self._widen("matrix", size)
        for mask in batch.mask:
            self._widen("acceleration", round(1 / max(float(mask.float().mean()), 1e-6), 2))
            self._add("masks", mask_kind(mask.reshape(-1, *mask.shape[-2:])[0]))

    def see_ct(self, A: XRayTransform, sinogram: Tensor) -> None:
        """Take note of a geometry and of how noisy its line integrals are."""
        self._add("geometry", type(A.geometry).__name__)
        for spacing in A.volume.spacing[-2:]:
            self._widen("pixel size", round(spacing, 4))
        for noise in difference_noise(sinogram.float()).tolist():
            self._widen("noise", float(f"{noise:.3g}"))
        self._widen("views", A.range_shape[0])
        for size in A.domain_shape[-2:]:
            self._widen("matrix", size)

    def see_data(self, subjects: Sequence[str], findings: Sequence[Finding]) -> None:
        """Take note of whom the data show (`subject_keys`) and of their crimes."""
        for key in subjects:
            self._add("subjects", key)
        for finding in findings:
            self._add("data_crimes", finding.crime)

    def as_json(self) -> dict[str, Any]:
        """Of JSON's types, for `save_model`."""
        words = {name: sorted(values) for name, values in self._words.items()}
        figures = {"figures": self.figures} if self.figures else {}
        return {"modality": self.modality, **self._ranges, **words, **figures}

    def merge(self, facts: Mapping[str, Any]) -> None:
        """Add what another `as_json` gave: of a checkpoint, or of another process."""
        self.figures |= facts.get("figures", {})
        for name, values in facts.items():
            for value in () if name in ("modality", "figures") else values:
                (self._add if isinstance(value, str) else self._widen)(name, value)

    def gather(self) -> None:
        """Add what the other processes saw; all must call."""
        if distributed.is_available() and distributed.is_initialized():
            everybody: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(everybody, self.as_json())
            for facts in everybody:
                self.merge(facts)

    def _widen(self, name: str, value: float) -> None:
        low, high = self._ranges.get(name, [value, value])
        self._ranges[name] = [min(low, value), max(high, value)]

    def _add(self, name: str, word: str) -> None:
        self._words.setdefault(name, set()).add(word)
