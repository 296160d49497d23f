"""Public raw data, fetched once, checked, and kept in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path


class FetchError(OSError):
    """A public sample that could not be had: no network, or other bytes than expected."""


@dataclass(frozen=True)
class Sample:
    """Public raw data of one scan.

    Parameters
    ----------
    summary, licence, source
        What it is, on which terms, and where a person reads about it.
    url
        Folder of the files, at a fixed commit.
    files
        Name here, name there, and SHA-256 of each file; the first one is the one to load.
    """

    summary: str
    licence: str
    source: str
    url: str
    files: tuple[tuple[str, str, str], ...]


SAMPLES: Mapping[str, Sample] = {
    "brain": Sample(
        summary="Fully sampled slice of a 3D gradient-echo brain, 8 coils, 230 x 180 (BART cfl)",
        licence="BSD-3",
        source="https://github.com/mikgroup/espirit-matlab-examples",
        url="https://raw.githubusercontent.com/mikgroup/espirit-matlab-examples/"
        "61e3b9cb4ba1330d16ea8535a8ff7e57d489beac/data",
        files=(
            (
                "brain8ch_full.cfl",
                "full.cfl",
                "18e9ea52ef8f212abcf6c62e20bb5a1007bac27f0954e78eb68f79e27f16ea3c",
            ),
            (
                "brain8ch_full.hdr",
                "full.hdr",
                "bb37e8d3508f266534e2401603c7b2b060598b7e1d0697a739c5c857123bced0",
            ),
        ),
    ),
    "tooth": Sample(
        summary="Synchrotron projections of a tooth, 181 views x 2 rows x 640 (Data Exchange)",
        licence="BSD-3",
        source="https://github.com/tomopy/tomopy",
        url="https://raw.githubusercontent.com/tomopy/tomopy/"
        "2c94ed18a06f7908b018c6f8e43d320f8a8488f2/source/tomopy/data",
        files=(
            (
                "tooth.h5",
                "tooth.h5",
                "ab1d9bd073b7fb1beae4defa991c2a2626605c5cf1f4be0d0203656bc47b6489",
            ),
        ),
    ),
}


def fetch(
    sample: str | Sample, cache: str | PathLike[str] | None = None, *, timeout: float = 10.0
) -> Path:
    """Return the file of a public sample, downloaded unless the cache has it.

    Parameters
    ----------
    sample
        A name in `SAMPLES`, or a `Sample`.
    cache
        Folder to keep it in. Default: pooch's for this system, or SPINRAY_CACHE if that is set.
    timeout
        Seconds of silence after which the server is given up.

    Returns
    -------
    Path
        The file to load; files that belong to it lie beside it.

    Raises
    ------
    FetchError
        No network, no such file, or a checksum that differs: nothing is kept then.
    ValueError
        An unknown name.
    """
    import pooch
    from requests.exceptions import RequestException

    if isinstance(sample, str):
        if sample not in SAMPLES:
            raise ValueError(f"unknown sample {sample!r}, expected one of: {', '.join(SAMPLES)}")
        sample = SAMPLES[sample]
    folder = Path(cache or os.environ.get("SPINRAY_CACHE") or pooch.os_cache("spinray"))
    registry = {name: f"sha256:{checksum}" for name, _, checksum in sample.files}
    urls = {name: f"{sample.url}/{there}" for name, there, _ in sample.files}
    store = pooch.create(folder, "", registry=registry, urls=urls)
    download = pooch.HTTPDownloader(timeout=timeout)
    paths = []
    for name in registry:
        try:
            paths.append(Path(store.fetch(name, downloader=download)))
        except ValueError as error:
            raise FetchError(f"{urls[name]}: not the expected file, {error}") from error
        except RequestException as error:
            raise FetchError(f"{urls[name]}: {_reason(error)}") from error
        except OSError as error:
            raise FetchError(f"{folder / name}: cannot keep {urls[name]} there, {error}") from error
    return paths[0]


def _reason(error: Exception) -> str:
    """One short line; requests nests whole call chains in its messages."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout

    if isinstance(error, Timeout):
        return "the server does not answer"
    if isinstance(error, NoConnection):
        return "no connection to the server"
    return str(error)
