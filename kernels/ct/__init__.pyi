from .backprojection import backproject as backproject
from .projector import Projector as Projector
