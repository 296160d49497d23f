"""Diffusion priors: denoisers of whole images, and samplers of the posterior on any operator."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
