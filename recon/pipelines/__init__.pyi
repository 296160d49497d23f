from .reconstruct import choose as choose
from .reconstruct import reconstruct as reconstruct
from .registry import Method as Method
from .registry import methods as methods
