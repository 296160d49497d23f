"""``spinray train``: networks from a configuration."""

from __future__ import annotations

import typer


def train(context: typer.Context) -> None:
    """Train a network as a configuration says: model, data, loss, trainer.

    Every field can be set on the command line too. [bold]--ckpt_path last.ckpt[/bold] goes on from
    the exact step of a checkpoint; [bold]--trainer.devices 4 --trainer.num_nodes 2[/bold] trains on
    several GPUs and machines, [bold]--trainer.precision bf16-mixed[/bold] in half precision.

    Files and slices that cannot be read are passed over and listed at the end; the exit code is
    then 1.

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
    left_out = fit(context.args)
    for name, reason in left_out.items():
        typer.echo(f"spinray: left out: {name}: {reason}", err=True)
    if left_out:
        raise typer.Exit(1)
