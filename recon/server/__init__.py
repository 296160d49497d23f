"""At the scanner: reconstruction while lines arrive, a server for it and its client."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
