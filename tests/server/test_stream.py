"""Images while lines arrive: the same as from the file, and as early as they can be."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import scanner_files
import torch

import spinray as sr
from spinray.recon.io.acquisitions import Acquisitions
from spinray.recon.server.live import LiveScan


def stream_of(readouts: Acquisitions, method: str = "auto", **options: Any) -> sr.Stream:
    return sr.Stream(readouts.xml, method, **options)


def push(stream: sr.Stream, readouts: Acquisitions, places: Any = None) -> None:
    for i in range(len(readouts)) if places is None else places:
        stream.push_arrays(readouts.head[i], readouts.data[i], readouts.trajectory[i])


def stacked(images: list[sr.Image], slices: int) -> torch.Tensor:
    """In the order of their counters: scanners know nothing of a stack."""
    order = sorted(images, key=lambda i: (i.metadata["repetition"], i.metadata["slice"]))
    data = torch.stack([image.data for image in order])
    return data.reshape(-1, slices, *data.shape[1:]).squeeze(0)


def waited(stream: sr.Stream, count: int) -> list[sr.Image]:
    """Images that come without the stream being finished."""
    found: list[sr.Image] = []
    for _ in range(1200):
        found += stream.ready()
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} images of {count} after a minute")


@pytest.mark.parametrize(
    ("method", "scan", "options"),
    [
        ("sense", {}, {"iterations": 5}),
        ("sense", {"repetitions": 2, "slices": 2}, {"maps": "walsh", "iterations": 3}),
        ("sense", {}, {"iterations": 3, "coils": 3}),  # virtual coils are those of the whole scan
        ("grappa", {}, {}),
        ("rss", {"acceleration": 1.0}, {}),
        ("gridding", {"trajectory": "radial"}, {}),
        ("llr", {"repetitions": 4, "slices": 2}, {"iterations": 3}),
    ],
)
@pytest.mark.parametrize("order", ["slice by slice", "interleaved"])
def test_images_are_those_of_the_file(
    tmp_path: Path, method: str, scan: dict[str, Any], options: dict[str, Any], order: str
) -> None:
    path = scanner_files.scan_file(tmp_path, **scan)
    readouts = scanner_files.readouts_of(path)
    if order == "interleaved":
        readouts = scanner_files.interleaved(readouts)
    with stream_of(readouts, method, **options) as stream:
        push(stream, readouts)
        images = list(stream)
    expected = sr.reconstruct(sr.load(path), method, progress=False, **options)
    made = stacked(images, scan.get("slices", 3))
    assert made.shape == expected.data.shape
    assert float((made - expected.data).norm()) <= 1e-5 * float(expected.data.norm())
    slices = {image.metadata["slice"]: image for image in images}
    for z, image in slices.items():  # each slice has its place in space
        offset = expected.affine[:3, 3] + z * expected.affine[:3, 2]
        assert np.allclose(image.affine[:3, 3], offset, atol=1e-3)
        assert np.allclose(image.affine[:3, :2], expected.affine[:3, :2], atol=1e-5)


def test_slices_that_were_measured_in_another_order_keep_their_counters(tmp_path: Path) -> None:
    """Also those of a method that makes all of them at once, in the order of their places."""
    path = scanner_files.scan_file(tmp_path, slices=3, acceleration=1.0)
    readouts = scanner_files.readouts_of(path)
    head = readouts.head.copy()
    head["idx"]["slice"] = np.array([2, 0, 1])[head["idx"]["slice"]]
    readouts = dataclasses.replace(readouts, head=head)
    found = []
    for options in ({}, {"coils": 4}):  # slice by slice, and the whole scan
        with stream_of(readouts, "rss", **options) as stream:
            push(stream, readouts)
            found.append({image.metadata["slice"]: image for image in stream})
    alone, together = found
    assert set(alone) == set(together) == {0, 1, 2}
    for number, image in together.items():
        assert torch.allclose(image.data, alone[number].data, rtol=1e-4, atol=1e-6)
        assert np.allclose(image.affine, alone[number].affine)


def test_slices_come_before_the_scan_is_over(tmp_path: Path) -> None:
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=3))
    ends = np.flatnonzero(readouts.flagged(ismrmrd.ACQ_LAST_IN_SLICE))
    with stream_of(readouts, "sense", iterations=2) as stream:
        push(stream, readouts, range(ends[0] + 1))
        (first,) = waited(stream, 1)
        assert first.metadata["slice"] == 0
        push(stream, readouts, range(ends[0] + 1, len(readouts)))
        assert [image.metadata["slice"] for image in stream] == [1, 2]


def test_without_flags_nothing_is_given_too_early(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=3)
    readouts = scanner_files.without_ends(scanner_files.readouts_of(path))
    most = 2 * len(readouts) // 3
    with stream_of(readouts, "grappa") as stream:
        push(stream, readouts, range(most))
        (first, *_) = stream.live._sorter.parts.values()
        for _ in range(600):  # it is made ahead, once the scanner has gone on
            if first.solved:
                break
            time.sleep(0.05)
        assert first.solved
        time.sleep(0.1)
        assert not list(stream.ready())
        push(stream, readouts, range(most, len(readouts)))
        assert len(list(stream)) == 3


@pytest.mark.parametrize("method", ["sense", "grappa"])
def test_segments_may_leave_the_centre_for_the_end(tmp_path: Path, method: str) -> None:
    """The edge of all slices first: from that alone there are no maps, which is no error yet."""
    path = scanner_files.scan_file(tmp_path, matrix=64)
    readouts = scanner_files.readouts_of(path)
    idx = readouts.head["idx"]
    centre = idx["kspace_encode_step_1"] >= 20
    noise = readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    order = np.lexsort((idx["kspace_encode_step_1"], idx["slice"], centre, ~noise))
    segments = scanner_files.without_ends(scanner_files.shuffled(readouts, order))
    live = LiveScan(segments.header, segments.xml, method, {})
    images, refused = [], 0
    for i in range(len(segments)):
        live.push(segments.head[i], segments.data[i], segments.trajectory[i])
        images += [result.image for found in jobs(live) for result in found]
        refused = max(refused, *(part.refused for part in live._sorter.parts.values()), 0)
    assert refused > 0
    live.finish()
    images += [result.image for found in jobs(live) for result in found]
    expected = sr.reconstruct(sr.load(path), method, progress=False)
    made = stacked(images, 3)
    assert float((made - expected.data).norm()) <= 1e-5 * float(expected.data.norm())


def test_a_scan_without_a_centre_is_refused_at_the_end(tmp_path: Path) -> None:
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=2, matrix=64))
    edge = np.flatnonzero(readouts.head["idx"]["kspace_encode_step_1"] < 20)
    with stream_of(readouts, "sense") as stream:
        push(stream, readouts, edge)
        with pytest.raises(ValueError, match="centre"):
            list(stream)


def test_a_full_slice_needs_no_flag(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=2, acceleration=1.0)
    readouts = scanner_files.without_ends(scanner_files.readouts_of(path))
    with stream_of(readouts, "rss") as stream:
        push(stream, readouts)
        assert len(waited(stream, 2)) == 2


def jobs(live: LiveScan) -> Iterator[list[Any]]:
    while (job := live.next_job()) is not None:
        yield job()


def test_maps_are_made_before_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it they are found, not made; and only where the centre is the same."""
    from spinray.recon.pipelines import mr_encoding

    made = []
    make = mr_encoding.espirit
    monkeypatch.setattr(mr_encoding, "espirit", lambda *a, **k: made.append(1) or make(*a, **k))
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=1))
    live = LiveScan(readouts.header, readouts.xml, "sense", {"iterations": 2, "calibration": 12})
    for i in range(len(readouts) - 1):
        live.push(readouts.head[i], readouts.data[i], readouts.trajectory[i])
    assert list(jobs(live)) == [[]]
    assert len(made) == 1
    assert live.push(readouts.head[-1], readouts.data[-1], readouts.trajectory[-1])
    ((result,),) = jobs(live)
    assert len(made) == 1
    assert result.latency > 0
    expected = LiveScan(readouts.header, readouts.xml, "sense", live.options)
    for i in range(len(readouts)):
        expected.push(readouts.head[i], readouts.data[i], readouts.trajectory[i])
    ((whole,),) = jobs(expected)
    assert len(made) == 2
    assert torch.allclose(result.image.data, whole.image.data, rtol=1e-4, atol=1e-6)


def test_a_part_that_was_given_too_early_is_given_again(tmp_path: Path) -> None:
    """A scanner that flags every average as the last, and says nothing of averages before."""
    path = scanner_files.scan_file(tmp_path, slices=1, acceleration=1.0)
    readouts = scanner_files.readouts_of(path)
    lines = np.flatnonzero(~readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    with stream_of(readouts, "rss") as stream:
        push(stream, readouts)
        (first,) = waited(stream, 1)
        for i in lines:
            stream.push_arrays(readouts.head[i], 3 * readouts.data[i], readouts.trajectory[i])
        second = list(stream)[-1]
        assert stream.live.late > 0
    assert torch.allclose(second.data, 2 * first.data, rtol=1e-4)


def test_samples_of_older_repetitions_are_let_go(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1, repetitions=3, acceleration=1.0)
    readouts = scanner_files.readouts_of(path)
    live = LiveScan(readouts.header, readouts.xml, "rss", {})
    for i in range(len(readouts)):
        live.push(readouts.head[i], readouts.data[i], readouts.trajectory[i])
    assert sum(map(len, jobs(live))) == 3
    repetition = readouts.head["idx"]["repetition"]
    noise = readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    kept = [data.size > 0 for data in live.readouts.data]
    assert kept == ((repetition == 2) | noise).tolist()


def test_what_goes_wrong_reaches_whoever_waits(tmp_path: Path) -> None:
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=1))
    with pytest.raises(ValueError, match="unknown method 'sens'.*did you mean 'sense'"):
        stream_of(readouts, "sens")
    with pytest.raises(TypeError, match="has no option 'itterations', did you mean 'iterations'"):
        stream_of(readouts, "sense", itterations=3)
    with stream_of(readouts, "gridding") as stream:
        push(stream, readouts)
        with pytest.raises(ValueError, match="gridding needs a trajectory"):
            list(stream)
    with stream_of(readouts, "rss") as stream:
        with pytest.raises(ValueError, match="4 coils and 48 samples has data \\(3, 48\\)"):
            stream.push_arrays(readouts.head[-1], readouts.data[-1][:3], readouts.trajectory[-1])
        stream.finish()
        with pytest.raises(ValueError, match="finished"):
            push(stream, readouts)


def test_auto_says_what_it_chose_and_why(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=2)
    with stream_of(readouts := scanner_files.readouts_of(path), "auto") as stream:
        push(stream, readouts)
        found = [image.metadata for image in stream]
    expected = sr.reconstruct(sr.load(path), progress=False).metadata
    for name in ("method", "reason"):
        assert [metadata[name] for metadata in found] == [expected[name]] * 2


def test_acquisitions_of_ismrmrds_package(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    data = ismrmrd.Dataset(str(path), create_if_needed=False)
    with sr.Stream(data.read_xml_header(), "rss") as stream:
        for i in range(data.number_of_acquisitions()):
            stream.push(data.read_acquisition(i))
        (image,) = stream
    expected = sr.reconstruct(sr.load(path), "rss", progress=False)
    assert torch.allclose(image.data, expected.data)
