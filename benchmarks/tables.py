"""README's tables of NUFFT and CT, from the results on disk: python -m benchmarks.tables"""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
FINUFFT = "finufft", "finufft 1.25"  # its two oversamplings: the faster one counts


def nufft() -> str:
    """Markdown rows of times and errors at tolerance 1e-3."""
    rows = json.loads((RESULTS / "nufft.json").read_text())["rows"]

    def cell(job: str, coils: int, *tools: str) -> str:
        found = []
        for direction in ("forward", "adjoint"):
            named = f"{job} {direction}", coils, 1e-3
            found.append(min(
                (r["ms"], r["error"]) for r in rows
                if (r["job"], r["coils"], r["tolerance"]) == named and r["tool"] in tools
            ))  # fmt: skip
        (forward, error), (adjoint, other) = found
        return f"{forward:.1f} / {adjoint:.1f} | {max(error, other):.1e}".replace("e-0", "e-")

    jobs = [("2D 256", coils, f"{coils} coil" + "s" * (coils > 1)) for coils in (1, 8, 16, 32)]
    jobs.append(("3D 128", 8, "3D 128^3 kooshball, 1e6 samples, 8 coils"))
    return "\n".join(
        f"| {name} | {cell(job, coils, 'spinray')} | {cell(job, coils, 'ducc0')} "
        f"| {cell(job, coils, *FINUFFT)} |"
        for job, coils, name in jobs
    )


def ct() -> str:
    """Markdown rows of times in milliseconds, forward / back where there are two."""
    results = json.loads((RESULTS / "ct.json").read_text())

    def pair(job: str, tool: str, last: str = "") -> str:
        seconds = results[job]["seconds"]
        return " / ".join(
            f"{1e3 * seconds[f'{tool} {way}{last}']:.0f}" for way in ("forward", "back")
        )

    fbp, fdk = results["fbp"]["seconds"], results["fdk, a view"]["seconds"]
    rows = [
        ("512 x 512, 720 parallel views x 736, one slice", pair("parallel", "spinray"),
         f"ASTRA line {pair('parallel', 'astra line')}"),
        ("the same, a slice of a stack of 32", pair("parallel", "spinray stack", " a slice"),
         f"mbirjax {pair('parallel', 'mbirjax stack', ' a slice')}"),
        ("512 x 512, fan, flat, 984 views x 888, one slice", pair("fan flat", "spinray"),
         f"ASTRA line {pair('fan flat', 'astra line')}"),
        ("the same, a slice of a stack of 32", pair("fan flat", "spinray stack", " a slice"),
         "(one slice at a time)"),
        ("512 x 512, fan, curved, one slice", pair("fan curved", "spinray"), "(none)"),
        ("cone, 256^3, a view of 384 x 384", pair("cone, a view", "spinray"),
         f"RTK Joseph {pair('cone, a view', 'rtk joseph')}"),
        ("FDK, 256^3, a view of 384 x 384", f"{1e3 * fdk['spinray']:.0f}",
         f"RTK {1e3 * fdk['rtk']:.0f}"),
        ("filtered back projection, parallel, 512 x 512", f"{1e3 * fbp['spinray']:.0f}",
         f"ASTRA {1e3 * fbp['astra']:.0f}, scikit-image {1e3 * fbp['scikit-image']:.0f}"),
    ]  # fmt: skip
    return "\n".join(f"| {job} | {ours} | {theirs} |" for job, ours, theirs in rows)


if __name__ == "__main__":
    print(nufft(), ct(), sep="\n\n")
