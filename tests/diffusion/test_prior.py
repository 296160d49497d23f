"""A denoiser on whole images: tiles cover any size, places are right, errors are as measured."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinray.recon.diffusion import Prior, novelty
from spinray.recon.diffusion.tiles import Tiling
from spinray.recon.models import DRUNet, EDMDenoiser, load_model, save_model

SMALL = {"chans": (4, 6), "blocks": 1, "patch": 16}


@given(
    ny=st.integers(1, 70), nx=st.integers(1, 70), size=st.sampled_from([8, 16, 31]),
    overlap=st.integers(0, 4), seed=st.none() | st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_tiles_cover_every_image_and_join_to_it(
    ny: int, nx: int, size: int, overlap: int, seed: int | None
) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, ny, nx)
    tiling = Tiling((ny, nx), size, overlap, generator)
    tiles = tiling.cut(image)
    assert tiles.shape == (2 * len(tiling.corners), 3, size, size)
    torch.testing.assert_close(tiling.join(tiles), image)
    # places: the same numbers as of the whole image, wherever a tile lies in it
    y = (torch.arange(ny) + 0.5) * 2 / ny - 1
    for (top, _), place in zip(tiling.corners, tiling.positions(image), strict=True):
        first = max(top, 0)
        count = min(top + size, ny) - first
        torch.testing.assert_close(
            place[0, first - top : first - top + count, 0], y[first : first + count],
            atol=1e-5, rtol=0,
        )  # fmt: skip


def test_the_network_begins_as_the_best_linear_estimate() -> None:
    torch.manual_seed(0)
    network = EDMDenoiser(**SMALL).eval()
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    x = torch.randn(2, 2, 16, 16)
    out = network(x, torch.tensor([0.1, 3.0]), torch.zeros(2, 2, 16, 16))
    expected = [0.09 / (0.09 + s * s) for s in (0.1, 3.0)]
    for index, share in enumerate(expected):
        torch.testing.assert_close(out[index], share * x[index])


@pytest.mark.parametrize("complex_images", [True, False])
def test_images_of_any_size_and_volumes_go_through(complex_images: bool) -> None:
    torch.manual_seed(0)
    network = EDMDenoiser(complex_images, **SMALL).eval()
    dtype = torch.complex64 if complex_images else torch.float32
    volume = torch.randn(2, 3, 41, 23, dtype=dtype)
    prior = Prior(network, overlap=4, seed=None)
    with torch.no_grad():
        out = prior(volume, 0.3)
        assert out.shape == volume.shape
        assert out.dtype == dtype
        torch.testing.assert_close(prior(volume[1, 2], 0.3), out[1, 2], rtol=1e-4, atol=1e-5)
        moved = Prior(network, overlap=4, seed=1)
        assert not torch.allclose(moved(volume, 0.3), moved(volume, 0.3))


def test_a_volume_goes_through_in_few_tiles_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the number of slices nor that of the tiles decides the memory."""
    torch.manual_seed(0)
    network, sizes = EDMDenoiser(False, **SMALL).eval(), []
    forward = EDMDenoiser.forward

    def counted(self: EDMDenoiser, x: Tensor, sigma: float, position: Tensor) -> Tensor:
        sizes.append(len(x))
        return forward(self, x, sigma, position)

    monkeypatch.setattr(EDMDenoiser, "forward", counted)
    prior = Prior(network, overlap=4, seed=None)
    with torch.no_grad():
        volume = torch.randn(30, 16, 40)
        whole = prior(volume, 0.3)
        assert max(sizes) <= 24
        torch.testing.assert_close(whole[29], prior(volume[29], 0.3), rtol=1e-4, atol=1e-5)
        prior(torch.randn(90, 90), 0.3)
        assert max(sizes) <= 24


def test_one_tile_is_the_network_itself() -> None:
    torch.manual_seed(0)
    network = EDMDenoiser(False, **SMALL).eval()
    image = torch.randn(16, 16)
    axis = (torch.arange(16) + 0.5) / 8 - 1
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
    with torch.no_grad():
        expected = network(image[None, None], 0.2, place)[0, 0]
        torch.testing.assert_close(Prior(network, overlap=0, seed=None)(image, 0.2), expected)
        elsewhere = network(image[None, None], 0.2, place + 1)[0, 0]
    assert not torch.allclose(elsewhere, expected)


def test_the_error_is_that_of_the_validation(tmp_path_factory: pytest.TempPathFactory) -> None:
    network = EDMDenoiser(**SMALL)
    bound = Prior(network).deviation(0.3)
    assert bound == pytest.approx(0.3 / 2**0.5)
    figures = {"denoising": [[0.1, 0.04, 0.1], [0.4, 0.08, 0.1]]}
    path = save_model(
        network, tmp_path_factory.mktemp("w") / "prior.safetensors",
        training={"modality": "mri", "figures": figures}, half=True,
    )  # fmt: skip
    loaded = load_model(path)
    assert isinstance(loaded, EDMDenoiser)
    prior = Prior(loaded)
    assert prior.deviation(0.2) == pytest.approx((0.04 * 0.08) ** 0.5)
    assert prior.deviation(0.05) == pytest.approx(0.02)
    assert prior.deviation(3) == pytest.approx(0.08)
    weights: Tensor = loaded.head.weight
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, network.head.weight, rtol=1e-3, atol=1e-3)
    assert path.stat().st_size < 2.2 * sum(p.numel() for p in network.parameters()) + 8000


@pytest.mark.parametrize("complex_images", [True, False])
def test_novelty_is_the_error_over_that_of_the_validation(complex_images: bool) -> None:
    """A network that is the best linear estimate of white images, on one that is constant."""
    network = EDMDenoiser(complex_images, **SMALL)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    network.training_facts = {"figures": {"denoising": [[0.05, 0.02, 0.1], [0.2, 0.1, 0.1]]}}
    value = complex(3, 2) if complex_images else 3.0  # per part, 6.5 or 9 of energy
    ratios = []
    for sigma, error in ((0.05, 0.02), (0.2, 0.1)):
        skip = 0.09 / (0.09 + sigma**2)
        energy = (abs(value) / 2) ** 2 / (2 if complex_images else 1)
        ratios.append((((1 - skip) ** 2 * energy + skip**2 * sigma**2) ** 0.5) / error)
    image = torch.full((64, 64), value)
    assert novelty(network, image, scale=2.0) == pytest.approx(max(ratios), rel=0.03)
    network.training_facts = {}
    with pytest.raises(ValueError, match="does not say what errors it made"):
        novelty(network, image, scale=2.0)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(TypeError, match="a prior is an EDMDenoiser, got DRUNet"):
        Prior(DRUNet(chans=(2, 4), blocks=1))
    with pytest.raises(ValueError, match="overlap must be 0 to 8"):
        Prior(EDMDenoiser(**SMALL), overlap=9)
    with pytest.raises(TypeError, match="this prior is of complex images"):
        Prior(EDMDenoiser(**SMALL), overlap=4)(torch.zeros(16, 16), 0.1)
