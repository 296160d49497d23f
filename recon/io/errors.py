"""What a broken file raises: one line that names the file, the place and what was expected."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

# What readers and the libraries beneath them raise on bytes that they did not expect.
_SYMPTOMS = (
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class FormatError(ValueError):
    """A file is broken, or is not what it was taken for.

    Parameters
    ----------
    path
        The file; None inside a reader, where `format_errors` fills it in.
    place
        Where in the file: a dataset, an element of a header, a readout.
    message
        What was found and what was expected.
    """

    def __init__(self, path: str | PathLike[str] | None, place: str, message: str) -> None:
        self.path, self.place = path, place
        self.message = " ".join(str(message).split())
        super().__init__(path, place, message)

    def __str__(self) -> str:
        file = "" if self.path is None else str(self.path)
        where = ", ".join(part for part in (file, self.place) if part)
        return f"{where}: {self.message}" if where else self.message


@contextmanager
def format_errors(path: str | PathLike[str] | None, place: str = "") -> Iterator[None]:
    """Turn whatever a broken file raises inside the block into a `FormatError` naming it.

    Inside a reader, `path` may be None: the block around it fills it in. A file that is missing or
    may not be read is not broken: those errors pass unchanged.
    """
    try:
        yield
    except FormatError as error:
        if error.path is not None:
            raise
        raise FormatError(path, error.place or place, error.message) from error
    except (FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:
        raise FormatError(path, place, "declares more data than memory can hold") from error
    except KeyError as error:
        raise FormatError(path, place, f"{error.args[0] if error.args else error}") from error
    except _SYMPTOMS as error:
        raise FormatError(path, place, f"{error}" or type(error).__name__) from error
