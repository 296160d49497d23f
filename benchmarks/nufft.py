"""The NUFFT against its peers in one interleaved run: times, errors, JSON, a plot.

    python -m benchmarks.nufft [--jobs radial normal ...] [--rounds 9] [--output FILE.json] [--plot FILE.png]

Every tool runs once a round, in turn; times are medians over rounds. Errors are relative l2
against a direct sum in double precision over a random subset of the outputs. Plans, tables and
kernels are made before the clock starts; peers may write into arrays that exist already.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from spinray.kernels.nufft import Plan

from .common import has, machine, medians, write
from .nufft_peers import Calls, bart_iterations, ducc, finufft, torch_toeplitz, transform_peers

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
    return float(np.linalg.norm(y[pick] - exact) / np.linalg.norm(exact))


def adjoint_error(k: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Of image x from samples y (sample,), over random pixels."""
    rng = np.random.default_rng(1)
    pick = np.stack([rng.integers(0, n, 60) for n in x.shape], -1)
    origin = np.array(x.shape) // 2
    exact = np.array([np.exp(2j * np.pi * (k @ (p - origin))) @ y.astype(complex) for p in pick])
    exact /= np.sqrt(x.size)
    return float(np.linalg.norm(x[tuple(pick.T)] - exact) / np.linalg.norm(exact))


def measure(calls: Calls, rounds: int, slow: int = 3) -> dict[str, float]:
    """Median milliseconds of each call, interleaved."""
    return {name: 1e3 * t for name, t in medians(calls, rounds, slow).items()}


def fitted(error: Callable[[np.ndarray], float], exact_scale: np.ndarray, out: np.ndarray) -> float:
    """Error after removing a peer's own normalisation (a power of N) by one real factor."""
    out = np.asarray(out).reshape(exact_scale.shape).astype(complex)
    factor = np.vdot(out, exact_scale).real / np.vdot(out, out).real
    return error(out * factor)


def transforms(name, k, shape, coils: int, tolerance: float, rounds: int, *, others: bool):
    """Rows of one forward and adjoint job."""
    threads = torch.get_num_threads()
    x, y = noise(coils, *shape), noise(coils, len(k), seed=1)
    plan = Plan(k, shape, tolerance=tolerance)
    forward, adjoint = transform_peers(k, x, y, tolerance, threads, others=others)
    rows = []
    for kind, ours, calls in (
        ("forward", lambda: plan.forward(x), forward),
        ("adjoint", lambda: plan.adjoint(y), adjoint),
    ):
        calls = {"spinray": ours, **calls}
        times = measure(calls, rounds)
        reference = ours()[0]
        for tool, call in calls.items():
            if kind == "forward":
                error = fitted(
                    lambda out: forward_error(k, x[0], out),
                    reference,
                    _first(call(), reference.shape),
                )
            else:
                error = fitted(
                    lambda out: adjoint_error(k, y[0], out),
                    reference,
                    _first(call(), reference.shape),
                )
            rows.append(_row(f"{name} {kind}", tool, times[tool], error, coils, tolerance))
    return rows


def _first(out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first coil, by itself; a peer may have dropped an axis of length one."""
    return np.array(np.reshape(out, (-1, *shape))[0])


def _row(job, tool, milliseconds, error, coils, tolerance):
    print(
        f"{job:28s} {coils:3d} coils {tolerance:.0e}  {tool:18s} {milliseconds:9.2f} ms  {error:.1e}"
    )
    return {
        "job": job, "tool": tool, "ms": round(milliseconds, 3), "error": error, "coils": coils,
        "tolerance": tolerance,
    }  # fmt: skip


def radial_job(rounds: int):
    k = radial(402)
    rows = []
    for tolerance in (1e-3, 1e-5):
        for coils in (1, 8, 16, 32):
            others = coils == 8 and tolerance == 1e-3
            rows += transforms("2D 256", k, (256, 256), coils, tolerance, rounds, others=others)
    return rows


def tolerance_job(rounds: int):
    k = radial(402)
    tolerances = (1e-2, 1e-4, 1e-6)
    return [
        row
        for tolerance in tolerances
        for row in transforms("2D 256", k, (256, 256), 8, tolerance, rounds, others=False)
    ]


def koosh_job(rounds: int):
    k = kooshball(1_000_000)
    return transforms("3D 128", k, (128,) * 3, 8, 1e-3, min(rounds, 5), others=False)


def normal_job(rounds: int):
    k, threads = radial(402), torch.get_num_threads()
    x = noise(8, 256, 256)
    plan, tx = Plan(k, (256, 256)), torch.from_numpy(x)
    exact_plan = Plan(k, (256, 256), tolerance=1e-10)
    exact = exact_plan.adjoint(exact_plan.forward(x.astype(complex)))
    calls: Calls = {"spinray": lambda: plan.normal(x)}
    convolve = torch_toeplitz(plan)
    calls["torch FFT Toeplitz"] = lambda: convolve(tx).numpy()
    if has("ducc0"):
        forward, adjoint = ducc(k, 1e-3, threads)
        y, out = np.empty((8, len(k)), np.complex64), np.empty_like(x)
        calls["ducc0 pair"] = lambda: adjoint(forward(x, y), out)
    if has("torchkbnufft"):
        import torchkbnufft

        points = torch.from_numpy(2 * np.pi * k.T).float().contiguous()
        kernel = torchkbnufft.calc_toeplitz_kernel(points, (256, 256))
        toeplitz = torchkbnufft.ToepNufft()
        calls["torchkbnufft Toeplitz"] = lambda: toeplitz(tx[None], kernel)[0].numpy()
    times = measure(calls, rounds)
    rows = []
    for tool, call in calls.items():
        error = fitted(lambda o: _relative(o, exact), exact, call())
        rows.append(_row("normal 256", tool, times[tool], error, 8, 1e-3))
    return rows


def _relative(out: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(out - exact) / np.linalg.norm(exact))


def frames_job(rounds: int):
    threads = torch.get_num_threads()
    k = np.stack([radial(16, first=16 * frame) for frame in range(32)])
    x, y = noise(32, 8, 256, 256), noise(32, 8, k.shape[1], seed=1)
    plan = Plan(k, (256, 256))
    y_out, x_out = np.empty_like(y), np.empty_like(x)
    forward: Calls = {"spinray": lambda: plan.forward(x)}
    adjoint: Calls = {"spinray": lambda: plan.adjoint(y)}
    if has("ducc0"):
        pairs = [ducc(k[f], 1e-3, threads) for f in range(32)]

        def loop_forward():
            for f in range(32):
                pairs[f][0](x[f], y_out[f])
            return y_out

        def loop_adjoint():
            for f in range(32):
                pairs[f][1](y[f], x_out[f])
            return x_out

        forward["ducc0 loop"], adjoint["ducc0 loop"] = loop_forward, loop_adjoint
    rows = []
    for kind, calls in (("forward", forward), ("adjoint", adjoint)):
        times = measure(calls, min(rounds, 7))
        for tool, call in calls.items():
            out = np.array(call()[3, 2])
            error = (
                forward_error(
                    k[3], x[3, 2], out * np.linalg.norm(plan.forward(x)[3, 2]) / np.linalg.norm(out)
                )
                if kind == "forward"
                else adjoint_error(
                    k[3], y[3, 2], out * np.linalg.norm(plan.adjoint(y)[3, 2]) / np.linalg.norm(out)
                )
            )
            rows.append(_row(f"32 frames {kind}", tool, times[tool], error, 8, 1e-3))
    return rows


def cg_job(rounds: int):
    """One conjugate gradient iteration, 64 spokes, 8 coils, the same loop over each tool."""
    from spinray.recon.operators import Sense

    threads = torch.get_num_threads()
    k, iterations = radial(64), 20
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 256)] * 2, indexing="ij"))
    centre = np.stack([f(np.arange(8) * np.pi / 4) for f in (np.sin, np.cos)], 1)
    maps = np.exp(-((grid[None] - centre[..., None, None]) ** 2).sum(1)).astype(np.complex64)
    maps /= np.sqrt((abs(maps) ** 2).sum(0))
    rho = np.where(np.hypot(*grid) < 0.8, 1 + 0.3 * np.sin(9 * grid[0]) * np.cos(7 * grid[1]), 0)
    tm, tk = torch.from_numpy(maps), torch.from_numpy(k)
    sense = Sense(tm, trajectory=tk)
    data = sense(torch.from_numpy(rho.astype(np.complex64)))
    start = sense.adjoint(data)
    plan = Plan(k, (256, 256))
    convolve = torch_toeplitz(plan)
    normals = {
        "spinray": sense.normal,
        "torch FFT Toeplitz": lambda p: (tm.conj() * convolve(tm * p)).sum(0),
    }
    scale = 1 / 256**2
    if has("ducc0"):
        apply, transpose = ducc(k, 1e-3, threads)
        y, z = np.empty((8, len(k)), np.complex64), np.empty((8, 256, 256), np.complex64)
        normals["ducc0"] = lambda p: torch.from_numpy(
            (maps.conj() * transpose(apply(maps * p.numpy(), y), z)).sum(0) * scale
        )
    if has("finufft"):
        execute, transposed = finufft(k, (256, 256), 8, 1e-3, threads, 1.25)
        normals["finufft"] = lambda p: torch.from_numpy(
            (maps.conj() * transposed(execute(maps * p.numpy()))).sum(0) * scale
        ).to(torch.complex64)
    if has("sigpy"):
        import sigpy.mri

        linear = sigpy.mri.linop.Sense(maps, coord=(k * 256).astype(np.float32))
        normals["sigpy"] = lambda p: torch.from_numpy(linear.N(p.numpy()))
    calls = {tool: (lambda n=n: _cg(n, start, iterations)) for tool, n in normals.items()}
    times = measure(calls, min(rounds, 7), slow=3)
    reference = _cg(
        _exact_normal(k, tm.to(torch.complex128)), start.to(torch.complex128), iterations
    )
    rows = []
    for tool, call in calls.items():
        difference = fitted(lambda o: _relative(o, reference), reference, call())
        rows.append(_row("CG-SENSE iteration", tool, times[tool] / iterations, difference, 8, 1e-3))
    if shutil.which("bart"):
        milliseconds, image = bart_iterations(k, maps, data.numpy(), iterations)
        difference = fitted(lambda o: _relative(o, reference), reference, image)
        rows.append(_row("CG-SENSE iteration", "bart", milliseconds, difference, 8, 1e-3))
    return rows


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


JOBS = {
    "radial": radial_job, "normal": normal_job, "frames": frames_job, "cg": cg_job,
    "koosh": koosh_job, "tolerance": tolerance_job,
}  # fmt: skip


def plot(rows: list[dict], path: Path) -> None:
    """Time against coils, and time against tolerance, one line a tool."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, x, fixed, value in (
        (axes[0], "coils", "tolerance", 1e-3), (axes[1], "tolerance", "coils", 8),
    ):  # fmt: skip
        chosen = [r for r in rows if r["job"] == "2D 256 adjoint" and r[fixed] == value]
        for tool in dict.fromkeys(r["tool"] for r in chosen):
            points = sorted((r[x], r["ms"]) for r in chosen if r["tool"] == tool)
            axis.loglog(*zip(*points, strict=True), "o-", label=tool)
        axis.set(xlabel=x, ylabel="milliseconds", title=f"adjoint, 256², {fixed} = {value:g}")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    about = machine()
    rows = [row for job in options.jobs for row in JOBS[job](options.rounds)]
    if options.output:
        write(options.output, {"machine": about, "rounds": options.rounds, "rows": rows})
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
