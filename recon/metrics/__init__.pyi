from .lodopab import lodopab_metrics as lodopab_metrics
from .paired import PairedTest as PairedTest
from .paired import paired_test as paired_test
from .reference import nmse as nmse
from .reference import nrmse as nrmse
from .reference import psnr as psnr
from .reference import ssim as ssim
from .volumes import center_crop as center_crop
from .volumes import masked_metrics as masked_metrics
from .volumes import object_mask as object_mask
from .volumes import volume_metrics as volume_metrics

__all__ = [
    "PairedTest",
    "center_crop",
    "lodopab_metrics",
    "masked_metrics",
    "nmse",
    "nrmse",
    "object_mask",
    "paired_test",
    "psnr",
    "ssim",
    "volume_metrics",
]
