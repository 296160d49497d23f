"""Mutated files through every reader: ``python tests/fuzz_readers.py --files 20000``.

Small sound files of every format (`raw_files`) are truncated, flipped, overwritten, cut and given
huge numbers. Each must end in a scan or a `FormatError`: no other exception, no crash, no more than
5 s, no more memory than 4 times the file + 200 MB, nothing unpickled, no file opened that does not
belong to the input. Workers are processes of their own; what kills one is counted against the file
that it was at. A failing file is made again by its kind and number.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import image_files
import raw_files

TIME_LIMIT = 5.0  # s
MEMORY_ROOM = 200 << 20  # bytes beside 4 times the file
NUMBERS = (
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three changes of one kind or another."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        # The structure mostly stands at the start, in some formats after a long text.
        ends = (min(len(data), 4096), len(data), -min(len(data), 4096))
        where = rng.choice(ends)
        at = rng.randrange(where) if where > 0 else len(data) + rng.randrange(where, 0)
        how = rng.randrange(8)
        if how == 0:
            del data[at:]
        elif how == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[at] = rng.randrange(256)
        elif how == 3:
            size = rng.choice((2, 4, 8))
            number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif how == 4:
            length = rng.randrange(1, 64)
            data[at : at + length] = bytes([rng.choice((0, 0xFF, 0x20))]) * length
        elif how == 5:
            del data[at : at + rng.randrange(1, 64)]
        elif how == 6:
            data[at:at] = data[max(at - rng.randrange(1, 256), 0) : at]
        else:
            _change_number(data, rng)
    return bytes(data)


def _change_number(data: bytearray, rng: random.Random) -> None:
    """Write another number over one that stands there as text."""
    start = rng.randrange(len(data))
    digits = next(
        (i for i in range(start, min(start + 4096, len(data))) if 48 <= data[i] <= 57), -1
    )
    if digits >= 0:
        end = digits
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        new = rng.choice((b"0", b"-1", b"99999999", b"1e308", b"nan", b"9" * 40, b"65536"))
        data[digits:end] = new


class Watch:
    """What a reader must not do: open other files, unpickle."""

    def __init__(self, folder: Path) -> None:
        prefixes = {sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], "/proc", "/sys",
                    "/dev", "/etc", "/usr", str(Path(__file__).parents[1])}  # fmt: skip
        self.allowed = tuple(prefixes)
        self.folder, self.seen, self.active = str(folder), [], False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((self.folder, *self.allowed)):
                self.seen.append(f"opens {path}")
        elif event == "pickle.find_class":
            self.seen.append("unpickles")


def work(kind: str, first: int, count: int) -> None:
    """Try files of a kind and say of each what came of it, a line each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    import spinray as sr

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        path = raw_files.write(kind, folder)
        files = raw_files.files_of(path, kind)
        sound = {file: file.read_bytes() for file in files}
        watch = Watch(folder)
        for _ in range(2):
            attempt(sr, path, kind)
        base = _peak()
        for number in range(first, first + count):
            rng = random.Random(f"{kind} {number}")
            file = rng.choice(files)
            file.write_bytes(mutate(sound[file], rng))
            print(json.dumps({"number": number}), flush=True)
            watch.seen.clear()
            watch.active, start = True, time.process_time()
            outcome = attempt(sr, path, kind)
            watch.active, seconds = False, time.process_time() - start
            size = sum(len(content) for content in sound.values())
            if watch.seen:
                outcome = watch.seen[0]
            elif _peak() - base > 4 * size + MEMORY_ROOM:
                outcome = f"takes {(_peak() - base) >> 20} MB"
            elif seconds > TIME_LIMIT:
                outcome = f"takes {seconds:.1f} s"
            print(json.dumps({"number": number, "outcome": outcome}), flush=True)
            if outcome.startswith("takes"):
                return
            file.write_bytes(sound[file])
            for extra in set(folder.rglob("*")) - set(files):
                if extra.is_file():
                    extra.unlink()


def attempt(sr: Any, path: Path, kind: str) -> str:
    """Look at a file and read it: what came of it."""
    try:
        if kind in image_files.WRITERS:
            sr.load_image(path)
            return "read"
        raw = sr.open_raw(path, **raw_files.OPTIONS.get(kind, {}))
        str(raw.facts), str(raw.missing)
        raw.read()
    except sr.FormatError as error:
        return "refused" if str(path.parent) in str(error) else f"names no file: {error}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"[:300]
    return "read"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(kind: str, count: int, first: int = 0) -> list[tuple[int, str]]:
    """Outcomes of `count` files of a kind, each with its number; workers are started as needed."""
    found: list[tuple[int, str]] = []
    at = first
    while at < first + count:
        command = [sys.executable, __file__, "--work", kind, str(at), str(first + count - at)]
        number, outcome = at, ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            deadline = 120.0  # imports on a busy machine
            while True:
                ready, _, _ = select.select([worker.stdout], [], [], deadline)
                line = worker.stdout.readline() if ready else ""
                if not line:
                    break
                said = json.loads(line)
                number, outcome = said["number"], said.get("outcome", "")
                deadline = 24 * TIME_LIMIT  # the machine may stop the worker meanwhile
                if outcome:
                    found.append((number, outcome))
            if not ready:
                worker.kill()
        if not outcome:
            reason = f"ends the process ({worker.returncode})" if ready else "hangs"
            found.append((number, reason))
        at = number + 1
    return found


def main() -> None:
    """Try all kinds and print what came of them; exit with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20000, help="mutated files over all kinds")
    parser.add_argument("--kinds", nargs="*", default=[*raw_files.WRITERS, *image_files.WRITERS])
    parser.add_argument("--first", type=int, default=0, help="number of the first file of a kind")
    parser.add_argument("--keep", nargs=2, metavar=("KIND", "NUMBER"), help="write this file here")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], int(options.work[1]), int(options.work[2]))
        return
    if options.keep:
        keep(options.keep[0], int(options.keep[1]))
        return
    share = -(-options.files // len(options.kinds))
    failures, total = [], Counter()
    for kind in options.kinds:
        start = time.perf_counter()
        outcomes = run(kind, share, options.first)
        counts = Counter(o if o in ("read", "refused") else "failed" for _, o in outcomes)
        failures += [(kind, n, o) for n, o in outcomes if o not in ("read", "refused")]
        total += counts
        print(f"{kind:14} {dict(counts)} {time.perf_counter() - start:.0f} s", flush=True)
    for kind, number, outcome in failures:
        print(f"FAILED {kind} {number}: {outcome}")
    print(f"{sum(total.values())} files: {dict(total)}")
    sys.exit(bool(failures))


def keep(kind: str, number: int) -> None:
    """Make a mutated file again, in a folder here."""
    folder = Path.cwd() / f"fuzz-{kind.replace(' ', '-')}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = raw_files.write(kind, folder)
    rng = random.Random(f"{kind} {number}")
    file = rng.choice(raw_files.files_of(path, kind))
    file.write_bytes(mutate(file.read_bytes(), rng))
    print(f"{path} ({file.name} is changed)")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
