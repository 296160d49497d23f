"""MRScan, CTScan: what is checked on creation and what is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spinray as sr

sizes = st.integers(1, 9)


def kspace(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


@given(coils=sizes, ny=sizes, nx=sizes, batch=st.lists(sizes, max_size=2))
def test_cartesian_2d_shapes(coils: int, ny: int, nx: int, batch: list[int]) -> None:
    scan = sr.MRScan(kspace(*batch, coils, ny, nx))
    assert scan.coils == coils
    assert scan.matrix == scan.image_shape == (ny, nx)
    assert scan.batch_shape == tuple(batch)
    assert scan.is_cartesian


def test_image_shape_tells_three_dimensions_from_a_batch() -> None:
    assert sr.MRScan(kspace(4, 8, 16, 16)).batch_shape == (4,)
    scan = sr.MRScan(kspace(4, 8, 16, 16), image_shape=(8, 16, 16))
    assert (scan.coils, scan.batch_shape, scan.ndim) == (4, (), 3)


def test_default_mask_is_where_something_was_measured() -> None:
    k = kspace(2, 8, 8)
    k[:, ::2] = 0
    scan = sr.MRScan(k)
    assert scan.mask is not None
    assert scan.acceleration == pytest.approx(2)
    assert "2.00x undersampled" in repr(scan)


def test_what_the_header_holds_moves_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration scan and field map are needed where the data are."""
    calibration = sr.MRScan(kspace(2, 8, 8))
    header = {"calibration": calibration, "field_map": torch.zeros(8, 8), "averages": 2}
    scan = sr.MRScan(kspace(2, 8, 8), header=header)
    moved: list[int] = []

    def to(self: torch.Tensor, *arguments: object) -> torch.Tensor:
        moved.append(self.data_ptr())
        return self

    monkeypatch.setattr(torch.Tensor, "to", to)
    there = scan.to("cuda")
    for tensor in (scan.kspace, calibration.kspace, calibration.mask, header["field_map"]):
        assert tensor.data_ptr() in moved
    assert there.header["averages"] == 2


def test_repr_names_what_a_physicist_looks_for() -> None:
    scan = sr.MRScan(kspace(3, 8, 32, 24), spacing=(2.0, 2.0), batch_axes=("slice",))
    text = repr(scan)
    for words in (
        "32 x 24 matrix",
        "8 coils",
        "3 slices",
        "fully sampled",
        "64 x 48 mm",
        "kB on cpu",
    ):
        assert words in text


def test_repr_of_a_mask_without_samples() -> None:
    empty = sr.MRScan(kspace(2, 8, 8), mask=torch.zeros(8, 8, dtype=torch.bool))
    assert "Cartesian, no samples" in repr(empty)


def radial(spokes: int, readout: int) -> torch.Tensor:
    angles = torch.arange(spokes) * 2.4
    r = (torch.arange(readout) - readout // 2) / readout
    k = torch.stack([r * torch.sin(angles)[:, None], r * torch.cos(angles)[:, None]], -1)
    return k.reshape(-1, 2)


def test_trajectory_kind_is_found_in_the_samples() -> None:
    k = radial(5, 32)
    scan = sr.MRScan(kspace(2, 160), trajectory=k, image_shape=(16, 16), readout_length=32)
    assert "radial, 5 spokes x 32" in repr(scan)
    t = torch.linspace(0, 1, 160)
    turns = torch.stack([0.45 * t * torch.sin(40 * t), 0.45 * t * torch.cos(40 * t)], -1)
    scan = sr.MRScan(kspace(2, 160), trajectory=turns, image_shape=(16, 16), readout_length=160)
    assert "spiral, 1 interleaves x 160" in repr(scan)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kspace": torch.zeros(2, 8, 8)}, TypeError, "must be complex"),
        ({"kspace": kspace(8, 8)}, ValueError, "coil"),
        ({"kspace": kspace(2, 8, 8), "mask": torch.ones(8, 8)}, TypeError, "boolean"),
        (
            {"kspace": kspace(2, 8, 8), "mask": torch.ones(7, 8, dtype=torch.bool)},
            ValueError,
            r"\(7, 8\).*\(8, 8\)",
        ),
        ({"kspace": kspace(2, 8, 8) * float("nan")}, ValueError, "NaN.*128|128.*NaN"),
        ({"kspace": kspace(2, 9), "trajectory": torch.zeros(9, 2)}, ValueError, "image_shape"),
        (
            {"kspace": kspace(2, 9), "trajectory": torch.full((9, 2), 3.1), "image_shape": (8, 8)},
            ValueError,
            r"2 pi.*matrix",
        ),
        (
            {"kspace": kspace(2, 9), "trajectory": torch.full((9, 2), 0.5), "image_shape": (8, 8)},
            ValueError,
            r"\[-0.5, 0.5\)",
        ),
        (
            {"kspace": kspace(2, 9), "trajectory": torch.zeros(8, 2), "image_shape": (8, 8)},
            ValueError,
            "8 samples.*9",
        ),
        ({"kspace": kspace(2, 8, 8), "noise": kspace(3, 8)}, ValueError, "noise.*2 coils"),
        ({"kspace": kspace(2, 8, 8), "spacing": (1.0, -1.0)}, ValueError, "spacing"),
        ({"kspace": kspace(2, 8, 8), "affine": np.eye(3)}, ValueError, "affine"),
    ],
)
def test_bad_mr_input_is_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        sr.MRScan(**arguments)


def geometry() -> sr.ParallelBeam:
    return sr.ParallelBeam(np.linspace(0, np.pi, 12, endpoint=False), columns=16)


def test_counts_become_line_integrals() -> None:
    truth = torch.linspace(0, 2, 12 * 16, dtype=torch.float64).reshape(12, 16)
    scan = sr.CTScan(counts=1e4 * torch.exp(-truth) + 7, blank=1e4 + 7, dark=7, geometry=geometry())
    torch.testing.assert_close(scan.sinogram, truth, rtol=0, atol=1e-6)


def test_white_frames_are_averaged_per_slice() -> None:
    counts = torch.full((3, 12, 16), 50.0)
    frames = torch.tensor([90.0, 110.0])[None, :, None].expand(3, 2, 16)
    scan = sr.CTScan(counts=counts, blank=frames, geometry=geometry())
    assert scan.batch_shape == (3,)
    torch.testing.assert_close(scan.sinogram, torch.full((3, 12, 16), np.log(2.0)))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sinogram": torch.zeros(12, 16)}, ValueError, "geometry"),
        ({"geometry": geometry()}, ValueError, "blank"),
        ({"geometry": geometry(), "sinogram": torch.zeros(16, 12)}, ValueError, r"\(16, 12\)"),
        (
            {"geometry": geometry(), "sinogram": torch.zeros(12, 16, dtype=torch.int32)},
            TypeError,
            "float32",
        ),
        (
            {"geometry": geometry(), "sinogram": torch.full((12, 16), torch.inf)},
            ValueError,
            "192 values",
        ),
        ({"geometry": sr.VolumeGrid((12, 16)), "sinogram": torch.zeros(12, 16)}, TypeError, "a CT"),
        (
            {"geometry": geometry(), "sinogram": torch.zeros(12, 16), "volume": (16, 16)},
            TypeError,
            r"volume must be a VolumeGrid, got \(16, 16\)",
        ),
        (
            {
                "geometry": geometry(),
                "sinogram": torch.zeros(12, 16),
                "volume": sr.VolumeGrid((4, 4, 4)),
            },
            ValueError,
            "a 2D geometry needs a 2D volume",
        ),
    ],
)
def test_bad_ct_input_is_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        sr.CTScan(**arguments)


def test_arrays_torch_cannot_hold_are_copied_and_others_are_not() -> None:
    array = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.complex64)
    assert sr.MRScan(array).kspace.data_ptr() == array.ctypes.data
    for odd in (array[:, ::-1], array.astype(">c8")):
        np.testing.assert_array_equal(sr.MRScan(odd).kspace.numpy(), odd)
    array.flags.writeable = False
    np.testing.assert_array_equal(sr.MRScan(array).kspace.numpy(), array)


def test_replace_checks_again_and_scans_are_frozen() -> None:
    scan = sr.MRScan(kspace(2, 8, 8))
    with pytest.raises(ValueError, match="mask"):
        scan.replace(mask=torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(AttributeError):
        scan.kspace = kspace(2, 8, 8)  # type: ignore[misc]


def test_kspace_outside_the_mask_is_not_kept() -> None:
    """Retrospective undersampling by the mask alone: nothing may leak from what it leaves out."""
    full, mask = kspace(2, 3, 8, 8), torch.zeros(8, 8, dtype=torch.bool)
    mask[::2] = True
    scan = sr.MRScan(full, mask=mask)
    assert torch.equal(scan.kspace, full * mask)
    rss = sr.reconstruct(scan, "rss").data
    assert torch.equal(rss, sr.reconstruct(sr.MRScan(full * mask), "rss").data)
    assert sr.MRScan(scan.kspace, mask=mask).kspace.data_ptr() == scan.kspace.data_ptr()


def test_readings_and_line_integrals_stay_together() -> None:
    counts = torch.full((12, 16), 50.0)
    scan = sr.CTScan(geometry=geometry(), counts=counts, blank=100.0)
    darker = scan.replace(counts=counts / 2)
    torch.testing.assert_close(darker.sinogram, torch.full((12, 16), float(np.log(4))))
    assert scan.replace(sinogram=scan.sinogram * 2).counts is None
    assert scan.replace(slice_spacing=2.0).counts is scan.counts
    with pytest.raises(ValueError, match=r"counts has shape \(10, 16\)"):
        sr.CTScan(torch.zeros(12, 16), geometry(), counts=counts[:10])
    some = scan[::4]
    assert some.sinogram.shape == some.counts.shape == some.geometry.shape == (3, 16)
    assert torch.equal(some.sinogram, scan.sinogram[::4])


def test_warnings_of_a_changed_scan_name_the_line_that_changed_it() -> None:
    """Through a dataclass's own `replace`."""
    blank = torch.full((16,), 100.0)
    scan = sr.CTScan(counts=torch.full((12, 16), 50.0), blank=blank, geometry=geometry())
    blank = blank.clone()
    blank[3] = 0
    with pytest.warns(UserWarning, match="dead") as caught:
        scan.replace(blank=blank)
    assert {warning.filename for warning in caught} == {__file__}


def test_photons_of_a_ct_scan():
    geometry = sr.FanBeam(np.arange(6) * 0.5, 5, 1.0, 100.0, 200.0)
    sinogram = np.ones((6, 5), np.float32)
    scan = sr.CTScan(sinogram, geometry, photons=np.arange(30.0).reshape(6, 5))
    assert scan[1:3].photons.tolist() == scan.photons[1:3].tolist()
    assert sr.CTScan(sinogram, geometry, photons=1e4)[::2].photons.item() == 1e4
    assert sr.CTScan(sinogram, geometry, photons=np.ones((1, 5)))[::2].photons.shape == (1, 5)
    with pytest.raises(ValueError, match=r"photons \(4, 5\) do not broadcast"):
        sr.CTScan(sinogram, geometry, photons=np.ones((4, 5)))
    with pytest.raises(ValueError, match="must not be negative"):
        sr.CTScan(sinogram, geometry, photons=-1.0)
