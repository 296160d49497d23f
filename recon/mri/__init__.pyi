from .centre import resize as resize
from .coil_maps import calibration_region as calibration_region
from .coil_maps import espirit as espirit
from .coils import root_sum_of_squares as root_sum_of_squares
from .density import density_compensation as density_compensation
from .density import gridding as gridding
from .l1_wavelet import wavelet_sense as wavelet_sense
from .noise import noise_covariance as noise_covariance
from .noise import whiten as whiten

__all__ = [
    "calibration_region",
    "density_compensation",
    "espirit",
    "gridding",
    "noise_covariance",
    "resize",
    "root_sum_of_squares",
    "wavelet_sense",
    "whiten",
]
