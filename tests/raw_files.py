"""Small raw files of every format, written by other libraries or by the format's description.

`write(kind, folder)` makes one that holds `KSPACE`; the path to load is returned.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ct_raw_files
import h5py
import image_files
import ismrmrd
import numpy as np
from ismrmrd import serialization
from twixtools import hdr_def, mdh_def

COILS, NY, NX = 2, 6, 8
VIEW = (80.0, 60.0, 5.0)  # mm
_RNG = np.random.default_rng(11)
KSPACE = (
    _RNG.normal(size=(COILS, NY, NX)) + 1j * _RNG.normal(size=(COILS, NY, NX))
).astype(np.complex64)  # fmt: skip
INTEGERS = np.round(KSPACE.real * 100).astype(np.int32) + 1j * np.round(KSPACE.imag * 100)

XML = f"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <subjectInformation><patientName>Jane Roe</patientName></subjectInformation>
 <measurementInformation><patientPosition>HFS</patientPosition>
  <protocolName>brain</protocolName></measurementInformation>
 <experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>
 </experimentalConditions>
 <encoding><encodedSpace><matrixSize><x>{NX}</x><y>{NY}</y><z>1</z></matrixSize>
  <fieldOfView_mm><x>{VIEW[0]}</x><y>{VIEW[1]}</y><z>5</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{NX}</x><y>{NY}</y><z>1</z></matrixSize>
  <fieldOfView_mm><x>{VIEW[0]}</x><y>{VIEW[1]}</y><z>5</z></fieldOfView_mm></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{NY - 1}</maximum>
  <center>{NY // 2}</center></kspace_encoding_step_1></encodingLimits>
  <trajectory>cartesian</trajectory></encoding>
</ismrmrdHeader>"""


def acquisitions(repetitions: int = 1) -> list[ismrmrd.Acquisition]:
    """The lines as ISMRMRD's package has them; repetitions are scaled by 1, 2, ..."""
    made = []
    for repetition in range(repetitions):
        for y in range(NY):
            line = ismrmrd.Acquisition.from_array(
                np.ascontiguousarray(KSPACE[:, y] * (1 + repetition))
            )
            line.idx.kspace_encode_step_1, line.idx.repetition = y, repetition
            line.center_sample = NX // 2
            line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = (
                (1, 0, 0), (0, 1, 0), (0, 0, 1),
            )  # fmt: skip
            made.append(line)
    return made


def write_ismrmrd(folder: Path, repetitions: int = 1) -> Path:
    path = folder / "scan.h5"
    path.unlink(missing_ok=True)
    data = ismrmrd.Dataset(str(path), mode="w")
    data.write_xml_header(XML)
    for line in acquisitions(repetitions):
        data.append_acquisition(line)
    data.close()
    return path


def write_stream(folder: Path, repetitions: int = 1) -> Path:
    path = folder / "scan.bin"
    with path.open("wb") as file, serialization.ProtocolSerializer(file) as stream:
        stream.serialize(serialization.ConfigFile("default.xml"))
        stream.serialize(ismrmrd.xsd.CreateFromDocument(XML.encode()))
        stream.serialize("a remark")
        for line in acquisitions(repetitions):
            stream.serialize(line)
        stream.serialize(np.arange(6.0).reshape(2, 3))
    return path


def write_mrd2(folder: Path, repetitions: int = 1) -> Path:
    import mrd

    space = mrd.EncodingSpaceType(
        matrix_size=mrd.MatrixSizeType(x=NX, y=NY, z=1),
        field_of_view_mm=mrd.FieldOfViewMm(x=VIEW[0], y=VIEW[1], z=VIEW[2]),
    )
    header = mrd.Header(
        measurement_information=mrd.MeasurementInformationType(
            protocol_name="brain", patient_position=mrd.PatientPosition.H_FP
        ),
        sequence_parameters=mrd.SequenceParametersType(t_r=[500.0], t_e=[4.5]),
        encoding=[
            mrd.EncodingType(
                encoded_space=space, recon_space=space, trajectory=mrd.Trajectory.CARTESIAN,
                encoding_limits=mrd.EncodingLimitsType(
                    kspace_encoding_step_1=mrd.LimitType(maximum=NY - 1, center=NY // 2)
                ),
            )
        ],
    )  # fmt: skip
    path = folder / "scan.mrd2"

    def items() -> Any:
        for line in acquisitions(repetitions):
            head = mrd.AcquisitionHeader(
                idx=mrd.EncodingCounters(
                    kspace_encode_step_1=line.idx.kspace_encode_step_1,
                    repetition=line.idx.repetition,
                ),
                center_sample=NX // 2, channel_order=list(range(COILS)),
                read_dir=np.array([1, 0, 0], np.float32),
                phase_dir=np.array([0, 1, 0], np.float32),
                slice_dir=np.array([0, 0, 1], np.float32),
            )  # fmt: skip
            yield mrd.StreamItem.Acquisition(
                mrd.Acquisition(
                    head=head, data=np.array(line.data), trajectory=np.zeros((0, 0), np.float32)
                )
            )

    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(header)
        writer.write_data(items())
    return path


PROTOCOL = f"""### ASCCONV BEGIN ###
tProtocolName = "brain"
tSequenceFileName = "%SiemensSeq%\\gre"
lContrasts = 1
alTR[0] = 500000
alTE[0] = 4500
alTE[1] = 9000
adFlipAngleDegree[0] = 15
sKSpace.lBaseResolution = {NX // 2}
sKSpace.lPhaseEncodingLines = {NY}
sKSpace.lPartitions = 1
sKSpace.ucDimension = 0x2
sKSpace.ucTrajectory = 0x1
sPat.lAccelFactPE = 1
sRXSPEC.alDwellTime[0] = 3100
sSliceArray.lSize = 1
sSliceArray.asSlice[0].dThickness = 5
sSliceArray.asSlice[0].dPhaseFOV = {VIEW[1]}
sSliceArray.asSlice[0].dReadoutFOV = {VIEW[0] / 2}
### ASCCONV END ###
"""
MEAS = """<XProtocol> { <ParamMap."DICOM"> {
 <ParamString."tPatientName"> { "Jane Roe" } <ParamString."tPatientPosition"> { "HFS" }
 <ParamLong."lFrequency"> { 123263033 } <ParamLong."iNoOfFourierColumns"> { COLUMNS }
 <ParamLong."iPEFTLength"> { LINES }
 <ParamDouble."flReadoutOSFactor"> { <Precision> 6  2.0 }
 <ParamDouble."flMagneticFieldStrength"> { <Precision> 6  2.89362 } } }
""".replace("COLUMNS", str(NX)).replace("LINES", str(NY))


def twix_header(protocol: str = PROTOCOL, meas: str = MEAS) -> bytes:
    """Length, number of buffers, then name, length and text of each."""
    body = b""
    for name, text in (("Meas", meas), ("MeasYaps", protocol)):
        body += name.encode() + b"\0" + struct.pack("<I", len(text) + 1) + text.encode() + b"\0"
    length = -(-(8 + len(body)) // 32) * 32
    return struct.pack("<II", length, 2) + body + b"\0" * (length - 8 - len(body))


def twix_block(
    data: np.ndarray | None, flags: tuple[str, ...] = (), *, vb: bool = False, **fields: Any
) -> bytes:
    """A readout ``(coil, sample)``, or the closing block; counters and other fields by name."""
    mdh = mdh_def.VB17_header() if vb else mdh_def.Scan_header()
    mdh.EvalInfoMask = sum(1 << mdh_def.mask_dict[flag] for flag in flags)
    mdh.SliceData.Quaternion[:] = (2**-0.5, 0, 0, 2**-0.5)
    for name, value in fields.items():
        if hasattr(mdh.Counter, name):
            setattr(mdh.Counter, name, value)
        elif name == "SlicePos":
            position = mdh.SliceData.SlicePos
            position.Sag, position.Cor, position.Tra = value
        else:
            setattr(mdh, name, value)
    if data is None:
        length = ctypes.sizeof(mdh) + 160
        mdh.FlagsAndDMALength = length
        return bytes(mdh) + b"\0" * 160
    mdh.UsedChannels, mdh.SamplesInScan = data.shape
    samples = np.ascontiguousarray(data, np.complex64)
    if vb:
        mdh.FlagsAndDMALength = len(data) * (128 + 8 * data.shape[1])
        return b"".join(bytes(mdh) + row.tobytes() for row in samples)
    mdh.FlagsAndDMALength = 192 + len(data) * (32 + 8 * data.shape[1])
    return bytes(mdh) + b"".join(bytes(mdh_def.Channel_header()) + r.tobytes() for r in samples)


def twix_lines(*, vb: bool = False, **fields: Any) -> bytes:
    """All lines of `KSPACE` and the closing block."""
    lines = b"".join(
        twix_block(
            KSPACE[:, y], ("ONLINE",), vb=vb, Lin=y, CenterLin=NY // 2, CenterCol=NX // 2, **fields
        )
        for y in range(NY)
    )
    return lines + twix_block(None, ("ACQEND",), vb=vb)


def twix_file(path: Path, *measurements: bytes) -> Path:
    """A VD/VE file of measurements (header and blocks), each on a boundary of 512 bytes."""
    table = np.zeros((), hdr_def.MultiRaidFileHeader)
    table["hdr"]["count_"] = len(measurements)
    body, at = b"", 10240
    for number, measurement in enumerate(measurements):
        entry = table["entry"][number]
        entry["measId_"], entry["off_"], entry["len_"] = number + 1, at, len(measurement)
        entry["patName_"], entry["protName_"] = b"Jane Roe", b"brain"
        padded = measurement + b"\0" * (-len(measurement) % 512)
        body, at = body + padded, at + len(padded)
    start = table.tobytes()
    path.write_bytes(start + b"\0" * (10240 - len(start)) + body)
    return path


def write_twix_ve(folder: Path) -> Path:
    return twix_file(folder / "meas.dat", twix_header() + twix_lines())


def write_twix_vb(folder: Path) -> Path:
    path = folder / "meas_vb.dat"
    path.write_bytes(twix_header() + twix_lines(vb=True))
    return path


def write_bruker(folder: Path) -> Path:
    scan = folder / "7"
    scan.mkdir(exist_ok=True)
    acqp = {
        "ACQ_size": f"( 2 )\n{2 * NX} {NY}", "NI": "1", "NR": "1", "NSLICES": "1",
        "ACQ_rare_factor": "1", "ACQ_phase_factor": "1", "ACQ_obj_order": "( 1 )\n0",
        "BYTORDA": "little", "GO_raw_data_format": "GO_32BIT_SGN_INT",
        "GO_block_size": "Standard_KBlock_Format", "BF1": "400.15", "SW_h": "101010.1",
        "ACQ_grad_matrix": "( 1, 3, 3 )\n1 0 0 0 1 0 0 0 1", "ACQ_patient_pos": "Head_Supine",
        "ACQ_read_offset": "( 1 )\n0", "ACQ_phase1_offset": "( 1 )\n0",
        "ACQ_slice_offset": "( 1 )\n3.5", "ACQ_scan_name": "( 64 )\n<01 flash>",
        "ACQ_repetition_time": "( 1 )\n60", "ACQ_echo_time": "( 1 )\n1.5",
        "ACQ_sw_version": "( 65 )\n<PV 6.0.1>",
    }  # fmt: skip
    method = {
        "Method": "<Bruker:FLASH>", "PVM_Matrix": f"( 2 )\n{NX} {NY}",
        "PVM_Fov": f"( 2 )\n{VIEW[0]} {VIEW[1]}", "PVM_AntiAlias": "( 2 )\n@2*(1)",
        "PVM_EncSteps1": f"( {NY} )\n" + " ".join(str(y - NY // 2) for y in range(NY)),
        "PVM_EncNReceivers": str(COILS), "PVM_SliceThick": "5",
    }  # fmt: skip
    for name, values in (("acqp", acqp), ("method", method)):
        lines = "".join(f"##${key}={value}\n" for key, value in values.items())
        (scan / name).write_text(f"##TITLE=Parameter List\n##JCAMPDX=4.24\n{lines}##END=\n")
    fid = b""
    for y in range(NY):
        pairs = np.stack([INTEGERS[:, y].real, INTEGERS[:, y].imag], axis=-1)
        block = pairs.astype("<i4").tobytes()
        fid += block + b"\0" * (-len(block) % 1024)
    (scan / "fid").write_bytes(fid)
    return scan


def write_list_data(folder: Path) -> Path:
    columns = ("mix dyn card echo loca chan extr1 extr2 ky kz n.a. aver sign rf grad enc rtop rr "
               "size offset")  # fmt: skip
    lines, data = [], b""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(COILS, 32)).astype(np.complex64)
    for coil in range(COILS):
        lines.append(f"  NOI 0 0 0 0 0 {coil} 0 0 0 0 0 0 0 0 0 0 0 0 {32 * 8} {len(data)}")
        data += noise[coil].tobytes()
    for y in range(NY):
        for coil in range(COILS):
            lines.append(
                f"  STD 0 0 0 0 0 {coil} 0 0 {y - NY // 2} 0 0 0 1 0 0 0 0 0 {NX * 8} {len(data)}"
            )
            data += KSPACE[coil, y].tobytes()
    text = (
        "# === DATA DESCRIPTION FILE ======================================================\n#\n"
        "# Scan name   : brain\n"
        ".    0    0    0  number_of_coil_channels            :     2\n"
        f".    0    0    0  kx_oversample_factor               :   2.0000\n"
        f".    0    0    0  X-resolution                       :     {NX // 2}\n"
        "# === START OF DATA VECTOR INDEX =================================================\n"
        f"# typ {columns}\n#\n" + "\n".join(lines) + "\n"
        "# === END OF DATA VECTOR INDEX ===================================================\n"
        "# === END OF DATA DESCRIPTION FILE ===============================================\n"
    )
    (folder / "raw_001.list").write_text(text)
    path = folder / "raw_001.data"
    path.write_bytes(data)
    return path


def write_lab_raw(folder: Path) -> Path:
    """Labels of sixteen 32-bit words, written word by word."""
    labels, raw = b"", b"\0" * 512
    rng = np.random.default_rng(5)
    for y in range(NY):
        phase = int(rng.integers(0, 65536))
        turn = np.exp(1j * np.pi * 2 * phase / 65535)  # the scanner's; to be taken off
        line = INTEGERS[:, y] * turn
        reverse = y % 2
        pairs = np.stack([line.real, line.imag], axis=-1).round().astype("<i4")
        block = (pairs[:, ::-1] if reverse else pairs).tobytes()
        words = [0] * 16
        words[0] = len(block)
        words[3] = 0x7F01 << 16
        words[4] = reverse << 24
        words[5] = 2 << 8  # raw format: int32
        words[10] = y << 16  # E1
        words[13] = phase << 16
        words[15] = (1 << COILS) - 1
        labels += struct.pack("<16I", *words)
        raw += block
    (folder / "scan.lab").write_bytes(labels)
    (folder / "scan.sin").write_text(
        f" 01 00 00: min_encoding_numbers : {-NX // 2} {-NY // 2} 0\n"
        f" 01 00 00: voxel_sizes : {VIEW[0] / NX} {VIEW[1] / NY} 5.0\n"
    )
    path = folder / "scan.raw"
    path.write_bytes(raw)
    return path


def write_ge(folder: Path, revision: float = 24.0) -> Path:
    """By the offsets that tools for P-files state: 16-bit numbers, counted from 1."""
    start = 149788 if revision < 26 else 219828
    header = bytearray(start)

    def put(number: int, value: int, kind: str = "<h") -> None:
        struct.pack_into(kind, header, (number - 1) * struct.calcsize(kind), value)

    struct.pack_into("<f", header, 0, revision)
    if revision < 26:
        put(368, start, "<i")
        places = {"slices": 35, "echoes": 36, "word": 42, "xres": 52, "yres": 53, "first": 101,
                  "last": 102}  # fmt: skip
    else:
        put(2, start, "<i")
        places = {"slices": 73, "echoes": 74, "word": 80, "xres": 90, "yres": 91, "first": 133,
                  "last": 134}  # fmt: skip
    values = {"slices": 1, "echoes": 1, "word": 4, "xres": NX, "yres": NY + 1, "first": 0,
              "last": COILS - 1}  # fmt: skip
    for name, value in values.items():
        put(places[name], value)
    body = b""
    for coil in range(COILS):
        body += b"\0" * 8 * NX  # the baseline view
        pairs = np.stack([INTEGERS[coil].real, INTEGERS[coil].imag], axis=-1)
        body += pairs.astype("<i4").tobytes()
    path = folder / "P12345.7"
    path.write_bytes(bytes(header) + body)
    return path


def write_matlab5(folder: Path) -> Path:
    from scipy import io

    path = folder / "scan5.mat"
    io.savemat(path, {"kspace": KSPACE.transpose(2, 1, 0), "note": "text"}, do_compression=True)
    return path


def write_matlab73(folder: Path, kspace: np.ndarray | None = None, **arrays: np.ndarray) -> Path:
    """An HDF5 file behind MATLAB's 512 bytes; complex numbers as pairs named real and imag."""
    path = folder / "scan73.mat"
    kspace = KSPACE if kspace is None else kspace
    pairs = np.empty(kspace.shape, [("real", "f4"), ("imag", "f4")])
    pairs["real"], pairs["imag"] = kspace.real, kspace.imag
    with h5py.File(path, "w", userblock_size=512) as file:
        file["kspace_full"] = pairs
        for name, array in arrays.items():
            file[name] = array
    with path.open("r+b") as start:
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"
        start.write(text.ljust(124) + b"\x00\x02IM")
    return path


def write_npy(folder: Path) -> Path:
    np.save(folder / "scan.npy", KSPACE)
    return folder / "scan.npy"


def write_npz(folder: Path) -> Path:
    np.savez(folder / "scan.npz", kspace=KSPACE, mask=np.ones((NY, NX), bool))
    return folder / "scan.npz"


def write_zarr(folder: Path) -> Path:
    import zarr

    group = zarr.open_group(str(folder / "scan.zarr"), mode="w")
    array = group.create_array("kspace", shape=KSPACE.shape, dtype="c8", chunks=(1, NY, NX))
    array[...] = KSPACE
    return folder / "scan.zarr"


def write_bart(folder: Path) -> Path:
    (folder / "scan.hdr").write_text(f"# Dimensions\n{NX} {NY} 1 {COILS} 1\n")
    path = folder / "scan.cfl"
    KSPACE.tofile(path)
    return path


def write_fastmri(folder: Path) -> Path:
    path = folder / "file1.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=KSPACE[None])
        file["ismrmrd_header"] = XML
        file.attrs["acquisition"] = "AXT2"
    return path


def write_sequence(folder: Path) -> Path:
    """A gradient echo of `NY` lines in Pulseq, by pypulseq."""
    import pypulseq

    limits = pypulseq.Opts()
    fov = VIEW[0] / 1e3
    sequence = pypulseq.Sequence(limits)
    pulse, gz, rephase = pypulseq.make_sinc_pulse(
        flip_angle=0.2, duration=2e-3, slice_thickness=5e-3, return_gz=True, system=limits
    )
    gx = pypulseq.make_trapezoid("x", flat_area=NX / fov, flat_time=NX * 1e-5 * 4, system=limits)
    adc = pypulseq.make_adc(NX, duration=gx.flat_time, delay=gx.rise_time, system=limits)
    before = pypulseq.make_trapezoid("x", area=-gx.area / 2, duration=1e-3, system=limits)
    for y in range(NY):
        gy = pypulseq.make_trapezoid("y", area=(y - NY // 2) / (VIEW[1] / 1e3), duration=1e-3)
        sequence.add_block(pulse, gz)
        sequence.add_block(before, gy, rephase)
        sequence.add_block(gx, adc)
    sequence.set_definition("FOV", [fov, VIEW[1] / 1e3, 5e-3])
    sequence.set_definition("Name", "gre")
    path = folder / "gre.seq"
    sequence.write(str(path))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "ismrmrd": write_ismrmrd, "stream": write_stream, "mrd2": write_mrd2,
    "fastmri": write_fastmri, "twix ve": write_twix_ve,
    "twix vb": write_twix_vb, "bruker": write_bruker, "list data": write_list_data,
    "lab raw": write_lab_raw, "ge": write_ge, "matlab 5": write_matlab5,
    "matlab 7.3": write_matlab73, "npy": write_npy, "npz": write_npz, "zarr": write_zarr,
    "bart": write_bart, "pulseq": write_sequence,
    **ct_raw_files.WRITERS,
}  # fmt: skip
MR = [kind for kind in WRITERS if kind not in (*ct_raw_files.WRITERS, "pulseq")]


# What some kinds cannot be read without.
OPTIONS: dict[str, dict[str, Any]] = {"hnd": {"blank": 1e5}}


def write(kind: str, folder: Path) -> Path:
    """Make a small sound file; the path to load."""
    return {**WRITERS, **image_files.WRITERS}[kind](folder)


def files_of(path: Path, kind: str) -> list[Path]:
    """The files that `path` consists of."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if kind in ct_raw_files.WRITERS:  # folders of files that belong together
        return sorted(p for p in path.parent.rglob("*") if p.is_file())
    beside = {"bart": [".hdr"], "list data": [".list"], "lab raw": [".lab", ".sin"]}
    return [path, *(path.with_suffix(suffix) for suffix in beside.get(kind, []))]
