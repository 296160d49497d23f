from .inverse_of_noise import noise2inverse as noise2inverse
from .self_supervised import zs_ssl as zs_ssl
from .splitting import held_back as held_back
from .splitting import restricted as restricted
from .untrained import Decoder as Decoder
from .untrained import deep_image_prior as deep_image_prior

__all__ = [
    "Decoder",
    "deep_image_prior",
    "held_back",
    "noise2inverse",
    "restricted",
    "zs_ssl",
]
