from .half_quadratic import plug_and_play as plug_and_play
from .prior import Denoiser as Denoiser
from .prior import FunctionDenoiser as FunctionDenoiser
from .prior import Prior as Prior
from .samplers import SAMPLERS as SAMPLERS
from .samplers import draw as draw
from .samplers import sample as sample
from .schedule import noise_levels as noise_levels
from .unlike import novelty as novelty

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "FunctionDenoiser",
    "Prior",
    "draw",
    "noise_levels",
    "novelty",
    "plug_and_play",
    "sample",
]
