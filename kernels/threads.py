"""How the Numba kernels are compiled, cached and threaded: one place for MR and CT.

Numba's own thread pool (workqueue) aborts under concurrent callers and GNU OpenMP hangs after a
fork; TBB does neither. PyPI's `tbb` installs its library where the loader does not look, so it is
loaded here before Numba searches for it. Without TBB, calls into parallel kernels are serialised.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import site
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

jit: Any = functools.partial(
    numba.njit, cache=True, nogil=True, fastmath=True, error_model="numpy", boundscheck=False
)


class ForkLock:
    """A lock for the life of the process that is open in a forked child, whoever held it."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_one_caller = ForkLock()
_unlocked = contextlib.nullcontext()


def parallel_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel with `numba.prange`, cached, run with as many threads as torch would use."""
    kernel = jit(function, parallel=True)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        numba.set_num_threads(thread_count())
        with _unlocked if _layer_is_reentrant() else _one_caller:
            return kernel(*arguments)

    return call


def thread_count() -> int:
    """Threads a kernel may use: `torch.get_num_threads()` once torch is loaded, else Numba's."""
    torch = sys.modules.get("torch")
    available: int = numba.config.NUMBA_NUM_THREADS
    if torch is not None and hasattr(torch, "get_num_threads"):
        return max(1, min(available, torch.get_num_threads()))
    return available


def _load_tbb() -> bool:
    if os.environ.get("NUMBA_THREADING_LAYER", "default") not in ("default", "tbb", "forksafe"):
        return False
    # lib/ on POSIX, Library/bin on Windows; user installs lie beside the user's site-packages
    prefixes = (sys.prefix, site.getuserbase())
    for prefix in prefixes:
        for name in ("lib/libtbb.so.12", "lib/libtbb.12.dylib", "Library/bin/tbb12.dll"):
            path = Path(prefix) / name
            if path.exists():
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                    return True
    with contextlib.suppress(OSError):
        ctypes.CDLL("libtbb.so.12", mode=ctypes.RTLD_GLOBAL)
        return True
    return False


def _layer_is_reentrant() -> bool:
    """Whether Numba runs on TBB: known once it runs, and not ours to choose if it ran before."""
    try:
        return bool(numba.threading_layer() == "tbb")
    except ValueError:  # no parallel kernel has run yet
        return False


class _Announce(event.Listener):  # type: ignore[misc]
    """Says once, on stderr, that kernels are being compiled: a cold cache takes some seconds."""

    said = False

    def on_start(self, event: Any) -> None:
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        name = getattr(function, "__module__", "")
        if not _Announce.said and name.startswith(__package__ or "spinray"):
            _Announce.said = True
            message = "spinray: compiling kernels for this processor (once; cached afterwards)\n"
            sys.stderr.write(message)

    def on_end(self, event: Any) -> None:
        pass


_HAS_TBB = _load_tbb()
if _HAS_TBB:
    numba.config.THREADING_LAYER_PRIORITY = ["tbb", "omp", "workqueue"]
event.register("numba:compile", _Announce())
