"""What all networks share: they know their hyperparameters, and may trade time for memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from torch import Tensor, is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint


class Network(nn.Module):
    """A network that can be written to disk and made again from what is written.

    `hyperparameters` are the arguments it was made with, defaults included: numbers, words and
    tuples of them. `training_facts` say what it was trained on (see `models.weights`). With
    `checkpointing` on, stages are computed again in the backward pass instead of kept. `steering`
    names parameters of a few numbers that steer the whole, such as weights of steps: they take
    larger steps in training.
    """

    steering: tuple[str, ...] = ()
    hyperparameters: dict[str, Any]
    training_facts: Mapping[str, Any]
    checkpointing: bool

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Take down the arguments that the subclass is made with."""
        network = super().__new__(cls)
        given = inspect.signature(cls).bind_partial(*arguments, **options)
        given.apply_defaults()
        for name, value in given.arguments.items():  # all whole numbers are counts
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"{cls.__name__}: {name} must be 1 or more, got {value}")
        vars(network).update(
            hyperparameters=dict(given.arguments), training_facts={}, checkpointing=False
        )
        return network

    def stage(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function(*inputs)``, recomputed in the backward pass where `checkpointing` is on."""
        if self.checkpointing and is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Apply the network; see `forward`."""
        return cast(Tensor, super().__call__(*inputs, **options))
