"""README's table of the NUFFT, from the results on disk: python -m benchmarks.tables"""

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


if __name__ == "__main__":
    print(nufft())
