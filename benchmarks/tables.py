"""README's tables, from the results on disk: python -m benchmarks.tables"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

RESULTS = Path(__file__).with_name("results")
FINUFFT = "finufft", "finufft 1.25"  # its two oversamplings: the faster one counts


def results(name: str) -> dict[str, Any]:
    """What a file of results holds."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def mri() -> str:
    """Markdown rows of NRMSE: the real slice, and slices simulated of two images."""
    rows = results("mri")["quality"]["rows"]

    def errors(name: str, factor: str) -> list[float]:
        """Of Spinray, BART and SigPy: means over the masks."""
        cases = [row for case, row in rows.items() if case.startswith(f"{name}, {factor},")]
        return [mean(c[tool]["nrmse"] for c in cases) for tool in ("Spinray", "BART", "SigPy")]

    lines = []
    for factor in ("4x", "8x", "12x"):
        real = [f"{error:.4f}" for error in errors("brain", factor)]
        others = [
            " / ".join(f"{error:.3f}" for error in errors(name, factor))
            for name in ("other patient", "chest")
        ]
        lines.append(f"| {' | '.join([factor, *real, *others])} |")
    return "\n".join(lines)


def nufft() -> str:
    """Markdown rows of times and errors at tolerance 1e-3."""
    rows = [row for row in results("nufft")["rows"] if row["status"] == "ok"]

    def cell(job: str, coils: int, *tools: str) -> str:
        facts = {"coils": coils, "tolerance": 1e-3}
        found = [
            min(
                (row["seconds"], row["error"])
                for row in rows
                if row["job"] == f"{job} {way}" and row["facts"] == facts and row["tool"] in tools
            )
            for way in ("forward", "adjoint")
        ]
        (forward, error), (adjoint, other) = found
        times = f"{1e3 * forward:.1f} / {1e3 * adjoint:.1f}"
        return f"{times} | {max(error, other):.1e}".replace("e-0", "e-")

    jobs = [("2D 256", coils, f"{coils} coil" + "s" * (coils > 1)) for coils in (1, 8, 16, 32)]
    jobs.append(("3D 128", 8, "3D 128^3 kooshball, 1e6 samples, 8 coils"))
    return "\n".join(
        f"| {name} | {cell(job, coils, 'spinray')} | {cell(job, coils, 'ducc0')} "
        f"| {cell(job, coils, *FINUFFT)} |"
        for job, coils, name in jobs
    )


def ct() -> str:
    """Markdown rows of times in milliseconds, forward / back where there are two."""
    seconds = {
        (r["job"], r["tool"]): r["seconds"] for r in results("ct")["rows"] if r["status"] == "ok"
    }

    def one(job: str, tool: str) -> str:
        return f"{1e3 * seconds[job, tool]:.0f}"

    def pair(job: str, tool: str, unit: str = "") -> str:
        return " / ".join(one(f"{job} {way}{unit}", tool) for way in ("forward", "back"))

    stack, view, fdk = ", a slice", ", a view", "fdk, a view"
    rows = [
        ("512 x 512, 720 parallel views x 736, one slice", pair("parallel", "spinray"),
         f"ASTRA line {pair('parallel', 'astra line')}"),
        ("the same, a slice of a stack of 32", pair("parallel stack", "spinray", stack),
         f"mbirjax {pair('parallel stack', 'mbirjax', stack)}"),
        ("512 x 512, fan, flat, 984 views x 888, one slice", pair("fan flat", "spinray"),
         f"ASTRA line {pair('fan flat', 'astra line')}"),
        ("the same, a slice of a stack of 32", pair("fan flat stack", "spinray", stack),
         "(one slice at a time)"),
        ("512 x 512, fan, curved, one slice", pair("fan curved", "spinray"), "(none)"),
        ("cone, 256^3, a view of 384 x 384", pair("cone", "spinray", view),
         f"RTK Joseph {pair('cone', 'rtk joseph', view)}"),
        ("FDK, 256^3, a view of 384 x 384", one(fdk, "spinray"), f"RTK {one(fdk, 'rtk')}"),
        ("filtered back projection, parallel, 512 x 512", one("fbp", "spinray"),
         f"ASTRA {one('fbp', 'astra')}, scikit-image {one('fbp', 'scikit-image')}"),
    ]  # fmt: skip
    return "\n".join(f"| {job} | {ours} | {theirs} |" for job, ours, theirs in rows)


def gpu() -> str:
    """Markdown rows of times on a card in milliseconds, and errors where they tell tools apart."""
    rows = [row for row in results("gpu")["rows"] if row["status"] == "ok"]

    def cell(job: str, tool: str, *ways: str, errors: bool = True, **facts: float) -> str:
        names = [f"{job} {way}".strip() for way in ways]
        found = [
            next(r for r in rows if (r["job"], r["tool"]) == (name, tool)
                 and facts.items() <= r["facts"].items())
            for name in names
        ]  # fmt: skip
        times = " / ".join(
            f"{1e3 * row['seconds']:.{0 if row['seconds'] > 0.01 else 1}f}" for row in found
        )
        if not errors:
            return times
        return f"{times}, {max(row['error'] for row in found):.0e}".replace("e-0", "e-")

    lines = []
    for job, coils, name in (
        ("2D 256", 1, "NUFFT 256^2, 402 spokes x 512, 1 coil"),
        ("2D 256", 8, "the same, 8 coils"),
        ("2D 256", 32, "the same, 32 coils"),
        ("3D 128", 8, "NUFFT 128^3, 1e6 samples, 8 coils"),
    ):
        ours, kb, sigpy = (
            cell(job, tool, "forward", "adjoint", coils=coils, tolerance=1e-3)
            for tool in ("spinray", "torchkbnufft", "sigpy")
        )
        lines.append(f"| {name} | {ours} | torchkbnufft {kb}; SigPy {sigpy} |")
    ours, kb, sigpy = (
        cell("SENSE normal operator", tool, "")
        for tool in ("spinray", "torchkbnufft Toeplitz", "sigpy")
    )
    lines.append(
        f"| normal operator of SENSE, 64 spokes, 32 coils | {ours} "
        f"| torchkbnufft {kb}; SigPy {sigpy} |"
    )
    for job, ways, name in (
        ("parallel stack", ("forward", "back"), "32 slices of 512 x 512, 720 parallel views x 736"),
        ("cone", ("forward", "back"), "cone, 256^3, 360 views of 384 x 384"),
        ("fdk", ("",), "FDK of the same"),
    ):
        ours, astra = (cell(job, tool, *ways, errors=False) for tool in ("spinray", "astra"))
        lines.append(f"| {name} | {ours} | ASTRA {astra} |")
    return "\n".join(lines)


def learned_mr() -> str:
    """Markdown rows of the MR network and the best of each classical method, PSNR and SSIM."""
    report = results("learned")["mr"]
    tools = "unrolled", "pnp", "l1-wavelet", "tv", "tgv", "bart pics"
    lines = []
    for case, rows in report.items():
        if case != "reference noise":
            cells = [
                f"{rows[tool]['psnr']:.2f} / {rows[tool]['ssim']:.3f}" if tool in rows else ""
                for tool in tools
            ]
            lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join(lines)


def learned_ct() -> str:
    """Markdown rows of the CT networks and others: PSNR, and bias of soft tissue in HU."""
    tools = "unrolled", "pnp", "tv", "tv, rays weighed", "fbp"
    lines = []
    for case, rows in results("learned")["ct"].items():
        cells = [
            f"{rows[tool]['psnr']:.2f} / {rows[tool]['bias_hu']:.1f}" if tool in rows else ""
            for tool in tools
        ]
        lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join(lines)


def priors() -> str:
    """Markdown rows of the methods with a prior: decibels, and the best classical method's."""
    found = results("diffusion")
    cases = {f"MR, Poisson {name}": rows for name, rows in found["mr"].items() if name != "machine"}
    cases["MR, 32 spokes"] = found["radial"]
    cases |= {f"CT, {name}": rows for name, rows in found["ct"].items() if name != "machine"}
    lines = []
    for case, rows in cases.items():
        decibels = {
            name: row["dB"] for name, row in rows.items() if isinstance(row, dict) and "dB" in row
        }
        ours = {name: decibels.pop(name) for name in ("dds", "pnp")}
        best = max(decibels, key=lambda name: decibels[name])
        cells = [f"{value:.2f}" for value in ours.values()]
        lines.append(f"| {' | '.join([case, *cells, f'{decibels[best]:.2f} ({best})'])} |")
    return "\n".join(lines)


def zero_shot() -> str:
    """Markdown rows of what learns from the scan alone: decibels, and the best of the others."""
    found = results("diffusion")
    brain = {name: row["dB"] for name, row in found["zero-shot"].items() if name != "machine"}
    ours = {name: brain.pop(name) for name in ("zs-ssl", "zs-ssl, unrolled-mr adapted", "dip")}
    best = max(brain, key=lambda name: brain[name])
    lines = [
        f"| MR, Poisson 4x | {name} | {value:.2f} | {brain[best]:.2f} ({best}) |"
        for name, value in ours.items()
    ]
    dose = found["low-dose"]
    filters = {name: value for name, value in dose.items() if name.startswith("fbp")}
    best = max(filters, key=lambda name: filters[name])
    lines.append(
        f"| CT, 496 views, 5e3 photons | noise2inverse | {dose['noise2inverse']:.2f} | "
        f"{filters[best]:.2f} ({best}) |"
    )
    return "\n".join(lines)


def trust() -> str:
    """Markdown rows of conformal intervals: coverage, width, rank correlations."""
    lines = []
    for case, row in results("diffusion")["trust"].items():
        if isinstance(row, dict) and "coverage" in row:
            whole = row.get("rank correlation")
            cells = (
                f"{100 * row['coverage']:.1f} %", f"{100 * row['width over maximum']:.1f} %",
                f"{row['rank correlation in the object']:.2f}", f"{whole:.2f}" if whole else "",
            )  # fmt: skip
            lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join(lines)


TABLES = (mri, nufft, ct, gpu)  # of README
LEARNED = (learned_mr, learned_ct, priors, zero_shot, trust)  # of experiments/RESULTS.md

if __name__ == "__main__":
    print(*(make() for make in (*TABLES, *LEARNED)), sep="\n\n")
