"""Every format: a small file written by other code comes back as what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import raw_files
import torch
from raw_files import COILS, INTEGERS, KSPACE, NX, NY, VIEW

import spinray as sr

EXACT = ("ismrmrd", "stream", "mrd2", "fastmri", "matlab 5", "matlab 7.3", "npy", "npz", "zarr",
         "bart")  # fmt: skip
WHOLE_NUMBERS = ("bruker", "ge")
OVERSAMPLED = ("twix ve", "twix vb", "list data")


def half_of(kspace: np.ndarray) -> np.ndarray:
    """K-space of the middle half of the field of view along the readout, computed apart."""
    n = kspace.shape[-1]
    place = np.arange(n) - n // 2
    image = kspace @ np.exp(2j * np.pi * np.outer(place, place) / n) / np.sqrt(n)
    part = image[..., n // 4 : 3 * n // 4]
    place = np.arange(n // 2) - n // 4
    return part @ np.exp(-2j * np.pi * np.outer(place, place) / (n // 2)) / np.sqrt(n // 2)


@pytest.mark.parametrize("kind", raw_files.MR)
def test_data_come_back(tmp_path, kind):
    path = raw_files.write(kind, tmp_path)
    raw = sr.open_raw(path)
    scan = raw.read()
    found = scan.kspace.reshape(COILS, NY, -1).numpy()
    if kind in EXACT:
        assert np.array_equal(found, KSPACE)
    elif kind in WHOLE_NUMBERS:
        assert np.array_equal(found, INTEGERS.astype(np.complex64))
    elif kind in OVERSAMPLED:
        assert np.allclose(found, half_of(KSPACE), atol=1e-5)
    else:  # whole numbers after a turn of phase
        assert kind == "lab raw"
        assert np.abs(found - INTEGERS).max() < 0.8
    assert scan.header["format"] == raw.format
    assert raw.facts["format"].startswith(raw.format)
    assert raw.format in sr.io.formats()


@pytest.mark.parametrize("kind", raw_files.MR)
def test_no_other_reader_takes_the_file(tmp_path, kind):
    from spinray.recon.io.reading import readers

    path = raw_files.write(kind, tmp_path)
    assert len([reader.NAME for reader in readers() if reader.matches(path)]) == 1


@pytest.mark.parametrize("kind", ["ismrmrd", "stream", "mrd2", "twix ve", "twix vb", "bruker",
                                  "lab raw"])  # fmt: skip
def test_field_of_view_and_protocol(tmp_path, kind):
    raw = sr.open_raw(raw_files.write(kind, tmp_path))
    scan = raw.read()
    width = VIEW[0] / 2 if kind.startswith("twix") else VIEW[0]
    assert scan.field_of_view == pytest.approx((VIEW[1], width))
    if kind != "lab raw":
        assert raw.facts["protocol"] in ("brain", "01 flash")
        assert scan.affine is not None
    assert raw.missing == ()


def test_list_data_takes_noise_and_a_field_of_view(tmp_path):
    path = raw_files.write("list data", tmp_path)
    scan = sr.load(path, field_of_view=(40.0, 60.0, 5.0))
    assert scan.field_of_view == (60, 40)
    assert scan.noise.shape == (COILS, 32)
    raw = sr.open_raw(path, field_of_view=(40.0, 60.0))
    assert (raw.missing, raw.facts["protocol"]) == ((), "brain")
    assert torch.equal(sr.load(path.with_suffix(".list")).kspace, scan.kspace)


def test_partial_echoes_of_lists(tmp_path):
    """Three samples before the middle of k-space were left out: kx_range says so."""
    path = raw_files.write("list data", tmp_path).with_suffix(".list")
    line = (
        f".    0    0    0  kx_range                           :    {3 - NX // 2}  {NX // 2 + 2}\n"
    )
    text = path.read_text().replace(
        "kx_oversample_factor               :   2", "kx_oversample_factor : 1"
    )
    path.write_text(text.replace("# === START", f"{line}# === START"))
    scan = sr.load(path)
    assert scan.matrix == (NY, NX + 6)
    assert np.array_equal(scan.kspace[..., 6:].numpy(), KSPACE)
    assert not scan.mask[..., :6].any()


def test_lists_are_told_by_their_start(tmp_path):
    """Vectors by the thousand lie between the title and the end; PAR files have the title, too."""
    path = raw_files.write("list data", tmp_path).with_suffix(".list")
    text = path.read_text()
    path.write_text(text.replace("# typ mix", "#" * 9000 + "\n# typ mix"))
    assert sr.load(path).coils == COILS
    path.write_text("".join(line for line in text.splitlines(True) if line[0] != "."))
    with pytest.raises(sr.FormatError, match="is no scan"):
        sr.load(path)


def test_headers_of_ge_after_they_moved(tmp_path):
    scan = sr.load(raw_files.write_ge(tmp_path, revision=27.0), field_of_view=VIEW)
    assert np.array_equal(scan.kspace.numpy(), INTEGERS.astype(np.complex64))
    assert scan.spacing == (10, 10)


def test_scan_archives_are_told_their_converter(tmp_path):
    import h5py

    with h5py.File(tmp_path / "ScanArchive_1.h5", "w") as file:
        file["DownloadMetaData"] = 1
    with pytest.raises(sr.FormatError, match="convert it with ge_to_ismrmrd"):
        sr.load(tmp_path / "ScanArchive_1.h5")


def test_packed_philips_data_are_named(tmp_path):
    path = raw_files.write("lab raw", tmp_path)
    labels = np.fromfile(path.with_suffix(".lab"), "<u4").reshape(-1, 16)
    labels[:, 5] = 6 << 8
    labels[:, 1] = labels[:, 0]
    labels.tofile(path.with_suffix(".lab"))
    with pytest.raises(sr.FormatError, match=r"packs its vectors \(raw format \[6\]\)"):
        sr.load(path)


def test_cmrxrecon(tmp_path):
    """MATLAB 7.3 with (kx, ky, coil, slice, time) and a mask for each time."""
    rng = np.random.default_rng(2)
    kspace = (rng.normal(size=(3, 4, COILS, NY, NX)) + 1j).astype(np.complex64)
    mask = np.zeros((3, NY, NX))
    for time in range(3):
        mask[time, time::3] = 1
    path = raw_files.write_matlab73(tmp_path, kspace, mask=mask)
    raw = sr.open_raw(path)
    assert raw.axes == {"time": 3, "slice": 4}
    scan = raw.read()
    expected = torch.from_numpy(kspace * mask[:, None, None].astype(np.float32))
    assert torch.equal(scan.kspace, expected)
    assert scan.mask.reshape(3, -1, NY, NX)[1, 0].float().numpy().tolist() == mask[1].tolist()
    one = raw.read(time=1, slice=slice(2, 4))
    assert torch.equal(one.kspace, expected[1, 2:4])
    assert one.batch_axes == ("slice",)


def test_matlab_axes_and_variables(tmp_path):
    from scipy import io

    path = tmp_path / "volume.mat"
    volume = np.arange(2 * 3 * 4 * 5).reshape(5, 4, 3, 2) + 1j
    io.savemat(path, {"other": volume, "mask": np.ones((5, 4))})
    scan = sr.load(path, axes="x y z coil", spacing=(4.0, 3.0, 2.0))
    assert scan.matrix == (3, 4, 5)
    assert np.array_equal(scan.kspace.numpy(), volume.transpose(3, 2, 1, 0))
    assert scan.spacing == (4, 3, 2)
    with pytest.raises(ValueError, match="axes must name the 4 dimensions of other once each"):
        sr.load(path, axes="x y coil")
    with pytest.raises(sr.FormatError, match="no such array of numbers; there are other"):
        sr.load(path, variable="none")


def test_ocmr_like_files(make_ismrmrd):
    """ISMRMRD with asymmetric echoes, averages, frames and oversampling, as OCMR's."""
    import ismrmrd

    rng = np.random.default_rng(3)
    frames, lines, full = 3, 6, 16
    kspace = (rng.normal(size=(frames, COILS, lines, full)) + 1j).astype(np.complex64)
    echo = full - 5  # the first five samples were left out
    readouts = [
        make_ismrmrd.readout(rng.normal(size=(COILS, 64)), flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT])
    ]
    for frame, y, _ in np.ndindex(frames, lines, 2):
        readouts.append(
            make_ismrmrd.readout(
                kspace[frame, :, y, 5:], kspace_encode_step_1=y, phase=frame,
                center_sample=full // 2 - 5,
            )
        )  # fmt: skip
    layout = make_ismrmrd.encoding(
        (full, lines, 1), (320.0, 240.0, 8.0), (full // 2, lines, 1), (160.0, 240.0, 8.0)
    )
    scan = sr.load(make_ismrmrd(readouts, layout))
    assert scan.batch_axes == ("phase",)
    assert scan.header["averages"] == 2
    assert scan.noise.shape == (COILS, 64)
    kspace[..., :5] = 0
    measured = scan.mask.reshape(-1, full // 2)[0]
    assert torch.equal(measured, torch.arange(full // 2) > (full - echo) // 2)
    expected = half_of(kspace) * measured.numpy()
    assert np.allclose(scan.kspace.numpy(), expected, atol=1e-5)


def test_mrd2_header(tmp_path):
    raw = sr.open_raw(raw_files.write("mrd2", tmp_path))
    assert raw.facts["repetition_time_ms"] == 500
    assert raw.facts["echo_time_ms"] == 4.5
    assert raw.facts["patient_position"] == "HFP"


def test_zarr_links_out_of_the_store(tmp_path):
    store = raw_files.write("zarr", tmp_path)
    (tmp_path / "secret").write_bytes(b"x" * 99)
    chunk = next(p for p in store.rglob("*") if p.is_file() and p.suffix != ".json")
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(sr.FormatError, match="leads out of the store"):
        sr.load(store)


def test_npz_and_folder(tmp_path):
    raw_files.write("bart", tmp_path)
    assert sr.load(Path(tmp_path)).coils == COILS
