from .base import LinearOperator as LinearOperator
from .coils import CoilSensitivity as CoilSensitivity
from .diagonal import Diagonal as Diagonal
from .difference import FiniteDifference as FiniteDifference
from .fourier import Fourier as Fourier
from .multiband import MultibandSense as MultibandSense
from .nufft import NonUniformFourier as NonUniformFourier
from .sampling import Sampling as Sampling
from .sense import Sense as Sense
from .wavelet import Wavelet as Wavelet
from .xray import XRayTransform as XRayTransform

__all__ = [
    "CoilSensitivity",
    "Diagonal",
    "FiniteDifference",
    "Fourier",
    "LinearOperator",
    "MultibandSense",
    "NonUniformFourier",
    "Sampling",
    "Sense",
    "Wavelet",
    "XRayTransform",
]
