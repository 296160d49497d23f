"""EPI from an ISMRMRD file: ramps, navigators, no navigators."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest
import torch
from mri_cases import head, lines_at, nrmse, rss

import spinray as sr

N, DELAY = 48, 0.7
RAMP = {"rampUpTime": 30, "flatTopTime": 80, "rampDownTime": 30, "acqDelayTime": 6}


def measured(make, *, ramps: bool = False, navigators: bool = True, slices: int = 1):
    """An EPI of a head: every second line in reverse, echoes late by 0.7 samples."""
    scan = head(N, coils=4)
    even = (np.arange(N) - N // 2) / N
    places = even
    if ramps:
        times = np.array([RAMP[name] for name in ("rampUpTime", "flatTopTime", "rampDownTime")])
        places = sr.mri.trapezoid_positions(
            2 * N, 1.0, ramp_up=times[0], flat_top=times[1], ramp_down=times[2], delay=6, size=N
        ).numpy() / N  # fmt: skip
    lines = []

    def readout(y, reverse, number, flags=(), **counters):
        k = (-places if reverse else places) + (-DELAY if reverse else DELAY) / N
        if reverse and not ramps:
            k = even[::-1] - DELAY / N
        data = lines_at(scan, np.full((1, len(k)), even[y]), k[None])[:, 0]
        flags = [*flags, ismrmrd.ACQ_IS_REVERSE] if reverse else list(flags)
        lines.append(
            make.readout(
                (1 + number) * data.numpy(), flags=flags, kspace_encode_step_1=y, slice=number,
                sample_time_us=1.0, position=(0, 0, 5.0 * number), read_dir=(1, 0, 0),
                phase_dir=(0, 1, 0), slice_dir=(0, 0, 1), **counters,
            )
        )  # fmt: skip

    for number in range(slices):
        for i in range(3 if navigators else 0):
            readout(N // 2, i % 2 == 1, number, [ismrmrd.ACQ_IS_PHASECORR_DATA], average=i // 2)
        for y in range(N):
            readout(y, y % 2 == 1, number)
    more = ""
    if ramps:
        more = "<trajectoryDescription><identifier>ConventionalEPI</identifier>" + "".join(
            f"<userParameterLong><name>{k}</name><value>{v}</value></userParameterLong>"
            for k, v in RAMP.items()
        ) + "</trajectoryDescription>"  # fmt: skip
    layout = make.encoding((N, N, 1), (240.0, 240.0, 5.0), trajectory="epi", more=more)
    return make(lines, layout), rss(scan.kspace)


@pytest.mark.parametrize("ramps", [False, True])
def test_navigators(make_ismrmrd, ramps):
    path, truth = measured(make_ismrmrd, ramps=ramps, slices=2)
    scan = sr.load(path)
    assert scan.matrix == (N, N)
    assert "reversed_lines" not in scan.header
    assert nrmse(rss(scan.kspace)[0], truth) < 0.03
    torch.testing.assert_close(rss(scan.kspace)[1], 2 * rss(scan.kspace)[0], rtol=1e-3, atol=1e-3)


def test_without_navigators_the_image_says_which_lines_ran_backward(make_ismrmrd):
    path, truth = measured(make_ismrmrd, navigators=False)
    scan = sr.load(path)
    assert scan.header["reversed_lines"] == tuple(range(1, N, 2))
    assert nrmse(rss(scan.kspace), truth) > 0.2
    image = sr.reconstruct(scan, "rss")
    assert image.metadata["ghost_correction"] == "entropy"
    assert nrmse(image.data, truth) < 0.02


def test_gradient_that_is_too_short(make_ismrmrd, monkeypatch):
    path, _ = measured(make_ismrmrd, ramps=True)
    monkeypatch.setitem(RAMP, "flatTopTime", 40)
    bad, _ = measured_with(make_ismrmrd, path)
    with pytest.raises(sr.FormatError, match="trajectory description"):
        sr.load(bad)


def measured_with(make, path):
    """The same readouts under the gradient that RAMP now says."""
    dataset = ismrmrd.Dataset(str(path), create_if_needed=False)
    lines = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    dataset.close()
    more = "<trajectoryDescription><identifier>ConventionalEPI</identifier>" + "".join(
        f"<userParameterLong><name>{k}</name><value>{v}</value></userParameterLong>"
        for k, v in RAMP.items()
    ) + "</trajectoryDescription>"  # fmt: skip
    layout = make.encoding((N, N, 1), (240.0, 240.0, 5.0), trajectory="epi", more=more)
    return make(lines, layout, name="bad.dat"), None
