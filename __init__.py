"""Spinray: MR and CT image reconstruction, from a scanner's raw file to an image.

The public names load on first use: importing spinray imports neither torch nor Numba.
"""

import os as _os

import lazy_loader as _lazy

# GNU OpenMP's threads, torch's, spin for milliseconds after their work and starve the kernels'
# threads meanwhile. Read when torch is loaded, so only where spinray is imported before it.
_os.environ.setdefault("GOMP_SPINCOUNT", "50000")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ += ["__version__"]
