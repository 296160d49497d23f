"""The CUDA kernels of coil sensitivities: run on the CPU, compiled for cards, run on a card."""

from __future__ import annotations

import pytest
import torch
from cuda_host import compile_for_cards, host_module, needs_gcc, needs_nvcc

from spinray.kernels import cuda_coils
from spinray.kernels.cuda_coils import SOURCE, combine, expand
from spinray.recon.operators import CoilSensitivity, Sense

DTYPES = [torch.complex64, torch.complex128]


def inputs(dtype, parts=2, coils=5, pixels=300):
    generator = torch.Generator().manual_seed(0)
    shapes = (4, pixels), (4, coils, pixels), (parts, coils, pixels)
    return (torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes)


@needs_gcc
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_source_agrees_with_torch(dtype, monkeypatch):
    """Also where a grid has fewer rows than there are items."""
    monkeypatch.setattr(cuda_coils, "MOST_ROWS", 3)
    image, images, maps = inputs(dtype)
    each = maps.repeat(2, 1, 1)  # item i takes part i % 2
    torch.testing.assert_close(expand(image, maps, host_module), each * image[:, None])
    torch.testing.assert_close(combine(images, maps, host_module), (each.conj() * images).sum(1))


@needs_nvcc
@pytest.mark.parametrize("real", ["float", "double"])
def test_compiles_for_cards(real, tmp_path):
    compile_for_cards(SOURCE, (("REAL", real),), tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batched", [False, True])
def test_on_a_card(dtype, batched):
    """Operators on a card against the CPU's, with their derivative."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((*(3,) * batched, 5, 20, 31), dtype=dtype, generator=generator)
    x = torch.randn((2, 3, 20, 31), dtype=dtype, generator=generator)
    mask = torch.rand(20, 31, generator=generator) < 0.4
    for operator in (CoilSensitivity(maps), Sense(maps, mask=mask)):
        y = operator(x)
        normal = operator.normal(x)
        operator.to("cuda")
        on_card = x.cuda().requires_grad_()
        torch.testing.assert_close(operator(on_card).cpu(), y, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(operator.normal(on_card).cpu(), normal, rtol=1e-4, atol=1e-3)
        (gradient,) = torch.autograd.grad(operator(on_card), on_card, y.cuda())
        torch.testing.assert_close(gradient.cpu(), normal, rtol=1e-4, atol=1e-3)
