"""What the command line says of images with a prior: how far to trust them, and their samples."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

import spinray as sr
from spinray.recon.cli.main import app


def test_residual_and_samples_are_told(tmp_path: Path) -> None:
    scan = sr.datasets.simulate_mr("head", matrix=(32, 32), coils=4, snr=40)
    sr.save(scan, tmp_path / "scan.h5")
    target = str(tmp_path / "image.h5")
    options = ["-m", "dds", "--samples", "2", "--passes", "2"]
    done = CliRunner().invoke(app, ["recon", str(tmp_path / "scan.h5"), "-o", target, *options])
    assert done.exit_code == 0, done.exception
    figures = sr.load_image(target).metadata["convergence"]
    residual = f"residual {figures['residual']:.3g} of the noise"
    assert f"{residual} ({figures['residual_verdict']})" in done.stderr
    assert f"{figures['added_by_prior']:.1%} added by the prior" in done.stderr
    assert f"novelty {figures['novelty']:.2g}" in done.stderr
    info = CliRunner().invoke(app, ["info", target])
    lines = {line.split()[0]: line.split()[1] for line in info.stdout.splitlines()}
    assert lines["samples"] == "2"
    assert float(lines["deviation"]) > 0
