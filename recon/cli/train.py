"""``spinray train``: networks from a configuration."""

from __future__ import annotations

import typer


def train(context: typer.Context) -> None:
    """Train a network as a configuration says: model, data, loss, trainer.

    Every field can be set on the command line too. [bold]--ckpt_path last.ckpt[/bold] goes on from
    the exact step of a checkpoint; [bold]--trainer.devices 4 --trainer.num_nodes 2[/bold] trains on
    several GPUs and machines, [bold]--trainer.precision bf16-mixed[/bold] in half precision.

    Example: [bold]spinray train --config experiments/mr_unrolled.yaml[/bold]
    """
    try:
        from ..training.command import train as fit
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(("pytorch_lightning", "jsonargparse", "tensorboard")):
            raise ValueError(
                f"spinray train needs {error.name}: pip install 'spinray[train]'"
            ) from error
        raise
    if not context.args:
        raise ValueError("train needs --config FILE, such as experiments/mr_unrolled.yaml")
    fit(context.args)
