from .drunet import DRUNet as DRUNet
from .edm_denoiser import EDMDenoiser as EDMDenoiser
from .fbp_unet import FBPUNet as FBPUNet
from .itnet import ItNet as ItNet
from .modl import MoDL as MoDL
from .network import Network as Network
from .primal_dual_network import LearnedPrimalDual as LearnedPrimalDual
from .prompt_varnet import PromptVarNet as PromptVarNet
from .unet import UNet as UNet
from .varnet import VarNet as VarNet
from .weights import load_model as load_model
from .weights import save_model as save_model

__all__ = [
    "DRUNet",
    "EDMDenoiser",
    "FBPUNet",
    "ItNet",
    "LearnedPrimalDual",
    "MoDL",
    "Network",
    "PromptVarNet",
    "UNet",
    "VarNet",
    "load_model",
    "save_model",
]
