"""CUDA sources run on the CPU: the same file, built by g++ under cuda_host.h."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from spinray.kernels.cuda import compiler_options, source_text

needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
FOLDER = Path(tempfile.mkdtemp(prefix="spinray-cuda-host-"))


class HostModule:
    """As `spinray.kernels.cuda.CudaModule`, for tensors on the CPU.

    Products and sums are fused where the processor can, as on a card; not where `exact`.
    """

    def __init__(
        self, source: Path, defines: tuple[tuple[str, str], ...], *, exact: bool = False
    ) -> None:
        entry = r"__global__ void (?:__launch_bounds__\(.*?\)\s+)?(\w+)\("
        kernels = re.findall(entry, source.read_text())
        assert kernels, f"no kernels in {source}"
        name = hashlib.sha256(repr((source, defines, exact)).encode()).hexdigest()[:16]
        wrapper, library = FOLDER / f"{name}.cpp", FOLDER / f"{name}.so"
        entries = "\n".join(
            f'extern "C" const char *launch_{k}(unsigned x, unsigned y, unsigned n, void **a) '
            f"{{ return host::launch({k}, x, y, n, a); }}"
            for k in kernels
        )
        header = Path(__file__).with_name("cuda_host.h")
        wrapper.write_text(f'#include "{header}"\n#include "{source}"\n{entries}\n')
        options = [f"-D{key}={value}" for key, value in defines]
        fused = "-ffp-contract=off" if exact else "-ffp-contract=fast"
        command = ["g++", "-std=c++17", "-O1", "-march=native", fused, "-shared", "-fPIC", "-Wall",
                   "-Werror", "-Wno-unknown-pragmas", *options]  # fmt: skip
        subprocess.run([*command, "-o", library, wrapper], check=True)
        self._library = ctypes.CDLL(str(library))

    def launch(self, name: str, blocks: tuple[int, int], threads: int, *arguments) -> None:
        values = [
            ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int(a)
            for a in arguments
        ]
        pointers = (ctypes.c_void_p * len(values))(
            *(ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values)
        )
        launch = getattr(self._library, f"launch_{name}")
        launch.restype = ctypes.c_char_p
        failure = launch(*blocks, threads, pointers)
        assert failure is None, f"{name}: {failure.decode()}"


@functools.cache
def host_module(source: Path, defines: tuple[tuple[str, str], ...]) -> HostModule:
    return HostModule(source, defines)


@functools.cache
def exact_host_module(source: Path, defines: tuple[tuple[str, str], ...]) -> HostModule:
    return HostModule(source, defines, exact=True)


def compile_for_cards(
    source: Path, defines: tuple[tuple[str, str], ...], folder: Path, *, exact: bool = False
) -> None:
    """By nvcc, for the cards that users have: A100 (sm_80) and H100 (sm_90)."""
    options = compiler_options(defines, exact=exact)
    text = folder / source.name
    text.write_text(source_text(source))  # what CuPy is given
    for card in ("sm_80", "sm_90"):
        subprocess.run(
            ["nvcc", f"-arch={card}", "-cubin", "-Werror", "all-warnings", *options,
             "-o", folder / f"{card}.cubin", text],
            check=True,
        )  # fmt: skip
        assert (folder / f"{card}.cubin").stat().st_size > 0
