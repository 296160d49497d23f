"""Siemens twix: real files against other programs, and made ones for what they do not have."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import raw_files
import torch
from raw_files import KSPACE, MEAS, NX, NY, PROTOCOL, twix_block, twix_file, twix_header, twix_lines

import spinray as sr

REAL = ("ve11_gre", "ve11_epi", "vb19_gre", "pulseq_02_GRE_3echoes", "pulseq_05_EPI")
RNG = np.random.default_rng(4)


def readouts_of(path) -> list:
    return list(sr.open_raw(path).readouts.data)


@pytest.mark.peer
@pytest.mark.parametrize("name", REAL)
def test_every_sample_is_twixtools(data_dir, name):
    twixtools = pytest.importorskip("twixtools")
    path = data_dir / "twix" / f"{name}.dat"
    measured = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)
    blocks = [b for b in measured[-1]["mdb"] if not b.is_flag_set("SYNCDATA")]
    # Without the sequence beside it: readouts as the scanner sent them.
    raw = load_bare(path)
    assert len(raw.readouts) == len(blocks)
    for mine, theirs in zip(raw.readouts.data, blocks, strict=True):
        assert np.array_equal(mine, theirs.data)
    head = raw.readouts.head
    for ours, name_of in (("kspace_encode_step_1", "Lin"), ("average", "Ave"), ("segment", "Seg")):
        assert head["idx"][ours].tolist() == [getattr(b.mdh.Counter, name_of) for b in blocks]


def load_bare(path):
    """A real file in another folder: there is no sequence beside it."""
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    link = folder / path.name
    link.symlink_to(path)
    return sr.open_raw(link)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["ve11_gre", "ve11_epi", "vb19_gre"])
def test_sorted_data_are_mapvbvd(data_dir, name):
    """mapVBVD sorts into (column, coil, line); imaging, and phase correction of EPI."""
    mapvbvd = pytest.importorskip("mapvbvd")
    path = data_dir / "twix" / f"{name}.dat"
    theirs = mapvbvd.mapVBVD(str(path), quiet=True)
    theirs = theirs[-1] if isinstance(theirs, list) else theirs
    theirs.image.squeeze = True
    theirs.image.flagRemoveOS = theirs.image.flagRampSampRegrid = False
    theirs.image.flagIgnoreSeg = True
    expected = np.asarray(theirs.image[""])
    expected = expected if expected.ndim == 3 else expected[:, None]
    raw = load_bare(path)
    imaging, _ = raw.readouts.imaging()
    lines = imaging.head["idx"]["kspace_encode_step_1"]
    reverse = imaging.flagged(22)
    for line, backward, data in zip(lines.tolist(), reverse, imaging.data, strict=True):
        mine = data[:, ::-1] if backward else data
        assert np.allclose(mine, expected[:, :, line].T, rtol=1e-6, atol=0)
    if name == "ve11_epi":
        own = raw.readouts.select(raw.readouts.flagged(24))
        assert len(own) == 3
        assert int(theirs.phasecor.NAcq) == 3


def test_real_epi_loses_its_ghost(data_dir):
    """Ramps, navigators and the shift off the centre, by the chain that all EPI takes."""
    scan = sr.load(data_dir / "twix" / "ve11_epi.dat")
    assert scan.matrix == (80, 80)
    assert scan.field_of_view == (200, 200)
    assert "reversed_lines" not in scan.header
    corrected = ghost_of(scan.kspace)
    raw = sr.open_raw(data_dir / "twix" / "ve11_epi.dat")
    bare = sr.io.assemble(raw.readouts.select(~raw.readouts.flagged(24)))
    assert bare.header["reversed_lines"]
    assert corrected < 0.7 * ghost_of(bare.kspace)


def ghost_of(kspace: torch.Tensor) -> float:
    """Mean signal where only the image shifted by half the field of view lies, to that inside."""
    k = np.fft.ifftshift(kspace.numpy(), axes=(-2, -1))
    image = np.fft.fftshift(np.fft.ifft2(k), axes=(-2, -1))
    image = np.sqrt((np.abs(image) ** 2).sum(0))
    inside = image > 0.25 * image.max()
    ghost = np.roll(inside, len(image) // 2, 0) & ~inside
    return float(image[ghost].mean() / image[inside].mean())


def test_the_shift_off_the_centre_shows_the_sign_of_the_transform(data_dir, monkeypatch):
    """Receivers are tuned to a line 2.59 mm off; with the other sign the image is less sharp."""
    from spinray.recon.io import acquisitions, epi

    readouts = sr.open_raw(data_dir / "twix" / "ve11_epi.dat").readouts
    true = epi._uneven_phase
    spread = {}
    for scale in (-2.0, 0.0, 1.0, 3.0):

        def scaled(part, backward, positions, layout, sign, scale=scale):
            head = part.head.copy()
            head["position"] *= scale
            import dataclasses

            return true(dataclasses.replace(part, head=head), backward, positions, layout, sign)

        monkeypatch.setattr(epi, "_uneven_phase", scaled)
        kspace = acquisitions.assemble(readouts).kspace.numpy()
        image = np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)))
        share = np.sqrt((np.abs(image) ** 2).sum(0))
        share /= np.linalg.norm(share)
        spread[scale] = -(share * np.log(share + 1e-12)).sum()
    assert min(spread, key=spread.get) == 1.0


def test_air_rises_in_the_real_phantom(data_dir):
    """The phantom lies on a patient's back, head first: its water ends flat at the front."""
    scan = sr.load(data_dir / "twix" / "ve11_gre.dat")
    assert scan.header["patient_position"] == "HFS"
    image = sr.reconstruct(scan, "rss")
    inside = image.data.numpy() > 0.3 * float(image.data.max())
    widths = inside.sum(axis=1)
    rows = np.flatnonzero(widths > 10)
    ends = {"first": rows[0] + 5, "last": rows[-1] - 5}
    assert widths[ends["last"]] > 1.3 * widths[ends["first"]]  # flat there, round here
    front = {end: (image.affine @ [0, row, 0, 1])[1] for end, row in ends.items()}
    assert front["last"] > front["first"]


@pytest.mark.parametrize("vb", [False, True])
def test_positions_and_directions(tmp_path, vb):
    header = twix_header() + twix_lines(vb=vb, SlicePos=(10.0, -20.0, 30.0))
    path = tmp_path / "meas.dat"
    if vb:
        path.write_bytes(header)
    else:
        twix_file(path, header)
    scan = sr.load(path)
    # Read to the right, phase to the back (LPS); voxels grow against both.
    frame = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, 1]]).T * [10, 10, 5]
    ras = np.diag([-1.0, -1, 1]) @ frame
    assert np.allclose(scan.affine[:3, :3], ras)
    middle = scan.affine @ [scan.image_shape[1] // 2, scan.image_shape[0] // 2, 0, 1]
    assert np.allclose(middle[:3], [-10, 20, 30])


def test_noise_of_an_earlier_measurement_and_flags(tmp_path):
    """Adjustments come first; noise, phase correction, feedback and calibration are told apart."""
    noise = (RNG.normal(size=(2, 64)) + 1j * RNG.normal(size=(2, 64))).astype(np.complex64)
    adjustment = twix_header() + twix_block(noise, ("NOISEADJSCAN",)) + end()
    lines = b"".join(
        twix_block(KSPACE[:, y], ("ONLINE",), Lin=y, Ave=a, CenterLin=NY // 2, CenterCol=NX // 2)
        for a in range(2)
        for y in range(NY)
    )
    other = twix_block(KSPACE[:, 0] * 9, ("PHASCOR", "RTFEEDBACK"), Lin=NY // 2)
    other += twix_block(KSPACE[:, 0] * 9, ("RTFEEDBACK",))
    other += twix_block(KSPACE[:, 0] * 9, ("noname60",))
    sync = twix_block(None, ("SYNCDATA",))
    path = twix_file(
        tmp_path / "meas.dat", adjustment, twix_header() + other + sync + lines + end()
    )
    raw = sr.open_raw(path)
    assert raw.facts["measurements"] == 2
    assert raw.facts["readouts"] == "12 imaging, 1 noise, 1 phase correction, 2 navigator"
    scan = raw.read()
    assert np.array_equal(scan.noise.numpy(), noise)
    assert scan.header["averages"] == 2
    assert scan.header["noise_sample_time_us"] == pytest.approx(3.1)
    assert torch.equal(scan.kspace, sr.load(twix_file(tmp_path / "one.dat", whole())).kspace)
    with pytest.raises(sr.FormatError, match="measurement 0: holds no imaging readouts"):
        sr.load(path, measurement=0)
    with pytest.raises(ValueError, match="measurement 2: the file has 2"):
        sr.load(path, measurement=2)


def end() -> bytes:
    return twix_block(None, ("ACQEND",))


def whole() -> bytes:
    return twix_header() + twix_lines()


def test_separate_calibration_and_acceleration(tmp_path):
    protocol = PROTOCOL.replace("lAccelFactPE = 1", "lAccelFactPE = 2\nsPat.ucRefScanMode = 0x4")
    body = b""
    for y in range(2, 5):
        body += twix_block(KSPACE[:, y] * 2, ("PATREFSCAN",), Lin=y, CenterLin=3, CenterCol=4)
    for y in range(1, NY, 2):
        body += twix_block(KSPACE[:, y], (), Lin=y, CenterLin=3, CenterCol=4)
    scan = sr.load(twix_file(tmp_path / "meas.dat", twix_header(protocol) + body + end()))
    assert scan.header["acceleration"] == (2, 1)
    assert scan.mask.any(-1).tolist() == [False, True] * 3
    reference = scan.header["calibration"]
    assert reference.mask.any(-1).tolist() == [False, False, True, True, True, False]


def test_partial_fourier_and_volumes(tmp_path):
    """3D: the middle is where the readouts say, not in the middle of the counters."""
    protocol = PROTOCOL.replace("lPartitions = 1", "lPartitions = 4").replace(
        "ucDimension = 0x2", "ucDimension = 0x4"
    )
    meas = MEAS.replace(
        '<ParamLong."iPEFTLength">', '<ParamLong."i3DFTLength"> { 4 } <ParamLong."iPEFTLength">'
    )
    volume = (RNG.normal(size=(2, 4, NY, NX)) + 1j).astype(np.complex64)
    body = b"".join(
        twix_block(
            volume[:, z, y], (), Lin=y - 2, Par=z, CenterLin=1, CenterPar=2, CenterCol=NX // 2
        )
        for z in range(4)
        for y in range(2, NY)
    )
    scan = sr.load(twix_file(tmp_path / "meas.dat", twix_header(protocol, meas) + body + end()))
    assert scan.matrix == (4, NY, NX // 2)
    assert scan.mask.any(dim=0).any(dim=-1).tolist() == [False, False, True, True, True, True]
    image = np.fft.ifft(np.fft.ifftshift(volume[:, :, 2:], axes=-1), norm="ortho")
    half = np.fft.fftshift(image, axes=-1)[..., NX // 4 : 3 * NX // 4]
    half = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(half, axes=-1), norm="ortho"), axes=-1)
    assert np.allclose(scan.kspace[:, :, 2:].numpy(), half, atol=1e-5)
    assert scan.field_of_view[0] == 5


def radial_file(tmp_path, kind: str):
    protocol = PROTOCOL.replace("ucTrajectory = 0x1", f"ucTrajectory = {kind}")
    return twix_file(tmp_path / "meas.dat", twix_header(protocol) + twix_lines())


def test_radial_views_default_to_half_a_turn(tmp_path):
    scan = sr.load(radial_file(tmp_path, "0x2"))
    assert scan.trajectory.shape == (NY * NX, 2)
    spokes = scan.trajectory.reshape(NY, NX, 2)
    angle = torch.atan2(spokes[:, -1, 0], spokes[:, -1, 1])
    assert torch.allclose(angle, torch.pi * torch.arange(NY) / NY, atol=1e-5)
    assert spokes.norm(dim=-1).max() == pytest.approx(0.5)
    assert scan.image_shape == (NX // 2, NX // 2)
    assert np.array_equal(scan.kspace.numpy(), KSPACE.reshape(2, -1))


def test_spirals_need_a_trajectory_and_take_one(tmp_path):
    path = radial_file(tmp_path, "0x4")
    raw = sr.open_raw(path)
    assert raw.missing[0].startswith("trajectory: the scan is spiral")
    with pytest.raises(sr.FormatError, match="has no trajectory"):
        raw.read()
    k = RNG.uniform(-2, 1.99, size=(NY, NX, 2)).astype(np.float32)  # in 1/FOV of the image
    np.save(tmp_path / "k.npy", k)
    for given in (k, tmp_path / "k.npy"):
        scan = sr.load(path, trajectory=given)
        assert np.allclose(scan.trajectory.numpy(), k.reshape(-1, 2)[:, ::-1] / 4)
    with pytest.raises(sr.FormatError, match=r"trajectory: has shape \(2, 8, 2\)"):
        sr.load(path, trajectory=k[:2])


def test_a_trajectory_counts_where_the_header_says_cartesian(tmp_path):
    path = raw_files.write_twix_ve(tmp_path)
    k = RNG.uniform(-0.49, 0.49, size=(NY, NX, 2)).astype(np.float32)
    scan = sr.load(path, trajectory=k)
    assert not scan.is_cartesian
    assert scan.trajectory.shape == (NY * NX, 2)
    assert scan.kspace.shape == (2, NY * NX)


def test_repetitions_are_read_alone(tmp_path):
    body = b"".join(
        twix_block(KSPACE[:, y] * (1 + r), (), Lin=y, Rep=r, CenterLin=3, CenterCol=4)
        for r in range(3)
        for y in range(NY)
    )
    raw = sr.open_raw(twix_file(tmp_path / "meas.dat", twix_header() + body + end()))
    assert raw.axes == {"repetition": 3}
    scan = raw.read()
    assert torch.equal(raw.read(repetition=1).kspace, scan.kspace[1])
    assert torch.equal(raw.read(repetition=slice(1, 3)).kspace, scan.kspace[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-200], "truncated"),
        (lambda b: b[:10800], "bytes, 560 are left"),
        (lambda b: b[:10240] + struct.pack("<I", 1 << 30) + b[10244:], "is no scan"),
        (lambda b: b.replace(b"ASCCONV", b"ASCII  ").replace(b" = ", b" : "), "no protocol"),
    ],
)
def test_broken_files(tmp_path, change, message):
    path = twix_file(tmp_path / "meas.dat", whole())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(sr.FormatError, match=message) as error:
        sr.load(path)
    assert str(error.value).startswith(str(path))
