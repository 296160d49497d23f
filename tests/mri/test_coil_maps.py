import numpy as np
import pytest
import torch
from helpers import peak

from spinray.recon.mri import calibration_region, espirit, walsh
from spinray.recon.operators import Fourier


def smooth_coils(shape, coils=6):
    """Coil maps of a few low spatial frequencies: no field of any program's own making."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-0.5, 0.5, n) for n in shape], indexing="ij")
    maps = []
    for _ in range(coils):
        centre = rng.uniform(-0.7, 0.7, len(shape))
        distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        phase = sum(a * w for a, w in zip(axes, rng.uniform(-2, 2, len(shape)), strict=True))
        maps.append(np.exp(-distance + 1j * (phase + rng.uniform(0, 6))))
    maps = torch.from_numpy(np.stack(maps))
    disc = torch.from_numpy(sum(a**2 for a in axes) < 0.16)
    texture = torch.from_numpy(rng.uniform(0.5, 1.5, shape)) * disc
    return maps, texture, disc


def angle(a, b):
    """Angle between the coil vectors of each pixel, degrees."""
    a = a / torch.linalg.vector_norm(a, dim=0)
    b = b / torch.linalg.vector_norm(b, dim=0)
    return torch.rad2deg(torch.acos((a.conj() * b).sum(0).abs().clamp(max=1)))


@pytest.mark.parametrize("shape", [(64, 52), (24, 28, 30)])
def test_recovers_smooth_maps(shape):
    maps, image, disc = smooth_coils(shape, coils=6 if len(shape) == 2 else 3)
    kspace = Fourier(shape)(maps * image)
    options = {"calibration": 20, "kernel": 4, "threshold": 0.01} if len(shape) == 3 else {}
    found = espirit(kspace, ndim=len(shape), **options)
    assert found.shape == kspace.shape
    assert float(angle(found, maps)[disc].quantile(0.99)) < 1.0
    torch.testing.assert_close(
        torch.linalg.vector_norm(found, dim=0), torch.ones(shape, dtype=torch.float64)
    )


def test_undersampling_outside_the_centre_changes_nothing():
    maps, image, _ = smooth_coils((64, 52))
    kspace = Fourier((64, 52))(maps * image)
    mask = torch.zeros(64, 52, dtype=torch.bool)
    mask[20:44, 14:38] = True
    mask[::3, ::2] = True
    torch.testing.assert_close(espirit(kspace * mask), espirit(kspace))
    assert calibration_region(kspace * mask).shape == (6, 24, 24)
    lines = torch.zeros(64, 52, dtype=torch.bool)
    lines[26:38] = True
    lines[::4] = True
    assert calibration_region(kspace * lines, (24, 30)).shape == (6, 12, 30)


def test_phase_convention_scale_and_crop():
    maps, image, disc = smooth_coils((64, 52))
    kspace = Fourier((64, 52))(maps * image).to(torch.complex64)
    found = espirit(kspace, crop=0.8)
    centre = calibration_region(kspace).flatten(1)
    principal = torch.linalg.eigh(centre @ centre.mH)[1][:, -1]
    principal = principal * torch.sgn(principal[principal.abs().argmax()]).conj()
    for maps in (found, walsh(Fourier((64, 52)).adjoint(kspace))):
        virtual = torch.tensordot(principal.conj(), maps, dims=1)[disc]
        assert float(virtual.angle().abs().median()) < 1e-2
        assert float(virtual.angle().abs().max()) < (1e-3 if maps is found else 0.1)
    outside = torch.linalg.vector_norm(found, dim=0)[:4, :4]
    assert outside.max() == 0
    assert (torch.linalg.vector_norm(found, dim=0)[disc] > 0.99).all()
    for scale in (1e-9, 1e9):
        assert float(angle(espirit(kspace * scale), espirit(kspace))[disc].max()) < 0.1


def test_two_sets_explain_a_folded_field_of_view():
    maps, image, _ = smooth_coils((64, 52))
    full = torch.fft.ifftshift(maps * image, dim=(1, 2))
    folded = full + 0.8 * torch.roll(full, 26, 2)  # every pixel is the sum of two
    folded = torch.fft.fftshift(folded, dim=(1, 2))
    kspace = Fourier((64, 52))(folded)
    sets = espirit(kspace, maps=2)
    assert sets.shape == (2, 6, 64, 52)
    gram = torch.einsum("mcyx,ncyx->yxmn", sets.conj(), sets)
    torch.testing.assert_close(gram, torch.eye(2).to(gram).expand_as(gram), atol=1e-6, rtol=0)

    def unexplained(maps):
        part = torch.einsum("mcyx,cyx->myx", maps.conj(), folded)
        return float((folded - torch.einsum("mcyx,myx->cyx", maps, part)).norm() / folded.norm())

    assert unexplained(sets) < 0.02 < 0.05 < unexplained(sets[:1])


def test_batch():
    maps, image, _ = smooth_coils((32, 36), coils=3)
    kspace = Fourier((32, 36))(maps * image)
    both = espirit(torch.stack([kspace, kspace.flip(0)]))  # slices, not a volume
    torch.testing.assert_close(both[0], espirit(kspace))
    assert both.shape == (2, 3, 32, 36)


def test_batch_of_volumes():
    maps, image, _ = smooth_coils((14, 12, 16), coils=3)
    kspace = Fourier((14, 12, 16))(maps * image)
    options = {"ndim": 3, "calibration": 8, "kernel": 3}
    both = espirit(torch.stack([kspace, kspace.flip(0)]), **options)
    torch.testing.assert_close(both[0], espirit(kspace, **options))


def test_no_centre_is_an_error():
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(3, 32, 32, dtype=torch.complex64, generator=generator)
    mask = torch.zeros(32, 32)
    mask[::2] = 1
    with pytest.raises(ValueError, match="fully sampled centre"):
        espirit(kspace * mask)
    with pytest.raises(ValueError, match="between 1 and 3"):
        espirit(kspace, maps=4)


@pytest.mark.parametrize(
    ("shape", "coils", "kernel"), [((96, 80), 8, 6), ((384, 320), 8, 6), ((24, 28, 30), 6, 5),
                                   ((48, 56, 60), 6, 5)],
)  # fmt: skip
def test_memory_beside_the_maps_is_what_the_docstring_states(shape, coils, kernel):
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(coils, *shape, dtype=torch.complex64, generator=generator)
    used = peak(lambda: espirit(kspace, ndim=len(shape), kernel=kernel, calibration=20))
    matrix = 8 * (coils * kernel ** len(shape)) ** 2
    assert kspace.nbytes < used < kspace.nbytes + 4 * matrix + (64 << 20)


@pytest.mark.peer
def test_agrees_with_sigpy(data_dir):
    sigpy_mr = pytest.importorskip("sigpy.mri")
    raw = np.fromfile(data_dir / "mr_kspace" / "brain8ch_full.cfl", np.complex64)
    kspace = np.ascontiguousarray(np.moveaxis(raw.reshape((230, 180, 8), order="F"), -1, 0))
    theirs = sigpy_mr.app.EspiritCalib(kspace, crop=0, thresh=0.02, show_pbar=False).run()
    ours = espirit(torch.from_numpy(kspace), threshold=0.02)
    images = Fourier((230, 180)).adjoint(torch.from_numpy(kspace))
    rss = torch.linalg.vector_norm(images, dim=0)
    inside = rss > 0.08 * rss.flatten().quantile(0.995)
    assert float(angle(ours, torch.from_numpy(theirs))[inside].quantile(0.99)) < 0.2
