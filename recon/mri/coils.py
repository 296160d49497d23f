"""Combining coil images without maps."""

from __future__ import annotations

import torch
from torch import Tensor


def root_sum_of_squares(coil_images: Tensor, ndim: int = 2) -> Tensor:
    """Combine the magnitudes of coil images: the reference image of fully sampled data.

    Parameters
    ----------
    coil_images
        ``(*batch, coil, [z,] y, x)``, real or complex.
    ndim
        Axes of space: 3 for volumes.
    """
    combined: Tensor = torch.linalg.vector_norm(coil_images, dim=-ndim - 1)
    return combined
