"""ISMRMRD files become scans: sorting, noise, cropping, flags."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

import spinray as sr

RNG = np.random.default_rng(0)
COILS = 3


def noise_like(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)


def centred_ifft(kspace: torch.Tensor, ndim: int = 2) -> np.ndarray:
    axes = tuple(range(-ndim, 0))
    k = np.fft.ifftshift(kspace.numpy().astype(complex), axes=axes)
    return np.fft.fftshift(np.fft.ifftn(k, axes=axes, norm="ortho"), axes=axes)


def fill(make, kspace: np.ndarray, **head) -> list:
    """All lines of ``(coil, ky, kx)``."""
    return [
        make.readout(kspace[:, y], kspace_encode_step_1=y, **head) for y in range(kspace.shape[1])
    ]


def test_lines_land_on_their_rows_whatever_their_order(make_ismrmrd):
    kspace = noise_like(COILS, 6, 8)
    lines = fill(make_ismrmrd, kspace)
    del lines[4]
    scan = sr.load(make_ismrmrd([lines[i] for i in (3, 0, 4, 1, 2)]))
    expected = kspace.copy()
    expected[:, 4] = 0
    assert np.array_equal(scan.kspace.numpy(), expected)
    assert scan.mask.all(dim=1).tolist() == [True, True, True, True, False, True]
    assert scan.spacing == (10.0, 10.0)
    assert scan.header["repetition_time_ms"] == 500
    assert scan.header["echo_time_ms"] == 4.5
    assert scan.header["field_strength_t"] == 3
    assert scan.header["patient_position"] == "HFS"
    assert "<protocolName>brain" in scan.header["xml"]


def test_a_measured_zero_is_measured(make_ismrmrd):
    scan = sr.load(make_ismrmrd(fill(make_ismrmrd, np.zeros((COILS, 6, 8)))))
    assert bool(scan.mask.all())


def test_partial_fourier_starts_where_the_limits_say(make_ismrmrd):
    kspace = noise_like(1, 4, 8)
    limits = {"kspace_encoding_step_1": (3, 1)}
    scan = sr.load(make_ismrmrd(fill(make_ismrmrd, kspace), make_ismrmrd.encoding(centers=limits)))
    assert np.array_equal(scan.kspace[:, 2:].numpy(), kspace)
    assert not scan.mask[:2].any()


def test_partial_echo_reverse_and_discarded_samples(make_ismrmrd):
    kspace = noise_like(1, 6, 8)
    lines = fill(make_ismrmrd, kspace)
    make = make_ismrmrd.readout
    lines[0] = make(kspace[:, 0, 3:], kspace_encode_step_1=0, center_sample=1)
    lines[1] = make(
        kspace[:, 1, ::-1], flags=[ismrmrd.ACQ_IS_REVERSE], kspace_encode_step_1=1, center_sample=4
    )
    padded = np.concatenate([noise_like(1, 2), kspace[:, 2, 1:7], noise_like(1, 1)], axis=1)
    lines[2] = make(padded, kspace_encode_step_1=2, center_sample=5, discard_pre=2, discard_post=1)
    scan = sr.load(make_ismrmrd(lines))
    expected, mask = kspace.copy(), np.ones((6, 8), bool)
    mask[0, :3] = mask[2, 0] = mask[2, 7] = False
    assert np.array_equal(scan.mask.numpy(), mask)
    assert np.array_equal(scan.kspace.numpy(), expected * mask)


def test_averages_are_averaged_and_batch_axes_named(make_ismrmrd):
    kspace = noise_like(2, 2, 2, 2, 1, 6, 8)  # repetition, set, contrast, average, coil, y, x
    lines = []
    for r, s, c, a in np.ndindex(2, 2, 2, 2):
        head = {"repetition": r, "set": s, "contrast": c, "average": a}
        lines += fill(make_ismrmrd, kspace[r, s, c, a], **head)
    scan = sr.load(make_ismrmrd(lines))
    assert scan.batch_axes == ("repetition", "set", "contrast")
    assert np.allclose(scan.kspace.numpy(), kspace.mean(axis=3), atol=1e-6)
    assert scan.mask.shape == (6, 8)  # alike for all: kept once


def test_noise_is_kept_and_other_readouts_skipped(make_ismrmrd):
    kspace, noise = noise_like(COILS, 6, 8), noise_like(COILS, 20)
    lines = fill(make_ismrmrd, kspace)
    wrong = noise_like(COILS, 8)
    for flag in (
        ismrmrd.ACQ_IS_NAVIGATION_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA, ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ):  # fmt: skip
        lines.append(make_ismrmrd.readout(wrong, flags=[flag]))
    for part in (noise[:, :12], noise[:, 12:]):
        lines.insert(0, make_ismrmrd.readout(part, flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT]))
    scan = sr.load(make_ismrmrd(lines))
    assert np.array_equal(scan.kspace.numpy(), kspace)
    assert np.array_equal(scan.noise.numpy(), np.concatenate([noise[:, 12:], noise[:, :12]], 1))


def test_calibration_lines_are_kept(make_ismrmrd):
    kspace = noise_like(COILS, 6, 8)
    lines = fill(make_ismrmrd, kspace)
    lines[3] = make_ismrmrd.readout(
        kspace[:, 3], flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION], kspace_encode_step_1=3
    )
    assert bool(sr.load(make_ismrmrd(lines)).mask.all())
    separate = make_ismrmrd.encoding(
        more="<parallelImaging><accelerationFactor><kspace_encoding_step_1>2"
        "</kspace_encoding_step_1><kspace_encoding_step_2>1</kspace_encoding_step_2>"
        "</accelerationFactor><calibrationMode>separate</calibrationMode></parallelImaging>"
    )
    scan = sr.load(make_ismrmrd(lines, separate))
    assert not scan.mask[3].any()
    calibration = scan.header["calibration"]
    assert np.array_equal(calibration.kspace[:, 3].numpy(), kspace[:, 3])
    assert int(calibration.mask.sum()) == 8
    again = sr.load(sr.save(scan, make_ismrmrd([], name="x").with_name("again.h5")))
    assert torch.equal(again.header["calibration"].kspace, calibration.kspace)
    assert torch.equal(again.kspace, scan.kspace)


def test_encodings_are_chosen_by_number(make_ismrmrd):
    first, second = noise_like(1, 6, 8), noise_like(1, 10, 12)
    lines = fill(make_ismrmrd, first, encoding_space_ref=0)
    lines += fill(make_ismrmrd, second, encoding_space_ref=1)
    path = make_ismrmrd(lines, make_ismrmrd.encoding(), make_ismrmrd.encoding((12, 10, 1)))
    assert np.array_equal(sr.load(path).kspace.numpy(), first)
    assert sr.load(path).header["encodings"] == (0, 1)
    assert np.array_equal(sr.load(path, encoding=1).kspace.numpy(), second)
    with pytest.raises(ValueError, match=r"encoding 2 has no readouts, there are \[0, 1\]"):
        sr.load(path, encoding=2)


def test_second_phase_encoding_makes_a_volume(make_ismrmrd):
    kspace = noise_like(COILS, 4, 6, 8)
    lines = [
        line for z in range(4) for line in fill(make_ismrmrd, kspace[:, z], kspace_encode_step_2=z)
    ]
    encoding = make_ismrmrd.encoding((8, 6, 4), (80.0, 60.0, 20.0))
    scan = sr.load(make_ismrmrd(lines, encoding))
    assert scan.image_shape == (4, 6, 8)
    assert scan.spacing == (5.0, 10.0, 10.0)
    assert np.array_equal(scan.kspace.numpy(), kspace)


@pytest.mark.parametrize(("full", "kept"), [(16, 8), (15, 7), (16, 7), (18, 12)])
def test_readout_oversampling_is_cut_in_the_image(make_ismrmrd, full, kept):
    """Points inside the kept part give the closed form of the coarser k-space."""
    ny, points = 6, [(1, -2, 1.0), (-3, 2, 0.5j)]  # y, x relative to the origin, value

    def kspace(nx: int) -> np.ndarray:
        ky = np.arange(ny)[:, None] - ny // 2
        kx = np.arange(nx) - nx // 2
        waves = [v * np.exp(-2j * np.pi * (ky * y / ny + kx * x / nx)) for y, x, v in points]
        return np.sum(waves, axis=0)[None] / np.sqrt(ny * nx)

    encoding = make_ismrmrd.encoding(
        (full, ny, 1), (full * 2.0, 60.0, 5.0), (kept, ny, 1), (kept * 2.0, 60.0, 5.0)
    )
    points.append((0, 1 - full // 2, 2.0))  # outside of the part that is kept
    lines = kspace(full)
    points.pop()
    scan = sr.load(make_ismrmrd(fill(make_ismrmrd, lines), encoding))
    assert scan.image_shape == (ny, kept)
    assert scan.spacing == (10.0, 2.0)
    assert bool(scan.mask.all())
    assert np.abs(scan.kspace.numpy() - kspace(kept)).max() < 1e-6


def test_partial_echo_with_oversampling_keeps_its_mask(make_ismrmrd):
    kspace = noise_like(1, 6, 16)
    lines = [
        make_ismrmrd.readout(kspace[:, y, 6:], kspace_encode_step_1=y, center_sample=2)
        for y in range(6)
    ]
    encoding = make_ismrmrd.encoding((16, 6, 1), (160.0, 60, 5), (8, 6, 1), (80.0, 60, 5))
    scan = sr.load(make_ismrmrd(lines, encoding))
    assert scan.mask[0].tolist() == [False] * 3 + [True] * 5
    assert not scan.kspace[:, ~scan.mask].any()


def test_phase_oversampling_becomes_the_image_shape(make_ismrmrd):
    encoding = make_ismrmrd.encoding((8, 6, 1), (80, 60, 5), (8, 4, 1), (80, 40, 5))
    scan = sr.load(make_ismrmrd(fill(make_ismrmrd, noise_like(1, 6, 8)), encoding))
    assert scan.matrix == (6, 8)
    assert scan.image_shape == (4, 8)


def test_odd_header_of_a_real_program(data_dir):
    path = data_dir / "ismrmrd" / "odd_header_brainsim.h5"
    scan = sr.load(path)
    with h5py.File(path) as file:
        lines = np.stack([line.view(np.complex64) for line in file["dataset/data"]["data"]])
    assert np.array_equal(scan.kspace[0].numpy(), lines)
    image = np.abs(centred_ifft(scan.kspace))[0]
    inside = image > 0.3 * image.max()
    y, x = np.nonzero(inside)
    assert abs(y.mean() - 128) < 12  # a head in the middle, not split over the edges
    assert abs(x.mean() - 128) < 12


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("ismrmrd_generate_cartesian_shepp_logan") is None, reason="no ismrmrd-tools here"
)
def test_generated_phantom_equals_the_tools_own_reconstruction(tmp_path: Path):
    path = tmp_path / "phantom.h5"
    make = ["ismrmrd_generate_cartesian_shepp_logan", "-m", "64", "-c", "4", "-n", "0.01", "-C"]
    subprocess.run([*make, "-o", path], check=True, capture_output=True)
    scan = sr.load(path)
    assert scan.noise.shape == (4, 128)
    subprocess.run(["ismrmrd_recon_cartesian_2d", path], check=True, capture_output=True)
    with h5py.File(path) as file:
        peer = file["dataset/cpp/data"][()].squeeze()
    image = np.sqrt((np.abs(centred_ifft(scan.kspace)) ** 2).sum(axis=0))
    scale = (image * peer).sum() / (peer**2).sum()
    assert np.abs(image - scale * peer).max() < 1e-4 * image.max()


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("ismrmrd_generate_cartesian_shepp_logan") is None, reason="no ismrmrd-tools here"
)
def test_generated_acceleration_is_found_in_the_mask(tmp_path: Path):
    path = tmp_path / "phantom.h5"
    make = ["ismrmrd_generate_cartesian_shepp_logan", "-m", "32", "-c", "2", "-a", "2", "-w", "6"]
    subprocess.run([*make, "-r", "2", "-o", path], check=True, capture_output=True)
    scan = sr.load(path)
    assert scan.batch_axes == ("repetition",)
    rows = scan.mask.any(dim=-1)
    assert bool(rows[:, 13:19].all())
    assert rows[0].tolist() != rows[1].tolist()  # the two shots interleave
    assert bool((rows[0] | rows[1]).all())
