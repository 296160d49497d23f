"""The NUFFT against its peers: times, errors, memory.

    python -m benchmarks.nufft [--jobs "2D 256" ...] [--rounds 9] [--output FILE.json]

Errors are relative l2 against a direct sum in double precision over a random subset of the
outputs. Plans, tables and kernels are made before the clock starts; peers may write into arrays
that exist already. BART runs as a process, its start and files included.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from spinray.kernels.nufft import Plan

from .common import has, relative_l2, run_suite
from .nufft_peers import PEERS, bart_cg, ducc, finufft, torch_toeplitz
from .protocol import OURS, Prepared, Task

GOLDEN = np.pi * (np.sqrt(5) - 1) / 2


def radial(spokes: int, readout: int = 512, first: int = 0) -> np.ndarray:
    """Golden-angle spokes (spokes * readout, 2), cycles per pixel."""
    angle = np.arange(first, first + spokes) * GOLDEN
    radius = (np.arange(readout) - readout // 2) / readout
    return np.stack([np.outer(f(angle), radius).ravel() for f in (np.sin, np.cos)], -1)


def kooshball(samples: int, readout: int = 128) -> np.ndarray:
    spokes = -(-samples // readout)
    direction = np.random.default_rng(0).standard_normal((spokes, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = (np.arange(readout) - readout // 2) / readout
    return (direction[:, None] * radius[:, None]).reshape(-1, 3)[:samples].clip(-0.5, 0.49999)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def forward_error(k: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Of samples y (sample,) of image x, over a random subset."""
    pick = np.random.default_rng(1).choice(len(k), min(len(k), 400), replace=False)
    exact = np.repeat(x[None].astype(complex), len(pick), 0)
    for axis in range(k.shape[1] - 1, -1, -1):
        n = np.arange(x.shape[axis]) - x.shape[axis] // 2
        phase = np.exp(-2j * np.pi * np.outer(k[pick, axis], n))
        exact = np.einsum("j...n,jn->j...", exact, phase)
    exact /= np.sqrt(x.size)
    return relative_l2(y[pick], exact)


def adjoint_error(k: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Of image x from samples y (sample,), over random pixels."""
    rng = np.random.default_rng(1)
    pick = np.stack([rng.integers(0, n, 60) for n in x.shape], -1)
    origin = np.array(x.shape) // 2
    exact = np.array([np.exp(2j * np.pi * (k @ (p - origin))) @ y.astype(complex) for p in pick])
    exact /= np.sqrt(x.size)
    return relative_l2(x[tuple(pick.T)], exact)


def fitted(error: Callable[[np.ndarray], float], exact_scale: np.ndarray, out: np.ndarray) -> float:
    """Error after removing a peer's own normalisation (a power of N) by one real factor."""
    out = np.asarray(out).reshape(exact_scale.shape).astype(complex)
    factor = np.vdot(out, exact_scale).real / np.vdot(out, out).real
    return error(out * factor)


class Transform:
    """One trajectory with data: what each tool is given, and the errors of what it returns."""

    def __init__(self, k: np.ndarray, shape: tuple[int, ...], coils: int, tolerance: float) -> None:
        self.k, self.tolerance = k, tolerance
        self.x, self.y = noise(coils, *shape), noise(coils, len(k), seed=1)
        self.plan = Plan(k, shape, tolerance=tolerance)
        self.first = self.plan.forward(self.x)[0], self.plan.adjoint(self.y)[0]

    def prepared(self, way: str, call: Callable[[], Any], **how: bool) -> Prepared:
        reference = self.first[way == "adjoint"]
        exact = (partial(forward_error, self.k, self.x[0]) if way == "forward"
                 else partial(adjoint_error, self.k, self.y[0]))  # fmt: skip

        def error(out: Any) -> float:  # of the first coil; a peer may have dropped that axis
            out = out.cpu().numpy() if isinstance(out, torch.Tensor) else np.asarray(out)
            return fitted(exact, reference, out.reshape(-1, *reference.shape)[0])

        return Prepared(call, error, **how)

    def ours(self, way: str) -> Prepared:
        call, data = self._pair(self.plan, way, self.x, self.y)
        return self.prepared(way, lambda: call(data))

    def on_gpu(self, way: str) -> Prepared:
        plan = Plan(torch.from_numpy(self.k).cuda(), self.x.shape[1:], tolerance=self.tolerance)
        x, y = (torch.from_numpy(data).cuda() for data in (self.x, self.y))
        call, data = self._pair(plan, way, x, y)
        return self.prepared(way, lambda: call(data), gpu=True)

    @staticmethod
    def _pair(plan: Any, way: str, x: Any, y: Any) -> tuple[Any, Any]:
        return (plan.forward, x) if way == "forward" else (plan.adjoint, y)

    def peer(self, name: str, way: str) -> Prepared:
        pair = PEERS[name](self.k, self.x, self.y, self.tolerance, torch.get_num_threads())
        return self.prepared(way, pair[way == "adjoint"], process=name == "bart")


def transforms(name, k, shape, coils, tolerance, peers) -> Iterator[Task]:
    """Forward and adjoint of one job."""
    job = cache(lambda: Transform(k, shape, coils, tolerance))
    for way in ("forward", "adjoint"):
        tools = {OURS: lambda way=way: job().ours(way)}
        if torch.cuda.is_available():
            tools["spinray GPU"] = lambda way=way: job().on_gpu(way)
        tools |= {peer: lambda peer=peer, way=way: job().peer(peer, way) for peer in peers}
        facts = {"coils": coils, "tolerance": tolerance}
        yield Task("nufft", f"{name} {way}", tools, "relative l2 against a direct sum", facts)


def tasks(quick: bool = False) -> Iterator[Task]:
    """Radial 2D over coils and tolerances, 3D, normal operators, frames, CG-SENSE."""
    k, fast = radial(402), ("ducc0", "finufft", "finufft 1.25")
    for tolerance in (1e-3,) if quick else (1e-3, 1e-5):
        for coils in (1, 8) if quick else (1, 8, 16, 32):
            peers = tuple(PEERS) if coils == 8 and tolerance == 1e-3 else fast
            yield from transforms("2D 256", k, (256, 256), coils, tolerance, peers)
    for tolerance in () if quick else (1e-2, 1e-4, 1e-6):
        yield from transforms("2D 256", k, (256, 256), 8, tolerance, fast)
    if quick:
        yield from transforms("3D 64", kooshball(100_000, 64), (64,) * 3, 8, 1e-3, fast)
    else:
        yield from transforms("3D 128", kooshball(1_000_000), (128,) * 3, 8, 1e-3, fast)
    yield normal()
    yield from frames(8 if quick else 32)
    yield conjugate_gradients()


class Normal:
    """A^H A of 8 coils, by convolution or by both transforms."""

    def __init__(self) -> None:
        self.k, self.x = radial(402), noise(8, 256, 256)
        self.plan = Plan(self.k, (256, 256))
        exact = Plan(self.k, (256, 256), tolerance=1e-10)
        self.exact = exact.adjoint(exact.forward(self.x.astype(complex)))

    def prepared(self, call: Callable[[], Any]) -> Prepared:
        return Prepared(call, partial(fitted, lambda o: relative_l2(o, self.exact), self.exact))

    def ours(self) -> Prepared:
        return self.prepared(lambda: self.plan.normal(self.x))

    def torch_fft(self) -> Prepared:
        convolve, x = torch_toeplitz(self.plan), torch.from_numpy(self.x)
        return self.prepared(lambda: convolve(x).numpy())

    def ducc0(self) -> Prepared:
        forward, adjoint = ducc(self.k, 1e-3, torch.get_num_threads())
        y, out = np.empty((8, len(self.k)), np.complex64), np.empty_like(self.x)
        return self.prepared(lambda: adjoint(forward(self.x, y), out))

    def torchkbnufft(self) -> Prepared:
        import torchkbnufft

        points = torch.from_numpy(2 * np.pi * self.k.T).float().contiguous()
        kernel = torchkbnufft.calc_toeplitz_kernel(points, (256, 256))
        toeplitz, x = torchkbnufft.ToepNufft(), torch.from_numpy(self.x)[None]
        return self.prepared(lambda: toeplitz(x, kernel)[0].numpy())


def normal() -> Task:
    job = cache(Normal)
    tools = {
        OURS: lambda: job().ours(), "torch FFT Toeplitz": lambda: job().torch_fft(),
        "ducc0 pair": lambda: job().ducc0(), "torchkbnufft Toeplitz": lambda: job().torchkbnufft(),
    }  # fmt: skip
    return Task("nufft", "normal 256", tools, "relative l2 at tolerance 1e-10", {"coils": 8})


class Frames:
    """Frames of 16 spokes, a trajectory each."""

    def __init__(self, count: int) -> None:
        self.k = np.stack([radial(16, first=16 * frame) for frame in range(count)])
        self.x = noise(count, 8, 256, 256)
        self.y = noise(count, 8, self.k.shape[1], seed=1)
        self.plan = Plan(self.k, (256, 256))

    def prepared(self, way: str, call: Callable[[], Any]) -> Prepared:
        ours = (self.plan.forward(self.x) if way == "forward" else self.plan.adjoint(self.y))[3, 2]
        exact = (partial(forward_error, self.k[3], self.x[3, 2]) if way == "forward"
                 else partial(adjoint_error, self.k[3], self.y[3, 2]))  # fmt: skip
        return Prepared(call, lambda out: fitted(exact, ours, np.array(out[3, 2])))

    def ours(self, way: str) -> Prepared:
        call, data = ((self.plan.forward, self.x) if way == "forward"
                      else (self.plan.adjoint, self.y))  # fmt: skip
        return self.prepared(way, lambda: call(data))

    def ducc0(self, way: str) -> Prepared:
        pairs = [ducc(k, 1e-3, torch.get_num_threads())[way == "adjoint"] for k in self.k]
        data, out = (self.x, np.empty_like(self.y)) if way == "forward" else (
            self.y, np.empty_like(self.x))  # fmt: skip

        def loop() -> np.ndarray:
            for transform, frame, result in zip(pairs, data, out, strict=True):
                transform(frame, result)
            return out

        return self.prepared(way, loop)


def frames(count: int) -> Iterator[Task]:
    job = cache(lambda: Frames(count))
    for way in ("forward", "adjoint"):
        tools = {OURS: lambda way=way: job().ours(way),
                 "ducc0 loop": lambda way=way: job().ducc0(way)}  # fmt: skip
        facts = {"coils": 8, "tolerance": 1e-3}
        yield Task(
            "nufft", f"{count} frames {way}", tools, "relative l2 against a direct sum", facts
        )


def ring_of_maps(coils: int, n: int = 256) -> np.ndarray:
    """Sensitivities ``(coil, n, n)`` of coils around the image, of unit root sum of squares."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n)] * 2, indexing="ij"))
    angle = np.arange(coils) * 2 * np.pi / coils
    centre = np.stack([np.sin(angle), np.cos(angle)], 1)
    maps = np.exp(-((grid[None] - centre[..., None, None]) ** 2).sum(1))
    return (maps / np.sqrt((maps**2).sum(0))).astype(np.complex64)


class ConjugateGradients:
    """64 spokes, 8 coils: the same loop over each tool's normal operator."""

    ITERATIONS = 20

    def __init__(self) -> None:
        from spinray.recon.operators import Sense

        self.k = radial(64)
        self.maps = ring_of_maps(8)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 256)] * 2, indexing="ij"))
        detail = 1 + 0.3 * np.sin(9 * grid[0]) * np.cos(7 * grid[1])
        rho = np.where(np.hypot(*grid) < 0.8, detail, 0).astype(np.complex64)
        self.tensor = torch.from_numpy(self.maps)
        self.sense = Sense(self.tensor, trajectory=torch.from_numpy(self.k))
        self.data = self.sense(torch.from_numpy(rho))
        self.start = self.sense.adjoint(self.data)
        exact = _exact_normal(self.k, self.tensor.to(torch.complex128))
        self.reference = _cg(exact, self.start.to(torch.complex128), self.ITERATIONS)

    def prepared(self, call: Callable[[], Any], **how: bool) -> Prepared:
        exact = self.reference
        return Prepared(call, partial(fitted, lambda o: relative_l2(o, exact), exact), **how)

    def loop(self, apply: Callable[[torch.Tensor], torch.Tensor]) -> Prepared:
        return self.prepared(lambda: _cg(apply, self.start, self.ITERATIONS))

    def ours(self) -> Prepared:
        return self.loop(self.sense.normal)

    def torch_fft(self) -> Prepared:
        convolve, maps = torch_toeplitz(Plan(self.k, (256, 256))), self.tensor
        return self.loop(lambda p: (maps.conj() * convolve(maps * p)).sum(0))

    def ducc0(self) -> Prepared:
        apply, transpose = ducc(self.k, 1e-3, torch.get_num_threads())
        y, z = np.empty((8, len(self.k)), np.complex64), np.empty((8, 256, 256), np.complex64)
        return self.loop(lambda p: self._combined(transpose(apply(self.maps * p.numpy(), y), z)))

    def finufft(self) -> Prepared:
        apply, transpose = finufft(self.k, (256, 256), 8, 1e-3, torch.get_num_threads(), 1.25)
        return self.loop(lambda p: self._combined(transpose(apply(self.maps * p.numpy()))))

    def _combined(self, images: np.ndarray) -> torch.Tensor:
        combined = (self.maps.conj() * images).sum(0) / 256**2
        return torch.from_numpy(combined).to(torch.complex64)

    def sigpy(self) -> Prepared:
        import sigpy.mri

        linear = sigpy.mri.linop.Sense(self.maps, coord=(self.k * 256).astype(np.float32))
        return self.loop(lambda p: torch.from_numpy(linear.N(p.numpy())))

    def bart(self) -> Prepared:
        call = bart_cg(self.k, self.maps, self.data.numpy(), self.ITERATIONS)
        return self.prepared(call, process=True)


def conjugate_gradients() -> Task:
    job = cache(ConjugateGradients)
    tools = {
        OURS: lambda: job().ours(), "torch FFT Toeplitz": lambda: job().torch_fft(),
        "ducc0": lambda: job().ducc0(), "finufft": lambda: job().finufft(),
        "sigpy": lambda: job().sigpy(), "bart": lambda: job().bart(),
    }  # fmt: skip
    return Task("nufft", "CG-SENSE iteration", tools, "relative l2 of 20 iterations in float64",
                {"coils": 8}, per=ConjugateGradients.ITERATIONS)  # fmt: skip


def _exact_normal(k, maps: torch.Tensor):
    """The normal operator in double precision: ducc0's where it is installed."""
    shape, count = tuple(maps.shape[1:]), len(maps)
    plan = Plan(k, shape, tolerance=1e-10)

    def exact(p: torch.Tensor) -> torch.Tensor:
        z = (maps * p).numpy()
        if has("ducc0"):
            apply, transpose = ducc(k, 1e-10, torch.get_num_threads())
            y = apply(z, np.empty((count, len(k)), complex))
            z = transpose(y, np.empty_like(z)) / np.prod(shape)
        else:
            z = plan.adjoint(plan.forward(z))
        return (maps.conj() * torch.from_numpy(z)).sum(0)

    return exact


def _cg(normal, b: torch.Tensor, iterations: int) -> np.ndarray:
    """Plain conjugate gradients on torch tensors, the same for every tool."""
    x, r = torch.zeros_like(b), b.clone()
    p, rr = r.clone(), torch.vdot(r.ravel(), r.ravel()).real
    for _ in range(iterations):
        q = normal(p)
        alpha = rr / torch.vdot(p.ravel(), q.ravel()).real
        x += alpha * p
        r -= alpha * q
        new = torch.vdot(r.ravel(), r.ravel()).real
        p = r + (new / rr) * p
        rr = new
    return x.numpy()


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
