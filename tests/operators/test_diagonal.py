import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import Diagonal


def test_weights_follow_the_module():
    for kind in (torch.clone, torch.nn.Parameter):
        D = Diagonal(kind(torch.rand(3, 4, dtype=torch.float64)))
        assert D.float()(torch.ones(3, 4)).dtype == torch.float32
        assert D.double().weights.dtype == torch.float64
        assert D.to("meta").weights.device.type == "meta"
    assert [name for name, _ in D.named_parameters()] == ["weights"]


@pytest.mark.parametrize("cast", [torch.nn.Module.double, torch.nn.Module.float, lambda m: m])
def test_gradient_reaches_the_weights_that_were_given(cast):
    given = torch.rand(3, 4, requires_grad=True)
    made = 2 * given  # by a network, say
    for weights, slope in ((given, 1), (made, 2)):
        D = cast(Diagonal(weights))
        (gradient,) = torch.autograd.grad(D(torch.full((3, 4), 5.0)).sum(), given)
        torch.testing.assert_close(gradient, torch.full((3, 4), 5.0 * slope))


def test_diagonal_passes_the_operator_checks():
    weights = torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    check_operator(Diagonal(weights), batch=(2,))
    x = torch.ones(2, 3, 4, dtype=torch.complex128)
    torch.testing.assert_close(Diagonal(weights)(x)[1], weights)
