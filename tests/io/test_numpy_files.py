"""NumPy files."""

from __future__ import annotations

import numpy as np
import pytest

import spinray as sr

RNG = np.random.default_rng(0)


def random_complex(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def test_npy_is_cartesian_kspace(tmp_path):
    path = tmp_path / "k.bin"
    for shape in ((3, 4, 5), (2, 3, 4, 5)):
        kspace = random_complex(*shape)
        with path.open("wb") as file:
            np.save(file, kspace)
        scan = sr.load(path)
        assert np.array_equal(scan.kspace.numpy(), kspace)
        assert scan.image_shape == (4, 5)
    volume = sr.load(path, image_shape=(3, 4, 5), spacing=(2, 1, 1))
    assert (volume.coils, volume.ndim, volume.spacing) == (2, 3, (2.0, 1.0, 1.0))
    np.save(tmp_path / "one.npy", kspace[0, 0].astype(">c8"))
    assert tuple(sr.load(tmp_path / "one.npy").kspace.shape) == (1, 4, 5)


def test_npz_by_names(tmp_path):
    path = tmp_path / "scan.npz"
    k = RNG.uniform(-0.5, 0.49, size=(12, 2))
    fields = {"kspace": random_complex(2, 3, 12), "trajectory": k, "image_shape": (8, 6),
              "noise": random_complex(3, 7), "spacing": (2.0, 1.0), "readout_length": 4,
              "affine": np.diag([1.0, 2, 3, 1]), "batch_axes": ["repetition"]}  # fmt: skip
    np.savez_compressed(path, **fields)
    scan = sr.load(path)
    assert np.array_equal(scan.trajectory.numpy(), k)
    assert np.array_equal(scan.noise.numpy(), fields["noise"])
    assert np.array_equal(scan.affine, fields["affine"])
    assert (scan.image_shape, scan.spacing, scan.readout_length, scan.batch_axes) == (
        (8, 6), (2.0, 1.0), 4, ("repetition",),
    )  # fmt: skip


def test_npz_of_ct(tmp_path):
    path = tmp_path / "ct.npz"
    sinogram, angles = RNG.random((5, 7)).astype(np.float32), np.arange(5) * 0.6
    np.savez(path, sinogram=sinogram, angles=angles)
    scan = sr.load(path)
    assert isinstance(scan.geometry, sr.ParallelBeam)
    assert np.array_equal(scan.geometry.angles, angles)
    np.savez(
        path, sinogram=sinogram, angles=angles, geometry="fan", column_spacing=1.5,
        source_to_isocenter=500.0, source_to_detector=900.0, detector="curved",
    )  # fmt: skip
    geometry = sr.load(path).geometry
    assert isinstance(geometry, sr.FanBeam)
    assert (geometry.columns, geometry.column_spacing, geometry.detector) == (7, 1.5, "curved")
    np.savez(path, counts=sinogram + 1, blank=np.float32(4), angles=angles)
    assert np.allclose(sr.load(path).sinogram.numpy(), -np.log((sinogram + 1) / 4), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kspace": np.ones((2, 4, 4))}, "kspace: is float64, expected complex"),
        ({"kspace": np.ones((2, 4, 4), complex), "mask": np.ones((3, 3), bool)}, "mask has shape"),
        ({"kspace": np.array([{"a": 1}])}, "kspace: holds Python objects .a pickle.: refused"),
        ({"sinogram": np.ones((5, 7))}, "geometry: makes no ParallelBeam"),
        ({"sinogram": np.ones((5, 7)), "geometry": "banana"}, "is 'banana', expected one of"),
        ({"sinogram": np.ones(5), "angles": np.ones(5)}, "expected .view, column"),
    ],
)
def test_what_does_not_fit(tmp_path, fields, message):
    path = tmp_path / "scan.npz"
    np.savez(path, **fields)
    with pytest.raises(sr.FormatError, match=message) as error:
        sr.load(path)
    assert str(error.value).startswith(str(path))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "evil.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(sr.FormatError):
        sr.load(path)
    with pytest.raises(sr.FormatError):
        sr.load_image(path)
