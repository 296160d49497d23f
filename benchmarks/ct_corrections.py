"""CT corrections, dose and calibration against their bars: JSON and pictures.

    SPINRAY_DATA=FOLDER python -m benchmarks.ct_corrections [--output FILE.json] [--pictures FOLDER]

tooth.h5: the axis by two methods that share no step, by algotom where installed, and the sharpest
slice of a sweep (least total variation, entropy and mean magnitude, each the vertex of a parabola); rings before and after.
Low dose: a fifth of the dose inserted into scans of a water disc, against scans simulated at that dose,
noise power and variance of FBP and of the line integrals. Water: a 120 kVp spectrum through 240 mm.
Starvation: shoulders at 2000 photons, single readings' logarithms against windows'. Metal: a steel pin of 8 mm
in a head of water and bone, RMSE against the scan without it. Kernels: MTF 50 % of a wire against their names.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import spinray as sr
from spinray.datasets.ellipses import Ellipse, EllipsePhantom
from spinray.datasets.phantoms import WATER, water_disc
from spinray.datasets.simulate import clinical_fan
from spinray.recon import ct, metrics

from .common import data_folder, has, machine, write

Images = dict[str, NDArray[np.float32]]


def tooth(data: Path, images: Images) -> dict[str, Any]:
    scan = sr.load(data / "ct_raw" / "tooth.h5")
    geometry = scan.geometry
    assert isinstance(geometry, sr.ParallelBeam)
    found: dict[str, Any] = {
        f"centre by {name}": [
            ct.center_of_rotation(row, geometry.angles, name) for row in scan.sinogram
        ]
        for name in ("correlation", "vo")
    }  # fmt: skip
    if has("algotom"):
        from algotom.prep.calculation import find_center_vo

        peer = [float(find_center_vo(row.numpy(), start=285, stop=305)) for row in scan.sinogram]
        found["centre by algotom's find_center_vo"] = peer
    clean = ct.remove_rings(ct.normalize_air(scan.sinogram, 40), "sorting")[0]
    grid = sr.VolumeGrid((1280, 1280), (0.5, 0.5))
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    inside = torch.from_numpy(np.hypot(y, x) < 220)

    def slice_at(sinogram: Tensor, column: float, volume: sr.VolumeGrid, kernel: str) -> Tensor:
        beam = dataclasses.replace(geometry, column_offset=319.5 - column)
        return ct.fbp(sinogram, beam, volume, filter=kernel)

    columns = np.arange(294.8, 297.01, 0.2)
    blur = [_blur(slice_at(clean, c, grid, "hann"), inside) for c in columns]
    for name in blur[0]:
        found[f"sharpest of a sweep by {name}"] = _vertex(columns, [b[name] for b in blur])
    centre = float(np.mean(found["centre by vo"]))
    plain = sr.VolumeGrid((640, 640), (1.0, 1.0))
    raw = slice_at(scan.sinogram[0], centre, plain, "ram-lak")
    images["tooth, as measured"] = raw.numpy()
    found["ring index, as measured"] = metrics.ring_index(raw)
    for method in ("combined", "sorting", "filtering", "wavelet"):
        image = slice_at(ct.remove_rings(scan.sinogram, method)[0], centre, plain, "ram-lak")
        found[f"ring index, {method}"] = metrics.ring_index(image)
        images[f"tooth, {method}"] = image.numpy()
    if has("algotom"):
        from algotom.prep.removal import remove_all_stripe

        peer_rows = torch.from_numpy(remove_all_stripe(scan.sinogram[0].double().numpy())).float()
        image = slice_at(peer_rows, centre, plain, "ram-lak")
        found["ring index, algotom's remove_all_stripe"] = metrics.ring_index(image)
    return found


def _blur(image: Tensor, inside: Tensor) -> dict[str, float]:
    across, down = image.diff(dim=1)[:-1], image.diff(dim=0)[:, :-1]
    share = torch.histc(image[inside], 200, -0.002, 0.012)
    share = share / share.sum()
    steps = (across.square() + down.square()).sqrt()[inside[:-1, :-1]]
    return {
        "total variation": float(steps.mean()),
        "entropy": float(-(share * (share + 1e-12).log()).sum()),
        "mean magnitude": float(image[inside].abs().mean()),
    }


def _vertex(columns: NDArray[np.float64], values: list[float]) -> float:
    """Place of the least value of the fourth-order fit."""
    fit = np.polynomial.Polynomial.fit(columns, values, 4)
    fine = np.linspace(columns[0], columns[-1], 2001)
    return float(fine[np.argmin(fit(fine))])


def low_dose(repeats: int, dose: float = 0.2, photons: float = 1e5) -> dict[str, Any]:
    """Ratios of inserted to simulated noise, in the line integrals and in FBP."""
    geometry = clinical_fan(112, 360, 256)
    truth = torch.from_numpy(water_disc(100).line_integrals(geometry)).expand(repeats, -1, -1)
    level = photons * torch.exp(-0.02 * torch.linspace(-6, 6, 256) ** 2)  # a bow-tie
    electronic = 8.0

    def scan(share: float, seed: int) -> Tensor:
        counts = ct.simulate_counts(
            truth, level, dose=share, electronic_noise=electronic, seed=seed
        )
        return ct.line_integrals(counts, share * level, gain=1.0)

    full, simulated = scan(1.0, 1), scan(dose, 2)
    inserted = ct.lower_dose(full, level, dose, electronic_noise=electronic, seed=3)
    found: dict[str, Any] = {"dose": dose, "photons": photons, "electronic noise": electronic}
    ratio = inserted.var(0).mean(0) / simulated.var(0).mean(0)
    found["variance of line integrals, mean over columns"] = float(ratio.mean())
    found["bias of line integrals"] = float((inserted.mean(0) - simulated.mean(0)).mean())
    grid = sr.VolumeGrid((128, 128), (0.9, 0.9))
    noise = [ct.fbp(s.float(), geometry, grid) for s in (inserted, simulated)]
    power = [
        metrics.noise_power_spectrum(ct.to_hounsfield(image)[:, 32:96, 32:96], 0.9, repeats=True)
        for image in noise
    ]
    found["variance of FBP"] = power[0].variance / power[1].variance
    strong = power[1].radial > 0.1 * power[1].radial.max()
    bands = np.array_split((power[0].radial / power[1].radial)[strong], 6)
    found["noise power of FBP, six bands"] = [float(band.mean()) for band in bands]
    return found


def water(images: Images) -> dict[str, Any]:
    """Cupping of 240 mm of water and Hounsfield units, before and after."""
    geometry = clinical_fan(135, 720, 512)
    grid = sr.VolumeGrid((360, 360), (0.74, 0.74))
    beam = ct.tube_spectrum(120)
    length = torch.from_numpy(water_disc(120).line_integrals(geometry)) / WATER
    shape = {"teflon": 0.25 * ct.bowtie(geometry, 120.0)}
    found: dict[str, Any] = {
        "mean energy, keV": beam.mean_energy, "half-value layer, mm Al": beam.half_value_layer(),
    }  # fmt: skip
    for name, bowtie in (("flat filter", None), ("bow-tie", shape)):
        correct = ct.water_correction(beam, bowtie=bowtie)
        blank = beam.line_integrals(bowtie) if bowtie else 0.0
        measured = beam.line_integrals({"water": length, **(bowtie or {})}) - blank
        for state, sinogram in (("before", measured), ("after", correct(measured))):
            image = ct.fbp(sinogram.float(), geometry, grid, filter="hann")
            hu = ct.to_hounsfield(image, correct.water)
            figures = metrics.water_phantom(hu, 0.74)
            found[f"{name}, {state}"] = {
                "cupping, HU": figures.cupping, "water, HU": figures.water,
                "uniformity, HU": figures.uniformity,
            }  # fmt: skip
            images[f"water, {name}, {state}"] = hu.numpy()
    return found


def metal(images: Images) -> dict[str, Any]:
    """RMSE outside the metal in HU, against the same scan without the pin, and with noise."""
    geometry = clinical_fan(110, 984, 736)
    grid = sr.VolumeGrid((480, 480), (0.45, 0.45))
    head, skull, brain = (
        Ellipse(1, center, axes)
        for center, axes in (((0, 0), (98, 76)), ((0, 0), (94, 72)), ((1, 0), (87, 66)))
    )
    lesions = [Ellipse(-0.03, (-6, -14), (27, 8)), Ellipse(-0.03, (-6, 14), (27, 8)),
               Ellipse(0.05, (40, -38), (7, 9)), Ellipse(-0.02, (-40, 36), (9, 9))]  # fmt: skip
    pin = Ellipse(1, (20.0, 25.0), (4.0, 4.0))

    def path(*shapes: Ellipse) -> Tensor:
        return torch.from_numpy(EllipsePhantom("path", shapes).line_integrals(geometry))

    def hole(shape: Ellipse) -> Ellipse:
        return dataclasses.replace(shape, value=-1)

    beam = ct.tube_spectrum(120, step=2.0)
    correct = ct.water_correction(beam)
    bone = path(skull, hole(brain))
    soft = path(head, hole(skull), brain, *lesions)
    paths = {
        False: {"water": soft, "bone": bone},
        True: {"water": soft - path(pin), "bone": bone, "Fe": path(pin)},
    }
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    outside = torch.from_numpy(((y / 98) ** 2 + (x / 76) ** 2 < 1) & (np.hypot(y - 20, x - 25) > 6))

    def image(sinogram: Tensor) -> Tensor:
        data = ct.fbp(sinogram.float(), geometry, grid, filter="hann")
        return ct.to_hounsfield(data, correct.water)

    reference = image(correct(beam.line_integrals(paths[False])))

    def measured(pinned: bool, photons: float | None) -> Tensor:
        if photons is None:
            return beam.line_integrals(paths[pinned])
        counts = ct.simulate_counts(
            paths[pinned], photons, spectrum=beam, electronic_noise=5.0, seed=int(pinned)
        )
        return ct.line_integrals(counts, photons, gain=1.0)

    found: dict[str, Any] = {}
    for name, photons in (("without noise", None), ("1e6 photons", 1e6)):
        sinogram = correct(measured(True, photons)).float()
        reduced, _ = ct.reduce_metal(
            sinogram, geometry, lambda s, g, v: ct.fbp(s, g, v, filter="hann"), water=correct.water
        )
        plain = image(correct(measured(False, photons)))
        pictures = {"uncorrected": image(sinogram), "NMAR": image(reduced), "no pin": plain}
        errors = {k: float((v - reference)[outside].square().mean().sqrt())
                  for k, v in pictures.items()}  # fmt: skip
        found[name] = {f"RMSE {k}, HU": error for k, error in errors.items()}
        if photons is None:
            found[name]["ratio"] = errors["uncorrected"] / errors["NMAR"]
        images |= {f"head, {name}, {k}": v.numpy() for k, v in pictures.items()}
    images["head, without pin"] = reference.numpy()
    return found


def starvation(images: Images) -> dict[str, Any]:
    """RMSE in HU of shoulders at a low dose: single readings' logarithm against windows'."""
    body = EllipsePhantom("shoulders", (
        Ellipse(WATER, (0, 0), (90, 210)), Ellipse(0.5 * WATER, (10, -150), (28, 28)),
        Ellipse(0.5 * WATER, (10, 150), (28, 28)), Ellipse(-0.8 * WATER, (-40, 0), (15, 20)),
    ))  # fmt: skip
    geometry = clinical_fan(225, 720, 512)
    grid = sr.VolumeGrid((320, 320), (1.4, 1.4))
    truth = torch.from_numpy(body.line_integrals(geometry))
    counts = ct.simulate_counts(truth, 2e3, electronic_noise=4.0, seed=0)
    dark = 4.0 * torch.randn((64, 512), generator=torch.Generator().manual_seed(1)).double()
    blank = ct.simulate_counts(torch.zeros(64, 512), 2e3, electronic_noise=4.0, seed=2).double()
    single = -torch.log((counts / 2e3).clamp_min(1e-6))
    windows = ct.line_integrals(counts, blank, dark)
    inside = torch.from_numpy(body.image(grid, subsamples=2) > 0.1 * WATER)
    exact = ct.fbp(truth.float(), geometry, grid, filter="hann")
    found: dict[str, Any] = {
        "readings at or below zero": float((counts <= 0).double().mean()),
        "largest line integral": float(truth.max()),
    }
    for name, sinogram in (("single readings", single), ("windows", windows)):
        image = ct.fbp(sinogram.float(), geometry, grid, filter="hann")
        error = 1000 * (image - exact) / WATER
        found[f"RMSE, HU, {name}"] = float(error[inside].square().mean().sqrt())
        found[f"bias, HU, {name}"] = float(error[inside].mean())
        images[f"shoulders, {name}"] = ct.to_hounsfield(image).numpy()
    return found


def kernels() -> dict[str, Any]:
    """Measured over named MTF 50 %, of a wire in a fan."""
    geometry = clinical_fan(110, 720, 512)
    wire = EllipsePhantom("wire", (Ellipse(1e-3, (7.3, -4.1), (0.1, 0.1)),))
    integrals = torch.from_numpy(
        wire.line_integrals(dataclasses.replace(
            geometry, columns=512 * 5, column_spacing=geometry.column_spacing / 5,
            column_offset=geometry.column_offset * 5,
        ))
    ).reshape(720, 512, 5).mean(-1)  # fmt: skip
    grid = sr.VolumeGrid((160, 160), (0.08, 0.08), center=(7.3, -4.1))
    found = {}
    for half in (0.3, 0.5, 0.7):
        image = ct.fbp(integrals, geometry, grid, filter=f"mtf50={half}")
        transfer = metrics.mtf_wire(image, 0.08, diameter=0.2, radius=3.8)
        found[f"mtf50={half}"] = transfer.frequency_at(0.5)
    return found


def draw(images: Images, folder: Path) -> None:
    """A PNG for each image, windowed by its kind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    windows = {
        "tooth": (-0.002, 0.01),
        "water": (-40, 40),
        "head": (-150, 200),
        "shoul": (-300, 300),
    }
    for name, image in images.items():
        low, high = windows[name[:5].rstrip(",")]
        file = folder / f"{name.replace(', ', '_').replace(' ', '-')}.png"
        plt.imsave(file, image, cmap="gray", vmin=low, vmax=high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/ct_corrections.json")
    )
    parser.add_argument("--pictures", type=Path, help="folder for PNG images")
    parser.add_argument("--repeats", type=int, default=200, help="scans of the low-dose job")
    arguments = parser.parse_args()
    data = data_folder()
    images: Images = {}
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "kernels": kernels,
        "water": lambda: water(images),
        "metal": lambda: metal(images),
        "starvation": lambda: starvation(images),
        "low dose": lambda: low_dose(arguments.repeats),
    }
    if (data / "ct_raw" / "tooth.h5").exists():
        jobs["tooth"] = lambda: tooth(data, images)
    if not (has("spekpy") and has("xraylib")):
        print("skipped: water and metal need spekpy and xraylib (extra spectra)")
        jobs = {name: job for name, job in jobs.items() if name not in ("water", "metal")}
    results: dict[str, Any] = {"machine": machine()}
    for name, job in jobs.items():
        results[name] = job()
        print(f"{name}:")
        for row, values in results[name].items():
            print(f"  {row:50}", values)
        write(arguments.output, results)
    if arguments.pictures:
        draw(images, arguments.pictures)


if __name__ == "__main__":
    main()
