from .base import LinearOperator as LinearOperator
from .coils import CoilSensitivity as CoilSensitivity
from .curvelet import Curvelet as Curvelet
from .diagonal import Diagonal as Diagonal
from .difference import FiniteDifference as FiniteDifference
from .fourier import Fourier as Fourier
from .multiband import MultibandSense as MultibandSense
from .nufft import NonUniformFourier as NonUniformFourier
from .sampling import Sampling as Sampling
from .sense import Sense as Sense
from .series import Series as Series
from .series import Superposition as Superposition
from .series import TemporalBasis as TemporalBasis
from .subspace import SubspaceSense as SubspaceSense
from .wavelet import Wavelet as Wavelet
from .xray import XRayTransform as XRayTransform

__all__ = [
    "CoilSensitivity",
    "Curvelet",
    "Diagonal",
    "FiniteDifference",
    "Fourier",
    "LinearOperator",
    "MultibandSense",
    "NonUniformFourier",
    "Sampling",
    "Sense",
    "Series",
    "SubspaceSense",
    "Superposition",
    "TemporalBasis",
    "Wavelet",
    "XRayTransform",
]
