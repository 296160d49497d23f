"""A small share of `fuzz_readers`: every reader on mutated and truncated files."""

from __future__ import annotations

import random
import time
import warnings

import fuzz_readers
import image_files
import numpy as np
import pytest
import raw_files

import spinray as sr

FILES = 25  # of each kind; the script tries thousands
CUT = ("stream", "mrd2", "twix ve", "twix vb", "list data", "lab raw", "ge", "matlab 5",
       "matlab 7.3", "bart")  # fmt: skip


@pytest.mark.parametrize("kind", [*raw_files.WRITERS, *image_files.WRITERS])
def test_mutated_files_end_in_a_scan_or_a_format_error(tmp_path, kind):
    path = raw_files.write(kind, tmp_path)
    files = raw_files.files_of(path, kind)
    sound = {file: file.read_bytes() for file in files}
    expected = "refused" if kind == "pulseq" else "read"
    assert fuzz_readers.attempt(sr, path, kind) == expected
    outcomes = set()
    for number in range(FILES):
        rng = random.Random(f"test {kind} {number}")
        file = rng.choice(files)
        file.write_bytes(fuzz_readers.mutate(sound[file], rng))
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = fuzz_readers.attempt(sr, path, kind)
        assert outcome in ("read", "refused"), (number, outcome)
        assert time.process_time() - start < fuzz_readers.TIME_LIMIT
        outcomes.add(outcome)
        file.write_bytes(sound[file])
    assert "refused" in outcomes


@pytest.mark.parametrize("kind", CUT)
def test_truncated_files_are_refused(tmp_path, kind):
    path = raw_files.write(kind, tmp_path)
    whole = path.read_bytes()
    needed = len(whole.rstrip(b"\0")) if kind.startswith("twix") else len(whole)
    for length in np.unique(np.linspace(0, needed - 1, 25).astype(int)).tolist():
        path.write_bytes(whole[:length])
        with pytest.raises(sr.FormatError) as error:
            sr.load(path)
        assert str(path.with_suffix("")) in str(error.value)
        assert "\n" not in str(error.value)
