"""``spinray``: the commands, and how errors end (0 done, 1 failed, 2 bad input)."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import warnings
from typing import Annotated

import typer

from . import (
    bench,
    convert,
    demo,
    evaluate,
    info,
    methods,
    metrics,
    recon,
    serve,
    simulate,
    train,
    view,
)
from .messages import one_line

FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of the machine, not of what was asked

app = typer.Typer(
    name="spinray",
    help="MR and CT image reconstruction: from a scanner's raw file to an image.",
    epilog="Start with: spinray demo, or spinray info FILE and spinray recon FILE.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("info")(info.info)
app.command("recon", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    recon.recon
)
app.command("convert")(convert.convert)
app.add_typer(simulate.app, name="simulate")
app.command("evaluate")(evaluate.evaluate)
app.add_typer(metrics.app, name="metrics")
app.command("view")(view.view)
app.command("bench")(bench.bench)
app.command("methods")(methods.methods)
app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    train.train
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)


def _print_version(value: bool) -> None:
    if value:
        from ... import __version__

        typer.echo(f"spinray {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is done; full tracebacks on errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files go
    warnings.showwarning = _show_warning
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError) as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            raise
        print(f"spinray: {one_line(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, OSError) and error.errno in FAILURES else 2)
    except MemoryError:
        print("spinray: out of memory: fewer coils or slices at a time need less", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("spinray: interrupted", file=sys.stderr)
        sys.exit(130)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"spinray: warning: {' '.join(str(message).split())}", file=sys.stderr)
