"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HDF5_ROOM = 1 << 18  # bytes of an HDF5 file beside its data


@contextmanager
def atomic(path: Path, size: float = 0) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it takes the place of `path` if all goes well.

    Raises
    ------
    OSError
        The disk has less than `size` bytes left: HDF5 does not survive a disk that runs full.
    """
    if size and size > (free := shutil.disk_usage(path.parent).free):
        needs = (
            f"{os.strerror(errno.ENOSPC)}: needs {size / 1e6:.3g} MB of {free / 1e6:.3g} MB free"
        )
        raise OSError(errno.ENOSPC, needs, str(path))
    suffix = "".join(path.suffixes[-2:])
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Find out before the work whether a file can be written.

    Raises
    ------
    OSError
        The folder is missing or no folder, the path is a folder, or writing is not allowed.
    """
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(f"{path}: its folder does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{path}: {folder} is not a folder")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a file name")
    try:
        with atomic(folder / "trial") as trial:
            trial.touch()
            raise _TrialOverError
    except _TrialOverError:
        return
    except OSError as error:
        raise PermissionError(f"{path}: cannot be written ({error.strerror})") from error


class _TrialOverError(Exception):
    """Leaves `atomic` without renaming."""
