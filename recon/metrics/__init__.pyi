from .ct_artifacts import artifact_index as artifact_index
from .ct_artifacts import ring_index as ring_index
from .ct_artifacts import streak_index as streak_index
from .lodopab import lodopab_metrics as lodopab_metrics
from .noise_power import NoisePower as NoisePower
from .noise_power import noise_power_spectrum as noise_power_spectrum
from .noise_power import square_rois as square_rois
from .observers import auc_of as auc_of
from .observers import channelized_hotelling as channelized_hotelling
from .observers import npw_detectability as npw_detectability
from .paired import PairedTest as PairedTest
from .paired import paired_test as paired_test
from .reference import nmse as nmse
from .reference import nrmse as nrmse
from .reference import psnr as psnr
from .reference import ssim as ssim
from .resolution import TransferFunction as TransferFunction
from .resolution import mtf_edge as mtf_edge
from .resolution import mtf_wire as mtf_wire
from .resolution import ttf_disc as ttf_disc
from .uniformity import WaterPhantom as WaterPhantom
from .uniformity import cnr as cnr
from .uniformity import hounsfield_errors as hounsfield_errors
from .uniformity import radial_profile as radial_profile
from .uniformity import water_phantom as water_phantom
from .volumes import center_crop as center_crop
from .volumes import masked_metrics as masked_metrics
from .volumes import object_mask as object_mask
from .volumes import volume_metrics as volume_metrics

__all__ = [
    "NoisePower",
    "PairedTest",
    "TransferFunction",
    "WaterPhantom",
    "artifact_index",
    "auc_of",
    "center_crop",
    "channelized_hotelling",
    "cnr",
    "hounsfield_errors",
    "lodopab_metrics",
    "masked_metrics",
    "mtf_edge",
    "mtf_wire",
    "nmse",
    "noise_power_spectrum",
    "npw_detectability",
    "nrmse",
    "object_mask",
    "paired_test",
    "psnr",
    "radial_profile",
    "ring_index",
    "square_rois",
    "ssim",
    "streak_index",
    "ttf_disc",
    "volume_metrics",
    "water_phantom",
]
