"""How far an image can be trusted: intervals, coverage, the null space, residuals."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
