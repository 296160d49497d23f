"""ZS-SSL: an unrolled network trained on the very scan that it reconstructs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..models import MoDL
from ..operators import LinearOperator
from ..seeding import seeded
from ..solvers.common import Callback
from .splitting import held_back, restricted

VALIDATION, LOSS = 0.1, 0.25  # parts of the samples: to stop by, and of the rest to learn from
SPLITS = 10  # of the samples that the network learns from
PATIENCE = 6  # rounds without gain
RATE = 3e-4
FIRST_WEIGHT = 1.0  # of a new network's steps: its initial image counts as much as full data


def zs_ssl(
    A: LinearOperator,
    y: Tensor,
    measured: Tensor,
    *,
    rounds: int = 40,
    network: MoDL | None = None,
    noise: float | None = None,
    initial: Callable[[Tensor], Tensor] | None = None,
    centre: Tensor | None = None,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Reconstruct by a `MoDL` that is trained on this scan alone.

    A tenth of the samples decides when to stop. Of the others, several random splits each give one
    part to the network and compare its prediction with the other. A new network changes nothing at
    first: where learning does not predict the held-out samples better, the result is the initial
    image, fitted to the data.

    Parameters
    ----------
    A
        Image ``(y, x)`` to complex data, such as `Sense`.
    y
        Data of one scan, ``A.range_shape``.
    measured
        Bool, broadcasting to the data: which samples were measured. Coils share it.
    rounds
        At most so many; a round takes one step on each of 10 splits.
    network
        To start from: a trained one is adapted to the scan. Default: a new one.
    noise
        Standard deviation of the data's noise (real part), for the network. Default: unknown.
    initial
        From the samples to use (bool, as `measured`) to the image that the network improves, such
        as by compressed sensing. Default: regularised least squares.
    centre
        Samples that the network always sees, shaped as `measured`. Default: none.
    seed
        Of splits and weights.
    callback
        ``callback(step, image, loss)`` after each step.

    Returns
    -------
    Tensor
        Complex ``(y, x)``.

    Raises
    ------
    ValueError
        No round, samples too few to hold some back.

    References
    ----------
    B. Yaman et al., Zero-shot self-supervised learning for MRI reconstruction, ICLR (2022).
    """
    if rounds < 1:
        raise ValueError(f"zs-ssl needs 1 round or more, got {rounds}")
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed, y.device):
        model = copy.deepcopy(network) if network else _new(y.is_complex())
    model = model.to(y.device).train()
    given, judge = held_back(measured, VALIDATION, generator, keep=centre)

    def start(samples: Tensor) -> Tensor | None:
        return initial(samples) if initial else None

    splits = [held_back(given, LOSS, generator, keep=centre) for _ in range(SPLITS)]
    learn = [(restricted(A, stay), stay, held, start(stay)) for stay, held in splits]
    check, first = restricted(A, given), start(given)
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    def score() -> float:
        with torch.no_grad():
            return float(
                relative_misfit(A(model(check, y * given, first, noise)) * judge, y * judge)
            )

    best, state, waited, count = score(), copy.deepcopy(model.state_dict()), 0, 0
    for _ in range(rounds):
        for B, stay, held, image in learn:
            x = model(B, y * stay, image, noise)
            loss = relative_misfit(A(x) * held, y * held)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if callback is not None:
                callback(count, x.detach(), float(loss.detach()))
            count += 1
        found = score()
        waited = 0 if found < best else waited + 1
        if found < best:
            best, state = found, copy.deepcopy(model.state_dict())
        if waited == PATIENCE:
            break
    model.load_state_dict(state)
    with torch.no_grad():
        return model.eval()(restricted(A, measured), y * measured, start(measured), noise)


def _new(complex_images: bool) -> MoDL:
    """A network whose denoiser finds no noise yet."""
    model = MoDL(3, 6, (24, 48, 64), 2, complex_images)
    with torch.no_grad():
        model.denoiser.m_tail.weight.zero_()
        model.log_weight[:, 0] = math.log(FIRST_WEIGHT)
    return model


def relative_misfit(predicted: Tensor, y: Tensor) -> Tensor:
    """Sum of the relative l2 and l1 errors of data, as the paper's loss."""
    error, size = predicted - y, y.abs()
    l2: Tensor = torch.linalg.vector_norm(error) / torch.linalg.vector_norm(y)
    return l2 + error.abs().sum() / size.sum()
