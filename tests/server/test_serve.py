"""`spinray serve` as a scanner meets it: sessions of ISMRMRD's own client, and of Spinray's."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import scanner_files

import spinray as sr
from spinray.recon.io.mrd_messages import TEXT, text_message


def expected_of(path: Path, method: str, **options: Any) -> sr.Image:
    return sr.reconstruct(sr.load(path), method, progress=False, **options)


def require_like(images: list[ismrmrd.Image], expected: sr.Image, tolerance: float = 1e-5) -> None:
    data = np.stack([image.data[0, 0] for image in sorted(images, key=lambda i: i.slice)])
    wanted = expected.data.abs().numpy()
    wanted = wanted.reshape(-1, *wanted.shape[-2:])
    assert data.shape == wanted.shape
    assert np.linalg.norm(data - wanted) <= tolerance * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("config", "by_name", "method", "options"),
    [
        ("sense iterations=4", False, "sense", {"iterations": 4}),
        ("grappa.xml", True, "grappa", {}),
        ('{"method": "sense", "options": {"iterations": 4}}', False, "sense", {"iterations": 4}),
        (
            '{"parameters": {"config": "sense", "iterations": "4", "maps": ""}}', False,
            "sense", {"iterations": 4},
        ),
    ],
)  # fmt: skip
def test_a_session_gives_the_images_of_the_command_line(
    tmp_path: Path, client: Any, config: str, by_name: bool, method: str, options: dict[str, Any]
) -> None:
    path = scanner_files.scan_file(tmp_path)
    answers = client.file(path, config, by_name=by_name)
    assert answers.closed
    assert not [text for text in answers.texts if text.startswith("error")]
    require_like(answers.images, expected_of(path, method, **options))
    assert [image.image_index for image in answers.images] == [1, 2, 3]
    assert any("after the last readout" in text for text in answers.texts)


def test_images_lie_where_the_readouts_lay(tmp_path: Path, client: Any) -> None:
    path = scanner_files.scan_file(tmp_path)
    lines = scanner_files.readouts_of(path).head
    for image in client.file(path, "grappa").images:
        line = lines[(lines["idx"]["slice"] == image.slice) & (lines["flags"] < 1 << 18)][-1]
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            assert np.allclose(getattr(image, name)[:], line[name], atol=1e-3), name
        assert list(image.field_of_view) == pytest.approx([240, 240, 8])
        assert list(image.matrix_size) in ([48, 48, 1], (1, 48, 48), [1, 48, 48])
        assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE
        assert image.image_series_index == 1
        meta = ismrmrd.Meta.deserialize(image.attribute_string)
        low, high = np.percentile(image.data, (0.5, 99.5))
        assert float(meta["WindowCenter"]) == pytest.approx((low + high) / 2, rel=1e-4)
        assert float(meta["WindowWidth"]) == pytest.approx(high - low, rel=1e-4)
        assert "grappa" in meta["ImageComments"]
        assert meta["ImageProcessingHistory"] == ["SPINRAY", "grappa"]
        assert meta["DataRole"] == "Image"


def test_radial_scans_and_the_automatic_choice(tmp_path: Path, client: Any) -> None:
    path = scanner_files.scan_file(tmp_path, trajectory="radial", slices=2)
    answers = client.file(path, "default.xml", by_name=True)
    require_like(answers.images, expected_of(path, "auto"), 1e-4)


def test_whole_numbers_for_consoles_that_want_them(tmp_path: Path, client: Any) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1, acceleration=1.0)
    (image,) = client.file(path, "rss pixels=uint16").images
    assert image.data.dtype == np.uint16
    assert image.data.max() == 4095
    scale = float(ismrmrd.Meta.deserialize(image.attribute_string)["PixelScale"])
    wanted = expected_of(path, "rss").data.numpy()
    assert np.abs(image.data[0, 0] / scale - wanted).max() <= 0.51 / scale


def test_spinrays_client(tmp_path: Path, server: Any) -> None:
    path = scanner_files.scan_file(tmp_path)
    seen: list[tuple[int, int, int]] = []
    images = sr.send(
        path, port=server.port, method="sense", iterations=4, pixels="complex",
        progress=lambda *counts: seen.append(counts),
    )  # fmt: skip
    expected = expected_of(path, "sense", iterations=4)
    data = np.stack([image.data.numpy() for image in images])
    assert np.linalg.norm(data - expected.data.numpy()) <= 1e-5 * np.linalg.norm(data)
    for z, image in enumerate(images):
        offset = expected.affine[:3, 3] + z * expected.affine[:3, 2]
        assert np.allclose(image.affine[:3, 3], offset, atol=1e-3)
        assert image.spacing == pytest.approx((5.0, 5.0))
        assert image.metadata["method"] == "sense"
        assert image.metadata["options"]["iterations"] == 4
    assert seen[-1][2] == 3
    assert any("after the last readout" in text for text in images[0].metadata["remarks"])


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"method": "sens"}, "unknown method 'sens' .did you mean 'sense'"),
        ({"method": "sense", "itterations": 3}, "no option 'itterations', did you mean"),
        ({"method": "sense", "iterations": 0}, "iterations must be 1 or more"),
        ({"method": "gridding"}, "gridding needs a trajectory"),
        ({"method": "unrolled", "weights": "/etc/passwd"}, "without --models"),
        ({"pixels": "int8"}, "pixels must be one of float, complex, uint16"),
        ({"token": "guess"}, "token"),
    ],
)
def test_a_wish_that_cannot_be_met_is_answered(
    tmp_path: Path, server: Any, wish: dict[str, Any], message: str
) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    with pytest.raises(sr.client.ServerError, match=message):
        sr.send(path, port=server.port, **wish)
    assert len(sr.send(path, port=server.port, method="rss")) == 1


def test_the_client_orders_images_by_their_counters(tmp_path: Path, server: Any) -> None:
    """The last slice is measured first."""
    path = scanner_files.scan_file(tmp_path)
    readouts = scanner_files.readouts_of(path)
    noise = readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    order = np.lexsort((-readouts.head["idx"]["slice"].astype(int), ~noise))
    backwards = scanner_files.without_ends(scanner_files.shuffled(readouts, order))
    images = sr.send(backwards, port=server.port, method="rss")
    made = np.stack([image.data.numpy() for image in images])
    assert np.allclose(made, expected_of(path, "rss").data, rtol=1e-4)


class Damaged(list[Any]):
    """Samples of a file that ends after 50 readouts."""

    def __getitem__(self, number: Any) -> Any:
        if number >= 50:
            raise sr.FormatError("scan.h5", f"readout {number}", "truncated")
        return super().__getitem__(number)


@pytest.mark.parametrize("reads", [True, False], ids=["a damaged file", "progress"])
def test_what_goes_wrong_while_sending_reaches_the_caller(
    tmp_path: Path, server: Any, reads: bool
) -> None:
    """At once, not when the server has waited in vain."""
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path))
    if reads:
        readouts = dataclasses.replace(readouts, data=Damaged(readouts.data))

    def progress(sent: int, total: int, images: int) -> None:
        if not reads and sent < total:
            raise RuntimeError("the window was closed")

    with pytest.raises((sr.FormatError, RuntimeError), match="truncated|the window was closed"):
        sr.send(readouts, port=server.port, method="rss", progress=progress)
    path = scanner_files.scan_file(tmp_path, slices=1)
    assert len(sr.send(path, port=server.port, method="rss")) == 1


def test_half_an_answer_is_a_broken_connection(tmp_path: Path) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def half() -> None:
            with listener.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(text_message(TEXT, "hello")[:5])

        threading.Thread(target=half).start()
        with pytest.raises(ConnectionError):
            sr.send(path, port=listener.getsockname()[1], method="rss")


def test_options_of_numpy_are_numbers(tmp_path: Path, server: Any) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    (image,) = sr.send(path, port=server.port, method="sense", iterations=np.int64(3))
    assert image.metadata["options"]["iterations"] == 3
    with pytest.raises(TypeError, match="numbers, words and lists, got .3."):
        sr.send(path, port=server.port, method="sense", iterations={3})


def test_gadgetrons_chains_are_told_what_to_send(tmp_path: Path, client: Any) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    answers = client.file(path, "<gadgetronStreamConfiguration/>")
    assert answers.closed
    assert "name a method instead" in answers.texts[0]


def waveform() -> ismrmrd.Waveform:
    made = ismrmrd.Waveform.from_array(np.arange(10, dtype=np.uint32).reshape(2, 5))
    made.waveform_id, made.sample_time_us = 1, 2500.0
    return made


def test_raw_data_are_saved_with_waveforms(tmp_path: Path, server: Any, client: Any) -> None:
    path = scanner_files.scan_file(tmp_path)
    data = ismrmrd.Dataset(str(path), create_if_needed=False)
    client.open("rss save=true", data.read_xml_header())
    client.send(waveform())
    lines = [data.read_acquisition(i) for i in range(data.number_of_acquisitions())]
    client.send(*lines, waveform())
    client.messages.close()
    answers = client.answers()
    assert len(answers.images) == 3
    (name,) = (t.removeprefix("raw data: ") for t in answers.texts if t.startswith("raw data"))
    kept = ismrmrd.Dataset(str(server.folder / name), create_if_needed=False)
    assert kept.number_of_acquisitions() == len(lines)
    assert all(kept.read_acquisition(i) == line for i, line in enumerate(lines))
    assert kept.number_of_waveforms() == 2
    assert kept.read_waveform(1) == waveform()
    kept.close()
    again = expected_of(server.folder / name, "rss")
    assert np.allclose(again.data, expected_of(path, "rss").data)
    log = (server.folder / name).with_suffix(".log").read_text()
    assert "image 3 (" in log
    assert not list(server.folder.glob("*.mrd"))


def test_figures_health_and_page(tmp_path: Path, server: Any) -> None:
    path = scanner_files.scan_file(tmp_path, slices=2)

    def get(place: str) -> tuple[str, bytes]:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.watch}{place}") as answer:
            return answer.headers["Content-Type"], answer.read()

    def figures() -> dict[str, float]:
        lines = get("/metrics")[1].decode().splitlines()
        return {n: float(v) for n, _, v in (x.rpartition(" ") for x in lines if x[0] != "#")}

    while figures()["spinray_sessions_running"]:
        time.sleep(0.05)
    before = figures()
    sr.send(path, port=server.port, method="rss")
    name = 'spinray_sessions_total{outcome="done"}'
    deadline = time.monotonic() + 30  # the server hears of the end a little after the client
    while (after := figures()).get(name, 0) - before.get(name, 0) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    readouts = scanner_files.readouts_of(path)
    assert after["spinray_acquisitions_total"] - before["spinray_acquisitions_total"] == len(
        readouts
    )
    assert after["spinray_images_total"] - before["spinray_images_total"] == 2
    sent = sum(data.nbytes for data in readouts.data)
    assert after["spinray_bytes_total"] - before["spinray_bytes_total"] > sent
    assert after["spinray_sessions_running"] == 0
    count = "spinray_image_latency_seconds_count"
    assert after[count] - before[count] == 2
    assert after['spinray_image_latency_seconds_bucket{le="+Inf"}'] == after[count]
    assert json.loads(get("/health")[1]) == {"status": "ok"}
    state = json.loads(get("/state")[1])
    assert state["sessions"][0]["state"] == "done"
    assert state["sessions"][0]["images"] == 2
    kind, picture = get("/picture")
    assert (kind, picture[:4]) == ("image/png", b"\x89PNG")
    kind, page = get("/")
    assert kind.startswith("text/html")
    assert b"Spinray server" in page


def test_openrecons_parameters_come_as_a_text_after_the_header(
    tmp_path: Path, server: Any, client: Any
) -> None:
    path = scanner_files.scan_file(tmp_path, slices=1)
    data = ismrmrd.Dataset(str(path), create_if_needed=False)
    client.open("openrecon", data.read_xml_header(), by_name=True)
    client.send('{"parameters": {"config": "sense", "options": "iterations=4", "save": "true"}}')
    client.send(*(data.read_acquisition(i) for i in range(data.number_of_acquisitions())))
    client.messages.close()
    answers = client.answers()
    require_like(answers.images, expected_of(path, "sense", iterations=4))
    assert any(text.startswith("raw data: ") for text in answers.texts)


@pytest.mark.parametrize("name", ["ve11_epi", "ve11_gre"])
def test_real_scans(data_dir: Path, server: Any, name: str) -> None:
    """EPI with ramps, navigators and its noise; images lie where those of the file do."""
    path = data_dir / "twix" / f"{name}.dat"
    (image,) = sr.send(path, port=server.port, method="rss")
    expected = expected_of(path, "rss")
    assert np.allclose(image.data, expected.data, rtol=1e-5, atol=1e-5 * float(expected.data.max()))
    assert np.allclose(image.affine[:3, 3], expected.affine[:3, 3], atol=1e-2)
    assert np.allclose(image.affine[:3, :2], expected.affine[:3, :2], atol=1e-4)
