from .dispatch import choose as choose
from .dispatch import reconstruct as reconstruct
from .registry import Method as Method
from .registry import methods as methods
