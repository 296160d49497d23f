"""``spinray serve``: reconstruct what a scanner sends."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of MRD; 0 takes any.")] = 9002,
    watch: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the live page, /metrics and /health. Default: none."
        ),
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, help="At once; others wait in a queue.")] = 2,
    cores: Annotated[
        int | None, typer.Option(min=1, help="For all sessions. Default: all.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=1.0, help="GB for all sessions. Default: 3/4 of all.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where sessions leave logs, and raw data if asked to.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the raw data of all sessions in --folder.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the networks that clients may name.")
    ] = None,
    tls: Annotated[
        Path | None, typer.Option(help="Certificate (PEM): encrypt. With its key, or with --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    token: Annotated[
        str,
        typer.Option(envvar="SPINRAY_TOKEN", show_default=False, help="What clients have to know."),
    ] = "",
    idle: Annotated[float, typer.Option(min=1, help="Seconds a client may pause.")] = 600.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for running sessions after SIGTERM.")
    ] = 600.0,
) -> None:
    """Serve reconstruction to scanners and clients that speak MRD (ISMRMRD) over TCP.

    A client's configuration names the method: sense, or sense iterations=20, or JSON. On SIGTERM
    no more sessions are taken, those in the queue are refused, those that run are finished.

    Example: [bold]spinray serve --watch 9003 --folder sessions[/bold]
    """
    from ..server.memory import memory_of_machine
    from ..server.server import Server, Settings
    from ..server.tls import server_context
    from ..server.web import Watch
    from ..server.wire import Limits, listening

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    if models is not None and not models.is_dir():
        raise ValueError(f"--models {models}: no such folder")
    if key is not None and tls is None:
        raise ValueError("--key needs --tls CERTIFICATE")
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    # Both ports are taken before any process is started.
    with nullcontext() if watch is None else listening(host, watch) as listener:
        server = Server(
            Settings(
                host=host, port=port, sessions=sessions, cores=cores or os.cpu_count() or 1,
                memory=int((memory * 1e9) if memory else 0.75 * memory_of_machine()), folder=folder,
                save=save, models=models, certificate=tls, key=key, token=token,
                limits=Limits(idle=idle),
            )
        )  # fmt: skip
        page = None
        if listener is not None:
            context = None if tls is None else server_context(tls, key)
            page = Watch(server.figures, listener, token, context)
        ports = {"port": server.port, **({} if page is None else {"watch": page.port})}
        typer.echo(json.dumps(ports))
        while not ending.wait(1.0):
            pass
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one ends at once
            signal.signal(number, lambda *_: os._exit(143))
        done = server.stop(grace)
        if page is not None:
            page.stop()
        if not done:
            typer.echo("spinray: sessions were still running after the grace period", err=True)
            raise typer.Exit(1)
