from .callbacks import ImageLogger as ImageLogger
from .denoiser import DenoiserTraining as DenoiserTraining
from .losses import training_loss as training_loss
from .mask_mixture import MaskMixture as MaskMixture
from .modules import CTTraining as CTTraining
from .modules import MRTraining as MRTraining
from .modules import Training as Training
from .prior import PriorTraining as PriorTraining
from .resumable import TrainingData as TrainingData

__all__ = [
    "CTTraining",
    "DenoiserTraining",
    "ImageLogger",
    "MRTraining",
    "MaskMixture",
    "PriorTraining",
    "Training",
    "TrainingData",
    "training_loss",
]
