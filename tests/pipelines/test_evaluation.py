"""`spinray evaluate`: figures as fastMRI's, tables, and what happens to broken volumes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from dataset_files import fft, ifft, slices, write_fastmri

import spinray as sr
from spinray.datasets import FastMRI, LineMask, SimulatedCT
from spinray.datasets.reports import subject_keys
from spinray.recon import metrics
from spinray.recon.models import PromptVarNet, VarNet
from spinray.recon.pipelines.evaluation import evaluate_folder, evaluate_method


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Four volumes of two contrasts, and noisy reconstructions larger than their targets."""
    root = tmp_path_factory.mktemp("evaluate")
    targets, images = root / "targets", root / "images"
    targets.mkdir()
    images.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        name = f"file{index}.h5"
        contrast = "AXT2" if index < 3 else "AXFLAIR"
        write_fastmri(targets / name, seed=index, matrix=(64, 56), crop=(48, 48),
                      acquisition=contrast)  # fmt: skip
        with h5py.File(targets / name) as file:
            target = np.pad(file["reconstruction_rss"][()], ((0, 0), (4, 4), (4, 4)))
        noisy = np.abs(target + (1 + index) * 2e-7 * rng.normal(size=target.shape))
        with h5py.File(images / name, "w") as file:
            file["reconstruction"] = noisy.astype(np.float32)
    return images, targets


def read_pair(images: Path, targets: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(targets / name) as target, h5py.File(images / name) as image:
        return target["reconstruction_rss"][()], image["reconstruction"][()]


def test_figures_of_each_volume(folders) -> None:
    result = evaluate_folder(*folders)
    assert [row.volume for row in result.volumes] == [f"file{i}.h5" for i in range(4)]
    for row in result.volumes:
        target, image = read_pair(*folders, row.volume)
        expected = metrics.volume_metrics(target, image)
        assert {name: row.figures[name] for name in expected} == expected
        assert row.figures["ssim_object"] == metrics.masked_metrics(target, image)["ssim"]
    assert not result.findings
    summary = result.summary()
    assert set(summary) == {"all", "AXT2", "AXFLAIR"}
    values = result.values("psnr")
    assert summary["AXT2"]["psnr"] == pytest.approx((values[:3].mean(), values[:3].std(ddof=1)))


@pytest.mark.peer
def test_fastmri_evaluate_gives_the_same_means(folders) -> None:
    evaluate = pytest.importorskip("fastmri.evaluate", reason="no fastmri")
    from types import SimpleNamespace

    arguments = SimpleNamespace(
        predictions_path=folders[0], target_path=folders[1], acquisition=None, acceleration=None
    )
    expected = evaluate.evaluate(arguments, "reconstruction_rss").means()
    found = evaluate_folder(*folders).summary()["all"]
    for name in ("MSE", "NMSE", "PSNR", "SSIM"):
        assert found[name.lower()][0] == pytest.approx(float(np.ravel(expected[name])[0]), rel=1e-6)


def test_table_and_csv(folders, tmp_path, spinray) -> None:
    output = tmp_path / "figures.csv"
    done = spinray("evaluate", *folders, "-o", output)
    assert done.returncode == 0, done.stderr
    for words in ("psnr (dB)", "ssim_object", "AXFLAIR", "none found in 4 volumes"):
        assert words in done.stdout
    rows = list(csv.DictReader(output.open()))
    assert [row["volume"] for row in rows] == [f"file{i}.h5" for i in range(4)]
    target, image = read_pair(*folders, "file2.h5")
    assert float(rows[2]["ssim"]) == metrics.volume_metrics(target, image)["ssim"]
    only = spinray("evaluate", *folders, "--acquisition", "AXFLAIR", "--json")
    assert [row["volume"] for row in json.loads(only.stdout)["volumes"]] == ["file3.h5"]


def test_other_formats_by_the_same_name(folders, tmp_path) -> None:
    for path in sorted(folders[0].iterdir()):
        with h5py.File(path) as file:
            image = sr.Image(torch.from_numpy(file["reconstruction"][()]))
        sr.save(image, tmp_path / f"{path.stem}.nii.gz")
    assert evaluate_folder(tmp_path, folders[1]).summary() == evaluate_folder(*folders).summary()


def test_a_corrupt_volume_among_many_is_left_out(folders, tmp_path, spinray) -> None:
    for path in folders[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "file1.h5").write_bytes((tmp_path / "file1.h5").read_bytes()[:2500])
    (tmp_path / "file3.h5").unlink()
    output = tmp_path / "figures.csv"
    done = spinray("evaluate", tmp_path, folders[1], "-o", output)
    assert done.returncode == 1
    assert "left out: file1.h5" in done.stderr
    assert "left out: file3.h5: no reconstruction of this name" in done.stderr
    assert "Traceback" not in done.stderr
    assert [row["volume"] for row in csv.DictReader(output.open())] == ["file0.h5", "file2.h5"]


def test_nothing_to_evaluate_is_an_error(folders, tmp_path, spinray) -> None:
    for words, message in (
        ((tmp_path, folders[1]), "empty, expected reconstructions"),
        ((folders[0], tmp_path), "empty, expected fastMRI volumes"),
        ((folders[0], tmp_path / "none"), "no such folder"),
        ((folders[0], folders[1], "--acquisition", "AXT9"), "no volume with acquisition AXT9"),
        ((folders[0],), "RECONSTRUCTIONS and TARGETS"),
        ((folders[1], "--method", "sense", "--mask", "circles"), "random, equispaced"),
        ((folders[1], "--method", "magic"), "unknown method"),
    ):
        done = spinray("evaluate", *words)
        assert done.returncode == 2, (words, done.stderr)
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_paired_tests_against_another_table(folders, tmp_path, spinray) -> None:
    worse = tmp_path / "worse"
    worse.mkdir()
    for path in folders[0].iterdir():
        target, image = read_pair(*folders, path.name)
        with h5py.File(worse / path.name, "w") as file:
            padded = np.pad(target, ((0, 0), (4, 4), (4, 4)))
            file["reconstruction"] = padded + 1.5 * (image - padded)
    evaluate_folder(worse, folders[1]).write_csv(tmp_path / "worse.csv")
    done = spinray("evaluate", *folders, "--against", tmp_path / "worse.csv")
    assert "effect +1.00" in next(
        line for line in done.stdout.splitlines() if line.startswith("psnr against")
    )
    tests = evaluate_folder(*folders).against(tmp_path / "worse.csv")
    assert tests["psnr"].difference == pytest.approx(20 * np.log10(1.5), abs=0.05)
    assert tests["nmse"].effect == -1


def test_crimes_stand_in_the_table(tmp_path, spinray) -> None:
    """Targets whose k-space was computed from magnitude images."""
    targets, images = tmp_path / "targets", tmp_path / "images"
    targets.mkdir()
    images.mkdir()
    magnitude = np.abs(slices((2, 64, 56)))
    write_fastmri(targets / "a.h5", coils=None, depth=2, matrix=(64, 56), crop=(64, 56))
    with h5py.File(targets / "a.h5", "a") as file:
        del file["kspace"], file["reconstruction_esc"]
        file["kspace"] = fft(magnitude).astype(np.complex64)
        file["reconstruction_esc"] = magnitude.astype(np.float32)
    np.save(images / "a.npy", magnitude + 0.01)
    done = spinray("evaluate", images, targets, "-o", tmp_path / "f.csv")
    assert "data crime: Hermitian k-space: 1 found" in done.stdout
    assert next(csv.DictReader((tmp_path / "f.csv").open()))["data_crimes"] == "Hermitian k-space"


def test_a_method_on_raw_data(folders, spinray) -> None:
    mask = LineMask("equispaced_fraction", (0.2,), (2,))
    data = FastMRI(folders[1], mask, fixed_masks=True, volumes=["file0.h5"])
    found = evaluate_method(data, "rss").volumes[0]
    images = [np.sqrt((np.abs(ifft(data[i].kspace.numpy())) ** 2).sum(0)) for i in range(3)]
    targets = [data[i].target for i in range(3)]
    expected = metrics.volume_metrics(np.stack(targets), np.stack(images))
    assert {name: found.figures[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert expected["psnr"] < 60
    full = FastMRI(folders[1], volumes=["file0.h5"])
    assert evaluate_method(full, "rss").volumes[0].figures["psnr"] > 100
    words = ("--mask", "equispaced_fraction", "--center-fraction", 0.2, "--acceleration", 2)
    done = spinray("evaluate", folders[1], "--method", "rss", *words, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["volumes"][0]
    assert told["figures"]["psnr"] == pytest.approx(found.figures["psnr"])


def test_a_ct_method_by_lodopabs_figures(tmp_path) -> None:
    grid = sr.VolumeGrid((32, 32), (6.0, 6.0))
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    hu = np.where(np.hypot(y, x) < 70, 0, -1000) + np.zeros((2, 1, 1))
    np.savez(tmp_path / "a.npz", hu=hu.astype(np.int16))
    data = SimulatedCT(tmp_path, photons=1e6, spacing=6.0, views=60, fixed=True)
    result = evaluate_method(data, "fbp", options={"filter": "hann"})
    images = [
        sr.ct.fbp(data[i].sinogram, data.geometry, data.volume, filter="hann") for i in range(2)
    ]
    expected = metrics.lodopab_metrics(
        torch.stack([data[i].target for i in range(2)]), torch.stack(images)
    )
    assert dict(result.volumes[0].figures) == pytest.approx(expected, rel=1e-4)


def test_info_of_a_data_set(folders, spinray) -> None:
    done = spinray("info", folders[1])
    assert done.returncode == 0, done.stderr
    assert "fastMRI: 4 volumes of 4 subjects, 12 slices" in done.stdout
    assert "none found in 4 volumes" in done.stdout
    leak = spinray("info", folders[1], "--against", folders[1])
    assert "data crime: same subject: 4 found" in leak.stdout
    assert "data crime: same image" in leak.stdout


def test_a_network_sees_the_neighbouring_slices_and_leaks_are_named(folders, tmp_path) -> None:
    """A volume is one scan; of the subjects that the network was trained on the table says so."""
    torch.manual_seed(0)
    model = PromptVarNet(1, slices=3, chans=4, levels=1, prompts=2, sens_chans=2, sens_pools=2)
    torch.nn.init.normal_(model.cascades[0].denoiser.tail.weight, std=0.1)
    mask = LineMask("equispaced_fraction", (0.2,), (2,))
    data = FastMRI(folders[1], mask, fixed_masks=True, volumes=["file0.h5", "file1.h5"])
    facts = {"modality": "mri", "subjects": subject_keys(data, data.volumes[1:])}
    path = sr.save_model(model, tmp_path / "w.safetensors", training=facts)
    result = evaluate_method(data, "varnet", options={"weights": str(path)})
    kspace = torch.stack([data[i].kspace for i in range(3)])
    with torch.no_grad():
        middle = model(kspace[None], data[1].mask[None, None])[0].abs()
    others = [sr.reconstruct(
        sr.MRScan(kspace, mask=data[0].mask[0].expand(64, 56), batch_axes=("slice",)),
        "varnet", weights=str(path)).data.abs()[i] for i in (0, 2)]  # fmt: skip
    images = torch.stack([others[0], middle, others[1]])
    expected = metrics.volume_metrics(torch.stack([data[i].target for i in range(3)]), images)
    found = result.volumes[0].figures
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert [list(row.crimes) for row in result.volumes] == [[], ["same subject"]]


def test_varnet_is_told_the_lines_of_the_centre(folders, tmp_path) -> None:
    """As in training, and as fastMRI tells it: in the mask an odd number counts one less."""
    torch.manual_seed(0)
    model = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=2, pools=2).eval()
    data = FastMRI(
        folders[1], LineMask("equispaced_fraction", (0.2,), (2,)), fixed_masks=True,
        volumes=["file0.h5"],
    )  # fmt: skip
    assert data[0].calibration == 11
    path = sr.save_model(model, tmp_path / "w.safetensors", training={"modality": "mri"})
    found = evaluate_method(data, "varnet", options={"weights": str(path)}).volumes[0].figures
    targets = torch.stack([data[i].target for i in range(3)])
    figures = []
    for lines in (11, 0):
        with torch.no_grad():
            images = [model(data[i].kspace[None], data[i].mask[None], lines)[0] for i in range(3)]
        figures.append(metrics.volume_metrics(targets, torch.stack(images))["nmse"])
    assert found["nmse"] == pytest.approx(figures[0], rel=1e-5)
    assert found["nmse"] != pytest.approx(figures[1], rel=1e-4)


def test_the_part_of_a_split_and_options_without_use(folders, tmp_path, spinray) -> None:
    for part in ("train", "test"):
        with h5py.File(tmp_path / f"observation_{part}_000.hdf5", "w") as file:
            file["data"] = np.zeros((1, 1000, 513), np.float32)
    (tmp_path / "observation_train_001.hdf5").write_bytes(b"broken")
    done = spinray("evaluate", tmp_path, "--method", "fbp")
    assert "observation_test_000.hdf5: has no target" in done.stderr
    done = spinray("evaluate", tmp_path, "--method", "fbp", "--part", "train")
    assert "observation_train_00" in done.stderr
    assert "observation_test" not in done.stderr
    done = spinray("info", tmp_path, "--part", "test")
    assert "1 volumes of 1 subjects" in done.stdout
    done = spinray("info", folders[1], "--part", "test")
    assert (done.returncode, "--part is for lodopab" in done.stderr) == (2, True)
    words = ("--method", "rss", "--mask", "poisson", "--center-fraction", "0.1")
    done = spinray("evaluate", folders[1], *words)
    assert (done.returncode, "--center-fraction is of line masks" in done.stderr) == (2, True)


def test_info_of_a_folder_with_a_corrupt_volume_fails(folders, tmp_path, spinray) -> None:
    for path in folders[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "file1.h5").write_bytes(b"broken")
    done = spinray("info", tmp_path)
    assert done.returncode == 1
    assert "left out: file1.h5" in done.stdout
