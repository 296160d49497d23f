"""CUDA C++ sources compiled by CuPy and launched on torch tensors, without a copy between them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Defines = tuple[tuple[str, str], ...]  # names and values of a source's macros


class Module(Protocol):
    """A compiled source: `launch` runs one of its kernels."""

    def launch(self, name: str, blocks: tuple[int, int], threads: int, *arguments: Any) -> None:
        """Run a kernel on tensors (their memory), and int32 numbers."""


Compile = Callable[[Path, Defines], Module]


def compiler_options(defines: Defines, *, exact: bool) -> tuple[str, ...]:
    """Options of NVRTC and nvcc.

    Where `exact`, only ``fma()`` in the source fuses a product and a sum: otherwise the compiler
    may fuse one expression in one kernel and not in the other, and two kernels that compute the
    same coefficient would differ in its last bit.
    """
    fused = ("--fmad=false",) if exact else ()
    return ("--std=c++17", *fused, *(f"-D{name}={value}" for name, value in defines))


class CudaModule:
    """A source compiled for the GPU at hand (NVRTC), run on torch's current stream.

    Parameters
    ----------
    source, defines
        The file, and names and values of its macros.
    exact
        See `compiler_options`.

    Raises
    ------
    ImportError
        CuPy is not installed.
    """

    def __init__(self, source: Path, defines: Defines, *, exact: bool = False) -> None:
        try:
            import cupy
        except ImportError as error:
            raise ImportError(
                "CUDA kernels need CuPy: pip install 'spinray[cuda]' (CUDA 12) or "
                "'spinray[cuda13]', as torch.version.cuda says"
            ) from error
        self._cupy = cupy
        options = compiler_options(defines, exact=exact)
        self._module = cupy.RawModule(code=source_text(source), options=options)

    def launch(self, name: str, blocks: tuple[int, int], threads: int, *arguments: Any) -> None:
        """Run a kernel on CUDA tensors (their memory), and int32 numbers."""
        import torch

        device = next(a.device for a in arguments if isinstance(a, torch.Tensor))
        values = tuple(
            np.uintp(a.data_ptr()) if isinstance(a, torch.Tensor) else np.int32(a)
            for a in arguments
        )
        stream = torch.cuda.current_stream(device).cuda_stream
        with self._cupy.cuda.Device(device.index), self._cupy.cuda.ExternalStream(stream):
            self._module.get_function(name)(blocks, (threads,), values)


def upload(array: Any, dtype: Any, device: Any) -> Any:
    """A host array as a tensor of a torch dtype on a device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype).to(device)


def source_text(source: Path) -> str:
    """A source with its own headers in place.

    CuPy keeps compiled code by the text it was given: a header that changed must change the text.
    """
    return re.sub(
        r'^#include "(.+)"$',
        lambda found: source_text(source.with_name(found[1])),
        source.read_text().replace("#pragma once\n", ""),
        flags=re.MULTILINE,
    )


@functools.lru_cache(maxsize=64)
def cuda_module(source: Path, defines: Defines) -> Module:
    """The compiled source for these definitions, made once a process."""
    return CudaModule(source, defines)


@functools.lru_cache(maxsize=64)
def exact_cuda_module(source: Path, defines: Defines) -> Module:
    """As `cuda_module`; what two of its kernels compute alike is the same to the bit."""
    return CudaModule(source, defines, exact=True)
