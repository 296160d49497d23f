"""What is written is read again: bit-equal where the format allows."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spinray as sr

AXES = ("repetition", "set", "phase", "contrast", "slice")


def random_complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@st.composite
def cartesian_scans(draw: st.DrawFn) -> sr.MRScan:
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    shape = draw(st.lists(st.integers(1, 7), min_size=2, max_size=3).map(tuple))
    names = tuple(draw(st.lists(st.sampled_from(AXES), unique=True, max_size=2)))
    names = tuple(sorted(names, key=AXES.index))
    batch = tuple(draw(st.integers(2, 3)) for _ in names)
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    coils = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["full", "lines", "random", "batch"]))
    mask = np.ones(shape, bool)
    if kind == "lines":
        mask = np.broadcast_to(rng.random((*shape[:-1], 1)) < 0.6, shape).copy()
    elif kind == "random":
        mask = rng.random(shape) < 0.4
    elif kind == "batch":
        mask = rng.random((*batch, *shape)) < 0.5
    # Every item of the batch has a sample, or the file could not know of it.
    mask = np.broadcast_to(mask, (*batch, *shape)).copy()
    mask[..., *([0] * len(shape))] = True
    kspace = random_complex(rng, *batch, coils, *shape) * np.expand_dims(mask, len(batch))
    noise = random_complex(rng, coils, 11) if draw(st.booleans()) else None
    return sr.MRScan(
        kspace=kspace, mask=mask, noise=noise, batch_axes=names,
        image_shape=shape,
        spacing=tuple(draw(st.floats(0.1, 9)) for _ in shape),
    )  # fmt: skip


def save_and_load(scan: sr.MRScan, name: str) -> sr.MRScan:
    with tempfile.TemporaryDirectory() as folder:
        again = sr.load(sr.save(scan, Path(folder) / name))
    assert isinstance(again, sr.MRScan)
    return again


@settings(max_examples=60, deadline=None)
@given(cartesian_scans())
def test_cartesian_scans_through_ismrmrd(scan: sr.MRScan):
    again = save_and_load(scan, "scan.h5")
    assert torch.equal(again.kspace, scan.kspace)
    full = (*scan.batch_shape, *scan.matrix)
    assert torch.equal(again.mask.expand(full), scan.mask.expand(full))
    assert (again.noise is None) == (scan.noise is None)
    assert again.noise is None or torch.equal(again.noise, scan.noise)
    assert again.batch_axes == scan.batch_axes
    assert again.image_shape == scan.image_shape
    assert again.spacing[-scan.ndim :] == pytest.approx(scan.spacing[-scan.ndim :])


@pytest.mark.filterwarnings("ignore:.*no place for the noise samples")
@settings(max_examples=40, deadline=None)
@given(cartesian_scans())
def test_cartesian_scans_through_bart(scan: sr.MRScan):
    again = save_and_load(scan, "scan.cfl")
    axes = [AXES.index(name) for name in scan.batch_axes]
    assert axes == sorted(axes)
    squeezed = scan.kspace.squeeze()
    assert sorted(again.kspace.squeeze().shape) == sorted(squeezed.shape)
    if "set" not in scan.batch_axes:  # BART has no such dimension: it goes to a free one
        assert torch.equal(again.kspace.squeeze(), squeezed)
        assert again.batch_axes == scan.batch_axes


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), ndim=st.sampled_from([2, 3]), coils=st.integers(1, 3),
    readouts=st.integers(1, 4), length=st.integers(2, 9), frames=st.integers(1, 3),
    own=st.booleans(), name=st.sampled_from(["scan.h5", "scan.cfl"]),
)  # fmt: skip
def test_trajectories(seed, ndim, coils, readouts, length, frames, own, name):
    rng = np.random.default_rng(seed)
    batch = (frames,) * (frames > 1)
    count = readouts * length
    k = rng.uniform(-0.5, 0.4999, size=(*batch * own, count, ndim)).astype(np.float32)
    k[..., 0, :] = -0.5  # reaches the edge, so that units can be told
    scan = sr.MRScan(
        kspace=random_complex(rng, *batch, coils, count), trajectory=k,
        image_shape=(6, 8, 16)[-ndim:], readout_length=length,
        batch_axes=("repetition",) * (frames > 1),
    )  # fmt: skip
    again = save_and_load(scan, name)
    assert torch.equal(again.kspace, scan.kspace)
    assert again.readout_length == length
    assert again.image_shape == scan.image_shape
    expected = scan.trajectory.expand(*again.trajectory.shape)
    if name == "scan.h5":
        assert torch.equal(again.trajectory, expected)
    else:
        assert torch.allclose(again.trajectory, expected, atol=1e-6)


def test_headers_are_kept(make_ismrmrd, tmp_path):
    lines = [make_ismrmrd.readout(np.ones((2, 8)), kspace_encode_step_1=y) for y in range(6)]
    scan = sr.load(make_ismrmrd(lines))
    again = sr.load(sr.save(scan, tmp_path / "again.h5"))
    for name in ("repetition_time_ms", "echo_time_ms", "field_strength_t", "patient_position",
                 "protocol", "vendor", "larmor_frequency_hz"):  # fmt: skip
        assert again.header[name] == scan.header[name]


def test_long_noise_and_long_readouts_are_split(tmp_path):
    """ISMRMRD counts samples in 16 bits."""
    rng = np.random.default_rng(0)
    count = 70_000
    k = rng.uniform(-0.5, 0.49, size=(count, 2)).astype(np.float32)
    scan = sr.MRScan(
        kspace=random_complex(rng, 1, count), trajectory=k, image_shape=(8, 8),
        noise=random_complex(rng, 1, count),
    )  # fmt: skip
    again = save_and_load(scan, "long.h5")
    assert torch.equal(again.kspace, scan.kspace)
    assert torch.equal(again.trajectory, scan.trajectory)
    assert torch.equal(again.noise, scan.noise)


@pytest.mark.peer
def test_the_ismrmrd_package_reads_what_we_write(tmp_path):
    rng = np.random.default_rng(0)
    kspace = random_complex(rng, 2, 6, 8)
    path = sr.save(sr.MRScan(kspace=kspace, spacing=(3.0, 2.0)), tmp_path / "scan.h5")
    dataset = ismrmrd.Dataset(str(path), mode="r")
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert header.encoding[0].encodedSpace.fieldOfView_mm.x == 16
    assert header.encoding[0].encodedSpace.matrixSize.y == 6
    assert dataset.number_of_acquisitions() == 6
    for y in range(6):
        acquisition = dataset.read_acquisition(y)
        assert acquisition.idx.kspace_encode_step_1 == y
        assert np.array_equal(acquisition.data, kspace[:, y])
    dataset.close()


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("ismrmrd_recon_cartesian_2d") is None, reason="no ismrmrd-tools")
def test_the_ismrmrd_tools_reconstruct_what_we_write(tmp_path):
    image = np.zeros((32, 32))
    image[5:20, 8:11] = 1
    image[25, 3] = 2
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    path = sr.save(sr.MRScan(kspace=kspace[None].astype(np.complex64)), tmp_path / "scan.h5")
    subprocess.run(["ismrmrd_recon_cartesian_2d", path], check=True, capture_output=True)
    with h5py.File(path) as file:
        peer = file["dataset/cpp/data"][()].squeeze()
    assert np.abs(peer / peer.max() - image / 2).max() < 1e-5


def angles(views: int) -> np.ndarray:
    return np.linspace(0, np.pi, views, endpoint=False) + 0.1


GEOMETRIES = {
    "parallel": lambda: sr.ParallelBeam(angles(5), 7, 0.3, 0.25),
    "fan": lambda: sr.FanBeam(angles(5), 7, 1.1, 500.0, 1000.0, "curved", 0.25),
    "cone": lambda: sr.ConeBeam(angles(5), 3, 7, 1.2, 1.1, 500.0, 1000.0),
    "helical": lambda: sr.HelicalBeam(angles(5), 3, 7, 1.2, 1.1, 500.0, 1000.0, pitch=9.0),
    "modular": lambda: sr.ModularBeam(
        np.tile([0.0, -50, 0], (5, 1)), np.tile([0.0, 50, 0], (5, 1)),
        np.tile([0.0, 0, 1], (5, 1)), np.tile([1.0, 0, 0], (5, 1)), 3, 7,
    ),
}  # fmt: skip


def same_geometry(a: object, b: object) -> bool:
    return type(a) is type(b) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a)
    )


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("slices", [None, 1, 4])
@pytest.mark.parametrize("what", ["line integrals", "counts", "corrected"])
def test_ct_scans_through_data_exchange(tmp_path, name, slices, what):
    geometry = GEOMETRIES[name]()
    flat = len(geometry.shape) == 2
    batch = (slices,) if slices and flat else ()
    generator = torch.Generator().manual_seed(0)
    shape = (*batch, *geometry.shape)
    fields: dict[str, torch.Tensor] = {}
    if what == "line integrals":
        fields["sinogram"] = torch.rand(shape, generator=generator)
    else:
        detector = geometry.shape[1:]
        fields["counts"] = torch.rand(shape, generator=generator) + 1
        fields["blank"] = torch.rand((*batch, 6, *detector), generator=generator) + 3
        fields["dark"] = torch.rand((*batch, 2, *detector), generator=generator) * 0.1
    if what == "corrected":
        fields["sinogram"] = torch.rand(shape, generator=generator)
    volume = sr.VolumeGrid((4, 5) if flat else (3, 4, 5), 0.7)
    scan = sr.CTScan(**fields, geometry=geometry, volume=volume, slice_spacing=2.5)
    again = sr.load(sr.save(scan, tmp_path / "scan.h5"))
    assert same_geometry(again.geometry, geometry)
    assert same_geometry(again.volume, volume)
    assert again.slice_spacing == 2.5
    for field in ("sinogram", "counts", "blank", "dark"):
        one, other = getattr(scan, field), getattr(again, field)
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


@pytest.mark.parametrize("blank", [1e5, torch.full((7,), 1e5)])
def test_simple_blanks(tmp_path, blank):
    geometry = GEOMETRIES["parallel"]()
    scan = sr.CTScan(geometry=geometry, counts=torch.full((2, 5, 7), 3e4), blank=blank)
    again = sr.load(sr.save(scan, tmp_path / "scan.h5"))
    assert torch.equal(again.sinogram, scan.sinogram)


def test_real_tooth_through_data_exchange(data_dir, tmp_path):
    scan = sr.load(data_dir / "ct_raw" / "tooth.h5")
    again = sr.load(sr.save(scan, tmp_path / "tooth.h5"))
    for field in ("sinogram", "counts", "blank", "dark"):
        assert torch.equal(getattr(scan, field), getattr(again, field))
    assert same_geometry(scan.geometry, again.geometry)


def test_real_brain_through_ismrmrd(data_dir, tmp_path):
    """Undersampled along both axes: lines with gaps."""
    scan = sr.load(data_dir / "mr_kspace" / "brain8ch_poisson.npy")
    again = sr.load(sr.save(scan, tmp_path / "brain.h5"))
    assert torch.equal(again.kspace, scan.kspace)
    assert torch.equal(again.mask, scan.mask)
