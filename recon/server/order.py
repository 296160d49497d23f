"""What the server tells a worker to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .configuration import Configuration
from .wire import Limits

STREAM = ".mrd"  # suffix of raw data while they arrive


@dataclass(frozen=True)
class Order:
    """What a session is to do.

    Parameters
    ----------
    name
        Of the session, in logs.
    configuration
        What the client asked for.
    xml
        The protocol.
    limits
        What the client may do.
    memory
        Bytes that the session's process may hold.
    record
        Where raw data may be kept, without suffix; None if nowhere.
    save
        Whether they are, even where the client does not ask for it.
    log
        The session's log; None for that of the server alone.
    models
        Folder of the networks that clients may name.
    """

    name: str
    configuration: Configuration
    xml: str
    limits: Limits = field(default_factory=Limits)
    memory: int = 1 << 62
    record: Path | None = None
    save: bool = False
    log: Path | None = None
    models: Path | None = None
