"""Arrays in, arrays out: the NUFFT and the CT projectors."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submodules=["ct", "nufft"])
