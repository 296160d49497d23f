"""Hounsfield units calibrated by water and air, for each tube voltage."""

from __future__ import annotations

import pytest
import torch

from spinray.recon import ct

IMAGE = torch.tensor([[0.0002, 0.0002], [0.0210, 0.0212]])


def test_two_points() -> None:
    water, air = IMAGE > 0.01, IMAGE < 0.01
    calibration = ct.calibrate_hounsfield(IMAGE, water, air, kvp=120)
    level, floor = calibration.at(120)
    assert (level, floor) == pytest.approx((0.0211, 0.0002))
    hu = ct.to_hounsfield(IMAGE, level, floor)
    assert float(hu[water].mean()) == pytest.approx(0, abs=1e-2)
    assert float(hu[air].mean()) == pytest.approx(-1000, abs=1e-2)
    torch.testing.assert_close(ct.from_hounsfield(hu, level, floor), IMAGE)


def test_each_voltage_has_its_own(tmp_path) -> None:
    first = ct.HounsfieldCalibration({120.0: (0.0205, 0.0)})
    both = first.with_point(80, 0.0225, 1e-5)
    both.save(tmp_path / "hu.json")
    again = ct.HounsfieldCalibration.load(tmp_path / "hu.json")
    assert again.at(80.0) == (0.0225, 1e-5)
    assert again.at(120.2) == (0.0205, 0.0)
    assert first.at(None) == (0.0205, 0.0)
    with pytest.raises(ValueError, match="no calibration for 140 kVp: there are 80, 120 kVp"):
        again.at(140)
    with pytest.raises(ValueError, match="names no tube voltage"):
        again.at(None)


def test_no_water_no_units(tmp_path) -> None:
    with pytest.raises(ValueError, match="no water"):
        ct.calibrate_hounsfield(IMAGE, torch.zeros(2, 2, dtype=torch.bool), kvp=120)
    with pytest.raises(ValueError, match=r"water is \(3,\)"):
        ct.calibrate_hounsfield(IMAGE, torch.ones(3, dtype=torch.bool), kvp=120)
    with pytest.raises(ValueError, match="more than air"):
        ct.to_hounsfield(IMAGE, 0.01, 0.02)
    with pytest.raises(ValueError, match="one tube voltage at least"):
        ct.HounsfieldCalibration({})
    for text in ("[]", "{}", "no json", '{"kvp": {"120": {"water": 0.02}}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="no calibration"):
            ct.HounsfieldCalibration.load(tmp_path / "bad.json")
