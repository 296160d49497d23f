"""Spectra and materials against NIST's tables, and counts behind them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from spinray.kernels.ct.geometry import FanBeam
from spinray.recon import ct
from spinray.recon.ct.materials import energy_absorption

pytest.importorskip("xraylib", reason="xraylib is not installed (extra spectra)")
spekpy = pytest.importorskip("spekpy", reason="spekpy is not installed (extra spectra)")


@pytest.fixture(scope="module")
def beam() -> ct.Spectrum:
    return ct.tube_spectrum(120)


def test_attenuation_is_nists() -> None:
    """NIST XCOM, cm^2/g at 60 and 100 keV; bone there is ICRU-44's, not ICRP's."""
    tables = {
        "water": (1.0, 0.2059, 0.1707),
        "Al": (2.699, 0.2778, 0.1704),
        "Fe": (7.874, 1.205, 0.3717),
        "bone": (1.85, 0.315, 0.186),
    }
    for material, (density, *expected) in tables.items():
        found = ct.attenuation(material, [60.0, 100.0], density=density) * 10 / density
        np.testing.assert_allclose(found, expected, rtol=0.02, err_msg=material)
    with pytest.raises(ValueError, match="unknown material 'Xx'"):
        ct.attenuation("Xx", 60.0)
    with pytest.raises(ValueError, match="needs its density"):
        ct.attenuation("Gd2O2S", 60.0)
    with pytest.raises(ValueError, match="1 to 800 keV"):
        ct.attenuation("water", 0.5)


def test_energy_absorbed_in_air_is_nists() -> None:
    found = energy_absorption("air", [20.0, 30.0, 60.0, 100.0, 150.0])
    np.testing.assert_allclose(found, [0.5389, 0.1537, 0.03041, 0.02325, 0.02496], rtol=0.015)


def test_tube_is_spekpys(beam) -> None:
    """Filters and half-value layer by our attenuation against SpekPy's own."""
    tube = spekpy.Spek(kvp=120, th=8, dk=1.0)
    tube.filter("Al", 6.0)
    assert beam.mean_energy == pytest.approx(tube.get_emean(), rel=0.01)
    assert beam.half_value_layer() == pytest.approx(tube.get_hvl1(), rel=0.01)
    assert beam.half_value_layer("Cu") == pytest.approx(tube.get_hvl1("Cu"), rel=0.02)
    assert beam.fluence.sum() == pytest.approx(1)
    assert beam.energies.max() < 120
    lines = beam.fluence[(beam.energies > 58) & (beam.energies < 60)]
    assert lines.max() > 2 * np.median(beam.fluence)  # tungsten's K alpha
    harder = beam.behind({"Cu": 0.5})
    assert harder.mean_energy > beam.mean_energy + 3
    assert 50 < beam.effective_energy("water") < 70


@pytest.mark.parametrize(
    ("energies", "fluence", "message"),
    [
        ([10.0, 20.0], [0.0, 0.0], "adds up to nothing"),
        ([10.0, 20.0], [1.0, -1.0], "not negative"),
        ([10.0, 20.0], [1.0, np.nan], "finite"),
        ([20.0, 10.0], [1.0, 1.0], "grow"),
        ([10.0, 20.0], [1.0], "shapes"),
    ],
)
def test_spectra_that_are_none(energies, fluence, message) -> None:
    with pytest.raises(ValueError, match=message):
        ct.Spectrum(np.array(energies), np.array(fluence))


def test_spectra_are_read_from_tables(tmp_path, beam) -> None:
    path = tmp_path / "beam.csv"
    rows = [f"{e:.1f}; {f:.8e}" for e, f in zip(beam.energies, beam.fluence, strict=True)]
    path.write_text("keV; photons\n" + "\n".join(rows))
    again = ct.read_spectrum(path)
    np.testing.assert_allclose(again.fluence, beam.fluence, rtol=1e-6)
    path.write_text("10 0\n20 0\n")
    with pytest.raises(ValueError, match=r"beam.csv: .* adds up to nothing"):
        ct.read_spectrum(path)
    path.write_text("no numbers\n")
    with pytest.raises(ValueError, match="no table"):
        ct.read_spectrum(path)
    with pytest.raises(ValueError, match="20 and 300 kVp"):
        ct.tube_spectrum(1200)


@pytest.mark.parametrize("detector", ["integrating", "counting"])
def test_counts_behind_a_spectrum(beam, detector) -> None:
    """Mean is the polychromatic one, variance the compound Poisson's."""
    path = torch.full((300, 300), 200.0)
    counts = ct.simulate_counts({"water": path}, 1e5, spectrum=beam, detector=detector, seed=2)
    integral = beam.line_integrals({"water": torch.tensor(200.0)}, detector)
    assert float(-torch.log(counts.mean() / 1e5)) == pytest.approx(float(integral), abs=2e-3)
    size = beam.energies / beam.mean_energy if detector == "integrating" else np.ones(1)
    behind = beam.fluence * np.exp(-200 * ct.attenuation("water", beam.energies))
    excess = float((behind * size**2).sum() / (behind * size).sum())
    assert float(counts.double().var() / counts.double().mean()) == pytest.approx(excess, rel=0.02)


def test_one_energy_is_the_spectrum_of_one_line() -> None:
    line = ct.Spectrum(np.array([60.0]), np.array([1.0]))
    paths = {"water": torch.tensor([10.0, 50.0]), "bone": torch.tensor([5.0, 0.0])}
    expected = sum(float(ct.attenuation(m, 60.0)) * p for m, p in paths.items())
    torch.testing.assert_close(line.line_integrals(paths), expected.double())
    with pytest.raises(ValueError, match="needs path lengths"):
        ct.simulate_counts(torch.ones(3), 1e3, spectrum=line)
    with pytest.raises(ValueError, match="detector must be"):
        line.line_integrals(paths, "colour")  # type: ignore[arg-type]


def test_bow_tie_makes_a_cylinder_even(beam) -> None:
    geometry = FanBeam([0.0], 400, 1.2, 595.0, 1085.6, detector="curved", column_offset=0.25)
    line = ct.Spectrum(np.array([60.0]), np.array([1.0]))
    filter_ = ct.bowtie(geometry, 120.0)
    off = 595.0 * np.sin(geometry.fan_angles)
    water = torch.from_numpy(2 * np.sqrt(np.maximum(120.0**2 - off**2, 0)))
    through = line.line_integrals({"water": water, "teflon": filter_})
    torch.testing.assert_close(through, through[200].expand(400), rtol=1e-3, atol=0)
    assert float(filter_[199]) < 0.1 < float(filter_[0])
    with pytest.raises(ValueError, match="reaches the source"):
        ct.bowtie(geometry, 600.0)


@pytest.mark.parametrize("shaped", [False, "teflon", "water"])
def test_water_is_proportional_to_its_thickness_after_correction(beam, shaped) -> None:
    geometry = FanBeam([0.0], 60, 8.0, 595.0, 1085.6, detector="curved")
    shape = None
    if shaped:  # of two materials, one of which may be water itself
        thickness = ct.bowtie(geometry, 120.0, shaped)
        shape = {"Al": 0.1 * thickness, shaped: 0.4 * thickness}
    correct = ct.water_correction(beam, bowtie=shape)
    length = torch.linspace(0, 400, 60).double()
    paths = {"water": length, **(shape or {})}
    if shaped == "water":
        paths["water"] = length + shape["water"]
    blank = beam.line_integrals(shape) if shape else 0.0
    measured = beam.line_integrals(paths) - blank
    assert float((measured / correct.water - length).abs().max()) > 20  # hardened
    torch.testing.assert_close(correct(measured) / correct.water, length, atol=0.05, rtol=0)
    assert correct.error < 0.05
    # Beyond the fit it goes on straight, and does not bend back.
    beyond = correct(torch.linspace(0, 20, 60).double())
    assert bool((beyond.diff() > 0).all())
    with pytest.raises(ValueError, match="degree"):
        ct.water_correction(beam, degree=0)
    with pytest.raises(ValueError, match="a polynomial of degree 1 misses"):
        ct.water_correction(beam, degree=1)


def test_without_the_libraries_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "xraylib", None)
    with pytest.raises(ImportError, match=r"pip install 'spinray\[spectra\]'"):
        ct.attenuation("water", 60.0)


def test_a_spectrum_says_what_it_is() -> None:
    found = repr(ct.Spectrum([40.0, 60.0, 80.0], [1.0, 2.0, 1.0]))
    assert found == "Spectrum(3 energies from 40 to 80 keV, mean 60.0 keV)"
