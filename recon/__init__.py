"""Reconstruction: scans, operators, solvers, methods and the files around them."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "ct",
        "diffusion",
        "io",
        "metrics",
        "models",
        "mri",
        "operators",
        "pipelines",
        "server",
        "solvers",
        "uncertainty",
    ],
)
