"""Spinray: MR and CT image reconstruction, from a scanner's raw file to an image.

The public names load on first use: importing spinray imports neither torch nor Numba.
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ += ["__version__"]
