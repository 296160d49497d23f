import torch
from helpers import check_operator

from spinray.recon.operators import Diagonal


def test_diagonal_passes_the_operator_checks():
    weights = torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    check_operator(Diagonal(weights), batch=(2,))
    x = torch.ones(2, 3, 4, dtype=torch.complex128)
    torch.testing.assert_close(Diagonal(weights)(x)[1], weights)
