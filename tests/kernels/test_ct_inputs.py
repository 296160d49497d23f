"""What a projector is given: bad values are named, unseen volumes warned of."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from ct_geometries import GEOMETRIES, modular, turn

from spinray.kernels.ct import Projector, backproject
from spinray.kernels.ct.geometry import FanBeam, ParallelBeam, VolumeGrid
from spinray.recon.operators import XRayTransform
from spinray.recon.pipelines.dispatch import reconstruct
from spinray.recon.scan import CTScan


def test_source_inside_the_volume_of_a_modular_beam():
    geometry = modular()
    with pytest.raises(ValueError, match="inside or beside the volume"):
        Projector(geometry, VolumeGrid((8, 200, 200), 4.0))


def test_gradients_are_not_lost_silently():
    geometry, grid = GEOMETRIES["parallel"]
    projector = Projector(geometry, grid)
    x = torch.zeros(grid.shape, requires_grad=True)
    y = torch.zeros(geometry.shape, requires_grad=True)
    for call, data in ((projector.forward, x), (projector.adjoint, y)):
        with pytest.raises(ValueError, match=r"requires a gradient.*use spinray\.XRayTransform"):
            call(data)
        assert not call(data.detach()).requires_grad
        with torch.no_grad():
            assert not call(data).requires_grad


def test_warnings_name_the_line_that_led_to_them():
    """Whatever lies between: an operator's constructor, a pipeline, a back projection."""
    geometry = ParallelBeam(turn(5), 8)
    grid = VolumeGrid((20, 20))
    calls = (
        lambda: Projector(geometry, grid),
        lambda: XRayTransform(geometry, grid),
        lambda: backproject(np.zeros(geometry.shape), geometry, grid),
        lambda: reconstruct(CTScan(np.ones(geometry.shape), geometry, volume=grid), "fbp"),
    )
    for call in calls:
        with pytest.warns(UserWarning, match="the detector sees") as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


def test_clear_errors():
    geometry, grid = GEOMETRIES["parallel"]
    projector = Projector(geometry, grid)
    with pytest.raises(ValueError, match=r"image has shape \(3, 4\)"):
        projector.forward(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="sinogram has shape"):
        projector.adjoint(np.zeros(grid.shape))
    with pytest.raises(TypeError, match="float32 or float64"):
        projector.forward(np.zeros(grid.shape, dtype=np.int16))
    with pytest.raises(ValueError, match="NaN"):
        projector.forward(np.full(grid.shape, np.nan))
    with pytest.raises(ValueError, match="model"):
        Projector(geometry, grid, model="siddon")
    with pytest.raises(ValueError, match="3D volume"):
        Projector(GEOMETRIES["helical"][0], grid)
    with pytest.raises(ValueError, match="inside or beside the volume"):
        Projector(GEOMETRIES["fan flat"][0], VolumeGrid((300, 300)))


def test_absurd_spacings_are_refused():
    with pytest.raises(ValueError, match="thousands of detector columns"):
        Projector(ParallelBeam([0.0], 64, 1e-6), VolumeGrid((64, 64)))


def test_warns_of_what_the_detector_does_not_see():
    """The default grids are seen; wider or taller ones are not, and the extent is told."""
    beams = [GEOMETRIES[name][0] for name in ("parallel", "fan flat", "fan curved", "cone flat")]
    beams += [GEOMETRIES["cone curved"][0], GEOMETRIES["helical"][0]]
    for geometry in beams:
        grid = geometry.default_volume()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Projector(geometry, grid)
        wide = dataclasses.replace(grid, center=(*grid.center[:-1], grid.extent[-1] / 6))
        with pytest.warns(UserWarning, match="mm about the axis of rotation, the volume reaches"):
            Projector(geometry, wide)
        if geometry.ndim == 3:
            high = dataclasses.replace(grid, center=(30.0, 0.0, 0.0))
            with pytest.warns(UserWarning, match=f"the {geometry.rows} rows see z from"):
                Projector(geometry, high)
    corners = VolumeGrid((100, 100), 0.9 * GEOMETRIES["parallel"][0].field_radius / 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a round object in a square grid
        Projector(GEOMETRIES["parallel"][0], corners)


def test_modular_detectors_that_miss_a_corner_are_warned_of():
    geometry = modular(5, 24, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Projector(geometry, VolumeGrid((4, 4, 4)))
    with pytest.warns(UserWarning, match="beyond the detector in view"):
        Projector(geometry, VolumeGrid((4, 16, 16), 1.0, (60.0, 0.0, 0.0)))


DISTANCES = {"source_to_isocenter": 50.0, "source_to_detector": 90.0}


BEAM = DISTANCES | {"columns": 8, "column_spacing": 1.0}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"angles": np.arange(180)}, ValueError, "expected radians: use numpy.deg2rad"),
        ({"angles": 180}, ValueError, "a number of views is no angle"),
        ({"angles": []}, ValueError, r"\(view,\) in radians, got shape \(0,\)"),
        ({"angles": [0.0, np.nan]}, ValueError, "NaN or infinity in angles"),
        ({"angles": [0.0, 1j]}, TypeError, "angles must be real numbers"),
        ({"angles": "0..360"}, TypeError, "angles must be real numbers, got '0..360'"),
        ({"angles": torch.ones(2, requires_grad=True)}, ValueError, "angles requires a gradient"),
        ({"columns": 8.5}, ValueError, "columns must be a positive whole number, got 8.5"),
        ({"columns": np.nan}, ValueError, "columns must be a positive whole number, got nan"),
        ({"columns": "8"}, TypeError, "columns must be real numbers, got '8'"),
        ({"column_spacing": 0}, ValueError, "column_spacing must be positive mm, got 0"),
        ({"column_spacing": None}, TypeError, "column_spacing must be real numbers, got None"),
        ({"column_offset": np.zeros(3)}, ValueError, r"shape \(3,\): ModularBeam takes source"),
        ({"source_to_isocenter": [50.0] * 3}, ValueError, "one number for all views"),
        ({"source_to_detector": np.inf}, ValueError, "source_to_detector must be positive mm"),
        ({"source_to_detector": 40.0}, ValueError, "both count from the source"),
        ({"detector": "arc"}, ValueError, '"flat" or "curved", got \'arc\''),
    ],
)
def test_bad_values_of_a_beam_are_named(change, error, message):
    with pytest.raises(error, match=message):
        FanBeam(**({"angles": turn(3)} | BEAM | change))


def test_values_of_a_beam_are_plain_numbers():
    """Whatever they were given as: geometries compare, hash and print by them."""
    plain = FanBeam(turn(3), 8, 1.0, 50.0, 90.0)
    given = FanBeam(list(turn(3)), np.int64(8), torch.tensor(1.0), np.array(50), 90)
    assert given == plain
    assert hash(given) == hash(plain)
    assert repr(given) == repr(plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((64,), r"\(ny, nx\) or \(nz, ny, nx\), got 64"),
        (("44",), "got '44'"),
        (((4, 0),), "each size of a volume must be a positive whole number, got 0"),
        (((4, 4), 0), "volume spacing must be positive mm, got 0"),
        (((4, 4), (1, 1, 1)), "spacing of a 2D volume needs 2 finite values"),
        (((4, 4), 1.0, np.nan), "center of a 2D volume needs 2 finite values"),
    ],
)
def test_bad_values_of_a_volume_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        VolumeGrid(*arguments)


def test_arguments_that_were_swapped_are_told():
    geometry, grid = GEOMETRIES["parallel"]
    with pytest.raises(TypeError, match="a geometry and a VolumeGrid, in this order"):
        Projector(grid, geometry)
    with pytest.raises(TypeError, match="whole number of bytes"):
        Projector(geometry, grid, memory_limit="1GB")
