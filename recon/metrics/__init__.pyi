from .reference import nmse as nmse
from .reference import nrmse as nrmse
from .reference import psnr as psnr
from .reference import ssim as ssim

__all__ = ["nmse", "nrmse", "psnr", "ssim"]
