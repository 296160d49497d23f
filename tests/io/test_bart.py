"""BART files: dimensions, trajectories, and BART itself as the judge."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import spinray as sr

needs_bart = pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")


def write_cfl(path: Path, array: np.ndarray) -> Path:
    """Column-major, as BART's own Python script does."""
    path.with_suffix(".hdr").write_text(
        "# Dimensions\n" + " ".join(map(str, array.shape + (1,) * (16 - array.ndim))) + "\n"
    )
    array.astype(np.complex64).ravel("F").tofile(path.with_suffix(".cfl"))
    return path.with_suffix(".cfl")


def random_complex(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def bart(folder: Path, *words: str) -> None:
    subprocess.run(["bart", *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("shape", "expected", "axes"),
    [
        ((6, 5, 1, 3), (3, 5, 6), ()),
        ((1, 5, 4, 3), (3, 4, 5), ()),
        ((6, 1, 4, 3), (3, 4, 6), ()),
        ((6, 5, 4, 3), (3, 4, 5, 6), ()),
        ((6, 5), (1, 5, 6), ()),
        ((6,), (1, 1, 6), ()),
        ((6, 5, 1, 3, 1, 2), (2, 3, 5, 6), ("contrast",)),
        ((6, 5, 1, 3, 1, 1, 1, 1, 1, 1, 7, 1, 1, 2), (7, 2, 3, 5, 6), ("repetition", "slice")),
    ],
)
def test_dimensions(tmp_path, shape, expected, axes):
    data = random_complex(*shape)
    scan = sr.load(write_cfl(tmp_path / "k", data))
    assert tuple(scan.kspace.shape) == expected
    assert scan.batch_axes == axes
    assert scan.ndim == (3 if len(expected) - len(axes) == 4 else 2)
    full = data.reshape(shape + (1,) * (16 - len(shape)))
    if axes == ("repetition", "slice"):
        assert np.array_equal(
            scan.kspace[4, 1, 2].numpy(), full[:, :, 0, 2, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0].T
        )
    else:
        assert np.array_equal(scan.kspace.numpy().ravel(), full.ravel("F"))


def test_pairs_go_by_any_of_their_names(tmp_path):
    path = write_cfl(tmp_path / "k", random_complex(4, 4, 1, 2))
    for name in ("k", "k.cfl", "k.hdr"):
        assert sr.load(path.with_name(name)).coils == 2


def test_image_shape_may_be_given(tmp_path):
    path = write_cfl(tmp_path / "k", random_complex(8, 6, 1, 2))
    assert sr.load(path, image_shape=(4, 8)).image_shape == (4, 8)


def test_trajectories_that_do_not_fit(tmp_path):
    kspace = write_cfl(tmp_path / "k", random_complex(1, 8, 3, 2))
    short = write_cfl(tmp_path / "t", np.zeros((3, 8, 2)))
    with pytest.raises(sr.FormatError, match=r"t\.cfl: has dimensions .* expected a trajectory"):
        sr.load(kspace, trajectory=short)
    wide = np.zeros((3, 8, 3))
    wide[0] = 5
    wide = write_cfl(tmp_path / "w", wide)
    with pytest.raises(sr.FormatError, match="beyond half of the image shape"):
        sr.load(kspace, trajectory=wide, image_shape=(8, 8))
    with pytest.raises(FileNotFoundError):
        sr.load(tmp_path / "none", trajectory=wide)
    with pytest.raises(sr.FormatError, match=r"none\.hdr: missing"):
        sr.load(kspace, trajectory=tmp_path / "none.cfl")


def test_a_trajectory_for_each_frame(tmp_path):
    k = np.zeros((3, 4, 2, 1, 1, 1, 1, 1, 1, 1, 3))
    k[0, ..., :] = np.arange(3) + 1
    k[1, 2] = -2
    kspace = random_complex(1, 4, 2, 5, 1, 1, 1, 1, 1, 1, 3)
    scan = sr.load(
        write_cfl(tmp_path / "k", kspace), trajectory=write_cfl(tmp_path / "t", k),
        image_shape=(8, 16),
    )  # fmt: skip
    assert tuple(scan.trajectory.shape) == (3, 8, 2)
    assert scan.trajectory[:, 0, 1].tolist() == pytest.approx([1 / 16, 2 / 16, 3 / 16])
    assert scan.trajectory[1, 2, 0] == pytest.approx(-2 / 8)
    assert np.array_equal(scan.kspace[2, 4, 5].numpy(), kspace[0, 1, 1, 4, 0, 0, 0, 0, 0, 0, 2])


@pytest.mark.peer
@needs_bart
def test_bart_images_of_what_we_write(tmp_path):
    image = np.zeros((12, 10))
    image[3:7, 2] = 1
    image[9, 8] = 2
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    sr.save(sr.MRScan(kspace=kspace[None].astype(np.complex64)), tmp_path / "k.cfl")
    bart(tmp_path, "fft", "-u", "-i", "7", "k", "image")
    assert np.abs(sr.load(tmp_path / "image").kspace[0].numpy() - image).max() < 1e-5


@pytest.mark.peer
@needs_bart
def test_bart_samples_are_our_fourier_sums(tmp_path):
    """BART's NUFFT of an image equals the direct sum over our reading of its trajectory."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(16, 16)) * np.hanning(16)[:, None] * np.hanning(16)
    write_cfl(tmp_path / "image", image.T)  # BART's first dimension is x
    bart(tmp_path, "traj", "-r", "-x16", "-y5", "t")
    bart(tmp_path, "nufft", "t", "image", "k")
    scan = sr.load(tmp_path / "k", trajectory=tmp_path / "t", image_shape=(16, 16))
    n = np.arange(16) - 8
    k = scan.trajectory.numpy().astype(float)
    wave_y, wave_x = (np.exp(-2j * np.pi * k[:, axis, None] * n) for axis in (0, 1))
    expected = np.einsum("ky,yx,kx->k", wave_y, image, wave_x) / 16
    error = np.linalg.norm(scan.kspace[0].numpy() - expected)
    assert error < 0.02 * np.linalg.norm(expected)  # BART's gridding is good to a percent
    again = sr.load(sr.save(scan, tmp_path / "again.cfl"))
    bart(tmp_path, "nufft", "again_traj", "image", "k2")
    both = [np.fromfile(tmp_path / f"{name}.cfl", np.complex64) for name in ("k", "k2")]
    assert np.abs(both[0] - both[1]).max() < 1e-4 * np.abs(both[0]).max()
    assert again.readout_length == 16


def test_real_brain(data_dir):
    scan = sr.load(data_dir / "mr_kspace" / "brain8ch_und2x2.cfl")
    assert tuple(scan.kspace.shape) == (8, 180, 230)
    assert scan.acceleration == pytest.approx(3.3, abs=0.7)
    raw = np.fromfile(data_dir / "mr_kspace" / "brain8ch_und2x2.cfl", np.complex64)
    assert np.array_equal(raw, scan.kspace.numpy().ravel())


def test_what_a_cfl_cannot_hold_is_told(tmp_path):
    kspace = random_complex(2, 8, 8)
    scan = sr.MRScan(kspace, noise=random_complex(2, 50), header={"calibration": sr.MRScan(kspace)})
    with pytest.warns(UserWarning, match="noise samples and the calibration scan: left out"):
        sr.save(scan, tmp_path / "k.cfl")
    assert sr.load(tmp_path / "k.cfl").noise is None
