"""Pulseq: data against the sequence that was played."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from raw_files import NX, NY, PROTOCOL, VIEW, twix_block, twix_file, twix_header, write_sequence

import spinray as sr

pypulseq = pytest.importorskip("pypulseq")
RNG = np.random.default_rng(8)


def signal_at(path, points: list[tuple[float, float, float]]) -> list[np.ndarray]:
    """Samples of bright points (x, y in m, strength), readout by readout, by the library itself."""
    sequence = pypulseq.Sequence()
    sequence.read(str(path))
    k, *_ = sequence.calculate_kspace()
    samples = sum(
        strength * np.exp(-2j * np.pi * (k[0] * x + k[1] * y)) for x, y, strength in points
    )
    return list(samples.astype(np.complex64).reshape(-1, NX))


def played(tmp_path, sequence, readouts, name: str = "gre.dat"):
    protocol = twix_header(PROTOCOL.replace("%SiemensSeq%\\gre", "%CustomerSeq%\\pulseq"))
    body = b"".join(
        twix_block(samples[None], (), Lin=number) for number, samples in enumerate(readouts)
    )
    return twix_file(tmp_path / name, protocol + body + twix_block(None, ("ACQEND",)))


def test_points_lie_where_the_sequence_puts_them(tmp_path):
    sequence = write_sequence(tmp_path)
    places = [(0.01, 0.0, 1.0), (-0.02, 0.02, 0.5)]
    path = played(tmp_path, sequence, signal_at(sequence, places))
    scan = sr.load(path)  # the sequence lies beside the file
    assert scan.matrix == (NY, NX)
    assert scan.field_of_view == pytest.approx((VIEW[1], VIEW[0]))
    image = sr.reconstruct(scan, "rss").data.numpy()
    for x, y, strength in places:
        column = round(x * 1e3 / scan.spacing[-1]) + NX // 2
        row = round(y * 1e3 / scan.spacing[-2]) + NY // 2
        assert image[row, column] == pytest.approx(strength * np.sqrt(NX * NY), rel=0.02)
    # x and y of the sequence point to the right and to the back of the patient.
    assert scan.affine[0, 0] > 0
    assert scan.affine[1, 1] < 0


def test_a_place_measured_again_is_a_contrast_or_a_repetition(tmp_path):
    """Three echoes an excitation, two runs of the sequence."""
    one = write_sequence(tmp_path)
    sequence = pypulseq.Sequence()
    sequence.read(str(one))
    blocks = [sequence.get_block(i + 1) for i in range(len(sequence.block_events))]
    back = pypulseq.make_trapezoid("x", area=-blocks[2].gx.area, duration=1e-3)
    many = pypulseq.Sequence()
    for _ in range(2):
        for first in range(0, len(blocks), 3):
            many.add_block(blocks[first])
            many.add_block(blocks[first + 1])
            for echo in range(3):
                many.add_block(blocks[first + 2])
                if echo < 2:
                    many.add_block(back)
    many.set_definition("FOV", [VIEW[0] / 1e3, VIEW[1] / 1e3, 5e-3])
    path = tmp_path / "many.seq"
    many.write(str(path))
    data = RNG.normal(size=(2 * NY * 3, NX)) + 1j
    scan = sr.load(played(tmp_path, path, list(data)), sequence=path)
    assert dict(zip(scan.batch_axes, scan.batch_shape, strict=True)) == {
        "repetition": 2,
        "contrast": 3,
    }
    first = sr.load(
        played(tmp_path, one, list(data.reshape(2, NY, 3, NX)[1, :, 2]), "b.dat"), sequence=one
    )
    assert torch.allclose(scan.kspace[1, 2], first.kspace, atol=1e-4)


def test_spokes_become_a_trajectory(tmp_path):
    limits = pypulseq.Opts()
    fov, sequence = 0.2, pypulseq.Sequence(limits)
    pulse = pypulseq.make_block_pulse(0.1, duration=1e-3, system=limits)
    for angle in (0.0, 1.0, 2.0):
        gx = pypulseq.make_trapezoid("x", flat_area=NX / fov, flat_time=8e-4, system=limits)
        adc = pypulseq.make_adc(NX, duration=8e-4, delay=gx.rise_time, system=limits)
        before = pypulseq.make_trapezoid("x", area=-gx.area / 2, duration=1e-3, system=limits)
        sequence.add_block(pulse)
        sequence.add_block(*pypulseq.rotate(before, angle=angle, axis="z"))
        sequence.add_block(*pypulseq.rotate(gx, adc, angle=angle, axis="z"))
    sequence.set_definition("FOV", [fov, fov, 5e-3])
    path = tmp_path / "spokes.seq"
    sequence.write(str(path))
    scan = sr.load(played(tmp_path, path, list(RNG.normal(size=(3, NX)) + 1j)), sequence=path)
    assert "radial" in scan.trajectory_kind
    places = np.asarray(sequence.calculate_kspace()[0])[:2].T * fov / NX
    assert np.allclose(scan.trajectory.numpy(), places[:, ::-1], atol=1e-4)


def test_labels(tmp_path):
    """SLC, REP and NAV of the sequence decide, not what repeats."""
    one = write_sequence(tmp_path)
    sequence = pypulseq.Sequence()
    sequence.read(str(one))
    blocks = [sequence.get_block(i + 1) for i in range(3 * NY)]
    labelled = pypulseq.Sequence()
    for number in range(2):
        for i, block in enumerate(blocks):
            events = [block]
            if i == 0:
                label = pypulseq.make_label(type="SET", label="SLC", value=number)
                labelled.add_block(label)
            labelled.add_block(*events)
    labelled.set_definition("FOV", [VIEW[0] / 1e3, VIEW[1] / 1e3, 5e-3])
    path = tmp_path / "labelled.seq"
    labelled.write(str(path))
    scan = sr.load(played(tmp_path, path, list(RNG.normal(size=(2 * NY, NX)) + 1j)), sequence=path)
    assert scan.batch_axes == ("slice",)


def test_another_sequence_is_refused(tmp_path):
    sequence = write_sequence(tmp_path)
    path = played(tmp_path, sequence, list(np.ones((NY - 1, NX))), "short.dat")
    with pytest.raises(sr.FormatError, match=r"gre.seq: acquires 48 samples, the raw data hold 40"):
        sr.load(path, sequence=sequence)


def test_without_its_sequence_a_file_says_what_is_missing(data_dir, tmp_path):
    shutil.copy(data_dir / "twix" / "vb19_gre.dat", tmp_path)
    raw = sr.open_raw(tmp_path / "vb19_gre.dat")
    assert "the .seq that was played, as vb19_gre.seq" in raw.missing[0]


def test_a_sequence_alone_is_explained(tmp_path):
    path = write_sequence(tmp_path)
    raw = sr.open_raw(path)
    assert raw.facts["name"] == "gre"
    assert raw.facts["samples"] == NX * NY
    with pytest.raises(sr.FormatError, match="without data: load the raw file with sequence"):
        raw.read()
    places = sr.io.read_sequence(path).places.reshape(NY, NX, 3)
    assert np.allclose(places[:, 0, 1] * VIEW[1] / 1e3, np.arange(NY) - NY // 2, atol=1e-3)


def test_truncated_sequences_end(tmp_path):
    """pypulseq reads a file that ends within a shape for ever."""
    path = write_sequence(tmp_path)
    text = path.read_text()
    path.write_text(text[: text.index("[SHAPES]") + 200])
    with pytest.raises(sr.FormatError, match="ends within a shape"):
        sr.io.read_sequence(path)


REAL = {
    "vb19_gre": ((256, 256), ()),
    "pulseq_02_GRE_3echoes": ((256, 256), ("contrast",)),
    "pulseq_04a_GRE_3seg": ((256, 256), ()),
    "pulseq_05_EPI": ((128, 128), ()),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data(data_dir, name):
    matrix, axes = REAL[name]
    scan = sr.load(data_dir / "twix" / f"{name}.dat")
    assert scan.matrix == matrix
    assert scan.batch_axes == axes
    assert scan.field_of_view == (256, 256)
    image = sr.reconstruct(scan, "rss").data.reshape(-1, *matrix)[0]
    rim = torch.cat([image[:8].flatten(), image[-8:].flatten()])
    assert image.max() > 10 * rim.mean()  # an object in air


def test_real_data_agree_with_a_direct_sum(data_dir):
    """One coil of the real EPI, samples on ramps: the grid against the sequence's own places."""
    path = data_dir / "twix" / "pulseq_05_EPI.dat"
    scan = sr.load(path)
    raw = sr.open_raw(path)
    sequence = pypulseq.Sequence()
    with pytest.warns(UserWarning, match="older Pulseq"):
        sequence.read(str(path.with_suffix(".seq")))
    k = np.asarray(sequence.calculate_kspace()[0])[:2]
    line = 40
    kx = k[0].reshape(128, 152)[line] * 0.256
    row = round(float(k[1].reshape(128, 152)[line].mean() * 0.256)) + 64
    x = (np.arange(128) - 64) / 128
    grid = scan.kspace[0, row].numpy()
    if line % 2:  # kept in the order of its time until the ghost is corrected
        assert row in scan.header["reversed_lines"]
    image = np.exp(2j * np.pi * np.outer(x, np.arange(128) - 64)) @ grid / 128
    again = np.exp(-2j * np.pi * np.outer(kx, x)) @ image / np.sqrt(1)
    measured = list(load_bare_data(path))[line][0]
    scale = np.vdot(again, measured) / np.vdot(again, again)
    assert np.linalg.norm(scale * again - measured) < 0.15 * np.linalg.norm(measured)
    assert raw.facts["sequence_file"] == "pulseq_05_EPI.seq"


def load_bare_data(path):
    import twixtools

    measured = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)
    return (block.data for block in measured[-1]["mdb"])
