"""Linear operators on torch tensors: what a scanner does to an image, and transforms of images."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
