import numpy as np
import pytest
import torch
from helpers import peak

from spinray.recon.mri import calibration_region, espirit, resize, walsh
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


def textbook(kspace, side, kernel, threshold):
    """ESPIRiT as the paper has it: kernels' images in every pixel, an SVD each; phases are free."""
    coils, *shape = kspace.shape
    centre = np.ix_(range(coils), *(range(n // 2 - s // 2, n // 2 - s // 2 + s)
                                    for n, s in zip(shape, side, strict=True)))  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(kspace.numpy()[centre], kernel, (1, 2))
    rows = np.moveaxis(windows, 0, 2).reshape(-1, coils * np.prod(kernel))
    _, sizes, vectors = np.linalg.svd(rows, full_matrices=False)
    kernels = vectors[sizes > threshold * sizes[0]].reshape(-1, coils, *kernel)
    images = np.fft.fftshift(np.fft.ifft2(kernels, shape, norm="forward"), axes=(2, 3))
    vectors, sizes, _ = np.linalg.svd(np.moveaxis(images, (0, 1), (3, 2)), full_matrices=False)
    return torch.from_numpy(np.moveaxis(vectors[..., 0], -1, 0)), sizes[..., 0] ** 2


@pytest.mark.parametrize(
    ("coils", "side"), [(4, (20, 20)), (8, (24, 24)), (8, (9, 24)), (12, (20, 20))]
)
def test_is_the_textbook_s(coils, side):
    """More patches than samples of a kernel, and fewer; matrices large enough to iterate on."""
    shape, kernel = (44, 36), (6, 6)
    maps, image, disc = smooth_coils(shape, coils)
    noise = np.random.default_rng(1).normal(size=(coils, *shape, 2)).view(complex)[..., 0]
    kspace = Fourier(shape)(maps * image) + 0.01 * torch.from_numpy(noise)
    mask = torch.zeros(shape, dtype=torch.bool)
    first = [n // 2 - s // 2 for n, s in zip(shape, side, strict=True)]
    mask[first[0] : first[0] + side[0], first[1] : first[1] + side[1]] = True
    theirs, values = textbook(kspace, side, kernel, 0.02)
    for precision, tolerance in ((torch.complex128, 0.02), (torch.complex64, 0.05)):
        ours = espirit((kspace * mask).to(precision))
        assert float(angle(ours.to(theirs), theirs)[disc].max()) < tolerance
    cropped = espirit(kspace * mask, crop=0.9)
    kept = torch.linalg.vector_norm(cropped, dim=0) > 0.5
    clear = np.abs(values / 36 - 0.9) > 1e-3
    assert np.array_equal(kept.numpy()[clear], (values / 36 > 0.9)[clear])


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


def test_calibration_region_is_the_largest_full_box():
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = tuple(int(n) for n in rng.integers(5, 15, 2))
        mask = torch.from_numpy(rng.uniform(size=shape) < 0.985)
        found = calibration_region(torch.ones(2, *shape) * mask, 9).shape[1:]

        def full(sizes, mask=mask):
            return bool(resize(mask, sizes).all())

        limits = [min(9, n) for n in shape]
        square = [s for s in range(1, max(limits) + 1) if full([min(s, m) for m in limits])]
        if not square:
            assert found[1] == 0
            continue
        best = [min(square[-1], m) for m in limits]
        best[0] = max(n for n in range(best[0], limits[0] + 1) if full([n, best[1]]))
        best[1] = max(n for n in range(best[1], limits[1] + 1) if full([best[0], n]))
        assert tuple(found) == tuple(best)


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
