"""Where things lie: points at known places in the patient come out at those places."""

from __future__ import annotations

import numpy as np
import pytest

import spinray as sr

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
OBLIQUE, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
FRAMES = {  # read, phase, slice directions in LPS as rows
    "axial": np.eye(3),
    "axial, feet first": np.diag([-1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "swapped": np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]),
    "oblique": OBLIQUE,
}


def signal(kx, ky, kz, place: np.ndarray) -> np.ndarray:
    """Signal of a point at `place` (mm along read, phase, slice from the position)."""
    return np.exp(-2j * np.pi * (kx * place[0] + ky * place[1] + kz * place[2]))


def brightest(kspace: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Index (x, y, ...) of the brightest voxel."""
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace, axes=axes), axes=axes), axes=axes)
    return np.array(np.unravel_index(np.abs(image).argmax(), image.shape))[::-1]


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("oversampling", [1, 2])
def test_a_point_of_a_slice_stack(make_ismrmrd, name, oversampling):
    """Slices are measured interleaved, with a gap; each has a point of its own."""
    nx, ny, dx, dy, gap = 16, 12, 2.0, 3.0, 7.5
    frame, center = FRAMES[name], np.array([11.0, -23.0, 42.0])
    kx = (np.arange(nx * oversampling) - nx * oversampling // 2) / (nx * oversampling * dx)
    order, lines, places = [2, 0, 1], [], {}
    for number, height in enumerate(order):
        position = center + frame[2] * gap * height
        place = np.array([dx * (2 * height - 3), dy * (height + 1), 0.0])
        places[height] = position + place @ frame
        for y in range(ny):
            ky = (y - ny // 2) / (ny * dy)
            lines.append(
                make_ismrmrd.readout(
                    signal(kx, ky, 0, place)[None],
                    kspace_encode_step_1=y,
                    slice=number,
                    position=position,
                    read_dir=frame[0],
                    phase_dir=frame[1],
                    slice_dir=frame[2],
                )
            )
    encoding = make_ismrmrd.encoding(
        (nx * oversampling, ny, 1),
        (nx * oversampling * dx, ny * dy, 5.0),
        (nx, ny, 1),
        (nx * dx, ny * dy, 5.0),
    )
    scan = sr.load(make_ismrmrd(lines, encoding))
    assert scan.batch_axes == ("slice",)
    assert scan.spacing == pytest.approx((gap, dy, dx))
    for height in range(3):
        x, y = brightest(scan.kspace[height, 0].numpy(), (-2, -1))
        found = scan.affine @ [x, y, height, 1]
        assert found[:3] == pytest.approx(LPS_TO_RAS @ places[height], abs=1e-3)


@pytest.mark.parametrize("name", FRAMES)
def test_a_point_of_a_volume_and_the_round_trip(make_ismrmrd, tmp_path, name):
    nx, ny, nz, dx, dy, dz = 8, 10, 7, 2.0, 3.0, 4.0
    frame, center = FRAMES[name], np.array([5.0, 6.0, -70.0])
    place = np.array([3 * dx, -2 * dy, 2 * dz])
    kx = (np.arange(nx) - nx // 2) / (nx * dx)
    lines = []
    for z, y in np.ndindex(nz, ny):
        ky, kz = (y - ny // 2) / (ny * dy), (z - nz // 2) / (nz * dz)
        lines.append(
            make_ismrmrd.readout(
                signal(kx, ky, kz, place)[None],
                kspace_encode_step_1=y,
                kspace_encode_step_2=z,
                position=center,
                read_dir=frame[0],
                phase_dir=frame[1],
                slice_dir=frame[2],
            )
        )
    encoding = make_ismrmrd.encoding((nx, ny, nz), (nx * dx, ny * dy, nz * dz))
    scan = sr.load(make_ismrmrd(lines, encoding))
    index = brightest(scan.kspace[0].numpy(), (-3, -2, -1))
    expected = LPS_TO_RAS @ (center + place @ frame)
    assert (scan.affine @ [*index, 1])[:3] == pytest.approx(expected, abs=1e-3)
    again = sr.load(sr.save(scan, tmp_path / "again.h5"))
    assert np.allclose(again.affine, scan.affine, atol=1e-4)
    assert again.spacing == pytest.approx(scan.spacing)


def test_crossed_slices_keep_their_order_and_say_where_they_are(make_ismrmrd):
    lines = []
    for number, name in enumerate(("axial", "sagittal", "coronal")):
        frame = FRAMES[name]
        lines += [
            make_ismrmrd.readout(
                np.full((1, 8), number + 1.0),
                kspace_encode_step_1=y,
                slice=number,
                position=(number, 0, 0),
                read_dir=frame[0],
                phase_dir=frame[1],
                slice_dir=frame[2],
            )
            for y in range(6)
        ]
    scan = sr.load(make_ismrmrd(lines))
    assert scan.kspace[:, 0, 0, 0].real.tolist() == [1, 2, 3]
    assert scan.header["slice_positions_mm"][2] == (2, 0, 0)


def test_without_directions_there_is_no_affine(make_ismrmrd):
    lines = [make_ismrmrd.readout(np.ones((1, 8)), kspace_encode_step_1=y) for y in range(6)]
    assert sr.load(make_ismrmrd(lines)).affine is None


@pytest.mark.parametrize("name", ["axial, feet first", "coronal", "oblique"])
def test_an_asymmetric_stack_lies_in_dicom_and_nifti_where_it_did(make_ismrmrd, tmp_path, name):
    """Three points of different strength in each of three interleaved slices, to image files."""
    nibabel, pydicom = pytest.importorskip("nibabel"), pytest.importorskip("pydicom")
    nx, ny, dx, dy, gap = 16, 12, 2.0, 3.0, 7.5
    frame, center = FRAMES[name], np.array([11.0, -23.0, 42.0])
    kx = (np.arange(2 * nx) - nx) / (2 * nx * dx)  # oversampled readouts
    points = [(3.0, (4, 1)), (2.0, (-5, 2)), (1.0, (1, -4))]  # strength, voxels from the middle
    lines = []
    for number, height in enumerate([2, 0, 1]):
        position = center + frame[2] * gap * height
        for y in range(ny):
            data = sum(
                strength * signal(kx, (y - ny // 2) / (ny * dy), 0,
                                  np.array([dx * (i + height), dy * j, 0]))
                for strength, (i, j) in points
            )  # fmt: skip
            lines.append(
                make_ismrmrd.readout(
                    data[None], kspace_encode_step_1=y, slice=number, position=position,
                    read_dir=frame[0], phase_dir=frame[1], slice_dir=frame[2],
                )
            )  # fmt: skip
    encoding = make_ismrmrd.encoding(
        (2 * nx, ny, 1), (2 * nx * dx, ny * dy, 5.0), (nx, ny, 1), (nx * dx, ny * dy, 5.0)
    )
    image = sr.reconstruct(sr.load(make_ismrmrd(lines, encoding)), "rss")
    expected = {
        (height, rank): center + np.array([dx * (i + height), dy * j, gap * height]) @ frame
        for height in range(3)
        for rank, (_, (i, j)) in enumerate(points)
    }
    nifti = nibabel.load(image.save(tmp_path / "stack.nii.gz"))
    values = nifti.get_fdata()
    image.save(tmp_path / "stack.dcm")
    files = [pydicom.dcmread(f) for f in sorted(tmp_path.glob("*.dcm"))]
    for (height, rank), place in expected.items():
        slab = values[:, :, height]
        i, j = np.unravel_index(np.argsort(slab, axis=None)[-1 - rank], slab.shape)
        found = nifti.affine @ [i, j, height, 1]
        assert found[:3] == pytest.approx(LPS_TO_RAS @ place, abs=1e-2)
        d = files[height]
        row, column = np.unravel_index(
            np.argsort(d.pixel_array, axis=None)[-1 - rank], d.pixel_array.shape
        )
        along_row, along_column = np.reshape(d.ImageOrientationPatient, (2, 3)).astype(float)
        step_row, step_column = (float(v) for v in d.PixelSpacing)
        found = np.array(d.ImagePositionPatient, float)
        found += column * step_column * along_row + row * step_row * along_column
        assert found == pytest.approx(place, abs=1e-2)
