"""Against BART's own programs on the same real data, in the same run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import spinray as sr

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed"),
]
WEIGHTS = ("0.003", "0.004", "0.006")  # about its best on this scan, 0.004


def bart(*arguments: str | Path) -> None:
    subprocess.run(["bart", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def test_l1_wavelet_is_no_worse_than_pics_at_its_best_weight(data_dir, tmp_path: Path) -> None:
    import sigpy.mri

    full = sr.load(data_dir / "mr_kspace" / "brain8ch_full.cfl")
    mask = sigpy.mri.poisson(full.matrix[::-1], 4, calib=(24, 24), seed=0, dtype=np.float32) > 0
    scan = full.replace(mask=torch.from_numpy(mask.T.copy()))
    truth = sr.reconstruct(full, "rss").data
    inside = truth > 0.08 * torch.quantile(truth, 0.995)

    def error(image: torch.Tensor) -> float:
        return sr.metrics.nrmse(truth, image.abs(), mask=inside, fit_scale=True)

    sr.save(scan, tmp_path / "k.cfl")
    bart("ecalib", "-c0", "-m1", tmp_path / "k", tmp_path / "m")
    theirs = []
    for weight in WEIGHTS:
        bart("pics", "-l1", "-r", weight, "-i", "100", *(tmp_path / name for name in "kmx"))
        image = np.fromfile(tmp_path / "x.cfl", np.complex64).reshape(truth.shape)
        theirs.append(error(torch.from_numpy(image)))
    assert max(theirs) < 0.05  # BART was given the data as it wants them
    assert error(sr.reconstruct(scan, "l1-wavelet").data) <= min(theirs)
