"""Small CT raw files of every format, by the format's description; see `raw_files`."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ct_pd_files
import h5py
import numpy as np
from ole_file import write_ole


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


RTK_XML = """<?xml version="1.0"?>
<!DOCTYPE RTKGEOMETRY>
<RTKThreeDCircularGeometry version="3">
    <SourceToIsocenterDistance>1000</SourceToIsocenterDistance>
    <SourceToDetectorDistance>1536</SourceToDetectorDistance>
    <SourceOffsetX>4</SourceOffsetX>
    <SourceOffsetY>6</SourceOffsetY>
    <ProjectionOffsetX>5</ProjectionOffsetX>
    <ProjectionOffsetY>-7</ProjectionOffsetY>
    <InPlaneAngle>3</InPlaneAngle>
    <OutOfPlaneAngle>2</OutOfPlaneAngle>
  <Projection>
    <GantryAngle>30</GantryAngle>
    <Matrix>
        -1330.29445304509   -80.3041590773327    763.652349064912                7144
         49.3480343240091    -1533.4142514717   -75.3027548754868               -3784
        0.499695413509548  -0.034899496702501   0.865497844507677               -1000
    </Matrix>
  </Projection>
  <Projection>
    <GantryAngle>60</GantryAngle>
    <Matrix>
        -770.242616318113   -80.3041590773327    1326.48956047242                7144
         5.08527391367496    -1533.4142514717   -89.8881158591286               -3784
        0.865497844507676  -0.034899496702501   0.499695413509548               -1000
    </Matrix>
  </Projection>
</RTKThreeDCircularGeometry>
"""  # as RTK 2.7 writes it: the matrices are RTK's own


def write_metaimage(path: Path, array: np.ndarray, spacing: tuple[float, ...],
                    origin: tuple[float, ...], packed: bool = False) -> Path:  # fmt: skip
    """Voxels ``(view, row, column)``; spacing and origin as (column, row, view)."""
    kind = {"float32": "MET_FLOAT", "uint16": "MET_USHORT"}[array.dtype.name]
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True",
             "BinaryDataByteOrderMSB = False", f"CompressedData = {packed}"]  # fmt: skip
    content = array.tobytes()
    if packed:
        content = zlib.compress(content)
        lines.append(f"CompressedDataSize = {len(content)}")
    lines += [
        "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = " + " ".join(map(str, origin)),
        "ElementSpacing = " + " ".join(map(str, spacing)),
        "DimSize = " + " ".join(map(str, array.shape[::-1])), f"ElementType = {kind}",
        "ElementDataFile = LOCAL",
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + b"\n" + content)
    return path


def write_rtk(folder: Path, packed: bool = True) -> Path:
    rng = np.random.default_rng(5)
    stack = rng.uniform(0, 3, (2, 6, 9)).astype(np.float32)
    write_metaimage(folder / "projections.mha", stack, (0.8, 1.1, 1), (-3.2, -2.0, 0), packed)
    path = folder / "geometry.xml"
    path.write_text(RTK_XML)
    return path


def differences(image: np.ndarray) -> tuple[bytes, bytes]:
    """Table of widths and differences of Varian's compression, pixel by pixel."""
    columns = image.shape[1]
    flat = image.astype(np.int64).ravel()
    widths, body = [], flat[: columns + 1].astype("<i4").tobytes()
    for i in range(columns + 1, flat.size):
        step = flat[i] - flat[i - 1] - flat[i - columns] + flat[i - columns - 1]
        width = next(w for w, top in enumerate((7, 15, 31)) if -(1 << top) <= step < 1 << top)
        widths.append(width)
        body += int(step).to_bytes(1 << width, "little", signed=True)
    widths += [0] * (-len(widths) % 4)
    table = bytes(a | b << 2 | c << 4 | d << 6 for a, b, c, d in np.reshape(widths, (-1, 4)))
    return table, body


def hnd_bytes(image: np.ndarray, angle: float) -> bytes:
    """An .hnd file; pixels of 0.4 x 0.5 mm (wide, high)."""
    rows, columns = image.shape
    assert (rows - 1) * columns % 4 == 0
    head = bytearray(1024)
    head[:26] = b"VARIAN_VA_INTERNAL_HND_1.0"
    struct.pack_into("<II", head, 120, columns, rows)
    for place, value in ((23, 0.4), (24, 0.5), (29, 125.0), (33, angle)):
        struct.pack_into("<d", head, 168 + 8 * place, value)
    table, body = differences(image)
    table = table.ljust((rows - 1) * columns // 4, b"\0")
    # A last group that is not full is followed by what its bits say.
    return bytes(head) + table + body + bytes(4)


def xim_bytes(image: np.ndarray, packed: bool = True, **numbers: float) -> bytes:
    """A .xim file with a histogram and properties, of which some are text and lists."""
    rows, columns = image.shape
    out = b"VMS.XI\0\0" + struct.pack("<6i", 1, columns, rows, 32, 4, int(packed))
    if packed:
        table, body = differences(image) if image.size else (b"", b"")
        out += struct.pack("<i", len(table)) + table + struct.pack("<i", len(body)) + body
        out += struct.pack("<i", 4 * image.size)
    else:
        pixels = image.astype("<u4").tobytes()
        out += struct.pack("<i", len(pixels)) + pixels
    out += struct.pack("<i3i", 3, 1, 2, 3)
    chamber = int(numbers.pop("chamber", 500))
    properties = [(name, 1, struct.pack("<d", value)) for name, value in numbers.items()]
    properties += [("KVNormChamber", 0, struct.pack("<i", chamber))]
    properties += [("Name", 2, struct.pack("<i", 3) + b"abc"),
                   ("Limits", 4, struct.pack("<i2d", 16, 1.0, 2.0))]  # fmt: skip
    out += struct.pack("<i", len(properties))
    for name, kind, value in properties:
        out += struct.pack("<i", len(name)) + name.encode() + struct.pack("<i", kind) + value
    return out


def varian_images(views: int = 3, rows: int = 5, columns: int = 8) -> np.ndarray:
    """Readings with steps of one, two and four bytes."""
    rng = np.random.default_rng(9)
    images = rng.integers(900, 1000, (views, rows, columns))
    images[:, 2, 3] += 3000
    images[:, 3, 5] += 120000
    return images.astype(np.uint32)


def write_hnd(folder: Path) -> Path:
    for view, image in enumerate(varian_images()):
        (folder / f"Proj_{view:03d}.hnd").write_bytes(hnd_bytes(image, 10.0 + 30 * view))
    path = folder / "ProjectionInfo.xml"
    path.write_text(
        "<?xml version='1.0'?><ProjectionInfo><CalibratedSAD>1000.2</CalibratedSAD>"
        "<CalibratedSID>1501.5</CalibratedSID><FanType>HalfFan</FanType>"
        "<CalibratedDetectorOffsetX>-1.5</CalibratedDetectorOffsetX>"
        "<CalibratedDetectorOffsetY>2.5</CalibratedDetectorOffsetY>"
        "<DetectorPosLat>-148.0</DetectorPosLat></ProjectionInfo>"
    )
    return path


def write_xim(folder: Path) -> Path:
    """A turn with an empty frame at its start, and air in the folder of calibrations."""
    views = folder / "Acquisitions" / "7"
    air = folder / "Calibrations" / "AIR-Full" / "Current"
    views.mkdir(parents=True, exist_ok=True)
    air.mkdir(parents=True, exist_ok=True)
    size = {"PixelWidth": 0.04, "PixelHeight": 0.05}
    empty = np.zeros((0, 0), np.uint32)
    (views / "Proj_00000.xim").write_bytes(xim_bytes(empty, KVSourceRtn=0.0, **size))
    for view, image in enumerate(varian_images()):
        place = {"KVSourceRtn": 30.0 * view + 5, "KVDetectorLat": -0.3, "KVDetectorLng": 0.2}
        content = xim_bytes(image, packed=view != 1, chamber=500 + 10 * view, **place, **size)
        (views / f"Proj_{view + 1:05d}.xim").write_bytes(content)
    blank = np.full((5, 8), 200000, np.uint32)
    (air / "Filter.xim").write_bytes(xim_bytes(blank, chamber=1000, **size))
    path = folder / "Scan.xml"
    path.write_text(
        "<?xml version='1.0'?><Scan xmlns='http://baden.varian.com/cr.xsd'><Acquisitions><SAD>"
        "1000</SAD><SID>1540</SID><KV>125</KV></Acquisitions></Scan>"
    )
    return path


def write_lodopab(folder: Path) -> Path:
    """Two observations, packed, with their images."""
    observation = np.zeros((2, 1000, 513), np.float32)
    observation[:, ::100, ::50] = np.arange(1, 3)[:, None, None] / 100
    for name, array in (
        ("observation", observation),
        ("ground_truth", np.full((2, 362, 362), 0.25)),
    ):
        with h5py.File(folder / f"{name}_test_000.hdf5", "w") as file:
            file.create_dataset("data", data=array.astype(np.float32), compression="gzip")
    return folder / "observation_test_000.hdf5"


def write_two_detect(folder: Path, number: int = 3000, noisy: bool = False) -> Path:
    """The folder of a beam; packed and nearly constant, unless noisy."""
    import tifffile

    mode = folder / f"slice{number:05d}" / "mode2"
    mode.mkdir(parents=True, exist_ok=True)
    sinogram = np.full((3601, 1912), 4000, np.uint16)
    if noisy:
        sinogram = np.random.default_rng(0).integers(2000, 9000, sinogram.shape).astype(np.uint16)
    sinogram[-1] = sinogram[0]
    fields = {"sinogram": sinogram, "dark": 100, "flat1": 10000, "flat2": 10200}
    for name, values in fields.items():
        array = values if name == "sinogram" else np.full((1, 1912), values, np.uint16)
        compression = None if noisy else "zlib"
        tifffile.imwrite(mode / f"{name}.tif", array, compression=compression)
    return mode


FIPS = {
    "distanceSourceDetector": 553.74, "distanceSourceOrigin": 410.66, "pixelSizePost": 0.2,
    "geometricMagnification": 1.3484, "scanner": "HUT", "angles": np.arange(12) * 30.0,
}  # fmt: skip


def write_fips(folder: Path, times: int = 1) -> Path:
    """A structure as HelTomo's, in version 5; several are a series."""
    from scipy import io

    rng = np.random.default_rng(2)
    data = [{"type": "2D", "sinogram": rng.uniform(0, 3, (12, 20)), "parameters": FIPS}
            for _ in range(times)]  # fmt: skip
    path = folder / "scan.mat"
    found: Any = data[0]
    if times > 1:
        found = np.zeros(times, [(name, object) for name in data[0]])
        for place, item in enumerate(data):
            found[place] = tuple(item.values())
    io.savemat(path, {"CtDataFull": found})
    return path


def write_fips73(folder: Path) -> Path:
    path = folder / "scan73.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("CtData/parameters")
        for name, value in FIPS.items():
            if not isinstance(value, str):
                group[name] = np.atleast_2d(value).T  # MATLAB's first index is the fastest
        file["CtData/sinogram"] = np.random.default_rng(2).uniform(0, 3, (12, 20)).T
    with path.open("r+b") as start:
        start.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def write_zeiss(folder: Path, references: int = 1, **streams: bytes) -> Path:
    """Four views, their first rows on top, with a shift of one pixel in one of them."""
    frames = zeiss_frames()
    views, rows, columns = frames.shape
    floats = {"Angles": np.arange(views) * 90.0, "StoRADistance": [-30.0] * views,
              "DtoRADistance": [90.0] * views, "PixelSize": [5.0], "Voltage": [80.0]}  # fmt: skip
    whole = {"ImageWidth": columns, "ImageHeight": rows, "NoOfImages": views, "ImagesTaken": views,
             "DataType": 5, "XrayGeometry": 1}  # fmt: skip
    made = {f"ImageInfo/{k}": np.array(v, "<f4").tobytes() for k, v in floats.items()}
    made |= {f"ImageInfo/{k}": struct.pack("<i", v) for k, v in whole.items()}
    made |= {f"ImageData1/Image{i + 1}": f.tobytes() for i, f in enumerate(frames)}
    folder_name = "ReferenceData" if references == 1 else "MultiReferenceData"
    made[f"{folder_name}/DataType"] = struct.pack("<i", 10)
    for i in range(references):
        white = np.full((rows, columns), 1000.0 + 20 * i, "<f4")
        made[f"{folder_name}/Image{i + 1 if references > 1 else ''}"] = white.tobytes()
    made["Alignment/X-Shifts"] = np.array([0, 0, 1, 0], "<f4").tobytes()
    made["Alignment/Y-Shifts"] = np.zeros(4, "<f4").tobytes()
    return write_ole(folder / "scan.txrm", {**made, **streams})


def zeiss_frames() -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.integers(100, 900, (4, 40, 56)).astype("<u2")


def write_edf_folder(folder: Path) -> Path:
    """The same with its frames in one EDF file."""
    path = write_image_folder(folder)
    frames = np.arange(4 * 3 * 5, dtype="<u2").reshape(4, 3, 5) + 100
    header = "{\nHeaderID = EH:1 ;\nByteOrder = LowByteFirst ;\nDataType = UnsignedShort ;\n"
    header += "Dim_1 = 5 ;\nDim_2 = 3 ;\n"
    content = b"".join(header.ljust(510).encode() + b"}\n" + f.tobytes() for f in frames)
    (folder / "all.edf").write_bytes(content)
    for file in folder.glob("*.tif"):
        file.unlink()
    text = path.read_text().replace("proj_*.tif", "all.edf").replace("flat.tif", "200")
    path.write_text(text)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "data exchange": write_data_exchange, "nxtomo": write_nxtomo, "ctsimu": write_ctsimu,
    "image folder": write_image_folder, "edf folder": write_edf_folder, "nikon": write_nikon,
    "ct-pd": write_ct_pd,
    "rtk": write_rtk, "hnd": write_hnd, "xim": write_xim, "lodopab": write_lodopab,
    "2detect": write_two_detect, "fips 5": write_fips,
    "fips 7.3": write_fips73, "zeiss": write_zeiss,
}  # fmt: skip
