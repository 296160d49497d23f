"""Slices excited together: from a scanner's file to the slices, on the command line."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from mri_cases import nrmse, rss

import spinray as sr
from spinray.datasets import simulate_mr
from spinray.recon.cli.main import app
from spinray.recon.operators.multiband import slice_phases

N, GROUPS, SHIFTS = 64, 2, (0.0, 0.5)
PHANTOMS = ("head", "shepp-logan", "letter-f", "head")


def measured() -> tuple[sr.MRScan, torch.Tensor]:
    """Four slices 6 mm apart, two at a time: 0 with 2 and 1 with 3; and what each looks like."""
    slices = []
    for number, name in enumerate(PHANTOMS):
        kspace = simulate_mr(name, matrix=N, coils=8).kspace
        # coils that differ from slice to slice, or nothing could tell them apart
        slices.append((kspace / kspace.norm()).roll(3 * (number // GROUPS), 0))
    single = torch.stack(slices)
    groups = [(single[g::GROUPS] * slice_phases(SHIFTS, N, single)).sum(0) for g in range(GROUPS)]
    affine = np.diag([3.0, 3.0, 6.0, 1.0])
    centre = slice(N // 2 - 16, N // 2 + 16)
    coarse = affine.copy()
    coarse[:2] *= 2  # the references have half of the matrix, on the same field of view
    reference = sr.MRScan(
        single[..., centre, centre], spacing=(6.0, 6.0, 6.0), affine=coarse, batch_axes=("slice",)
    )
    scan = sr.MRScan(
        torch.stack(groups), spacing=(6.0, 3.0, 3.0), affine=affine, batch_axes=("slice",),
        header={"multiband_shifts": SHIFTS, "calibration": reference},
    )  # fmt: skip
    return scan, rss(single)


def test_from_file_to_slices_on_the_command_line(tmp_path):
    from typer.testing import CliRunner

    scan, truth = measured()
    raw, out = tmp_path / "sms.h5", tmp_path / "sms.nii.gz"
    sr.save(scan, raw)
    again = sr.load(raw)
    assert again.header["multiband_shifts"] == SHIFTS
    assert again.header["calibration"].batch_shape == (len(PHANTOMS),)
    assert again.batch_axes == ("slice",)
    done = CliRunner().invoke(app, ["recon", str(raw), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "multislice (2 slices excited together)" in done.output
    image = nibabel.load(out)
    assert image.shape == (N, N, len(PHANTOMS))
    slices = torch.from_numpy(np.abs(np.asanyarray(image.dataobj)).T.copy())
    for number, expected in enumerate(truth):
        assert nrmse(slices[number], expected) < 0.08, number
    corner = reference_corner(scan)
    np.testing.assert_allclose(image.affine[:3, 3], corner, atol=1e-3)
    np.testing.assert_allclose(np.abs(image.affine[2, 2]), 6.0, atol=1e-3)


def reference_corner(scan: sr.MRScan) -> np.ndarray:
    """Where voxel (0, 0, 0) lies: the references' middle voxel is that of the images."""
    coarse = scan.header["calibration"].affine
    middle = coarse @ [N // 4, N // 4, 0, 1]
    return middle[:3] - np.diag(scan.affine)[:3] * [N // 2, N // 2, 0]


def test_shifts_that_the_format_cannot_hold(tmp_path):
    scan, _ = measured()
    odd = scan.replace(header={**scan.header, "multiband_shifts": (0.25, 0.5)})
    with pytest.raises(ValueError, match="grow evenly from 0"):
        sr.save(odd, tmp_path / "odd.h5")
    assert not (tmp_path / "odd.h5").exists()


def test_groups_that_do_not_fit_the_calibration():
    scan, _ = measured()
    one = scan.replace(kspace=scan.kspace[:1], mask=None)
    with pytest.raises(ValueError, match="1 groups of 2 slices.*expected 2 slices"):
        sr.reconstruct(one, "multislice")


def test_single_slices_in_an_encoding_of_their_own(make_ismrmrd):
    """As vendors' converters write them: the header names the encoding of the references."""
    scan, truth = measured()
    more = (
        "<parallelImaging><accelerationFactor><kspace_encoding_step_1>1</kspace_encoding_step_1>"
        "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
        "<multiband><spacing><dZ>12</dZ></spacing><deltaKz>0.0416666667</deltaKz>"
        "<multiband_factor>2</multiband_factor><calibration>separable2D</calibration>"
        "<calibration_encoding>1</calibration_encoding></multiband></parallelImaging>"
    )
    layouts = [
        make_ismrmrd.encoding((N, N, 1), (192.0, 192.0, 6.0), more=more),
        make_ismrmrd.encoding((32, 32, 1), (192.0, 192.0, 6.0)),
    ]
    lines = []
    for space, data in enumerate((scan.kspace, scan.header["calibration"].kspace)):
        for number, item in enumerate(data.numpy()):
            for y in range(item.shape[1]):
                lines.append(
                    make_ismrmrd.readout(
                        item[:, y], kspace_encode_step_1=y, slice=number, encoding_space_ref=space,
                        position=(0, 0, 6.0 * number), read_dir=(1, 0, 0), phase_dir=(0, 1, 0),
                        slice_dir=(0, 0, 1),
                    )
                )  # fmt: skip
    again = sr.load(make_ismrmrd(lines, *layouts))
    assert again.header["multiband_shifts"] == pytest.approx(SHIFTS)
    images = sr.reconstruct(again).data.abs()
    assert max(nrmse(image, t) for image, t in zip(images, truth, strict=True)) < 0.08
