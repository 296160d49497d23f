"""`convert`: nothing is lost on the way to ISMRMRD, and nobody is named after --anonymize."""

from __future__ import annotations

import struct

import h5py
import ismrmrd
import numpy as np
import pytest
import raw_files
import torch
from raw_files import KSPACE

import spinray as sr
from spinray.recon.io.mrd_messages import CLOSE_MESSAGE, WAVEFORM, WAVEFORM_HEADER


def rows_of(path):
    with h5py.File(path) as file:
        return file["dataset/data"][()], file["dataset/xml"][0]


def test_ismrmrd_through_spinray_is_the_same_to_the_bit(make_ismrmrd, tmp_path):
    """Noise, navigators, phase correction, trajectories, counters, user fields."""
    rng = np.random.default_rng(0)
    readouts = [
        make_ismrmrd.readout(
            rng.normal(size=(2, 8)), rng.normal(size=(8, 2)), flags=[flag], slice=3, segment=2,
            scan_counter=77, user_int=range(8), user_float=np.arange(8) / 3, position=(1, 2, 3),
            acquisition_time_stamp=12345, measurement_uid=9,
        )
        for flag in (ismrmrd.ACQ_IS_NOISE_MEASUREMENT, ismrmrd.ACQ_IS_NAVIGATION_DATA,
                     ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_LAST_IN_SLICE)
    ]  # fmt: skip
    source = make_ismrmrd(readouts)
    target = sr.io.convert(source, tmp_path / "copy.mrd")
    (before, xml), (after, copy) = rows_of(source), rows_of(target)
    assert copy == xml
    assert np.array_equal(before["head"], after["head"])
    for part in ("data", "traj"):
        assert all(np.array_equal(a, b) for a, b in zip(before[part], after[part], strict=True))


@pytest.mark.parametrize("kind", ["stream", "mrd2", "twix ve", "twix vb", "bruker", "list data",
                                  "lab raw", "ge"])  # fmt: skip
def test_readouts_of_all_formats_go_to_ismrmrd(tmp_path, kind):
    source = raw_files.write(kind, tmp_path)
    target = sr.io.convert(source, tmp_path / "copy.h5")
    one, other = sr.load(source), sr.load(target)
    assert torch.equal(one.kspace, other.kspace)
    assert torch.equal(one.mask, other.mask)
    assert one.spacing == pytest.approx(other.spacing)
    assert (one.affine is None) == (other.affine is None)
    assert one.affine is None or np.allclose(one.affine, other.affine, atol=1e-5)
    if one.noise is not None:
        assert torch.equal(one.noise, other.noise)


@pytest.mark.parametrize("kind", ["ismrmrd", "stream"])
def test_waveforms_are_not_lost_silently(tmp_path, kind):
    source, numbers = raw_files.write(kind, tmp_path), np.arange(20, dtype=np.uint32)
    if kind == "ismrmrd":
        data = ismrmrd.Dataset(str(source))
        data.append_waveform(ismrmrd.Waveform.from_array(numbers.reshape(2, 10)))
        data.close()
    else:
        head = np.zeros((), WAVEFORM_HEADER)
        head["number_of_samples"], head["channels"] = 10, 2
        message = struct.pack("<H", WAVEFORM) + head.tobytes() + numbers.tobytes()
        content = source.read_bytes().removesuffix(CLOSE_MESSAGE)
        source.write_bytes(content + message + CLOSE_MESSAGE)
    assert sr.open_raw(source).facts["waveforms"] == 1
    with pytest.warns(UserWarning, match="the source's 1 waveforms are left out"):
        sr.io.convert(source, tmp_path / "copy.h5")


@pytest.mark.peer
def test_the_ismrmrd_package_reads_it(tmp_path):
    target = sr.io.convert(raw_files.write("twix ve", tmp_path), tmp_path / "copy.h5")
    data = ismrmrd.Dataset(str(target), mode="r")
    for y in range(data.number_of_acquisitions()):
        assert np.array_equal(data.read_acquisition(y).data, KSPACE[:, y])
    header = ismrmrd.xsd.CreateFromDocument(data.read_xml_header())
    assert header.measurementInformation.protocolName == "brain"
    data.close()


def test_parts(tmp_path):
    source = raw_files.write_ismrmrd(tmp_path, repetitions=4)
    target = sr.io.convert(source, tmp_path / "part.h5", repetition=slice(1, 3))
    assert torch.equal(sr.load(target).kspace, sr.load(source).kspace[1:3])


def test_scans_go_to_other_formats(tmp_path):
    source = raw_files.write("matlab 5", tmp_path)
    assert np.array_equal(sr.load(sr.io.convert(source, tmp_path / "a.cfl")).kspace, KSPACE)
    assert np.array_equal(sr.load(sr.io.convert(source, tmp_path / "a.h5")).kspace, KSPACE)
    ct = raw_files.write("data exchange", tmp_path)
    copy = sr.io.convert(ct, tmp_path / "ct.h5")
    assert torch.equal(sr.load(copy).counts, sr.load(ct).counts)


def test_ct_goes_to_data_exchange_and_back(tmp_path):
    """DICOM-CT-PD to Data Exchange, bit by bit, and back within the steps of 16 bits."""
    source = raw_files.write("ct-pd", tmp_path)
    scan = sr.load(source)
    there = sr.load(sr.io.convert(source, tmp_path / "helix.h5", anonymize=True))
    assert torch.equal(there.sinogram, scan.sinogram)
    assert torch.equal(there.photons, scan.photons)
    assert there.geometry == scan.geometry
    assert np.array_equal(there.affine, scan.affine)
    (tmp_path / "back").mkdir()
    sr.io.convert(tmp_path / "helix.h5", tmp_path / "back" / "view.dcm")
    back = sr.load(tmp_path / "back")
    step = float(scan.sinogram.max() - scan.sinogram.min()) / 65535
    assert torch.allclose(back.sinogram, scan.sinogram, atol=step)
    assert back.header["water"] == pytest.approx(scan.header["water"])
    with pytest.raises(ValueError, match="multiframe is for images"):
        sr.io.convert(source, tmp_path / "a.h5", multiframe=True)


def test_images(tmp_path):
    image = sr.Image(torch.arange(24.0).reshape(2, 3, 4), (3.0, 2.0, 1.0), metadata={"a": 1})
    source = image.save(tmp_path / "a.h5")
    copy = sr.load_image(sr.io.convert(source, tmp_path / "a.nii.gz"))
    assert np.allclose(copy.data, image.data)
    plain = sr.load_image(sr.io.convert(source, tmp_path / "b.h5", anonymize=True))
    assert plain.metadata == {}
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(sr.FormatError, match="is neither raw data nor an image"):
        sr.io.convert(tmp_path / "notes.txt", tmp_path / "b.h5")


SECRETS = ("Jane", "Roe", "1970", "St. Elsewhere", "SN123", "1.2.3.4", "secret")
HEADER = raw_files.XML.replace(
    "<subjectInformation><patientName>Jane Roe</patientName></subjectInformation>",
    "<subjectInformation><patientName>Jane Roe</patientName><patientWeight_kg>61</patientWeight_kg>"
    "<patientBirthdate>1970-01-01</patientBirthdate></subjectInformation>"
    "<studyInformation><studyDate>1970-02-02</studyDate><studyID>secret</studyID>"
    "</studyInformation>",
).replace(
    "<protocolName>brain</protocolName>",
    "<protocolName>brain</protocolName><seriesDescription>secret</seriesDescription>"
    "<frameOfReferenceUID>1.2.3.4</frameOfReferenceUID>",
).replace(
    "<experimentalConditions>",
    "<acquisitionSystemInformation><systemVendor>ACME</systemVendor><systemFieldStrength_T>3"
    "</systemFieldStrength_T><institutionName>St. Elsewhere</institutionName>"
    "<deviceSerialNumber>SN123</deviceSerialNumber></acquisitionSystemInformation>"
    "<experimentalConditions>",
).replace(
    "</encoding>",
    "</encoding><userParameters><userParameterLong><name>a</name><value>1</value>"
    "</userParameterLong><userParameterString><name>b</name><value>secret</value>"
    "</userParameterString></userParameters>",
)  # fmt: skip


@pytest.mark.parametrize("target", ["out.h5", "out.cfl"])
def test_anonymize(tmp_path, target):
    source = raw_files.write_ismrmrd(tmp_path)
    with h5py.File(source, "a") as file:
        file["dataset/xml"][0] = HEADER
        rows = file["dataset/data"][()]
        rows["head"]["acquisition_time_stamp"] = 5000 + np.arange(len(rows))
        rows["head"]["measurement_uid"] = 42
        file["dataset/data"][()] = rows
    assert all(secret in HEADER for secret in SECRETS)
    written = sr.io.convert(source, tmp_path / target, anonymize=True)
    content = written.read_bytes()
    assert not any(secret.encode() in content for secret in SECRETS)
    if target == "out.h5":
        scan = sr.load(written)
        assert np.array_equal(scan.kspace.numpy(), KSPACE)
        assert scan.header["protocol"] == "brain"
        assert scan.header["field_strength_t"] == 3
        after, xml = rows_of(written)
        assert after["head"]["acquisition_time_stamp"].tolist() == list(range(len(after)))
        assert not after["head"]["measurement_uid"].any()
        assert b"<patientWeight_kg>61" in xml
        assert b"<value>1</value>" in xml


def test_anonymized_twix_names_nobody(tmp_path):
    source = raw_files.write("twix ve", tmp_path)
    assert b"Jane Roe" in source.read_bytes()
    plain = sr.io.convert(source, tmp_path / "plain.h5")
    assert b"Jane Roe" in plain.read_bytes()
    anonymous = sr.io.convert(source, tmp_path / "anonymous.h5", anonymize=True)
    assert b"Jane" not in anonymous.read_bytes()


def test_a_failure_leaves_nothing(tmp_path):
    source = raw_files.write("twix ve", tmp_path)
    with pytest.raises(ValueError, match="the suffix of MRScan files is one of"):
        sr.io.convert(source, tmp_path / "copy.xyz")
    with pytest.raises(OSError, match="folder does not exist"):
        sr.io.convert(source, tmp_path / "none" / "copy.h5")
    assert not list(tmp_path.glob("*copy*"))
