"""Image: shapes, defaults, what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spinray as sr


def test_default_affine_centres_the_grid() -> None:
    image = sr.Image(torch.zeros(4, 6, 8), spacing=(3.0, 2.0, 1.0))
    np.testing.assert_allclose(np.diag(image.affine), [1, 2, 3, 1])
    centre = image.affine @ [3.5, 2.5, 1.5, 1]
    np.testing.assert_allclose(centre[:3], 0)


def test_batch_axes_are_not_space() -> None:
    image = sr.Image(torch.zeros(5, 6, 8), spacing=(2.0, 1.0))
    assert image.spatial_shape == (6, 8)


def test_magnitude_keeps_the_sign_of_real_images() -> None:
    assert (sr.Image(-torch.ones(2, 2)).magnitude() == -1).all()
    assert (sr.Image(-1j * torch.ones(2, 2)).magnitude() == 1).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": torch.zeros(4)}, r"\(4,\)"),
        ({"data": torch.zeros(4, 4), "spacing": (1.0, 1.0, 1.0)}, "spacing"),
        ({"data": torch.zeros(4, 4), "spacing": (1.0, 0.0)}, "spacing"),
        ({"data": torch.zeros(4, 4), "affine": np.full((4, 4), np.nan)}, "affine"),
    ],
)
def test_bad_input_is_named(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sr.Image(**arguments)
