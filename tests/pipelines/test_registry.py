"""The registry: names, options, and errors that help."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import spinray as sr
from spinray.recon.pipelines.registry import find

MR = sr.MRScan(torch.ones(2, 8, 8, dtype=torch.complex64))
CT = sr.CTScan(torch.zeros(4, 8), sr.ParallelBeam([0.0, 0.5, 1.0, 1.5], columns=8))


def test_every_method_of_the_first_version_is_there() -> None:
    assert {m.name for m in sr.methods("mri")} >= {"rss", "gridding", "sense", "l1-wavelet"}
    assert {m.name for m in sr.methods("ct")} >= {"fbp", "sirt", "tv"}
    assert len(sr.methods()) == len(sr.methods("mri")) + len(sr.methods("ct"))
    with pytest.raises(ValueError, match="modality.*'pet'"):
        sr.methods("pet")


def test_the_list_prints_names_summaries_and_options() -> None:
    text = repr(sr.methods("ct"))
    assert "tv (ct): Total variation" in text
    assert "iterations=" in text


@pytest.mark.parametrize("method", sr.methods(), ids=lambda m: m.name)
def test_every_option_has_help_and_a_default_that_parses(method) -> None:
    assert method.summary
    for option in method.options:
        assert option.help
        option.parse(option.default)
    assert dataclasses.is_dataclass(method.parse({}))


def test_unknown_method_suggests_a_near_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'l1-wavelet'"):
        sr.reconstruct(MR, "l1-wavelets")
    with pytest.raises(ValueError, match="sirt.*is for ct data.*rss"):
        sr.reconstruct(MR, "sirt")


def test_option_of_another_method_says_whose_it_is() -> None:
    with pytest.raises(TypeError, match="'fbp' has no option 'weight'.*option of.*tv"):
        sr.reconstruct(CT, "fbp", weight=1.0)
    with pytest.raises(TypeError, match="did you mean 'iterations'"):
        sr.reconstruct(CT, "tv", iteration=3)


@pytest.mark.parametrize(
    ("name", "option", "value", "words"),
    [
        ("tv", "iterations", "many", "whole number, got 'many'"),
        ("tv", "iterations", 2.5, "whole number"),
        ("tv", "weight", True, "a number"),
        ("sirt", "nonnegative", "perhaps", "true or false"),
        ("fbp", "filter", "gauss", "ram-lak.*hann"),
    ],
)
def test_values_that_do_not_fit_are_named(name: str, option: str, value, words: str) -> None:
    with pytest.raises(ValueError, match=f"option {option} must be.*{words}"):
        sr.reconstruct(CT, name, **{option: value})


def test_text_from_a_command_line_is_read() -> None:
    options = find("tv", CT).parse({"iterations": "7", "weight": "1e-4", "nonnegative": "no"})
    assert (options.iterations, options.weight, options.nonnegative) == (7, 1e-4, False)


def test_things_that_are_no_scan() -> None:
    with pytest.raises(TypeError, match="MRScan or a CTScan, got Tensor"):
        sr.reconstruct(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="volume= is for CT"):
        sr.reconstruct(MR, volume=sr.VolumeGrid((8, 8)))


def test_a_word_may_stand_for_a_number() -> None:
    (wavelet,) = (m for m in sr.methods("mri") if m.name == "l1-wavelet")
    assert wavelet.parse({"weight": "auto"}).weight == "auto"
    assert wavelet.parse({"weight": "0.5"}).weight == 0.5
    with pytest.raises(ValueError, match="a number or auto"):
        wavelet.parse({"weight": "automatic"})
