"""The raw files of the demo: found, fetched or simulated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..recon.image import Image
from ..recon.io import save
from .samples import FetchError, fetch
from .simulate import reference_image, simulate_ct, simulate_mr

_MR, _CT = Path("mr_kspace", "brain8ch_full.cfl"), Path("ct_raw", "tooth.h5")
_NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class DemoFiles:
    """A fully sampled multi-coil MR file and a parallel-beam CT file.

    Parameters
    ----------
    mr, ct
        Raw files to load.
    source
        Where they come from, in one sentence.
    mr_truth, ct_truth
        The truth of simulated files.
    """

    mr: Path
    ct: Path
    source: str
    mr_truth: Image | None = None
    ct_truth: Image | None = None


def demo_files(output: str | PathLike[str], *, timeout: float = 10.0) -> DemoFiles:
    """Return raw MR and CT files from the first place that has them.

    The folder SPINRAY_DATA if that is set, or ``../shared/data`` beside the repository; else
    public samples; else files simulated into ``output/raw``.

    Parameters
    ----------
    output
        Folder of the demo.
    timeout
        Seconds of silence after which a server is given up.

    Raises
    ------
    FileNotFoundError
        SPINRAY_DATA is set and lacks a file.
    """
    given = os.environ.get("SPINRAY_DATA")
    folder = Path(given) if given else _NEIGHBOUR
    missing = [str(folder / name) for name in (_MR, _CT) if not (folder / name).is_file()]
    if not missing:
        return DemoFiles(folder / _MR, folder / _CT, f"Real scanner data from {folder}.")
    if given:
        raise FileNotFoundError(f"SPINRAY_DATA is {given}, but there is no {missing[0]}")
    try:
        return DemoFiles(
            fetch("brain", timeout=timeout),
            fetch("tooth", timeout=timeout),
            "Real scanner data, public samples (see spinray.datasets.samples).",
        )
    except FetchError as error:
        return _simulated(Path(output) / "raw", str(error))


def _simulated(folder: Path, reason: str) -> DemoFiles:
    folder.mkdir(parents=True, exist_ok=True)
    mr = simulate_mr(matrix=256, coils=8, snr=30.0)
    ct = simulate_ct(geometry="parallel", views=360, columns=512)
    mr_file, ct_file = folder / "phantom_mr.h5", folder / "phantom_ct.h5"
    save(mr, mr_file)
    save(ct, ct_file)
    source = f"Simulated phantoms: no public sample ({reason}). Raw files in {folder}."
    return DemoFiles(mr_file, ct_file, source, reference_image(mr), reference_image(ct))
