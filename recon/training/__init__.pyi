from .callbacks import ImageLogger as ImageLogger
from .denoiser import DenoiserTraining as DenoiserTraining
from .losses import training_loss as training_loss
from .modules import CTTraining as CTTraining
from .modules import MRTraining as MRTraining
from .modules import Training as Training
from .prior import PriorTraining as PriorTraining

__all__ = [
    "CTTraining",
    "DenoiserTraining",
    "ImageLogger",
    "MRTraining",
    "PriorTraining",
    "Training",
    "training_loss",
]
