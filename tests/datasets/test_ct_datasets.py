"""CT datasets on tiny or sparse files of the public layouts: units, orientation, noise."""

from __future__ import annotations

import math

import h5py
import numpy as np
import pydicom
import pytest
import torch
from scipy import stats

import spinray as sr
from spinray.datasets import LoDoPaB, MayoImages, SimulatedCT, TwoDeteCT, collate
from spinray.datasets.simulated_ct import noisy_counts
from spinray.recon.io.readers.two_detect import PIXEL


def off_centre_disc(volume: sr.VolumeGrid, mu: float = 0.02) -> np.ndarray:
    """A disc right of and below the centre: orientation by asymmetry."""
    y, x = np.meshgrid(volume.positions(0), volume.positions(1), indexing="ij")
    extent = volume.shape[0] * volume.spacing[0]
    return mu * (np.hypot(y - 0.1 * extent, x - 0.2 * extent) < 0.12 * extent)


@pytest.fixture
def lodopab(tmp_path):
    """Two slices whose rays are summed as the data set defines them: arrays are (x, y)."""
    image = off_centre_disc(LoDoPaB.volume) / 0.08135858
    x = (np.arange(362) - 180.5) * 0.26 / 362
    s = (np.arange(513) - 256) * 0.26 * np.sqrt(2) / 513
    angles = (np.arange(1000) + 0.5) * np.pi / 1000
    radius, a, b = 0.12 * 0.26, 0.1 * 0.26, 0.2 * 0.26  # of their first and second axis
    centre = a * np.cos(angles) + b * np.sin(angles)
    chord = 2 * np.sqrt(np.clip(radius**2 - (s - centre[:, None]) ** 2, 0, None))
    sinogram = 20.0 * chord / 81.35858
    assert x[0] == pytest.approx(-0.13 + 0.26 / 724)
    for part in ("train", "test"):
        for name, data in (("observation", sinogram), ("ground_truth", image)):
            with h5py.File(tmp_path / f"{name}_{part}_000.hdf5", "w") as file:
                file["data"] = np.stack([data, 0.5 * data]).astype(np.float32)
    (tmp_path / "patient_ids_rand_train.csv").write_text("17\n4\n")
    return tmp_path


def test_lodopab_units_and_orientation(lodopab) -> None:
    data = LoDoPaB(lodopab)
    assert len(data) == 2
    example = data[0]
    assert float(example.target.max()) == pytest.approx(0.02, rel=1e-5)
    expected = sr.XRayTransform(data.geometry, data.volume)(example.target)
    error = (expected - example.sinogram).norm() / example.sinogram.norm()
    assert float(error) < 0.02
    assert data.subjects(data.volumes[0]) == {"17", "4"}
    batch = collate([data[0], data[1]])
    assert batch.sinogram.shape == (2, 1000, 513)
    assert float(batch.max_value[1]) == pytest.approx(0.01, rel=1e-5)


def test_lodopab_files_that_do_not_fit(lodopab) -> None:
    with h5py.File(lodopab / "observation_train_001.hdf5", "w") as file:
        file["data"] = np.zeros((2, 10, 513), np.float32)
    with pytest.warns(UserWarning, match="observation_train_001"):
        data = LoDoPaB(lodopab)
    assert "1000, 513" in data.skipped[0][1]
    with pytest.raises(FileNotFoundError, match=r"zenodo\.3384092.*CC BY 4\.0"):
        LoDoPaB(lodopab / "missing")
    with pytest.raises(ValueError, match="observation_validation"):
        LoDoPaB(lodopab, "validation")


@pytest.mark.peer
def test_two_detect_geometry_is_the_authors(tmp_path) -> None:
    """ASTRA, as the authors' script sets it up, projects an image in their orientation."""
    astra = pytest.importorskip("astra", reason="no astra-toolbox")
    tifffile = pytest.importorskip("tifffile")
    pixel = PIXEL
    small = sr.VolumeGrid((256, 256), (4 * pixel,) * 2)
    disc = np.kron(off_centre_disc(small), np.ones((4, 4))).astype(np.float32)  # 1/mm
    padded = np.zeros((2048, 2048), np.float32)
    padded[511:1535, 511:1535] = disc  # row 0 on top, the middle as their script cuts it
    angles = np.linspace(0, 2 * np.pi, 3601)[:-1:60]
    lengths = (431.019989 / pixel, (529.000488 - 431.019989) / pixel)
    beam = astra.create_proj_geom("fanflat", 0.1496 / pixel, 956, angles, *lengths)
    projector = astra.create_projector("line_fanflat", beam, astra.create_vol_geom(2048, 2048))
    identifier, sinogram = astra.create_sino(padded * pixel, projector)
    astra.data2d.delete(identifier)
    astra.projector.delete(projector)
    folder = tmp_path / "slice03000" / "mode2"  # a detector that stood in the middle
    folder.mkdir(parents=True)
    transmission = np.zeros((3601, 956))
    transmission[:-1:60] = np.exp(-sinogram)
    dark, flat = 100, 30000
    counts = np.repeat(dark + (flat - dark) * transmission, 2, axis=1)
    tifffile.imwrite(folder / "sinogram.tif", np.rint(counts).astype(np.uint16))
    for name, level in (("dark", dark), ("flat1", flat), ("flat2", flat)):
        tifffile.imwrite(folder / f"{name}.tif", np.full((1, 1912), level, np.uint16))
    tifffile.imwrite(folder / "reconstruction.tif", disc * np.float32(pixel))
    data = TwoDeteCT(tmp_path, views=60)
    example = data[0]
    assert example.sinogram.shape == (60, 956)
    torch.testing.assert_close(example.target, torch.from_numpy(disc))
    expected = sr.XRayTransform(data.geometry, data.volume)(example.target)
    error = (expected - example.sinogram).norm() / example.sinogram.norm()
    assert float(error) < 0.02


def test_two_detect_moves_the_early_detector_back(tmp_path) -> None:
    tifffile = pytest.importorskip("tifffile")
    counts = np.full((3601, 1912), 20100, np.uint16)
    counts[:, 400:402] = 10100  # binned column 200
    for number in (1, 3000):
        folder = tmp_path / f"slice{number:05d}" / "mode1"
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "sinogram.tif", counts)
        for name, level in (("dark", 100), ("flat1", 20100), ("flat2", 20100)):
            tifffile.imwrite(folder / f"{name}.tif", np.full((1, 1912), level, np.uint16))
    data = TwoDeteCT(tmp_path, mode=1, views=900)
    places = [955 - int(example.sinogram[0].argmax()) for example in (data[0], data[1])]
    assert places == [199, 200]
    assert float(data[1].sinogram.max()) == pytest.approx(np.log(2), rel=1e-5)
    assert data[0].target is None
    assert len(TwoDeteCT(tmp_path, mode=1, slices=[1])) == 1
    with pytest.raises(FileNotFoundError, match="s41597-023-02484-6"):
        TwoDeteCT(tmp_path / "missing")


def test_mayo_pairs_doses_by_position(tmp_path) -> None:
    for dose, order in (("Full Dose Images", (0, 1, 2)), ("Low dose images", (2, 0))):
        for z in order:
            grid = sr.Image(
                torch.full((16, 16), 0.02 + 0.001 * z + (0.0001 if "Low" in dose else 0)),
                affine=np.diag([1, 1, 1, 1.0]) + np.outer([0, 0, 1, 0], [0, 0, 0, 5.0 * z]),
                metadata={"modality": "CT"},
            )
            path = tmp_path / "L001" / dose / f"{z}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            sr.save(grid, path)
            header = pydicom.dcmread(path)
            header.SeriesDescription = dose
            header.save_as(path)
    (tmp_path / "N005").mkdir()
    with pytest.warns(UserWarning, match="N005"):
        data = MayoImages(tmp_path)
    assert len(data) == 2
    example = data[1]
    assert example.sinogram is None
    assert float(example.target.mean()) == pytest.approx(0.022, rel=1e-3)
    assert float((example.image - example.target).mean()) == pytest.approx(1e-4, rel=0.1)
    assert example.fname == "L001"
    with pytest.raises(FileNotFoundError, match="9NPB-2637"):
        MayoImages(tmp_path / "missing")


@pytest.fixture
def heads(tmp_path):
    grid = sr.VolumeGrid((48, 48), (4.0, 4.0))
    head = 1000 * (off_centre_disc(grid) / 0.0193 - 1)
    np.savez(tmp_path / "a.npz", hu=np.stack([head, head - 10]).astype(np.int16))
    return tmp_path


def test_simulated_ct_units_and_noise(heads) -> None:
    options = {"spacing": 4.0, "views": 90, "fixed": True}
    data = SimulatedCT(heads, photons=1e9, electronic_noise=0, **options)
    example = data[0]
    assert example.sinogram.shape == (90, 736)
    assert float(example.target.max()) == pytest.approx(0.02, rel=1e-3)
    image = sr.ct.fbp(example.sinogram, data.geometry, data.volume, filter="hann")
    assert sr.metrics.nrmse(example.target, image) < 0.2
    assert float(image[26:32, 31:36].mean()) == pytest.approx(0.02, rel=0.02)  # inside the disc
    noisy = SimulatedCT(heads, photons=1e4, electronic_noise=5, **options)[0]
    inside = example.sinogram > 0.3
    ratio = (noisy.sinogram - example.sinogram)[inside]
    counts = 1e4 * torch.exp(-example.sinogram[inside].double())
    theory = (1 / counts + 25 / counts**2).mean().sqrt()
    assert float(ratio.std()) == pytest.approx(float(theory), rel=0.05)


def test_simulated_ct_projects_what_its_target_is_the_mean_of(heads) -> None:
    """Finer pixels are projected; a target from elsewhere would have another mass."""
    options = {"spacing": 4.0, "views": 30, "photons": 1e12, "electronic_noise": 0, "fixed": True}
    for zoom in (None, (0.7, 0.8)):
        data = SimulatedCT(heads, zoom=zoom, **options)
        example = data[0]
        again = sr.XRayTransform(data.geometry, data.volume)(example.target)
        torch.testing.assert_close(again.sum(-1), example.sinogram.sum(-1), rtol=2e-3, atol=0)


def test_simulated_ct_draws_dose_and_noise(heads) -> None:
    data = SimulatedCT(heads, photons=(1e3, 1e5), spacing=4.0, views=30)
    torch.manual_seed(1)
    air = [float(data[0].sinogram[:, :40].std()) for _ in range(20)]
    assert max(air) / min(air) > 3  # the noise of the dose, between 1e3 and 1e5 photons
    with pytest.raises(ValueError, match="photons"):
        SimulatedCT(heads, photons=0)
    # a configuration file has lists
    assert SimulatedCT(heads, photons=[1e3, 1e5], spacing=4.0, views=30)._range == data._range
    with pytest.raises(ValueError, match="a number or two"):
        SimulatedCT(heads, photons=[1e3, 1e4, 1e5])
    cone = sr.ConeBeam(np.arange(4.0), 4, 8, 1.0, 1.0, 100.0, 200.0)
    with pytest.raises(ValueError, match="2D"):
        SimulatedCT(heads, cone, spacing=1.0)


def test_simulated_ct_turns_and_zooms(heads) -> None:
    """The object keeps its attenuation, changes place and size, and the views follow it."""
    options = {"spacing": 4.0, "views": 90, "photons": 1e9, "electronic_noise": 0}
    data = SimulatedCT(heads, zoom=(0.5, 0.8), **options)
    plain = SimulatedCT(heads, fixed=True, **options)[0].target
    torch.manual_seed(2)
    examples = [data[0] for _ in range(4)]
    areas = [float((e.target > 0.01).sum() / (plain > 0.01).sum()) for e in examples]
    assert all(0.5**2 * 0.9 < area < 0.8**2 * 1.1 for area in areas)
    assert max(areas) / min(areas) > 1.1
    centres = torch.tensor([_centre(e.target) for e in examples])
    assert float(centres.std(0).min()) > 0.5  # pixels: it lies off-centre, at another angle
    for example in examples:
        assert float(example.target.max()) == pytest.approx(0.02, rel=0.01)
        image = sr.ct.fbp(example.sinogram, data.geometry, data.volume, filter="hann")
        assert sr.metrics.nrmse(example.target, image) < 0.3
    fixed = SimulatedCT(heads, zoom=(0.5, 0.8), fixed=True, **options)
    assert torch.equal(fixed[0].target, fixed[0].target)
    with pytest.raises(ValueError, match="zoom"):
        SimulatedCT(heads, zoom=(1.0, 0.5), **options)
    with pytest.raises(ValueError, match="zoom must be two"):
        SimulatedCT(heads, zoom=(1.0,), **options)  # type: ignore[arg-type]


def _centre(image: torch.Tensor) -> tuple[float, float]:
    y, x = torch.nonzero(image > 0.01).double().mean(0).tolist()
    return y, x


@pytest.mark.parametrize("photons", [3.0, 29.0, 31.0, 100.0, 1e4])
def test_fast_readings_are_distributed_as_the_exact_ones(photons) -> None:
    """Moments and quantiles, on either side of where normal deviates take over."""
    rays = torch.full((400, 500), 0.7)
    blank = photons * math.exp(0.7)
    fast = noisy_counts(rays, blank, 3.0, seed=1).double().flatten()
    exact = sr.ct.simulate_counts(rays, blank, electronic_noise=3.0, seed=2).double().flatten()
    variance = photons + 9
    assert fast.dtype == torch.float64
    assert float(fast.mean()) == pytest.approx(photons, abs=4 * math.sqrt(variance / len(fast)))
    assert float(fast.var()) == pytest.approx(variance, rel=0.02)
    third = float(((fast - fast.mean()) ** 3).mean()) / variance**1.5
    assert third == pytest.approx(photons / variance**1.5, abs=0.025)
    assert stats.ks_2samp(fast, exact).pvalue > 1e-3
    assert not torch.equal(noisy_counts(rays, blank, 3.0, seed=2).double().flatten(), fast)
    assert torch.equal(noisy_counts(rays, blank, 3.0, seed=1).double().flatten(), fast)
