from .adaptive import walsh as walsh
from .auto_weight import sure_weight as sure_weight
from .calibration import calibration_region as calibration_region
from .centre import resize as resize
from .coil_compression import compress_coils as compress_coils
from .coil_compression import compression_matrices as compression_matrices
from .coil_maps import espirit as espirit
from .coils import live_coils as live_coils
from .coils import root_sum_of_squares as root_sum_of_squares
from .density import density_compensation as density_compensation
from .density import gridding as gridding
from .density_geometry import radial_density as radial_density
from .density_geometry import spiral_density as spiral_density
from .density_geometry import voronoi_density as voronoi_density
from .epi import correct_ghost as correct_ghost
from .epi import entropy_phase as entropy_phase
from .epi import navigator_phase as navigator_phase
from .epi import regrid_readouts as regrid_readouts
from .epi import trapezoid_positions as trapezoid_positions
from .gradient_delay import radial_delays as radial_delays
from .gradient_delay import shift_spokes as shift_spokes
from .interpolation import grappa as grappa
from .joint import nlinv as nlinv
from .l1_wavelet import wavelet_sense as wavelet_sense
from .multislice import split_slice_grappa as split_slice_grappa
from .noise import noise_covariance as noise_covariance
from .noise import whiten as whiten
from .noise_maps import pseudo_replicas as pseudo_replicas
from .noise_maps import sense_g_factor as sense_g_factor
from .noise_maps import snr_units as snr_units
from .outer_samples import outer_noise as outer_noise
from .outer_samples import part_noise as part_noise
from .partial_fourier import homodyne as homodyne
from .partial_fourier import pocs as pocs
from .regularized import regularized_sense as regularized_sense
from .regularized import regularized_series as regularized_series
from .self_consistency import spirit as spirit

__all__ = [
    "calibration_region",
    "compress_coils",
    "compression_matrices",
    "correct_ghost",
    "density_compensation",
    "entropy_phase",
    "espirit",
    "grappa",
    "gridding",
    "homodyne",
    "live_coils",
    "navigator_phase",
    "nlinv",
    "noise_covariance",
    "outer_noise",
    "part_noise",
    "pocs",
    "pseudo_replicas",
    "radial_delays",
    "radial_density",
    "regrid_readouts",
    "regularized_sense",
    "regularized_series",
    "resize",
    "root_sum_of_squares",
    "sense_g_factor",
    "shift_spokes",
    "snr_units",
    "spiral_density",
    "spirit",
    "split_slice_grappa",
    "sure_weight",
    "trapezoid_positions",
    "voronoi_density",
    "walsh",
    "wavelet_sense",
    "whiten",
]
