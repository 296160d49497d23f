"""Combining coil images without maps."""

from __future__ import annotations

import torch
from torch import Tensor


def root_sum_of_squares(coil_images: Tensor, dim: int = -3) -> Tensor:
    """Combine the magnitudes of coil images: the reference image of fully sampled data.

    Parameters
    ----------
    coil_images
        ``(*batch, coil, y, x)``, real or complex.
    dim
        The coil axis; -4 for volumes.
    """
    combined: Tensor = torch.linalg.vector_norm(coil_images, dim=dim)
    return combined
