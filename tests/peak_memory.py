"""The peak of a call over what was resident before it, from the kernel's own counters.

In a process of its own, where large arrays go straight to the system: nothing hides in what an
earlier call has freed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_counters = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's counters"
)

PEAK = """
import re

def resident(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

def peak(call, *data):
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    out = call(*data)
    return resident("VmHWM") - before - out.nbytes
"""


def printed(script: str, *arguments: object) -> list[int]:
    """Whole numbers that a script prints, which may call ``peak(call, *data)``."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    run = subprocess.run(
        [sys.executable, "-c", PEAK + script, *map(str, arguments)],
        capture_output=True, text=True, check=True, timeout=300, env=environment,
    )  # fmt: skip
    return [int(word) for word in run.stdout.split()]
