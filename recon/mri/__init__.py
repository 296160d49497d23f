"""MR reconstruction on arrays: coil maps, noise, density compensation, regularised images."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
