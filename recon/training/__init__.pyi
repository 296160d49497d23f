from .callbacks import ImageLogger as ImageLogger
from .losses import training_loss as training_loss
from .modules import CTTraining as CTTraining
from .modules import MRTraining as MRTraining
from .modules import Training as Training

__all__ = [
    "CTTraining",
    "ImageLogger",
    "MRTraining",
    "Training",
    "training_loss",
]
