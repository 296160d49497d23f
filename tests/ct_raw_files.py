"""Small CT raw files of every format, by the format's description; see `raw_files`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ct_pd_files
import h5py
import numpy as np


def write_data_exchange(folder: Path) -> Path:
    path = folder / "tomo.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = np.full((4, 3, 5), 10.0, np.float32)
        file["exchange/data_white"] = np.full((2, 3, 5), 20.0, np.float32)
        file["exchange/data_dark"] = np.zeros((2, 3, 5), np.float32)
        file["exchange/theta"] = np.arange(4) * 45.0
        file["exchange/theta"].attrs["units"] = "degrees"
        file["exchange/title"] = "tomography"
    return path


def write_nxtomo(folder: Path) -> Path:
    """Frames in another file of the folder, as beamlines link them."""
    rng = np.random.default_rng(3)
    keys = np.array([1, 1, 2, 0, 0, 0, 0, 3])
    frames = rng.integers(50, 90, (len(keys), 3, 5)).astype(np.uint16)
    frames[keys == 1], frames[keys == 2] = 200, 10
    (folder / "scan").mkdir(exist_ok=True)
    with h5py.File(folder / "scan" / "frames.h5", "w") as file:
        file["entry/data"] = frames
    path = folder / "scan.nxs"
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["image_key"] = keys
        detector["data"] = h5py.ExternalLink("scan/frames.h5", "/entry/data")
        detector["x_pixel_size"], detector["y_pixel_size"] = 2e-6, 3e-6
        file["entry/sample/rotation_angle"] = np.array([0.0, 0, 0, 0, 45, 90, 135, 0])
    return path


def write_ctsimu(folder: Path) -> Path:
    """A point seen by a cone beam; JSON with source, detector and stage along x."""

    def place(x: float) -> dict[str, Any]:
        return {a: {"value": v, "unit": "mm"} for a, v in zip("xyz", (x, 0, 0), strict=True)}

    def way(*vector: float) -> dict[str, Any]:
        return {axis: {"value": v} for axis, v in zip("xyz", vector, strict=True)}

    scenario = {
        "geometry": {
            "source": {"center": place(0)},
            "detector": {"center": place(400), "vector_u": way(0, -1, 0), "vector_w": way(1, 0, 0)},
            "stage": {"center": place(300), "vector_w": way(0, 0, 1)},
        },
        "acquisition": {
            "start_angle": {"value": 0, "unit": "deg"}, "stop_angle": {"value": 360},
            "direction": "CCW", "number_of_projections": 4, "include_final_angle": False,
        },
    }  # fmt: skip
    output = {
        "filename": "p.raw", "number": 4, "datatype": "uint16", "byteorder": "little",
        "headersize": {"file": 0, "image": 0}, "max_intensity": 1000,
        "dimensions": {"x": {"value": 9}, "y": {"value": 7}},
        "pixelsize": {"x": {"value": 1.0}, "y": {"value": 1.0}},
        "flat_field": {"filename": "f_%04d.raw", "number": 2, "projections_corrected": False},
        "dark_field": {"filename": None},
    }  # fmt: skip
    frames = np.full((4, 7, 9), 1000, np.uint16)
    # A point at x = 3, y = 0, z = 1.5 of the object: near the detector, then to the side.
    for view, angle in enumerate(np.deg2rad([0, 90, 180, 270])):
        x, y, z = 3 * np.cos(angle), 3 * np.sin(angle), 1.5
        scale = 400 / (300 + x)
        frames[view, round(3 - z * scale), round(4 - y * scale)] = 500
    frames.tofile(folder / "p.raw")
    for number in range(2):
        np.full((7, 9), 1000, np.uint16).tofile(folder / f"f_{number:04d}.raw")
    (folder / "scenario.json").write_text(json.dumps(scenario))
    path = folder / "metadata.json"
    path.write_text(
        json.dumps(
            {
                "file": {"name": "point", "file_type": "CTSimU Metadata"},
                "output": {"projections": output},
                "acquisition_geometry": {"path_to_CTSimU_JSON": "../scenario.json"},
            }
        )
    )
    return path


def write_nikon(folder: Path, top: float = 0.0, bottom: float = 0.0) -> Path:
    """A point on a sample that turns clockwise seen from above, seen from behind the detector.

    `top` and `bottom`: where the axis of rotation meets the detector's edges, mm to the left.
    """
    import tifffile

    rows, columns, pitch, isocenter, detector, views = 41, 61, 0.5, 100.0, 250.0, 12
    roll, offset = np.arctan2(top - bottom, rows * pitch), (top + bottom) / 2
    axis = np.array([-np.sin(roll), 0.0, np.cos(roll)])  # in the room: x right, y away, z up
    right = np.array([np.cos(roll), 0.0, np.sin(roll)])
    middle = np.array([-offset * isocenter / detector, isocenter, 0.0])
    point = np.array([2.0, 0.0, 1.2])  # of the sample at angle 0, as seen from the source
    frames = np.full((views, rows, columns), 60000, np.uint16)
    for view in range(views):
        angle = np.deg2rad(30.0 * view)
        x, y = (
            point[0] * np.cos(angle) + point[1] * np.sin(angle),
            point[1] * np.cos(angle) - point[0] * np.sin(angle),
        )
        place = middle + x * right + np.array([0.0, y, 0.0]) + point[2] * axis
        u, v = (place[[0, 2]] * detector / place[1] / pitch).round().astype(int)
        frames[view, rows // 2 - v, columns // 2 - u] = 30000
    (folder / "scan").mkdir(exist_ok=True)
    for view, frame in enumerate(frames):
        tifffile.imwrite(folder / "scan" / f"scan_{view + 1:04d}.tif", frame)
    path = folder / "scan.xtekct"
    path.write_text(
        "[XTekCT]\nName=scan\nInputSeparator=_\nInputFolderName=scan\n"
        f"SrcToObject={isocenter}\nSrcToDetector={detector}\nDetectorPixelsX={columns}\n"
        f"DetectorPixelsY={rows}\nDetectorPixelSizeX={pitch}\nDetectorPixelSizeY={pitch}\n"
        f"CentreOfRotationTop={top}\nCentreOfRotationBottom={bottom}\nWhiteLevel=60000.0\n"
        f"Projections={views}\nInitialAngle=0\nAngularStep=30.0\n[Xrays]\nXraykV=160\n"
    )
    return path


def write_image_folder(folder: Path) -> Path:
    """TIFF frames whose first row is the top one, and a geometry."""
    import tifffile

    frames = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5) + 100
    for view, frame in enumerate(frames):
        tifffile.imwrite(folder / f"proj_{9 + view}.tif", frame)
    tifffile.imwrite(folder / "flat.tif", np.full((2, 3, 5), 200, np.uint16))
    path = folder / "scan.yaml"
    path.write_text(
        "geometry:\n  kind: cone\n  angles_deg: {first: 0, last: 360, count: 4}\n"
        "  source_to_isocenter: 300\n  source_to_detector: 400\n"
        "  column_spacing: 0.5\n  row_spacing: 0.5\n"
        "projections: proj_*.tif\nblank: flat.tif\n"
    )
    return path


def write_ct_pd(folder: Path) -> Path:
    """Half a turn of a helix with a flying focal spot, in a folder of its own."""
    scan = folder / "helix"
    scan.mkdir(exist_ok=True)
    return ct_pd_files.write_scan(
        scan, [ct_pd_files.ball(0.02, (5, -8, -118), 60)], ((0, 0.4, 2.0), (0, -0.4, -2.0)),
        cells=1, rows=4, columns=16, column_width=20.0, central=(8.75, 2.5), views=24, turns=0.5,
        photons=[1e4] * 16,
    )  # fmt: skip


WRITERS: dict[str, Callable[[Path], Path]] = {
    "data exchange": write_data_exchange, "nxtomo": write_nxtomo, "ctsimu": write_ctsimu,
    "image folder": write_image_folder, "nikon": write_nikon, "ct-pd": write_ct_pd,
}  # fmt: skip
