"""fastMRI volumes, made here as the data set's description says."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import spinray as sr


@pytest.fixture
def make_volume(tmp_path: Path, make_ismrmrd):
    """A volume of two slices: readout 16 (oversampled twice) x 10 columns, of which 8 measured."""

    def make(coils: int | None = 3, **extra: object) -> tuple[Path, np.ndarray]:
        rng = np.random.default_rng(0)
        shape = (2, *((coils,) if coils else ()), 16, 10)
        kspace = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
        kspace[..., :1] = kspace[..., 9:] = 0
        limits = {"kspace_encoding_step_1": (7, 4)}
        encoding = make_ismrmrd.encoding(
            (16, 10, 1), (32.0, 30.0, 4.0), (8, 8, 1), (16.0, 24.0, 4.0), centers=limits
        )
        source = make_ismrmrd([], encoding, name="header.h5")
        path = tmp_path / "volume"
        with h5py.File(source) as header, h5py.File(path, "w") as file:
            file["ismrmrd_header"] = header["dataset/xml"][0]
            file["kspace"] = kspace
            file.attrs["acquisition"], file.attrs["max"] = "AXT2", 0.25
            for name, value in extra.items():
                file[name] = value
        return path, kspace

    return make


def test_multi_coil(make_volume):
    path, kspace = make_volume()
    scan = sr.load(path)
    assert scan.header["format"] == "fastMRI HDF5"
    assert np.array_equal(scan.kspace.numpy(), kspace)
    assert scan.batch_axes == ("slice",)
    assert scan.image_shape == (8, 8)
    assert scan.spacing == (4.0, 2.0, 3.0)
    assert scan.mask[0].tolist() == [False] + [True] * 8 + [False]
    assert scan.header["acquisition"] == "AXT2"
    assert scan.header["max"] == 0.25
    assert scan.header["protocol"] == "brain"


def test_single_coil_with_mask_and_targets(make_volume):
    target = np.arange(2 * 6 * 6, dtype=np.float32).reshape(2, 6, 6)
    sampled = np.arange(10) % 3 == 0
    path, _ = make_volume(None, mask=sampled, reconstruction_esc=target)
    scan = sr.load(path)
    assert tuple(scan.kspace.shape) == (2, 1, 16, 10)
    assert scan.image_shape == (6, 6)
    assert np.array_equal(scan.header["reconstruction_esc"], target)
    assert scan.mask[0].nonzero().ravel().tolist() == [3, 6]  # 0 and 9 are padding


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mask", np.ones(7, bool), r"mask: has shape \(7,\), expected \(10,\)"),
        ("kspace", np.zeros((2, 16)), r"kspace: holds float64, expected complex"),
        ("kspace", np.zeros(3, np.complex64), r"kspace: has shape \(3,\)"),
        ("ismrmrd_header", "<broken", "XML header: not well-formed"),
    ],
)
def test_what_does_not_fit(make_volume, name, value, message):
    path, _ = make_volume()
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        file[name] = value
    with pytest.raises(sr.FormatError, match=message) as error:
        sr.load(path)
    assert str(path) in str(error.value)
