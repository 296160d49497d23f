"""Batches: what `collate` promises to networks."""

from __future__ import annotations

import pytest
import torch

from spinray.datasets import CTExample, MRExample, collate


def example(slice_number: int = 0, **changes: object) -> MRExample:
    values = {
        "kspace": torch.full((3, 6, 4), slice_number, dtype=torch.complex64),
        "mask": torch.ones(1, 1, 4, dtype=torch.bool),
        "trajectory": None,
        "calibration": 2,
        "noise": 0.25,
        "maps": None,
        "target": torch.ones(4, 4),
        "max_value": 0.5,
        "crop_size": (4, 4),
        "acquisition": "AXT2",
        "fname": "a.h5",
        "slice_number": slice_number,
    }
    return MRExample(**{**values, **changes})


def test_a_batch_is_an_example_with_one_more_axis() -> None:
    batch = collate([example(0), example(7)])
    assert isinstance(batch, MRExample)
    assert batch.kspace.shape == (2, 3, 6, 4)
    assert (batch.kspace * batch.mask).shape == batch.kspace.shape
    assert batch.maps is None
    assert batch.max_value.tolist() == [0.5, 0.5]
    assert batch.noise.tolist() == [0.25, 0.25]
    assert batch.slice_number.tolist() == [0, 7]
    assert batch.crop_size == (4, 4)
    assert batch.fname == ["a.h5", "a.h5"]


def test_batches_through_worker_processes() -> None:
    loader = torch.utils.data.DataLoader(
        [example(n) for n in range(4)], batch_size=2, collate_fn=collate, num_workers=1
    )
    assert [b.slice_number.tolist() for b in loader] == [[0, 1], [2, 3]]


def test_what_makes_no_batch_is_named() -> None:
    with pytest.raises(ValueError, match=r"kspace of one shape.*\(3, 6, 4\)"):
        collate([example(), example(kspace=torch.zeros(3, 6, 5, dtype=torch.complex64))])
    with pytest.raises(ValueError, match="only some have target"):
        collate([example(), example(target=None)])
    with pytest.raises(ValueError, match="one crop_size"):
        collate([example(), example(crop_size=(4, 2))])


def test_ct_examples_batch_too() -> None:
    one = CTExample(torch.zeros(5, 7), None, torch.zeros(4, 4), 0.02, "a", 3)
    batch = collate([one, one])
    assert batch.sinogram.shape == (2, 5, 7)
    assert batch.image is None
