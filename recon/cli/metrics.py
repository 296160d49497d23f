"""``spinray metrics``: the physicist's figures of phantom images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..image import Image

_WATER_RANGE = 0.015, 0.03  # 1/mm, from 150 to 40 keV

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Figures of CT phantom images: resolution, noise, uniformity, contrast, detectability.",
)

Files = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Images of one series.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts.")]
Water = Annotated[
    float | None,
    typer.Option(help="Attenuation of water in 1/mm. Default: the image's, or 0.0193."),
]


@app.command("water")
def water(
    images: Files,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Write (or add to) a calibration of Hounsfield units: JSON."),
    ] = None,
    kvp: Annotated[
        float | None, typer.Option(help="Tube voltage of the calibration. Default: the image's.")
    ] = None,
    water: Water = None,
    as_json: Json = False,
) -> None:
    """HU, noise, uniformity and cupping of a round water phantom.

    Example: [bold]spinray metrics water phantom.nii.gz --calibration hu.json --kvp 120[/bold]
    """
    from ..metrics import water_phantom

    stack, spacing, image = _hounsfield(images, water)
    found = water_phantom(stack, spacing)
    if calibration is not None:
        _calibrate(images, image, calibration, kvp)
    _show(found.as_dict(), as_json, {"radius": "mm", "center": "pixels"}, "HU")


@app.command("mtf")
def mtf(
    images: Files,
    wire: Annotated[
        str | None, typer.Option(help="Pixel beside which a wire or bead lies: Y,X.")
    ] = None,
    diameter: Annotated[float, typer.Option(help="Of the wire in mm.")] = 0.0,
    disc: Annotated[
        str | None, typer.Option(help="Task transfer function of a disc: Y,X,RADIUS (pixels, mm).")
    ] = None,
    edge: Annotated[
        str | None, typer.Option(help="Rectangle that a straight edge crosses: Y0:Y1,X0:X1.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Modulation transfer from a wire, a straight edge or the rim of a disc.

    Example: [bold]spinray metrics mtf wire.dcm --wire 256,300 --diameter 0.05[/bold]
    """
    from ..metrics import mtf_edge, mtf_wire, ttf_disc

    if sum(given is not None for given in (wire, disc, edge)) != 1:
        raise ValueError("mtf needs one of --wire, --disc and --edge")
    stack, spacing, _ = _hounsfield(images, None)
    if wire is not None:
        row, column = (int(v) for v in _numbers("--wire", wire, 2))
        part = _around(stack, row, column, 24)
        found = mtf_wire(part, spacing, diameter=diameter)
    elif disc is not None:
        y, x, radius = _numbers("--disc", disc, 3)
        found = ttf_disc(stack, spacing, (y, x), radius)
    else:
        found = mtf_edge(stack[:, *_rectangle(edge or "")], spacing)
    figures: dict[str, Any] = {"contrast": found.contrast}
    for level in (0.5, 0.1):
        try:
            figures[f"mtf{level:.0%}".rstrip("%")] = found.frequency_at(level)
        except ValueError:
            figures[f"mtf{level:.0%}".rstrip("%")] = None
    if as_json:
        figures |= {"frequencies": found.frequencies.tolist(), "values": found.values.tolist()}
    _show(figures, as_json, {"contrast": "HU"}, "cycles/mm")


@app.command("nps")
def nps(
    images: Files,
    size: Annotated[int, typer.Option(help="Of the squares in pixels.")] = 64,
    radius: Annotated[
        str | None,
        typer.Option(
            help="Squares between these distances from the middle in pixels: INNER,OUTER."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Noise power spectrum of an even phantom.

    Example: [bold]spinray metrics nps water.nii.gz --radius 0,120 --json[/bold]
    """
    from ..metrics import noise_power_spectrum, square_rois

    stack, spacing, _ = _hounsfield(images, None)
    ring = None if radius is None else tuple(_numbers("--radius", radius, 2))
    rois = square_rois(stack, size, radius=ring)  # type: ignore[arg-type]
    found = noise_power_spectrum(rois, spacing)
    figures: dict[str, Any] = {
        "noise": found.variance**0.5,
        "mean_frequency": found.mean_frequency,
        "peak_frequency": found.peak_frequency,
        "rois": found.rois,
    }
    if as_json:
        figures |= {
            "frequencies": found.radial_frequencies.tolist(),
            "radial": found.radial.tolist(),
        }
    _show(figures, as_json, {"noise": "HU", "rois": ""}, "cycles/mm")


@app.command("contrast")
def contrast(
    images: Files,
    roi: Annotated[str, typer.Option(help="Disc of the insert: Y,X,RADIUS in pixels.")],
    background: Annotated[str, typer.Option(help="Disc beside it: Y,X,RADIUS in pixels.")],
    expected: Annotated[float | None, typer.Option(help="HU of the insert.")] = None,
    as_json: Json = False,
) -> None:
    """Mean, noise and contrast-to-noise ratio of an insert, and its error in HU.

    Example: [bold]spinray metrics contrast acr.dcm --roi 180,256,12 --background 256,256,20[/bold]
    """
    from ..metrics import cnr

    stack, _, _ = _hounsfield(images, None)
    inside, outside = (
        _disc(stack, name, text) for name, text in (("--roi", roi), ("--background", background))
    )
    figures: dict[str, Any] = {
        "mean": float(stack[inside].mean()),
        "background": float(stack[outside].mean()),
        "noise": float(stack[outside].std(ddof=1)),
        "cnr": cnr(stack, inside, outside),
    }
    if expected is not None:
        figures["error"] = figures["mean"] - expected
    _show(figures, as_json, {"cnr": ""}, "HU")


@app.command("rings")
def rings(images: Files, as_json: Json = False) -> None:
    """Strength of rings about the middle of each image.

    Example: [bold]spinray metrics rings tooth.nii.gz[/bold]
    """
    import numpy as np

    from ..metrics import ring_index

    stack, _, _ = _hounsfield(images, None)
    figures = [ring_index(plane) for plane in stack]
    _show({"ring_index": float(np.sqrt(np.mean(np.square(figures))))}, as_json, {}, "HU")


@app.command("detect")
def detect(
    images: Files,
    diameter: Annotated[float, typer.Option(help="Of the lesion in mm.")],
    contrast: Annotated[float, typer.Option(help="Of the lesion in HU.")],
    disc: Annotated[
        str, typer.Option(help="Disc whose rim gives the resolution: Y,X,RADIUS (pixels, mm).")
    ],
    noise: Annotated[
        str, typer.Option(help="Squares for the noise, from the middle in pixels: INNER,OUTER.")
    ],
    size: Annotated[int, typer.Option(help="Of these squares in pixels.")] = 32,
    eye: Annotated[bool, typer.Option("--eye", help="Through the filter of an eye.")] = False,
    as_json: Json = False,
) -> None:
    """Detectability of a round lesion by the non-prewhitening observer.

    Example: [bold]spinray metrics detect p.dcm --diameter 5 --contrast 10
    --disc 180,256,12 --noise 0,60[/bold]
    """
    from ..metrics import auc_of, noise_power_spectrum, npw_detectability, square_rois, ttf_disc

    stack, spacing, _ = _hounsfield(images, None)
    y, x, radius = _numbers("--disc", disc, 3)
    inner, outer = _numbers("--noise", noise, 2)
    power = noise_power_spectrum(square_rois(stack, size, radius=(inner, outer)), spacing)
    index = npw_detectability(
        contrast, diameter, ttf_disc(stack, spacing, (y, x), radius), power, eye=eye
    )
    _show({"detectability": index, "auc": auc_of(index)}, as_json, {}, "")


def _hounsfield(files: list[str], water: float | None) -> tuple[NDArray[np.float64], float, Image]:
    """Images ``(slice, y, x)`` in HU, the pixel size in mm, and the first image."""
    import numpy as np
    import torch

    from ..ct.hounsfield import WATER, to_hounsfield
    from ..io import load_image

    loaded = [load_image(file) for file in files]
    stacks = []
    for file, image in zip(files, loaded, strict=True):
        if Path(file).suffix.lower() == ".png":
            raise ValueError(f"{file}: a PNG holds grey levels, no HU: take .nii.gz, .dcm or .h5")
        values = torch.from_numpy(image.magnitude().astype(np.float64))
        if image.metadata.get("units") != "HU" and _is_attenuation(image):
            level = float(water or image.metadata.get("water", WATER))
            values = to_hounsfield(values, level, float(image.metadata.get("air", 0.0)))
        stacks.append(values.numpy().reshape(-1, *values.shape[-2:]))
        if stacks[-1].shape[1:] != stacks[0].shape[1:]:
            raise ValueError(f"{file}: {stacks[-1].shape[1:]} pixels, {files[0]} has others")
    dy, dx = loaded[0].spacing[-2:]
    if abs(dy - dx) > 1e-3 * dx:
        raise ValueError(f"{files[0]}: pixels are {dy:g} x {dx:g} mm, expected squares")
    return np.concatenate(stacks), float(dx), loaded[0]


def _is_attenuation(image: Image) -> bool:
    """Whether an image holds 1/mm: CT of ours, or values that no HU image has."""
    if image.metadata.get("modality") == "CT":
        return True
    return float(abs(image.magnitude()).max()) < 5


def _calibrate(files: list[str], image: Image, path: Path, kvp: float | None) -> None:
    import numpy as np
    import torch

    from ..ct.hounsfield import WATER, HounsfieldCalibration, calibrate_hounsfield, to_hounsfield
    from ..metrics.uniformity import find_phantom

    if image.metadata.get("units") == "HU" or not _is_attenuation(image):
        raise ValueError(f"{files[0]}: a calibration needs attenuation in 1/mm, this is in HU")
    voltage = kvp if kvp is not None else image.metadata.get("kvp")
    if voltage is None:
        raise ValueError("--calibration needs --kvp: the image does not say its tube voltage")
    values = torch.from_numpy(image.magnitude().astype(np.float64))
    rough = to_hounsfield(values, float(image.metadata.get("water", WATER)))
    spacing = float(image.spacing[-1])
    stack, center, radius = find_phantom(rough.numpy(), spacing)
    y, x = np.indices(stack.shape[1:])
    away = np.hypot(y - center[0], x - center[1]) * spacing
    # Air clear of the phantom's rim, within the circle that fits the image: corners are not seen.
    room = min(*center, *(n - 1 - c for n, c in zip(stack.shape[1:], center, strict=True)))
    around = (away > radius + 5 * spacing) & (away < (room - 2) * spacing)
    inside, outside = (
        torch.from_numpy(np.broadcast_to(mask, stack.shape).copy()).reshape(values.shape)
        for mask in (away < 0.7 * radius, around)
    )
    level = float(values[inside].mean())
    if not _WATER_RANGE[0] < level < _WATER_RANGE[1]:
        raise ValueError(
            f"{files[0]}: what lies in the middle attenuates {level:.3g}/mm: water attenuates "
            f"{_WATER_RANGE[0]:g} to {_WATER_RANGE[1]:g}/mm at CT's energies"
        )
    point = calibrate_hounsfield(values, inside, outside, kvp=float(voltage))
    if path.exists():
        point = HounsfieldCalibration.load(path).with_point(
            float(voltage), *point.at(float(voltage))
        )
    point.save(path)
    level, air = point.at(float(voltage))
    typer.echo(f"{path}: {float(voltage):g} kVp, water {level:.5g}/mm, air {air:.3g}/mm", err=True)


def _numbers(name: str, text: str, count: int) -> list[float]:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise ValueError(f"{name} must be {count} numbers with commas between, got {text!r}")
    return values


def _rectangle(text: str) -> tuple[slice, slice]:
    try:
        y, x = (slice(*(int(edge) for edge in part.split(":"))) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--edge must be Y0:Y1,X0:X1, got {text!r}") from None
    return y, x


def _around(stack: NDArray[np.float64], y: int, x: int, reach: int) -> NDArray[np.float64]:
    rows, columns = stack.shape[1:]
    if not (0 <= y < rows and 0 <= x < columns):
        raise ValueError(f"pixel {y},{x} is outside the image of {rows} x {columns}")
    return stack[:, max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]


def _disc(stack: NDArray[np.float64], name: str, text: str) -> NDArray[np.bool_]:
    import numpy as np

    y, x, radius = _numbers(name, text, 3)
    grid_y, grid_x = np.indices(stack.shape[1:])
    return np.broadcast_to(np.hypot(grid_y - y, grid_x - x) <= radius, stack.shape)


def _show(figures: dict[str, Any], as_json: bool, units: dict[str, str], unit: str) -> None:
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        text = (
            "not reached" if value is None
            else ", ".join(f"{v:.1f}" for v in value) if isinstance(value, tuple)
            else f"{value:.4g}"
        )  # fmt: skip
        typer.echo(f"{name.replace('_', ' ')}: {text} {units.get(name, unit)}".rstrip())
