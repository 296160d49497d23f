"""Bruker ParaVision: a real scan against the vendor's own images, made ones for other layouts."""

from __future__ import annotations

import numpy as np
import pytest
from raw_files import COILS, INTEGERS, NX, NY, VIEW, write_bruker

import spinray as sr
from spinray.recon.io.jcamp import Parameters

LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])


def vendor_images(scan):
    """Images, directions of columns and rows, and first voxels of pdata/1 (DICOM's frame)."""
    visu = Parameters(scan / "pdata" / "1" / "visu_pars")
    images = np.fromfile(scan / "pdata" / "1" / "2dseq", "<i2").reshape(3, 128, 128)
    directions = visu.numbers("VisuCoreOrientation").reshape(3, 3, 3)
    return images, directions, visu.numbers("VisuCorePosition").reshape(3, 3)


@pytest.mark.parametrize("number", range(3))
def test_the_vendors_images_in_their_place(data_dir, number):
    """Three crossing slices, of which ParaVision shows two with rows and columns exchanged."""
    folder = data_dir / "bruker" / "flash_pv51"
    images, directions, positions = vendor_images(folder)
    image = sr.reconstruct(sr.load(folder, slice=number), "rss")
    mine, affine = image.data.numpy(), LPS_TO_RAS @ image.affine
    columns, rows = affine[:3, 0] / image.spacing[1], affine[:3, 1] / image.spacing[0]
    if number:
        mine, columns, rows = mine.T, rows, columns
    assert np.corrcoef(mine.ravel(), images[number].ravel())[0, 1] > 0.999999
    assert np.allclose(columns, directions[number, 0], atol=1e-6)
    assert np.allclose(rows, directions[number, 1], atol=1e-6)
    assert np.allclose(affine[:3, 3], positions[number], atol=1e-6)


@pytest.mark.peer
def test_parameters_are_brukerapis(data_dir):
    jcampdx = pytest.importorskip("brukerapi.jcampdx")
    path = data_dir / "bruker" / "flash_pv51" / "method"
    theirs, mine = jcampdx.JCAMPDX(str(path)), Parameters(path)
    for name in ("PVM_EncSteps1", "PVM_Matrix", "PVM_Fov", "PVM_SPackArrGradOrient", "PVM_EffSWh"):
        assert np.allclose(mine.numbers(name), np.ravel(theirs.get_value(name)))


def change(scan, name: str, **values: str) -> None:
    path = scan / name
    start, *parameters = path.read_text().replace("##END=\n", "").split("##$")
    kept = [p for p in parameters if p.split("=")[0] not in values]
    kept += [f"{key}={value}\n" for key, value in values.items()]
    path.write_text("##$".join([start, *kept]) + "##END=\n")


def write_data(scan, lines: np.ndarray, name: str, dtype: str, block: int = 1) -> None:
    """Readouts ``(readout, coil, sample)`` one after another, padded to `block` bytes."""
    content = b""
    for line in lines:
        pairs = np.stack([line.real, line.imag], axis=-1).astype(dtype).tobytes()
        content += pairs + b"\0" * (-len(pairs) % block)
    (scan / name).write_bytes(content)


def test_echo_trains_objects_and_repetitions(tmp_path):
    """RARE, factor 2, two slices measured in reverse order, two repetitions, rawdata.job0."""
    rng = np.random.default_rng(0)
    shape = (2, 2, COILS, NY, NX)  # repetition, slice
    kspace = rng.integers(-999, 999, shape) + 1j * rng.integers(-999, 999, shape)
    scan = write_bruker(tmp_path)
    steps = [0, -3, 1, -2, 2, -1]
    change(
        scan, "acqp", NI="2", NR="2", NSLICES="2", ACQ_rare_factor="2", ACQ_phase_factor="2",
        ACQ_obj_order="( 2 )\n1 0", ACQ_slice_offset="( 2 )\n4 -4",
        ACQ_grad_matrix="( 2, 3, 3 )\n1 0 0 0 1 0 0 0 1 1 0 0 0 1 0 0 0 1",
        ACQ_jobs=f"( 1 )\n({2 * NX}, 1, 1, 0, 50000, <job0>)",
    )  # fmt: skip
    change(scan, "method", PVM_EncSteps1="( 6 )\n" + " ".join(map(str, steps)))
    lines = [
        kspace[repetition, slot, :, steps[2 * shot + echo] + 3]
        for repetition in range(2)
        for shot in range(3)
        for slot in (1, 0)
        for echo in range(2)
    ]
    (scan / "fid").unlink()
    write_data(scan, np.array(lines), "rawdata.job0", "<i4")
    raw = sr.open_raw(scan)
    assert raw.axes == {"repetition": 2, "slice": 2}
    loaded = raw.read()
    # The second object was measured first, at 4 mm to the feet; slices grow to the feet, too.
    assert np.array_equal(loaded.kspace.numpy(), kspace.astype(np.complex64))
    assert loaded.spacing[0] == pytest.approx(8)
    assert loaded.affine[2, 2:] == pytest.approx([-8, 4])
    assert np.array_equal(raw.read(repetition=1, slice=0).kspace.numpy(), kspace[1, 0])


@pytest.mark.parametrize(
    ("dtype", "name"), [("<i2", "GO_16BIT_SGN_INT"), (">i4", "GO_32BIT_SGN_INT"),
                        ("<f4", "GO_32BIT_FLOAT")],
)  # fmt: skip
def test_words(tmp_path, dtype, name):
    scan = write_bruker(tmp_path)
    order = "big" if dtype[0] == ">" else "little"
    change(scan, "acqp", GO_raw_data_format=name, BYTORDA=order, GO_block_size="continuous")
    write_data(scan, INTEGERS.transpose(1, 0, 2), "fid", dtype)
    assert np.array_equal(sr.load(scan / "fid").kspace.numpy(), INTEGERS.astype(np.complex64))


def test_offset_along_phase_moves_the_image(tmp_path):
    """ParaVision shifts along the phase direction when it reconstructs; here by whole voxels."""
    plain = sr.load(write_bruker(tmp_path))
    step = VIEW[1] / NY
    scan = write_bruker(tmp_path)
    change(scan, "acqp", ACQ_phase1_offset=f"( 1 )\n{2 * step}")
    moved = sr.load(scan)
    images = [sr.reconstruct(s, "rss") for s in (plain, moved)]
    assert np.allclose(images[1].data, np.roll(images[0].data, -2, axis=0), rtol=1e-4)
    # What stays within the view keeps its place in the patient.
    assert np.allclose(images[1].affine @ [1, 1, 0, 1], images[0].affine @ [1, 3, 0, 1])


def test_each_slice_has_its_own_offset_along_phase(tmp_path):
    """Offsets stand in the order of measurement: here the second slice comes first."""
    scan = write_bruker(tmp_path)
    step = VIEW[1] / NY
    change(
        scan, "acqp", NI="2", NSLICES="2", ACQ_obj_order="( 2 )\n1 0",
        ACQ_slice_offset="( 2 )\n4 -4", ACQ_phase1_offset=f"( 2 )\n{2 * step} 0",
    )  # fmt: skip
    write_data(scan, np.repeat(INTEGERS.transpose(1, 0, 2), 2, axis=0), "fid", "<i4", 1024)
    images = sr.reconstruct(sr.load(scan), "rss").data
    assert np.allclose(images[1], np.roll(images[0], -2, axis=0), rtol=1e-4)
    assert not np.allclose(images[1], images[0], rtol=0.1)


def test_trajectory_files(tmp_path):
    scan = write_bruker(tmp_path)
    k = np.random.default_rng(1).uniform(-0.5, 0.49, (NY, NX, 2))
    k.tofile(scan / "traj")
    loaded = sr.load(scan)
    assert np.allclose(loaded.trajectory.numpy(), k.reshape(-1, 2)[:, ::-1], atol=1e-7)
    assert loaded.readout_length == NX


def test_what_does_not_fit(tmp_path):
    scan = write_bruker(tmp_path)
    change(scan, "acqp", NR="1000000")
    with pytest.raises(sr.FormatError, match=r"acqp, ACQ_size: asks for 6 x 1 steps .* fid holds"):
        sr.load(scan)
    change(scan, "acqp", NR="@999999999*(1)")
    with pytest.raises(sr.FormatError, match="repeats values"):
        sr.load(scan)
