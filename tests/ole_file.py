"""Small OLE containers (compound files), by [MS-CFB]: streams by their paths."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

SECTOR, MINI, CUTOFF = 512, 64, 4096
END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def write_ole(path: Path, streams: Mapping[str, bytes]) -> Path:
    """Write streams such as ``"ImageInfo/Angles"``; folders come of themselves."""
    sectors: list[bytes] = []
    table: list[int] = []

    def store(content: bytes) -> int:
        """Add a chain of sectors; the first one."""
        if not content:
            return END
        first, count = len(sectors), -(-len(content) // SECTOR)
        for i in range(count):
            sectors.append(content[i * SECTOR : (i + 1) * SECTOR].ljust(SECTOR, b"\0"))
            table.append(first + i + 1 if i + 1 < count else END)
        return first

    folders = sorted({name.split("/")[0] for name in streams if "/" in name})
    entries = ["", *folders, *streams]  # the root first
    kids = {folder: [n for n in streams if n.split("/")[0] == folder and "/" in n]
            for folder in folders}  # fmt: skip
    kids[""] = [*folders, *(n for n in streams if "/" not in n)]
    right = {a: b for siblings in kids.values() for a, b in pairwise(siblings)}
    mini, mini_table = b"", []
    starts: dict[str, int] = {}
    for name, content in streams.items():
        if len(content) >= CUTOFF:
            starts[name] = store(content)
            continue
        count = -(-len(content) // MINI)
        starts[name] = len(mini_table) if count else END
        mini_table += [len(mini_table) + i + 1 for i in range(count)]
        if count:
            mini_table[-1] = END
        mini += content.ljust(count * MINI, b"\0")
    root_start = store(mini)
    mini_fat = struct.pack(f"<{len(mini_table)}I", *mini_table)
    mini_start = store(mini_fat.ljust(-(-len(mini_fat) // SECTOR) * SECTOR, b"\xff"))
    directory = b""
    for name in entries:
        kind = 5 if not name else 1 if name in folders else 2
        shown = "Root Entry" if not name else name.split("/")[-1]
        text = shown.encode("utf-16-le") + b"\0\0"
        child = kids.get(name) if kind != 2 else None
        start, size = starts.get(name, 0), len(streams.get(name, b""))
        if not name:
            start, size = root_start, len(mini)
        directory += struct.pack(
            "<64sHBB3I16xI16xIQ", text, len(text), kind, 1, FREE,
            entries.index(right[name]) if name in right else FREE,
            entries.index(child[0]) if child else FREE, 0, start, size,
        )  # fmt: skip
    directory_start = store(directory.ljust(-(-len(directory) // SECTOR) * SECTOR, b"\0"))
    fats = 1
    while fats * SECTOR // 4 < len(sectors) + fats:
        fats += 1
    places = [len(sectors) + i for i in range(fats)]
    table += [FAT] * fats
    table += [FREE] * (fats * SECTOR // 4 - len(table))
    header = struct.pack(
        "<8s16x5H6xIII4xIIIII", bytes.fromhex("d0cf11e0a1b11ae1"), 0x3E, 3, 0xFFFE, 9, 6,
        0, fats, directory_start, CUTOFF, mini_start, -(-len(mini_fat) // SECTOR), END, 0,
    )  # fmt: skip
    header += struct.pack("<109I", *places, *[FREE] * (109 - fats))
    path.write_bytes(header + b"".join(sectors) + struct.pack(f"<{len(table)}I", *table))
    return path
