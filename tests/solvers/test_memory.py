"""Peak memory of the solvers."""

import torch
from helpers import peak

from spinray.recon.operators.base import LinearOperator
from spinray.recon.solvers import conjugate_gradient, fista

SIZE = 1 << 18
BYTES = 8 * SIZE


class Half(LinearOperator):
    """Multiply by 1/2, by one array of memory."""

    def __init__(self):
        super().__init__((SIZE,), (SIZE,))

    def forward(self, x):
        return x * 0.5

    def adjoint(self, y):
        return y * 0.5

    def normal(self, x):
        return x * 0.25


def test_peak_memory_is_what_the_docstrings_state():
    A = Half()
    y = torch.ones(SIZE, dtype=torch.complex64)
    used = peak(lambda: fista(A, y, lambda v, t: v, step=1.0, iterations=4, restart=False))
    assert BYTES < used < 5.1 * BYTES
    used = peak(lambda: conjugate_gradient(A, y, iterations=4, tolerance=0))
    # A^H y and three vectors, A's own result, and the terms of an inner product
    assert BYTES < used < 6.6 * BYTES
