"""Coil sensitivities on the GPU, in one pass over memory. The kernels: coils.cu."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from .cuda import Compile, cuda_module

SOURCE = Path(__file__).with_name("coils.cu")
THREADS = 128
MOST_ROWS = 65535  # of a grid


def expand(image: Tensor, maps: Tensor, compile_source: Compile = cuda_module) -> Tensor:
    """As `coils.expand`, on contiguous CUDA tensors: ``(batch, coil, pixel)``."""
    result = image.new_empty((len(image), *maps.shape[1:]))
    _launch("expand", result, image, maps, compile_source)
    return result


def combine(images: Tensor, maps: Tensor, compile_source: Compile = cuda_module) -> Tensor:
    """Transpose of `expand`: ``(batch, pixel)``."""
    result = images.new_empty((len(images), images.shape[2]))
    _launch("combine", result, images, maps, compile_source)
    return result


@functools.cache
def available() -> bool:
    """Whether CuPy, which compiles the kernels, is installed."""
    return importlib.util.find_spec("cupy") is not None


def _launch(
    name: str, result: Tensor, source: Tensor, maps: Tensor, compile_source: Compile
) -> None:
    parts, coils, pixels = maps.shape
    real = "double" if maps.dtype == torch.complex128 else "float"
    blocks = (-(-pixels // THREADS), min(len(source), MOST_ROWS))
    if result.numel():
        module = compile_source(SOURCE, (("REAL", real),))
        module.launch(
            name, blocks, THREADS, result, source, maps, len(source), parts, coils, pixels
        )
