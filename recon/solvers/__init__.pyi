from .conjugate_gradient import conjugate_gradient as conjugate_gradient
from .fista import fista as fista
from .primal_dual import Term as Term
from .primal_dual import primal_dual as primal_dual
from .proximal import group_soft_threshold as group_soft_threshold
from .proximal import non_negative as non_negative
from .proximal import soft_threshold as soft_threshold
from .sirt import sirt as sirt

__all__ = [
    "Term",
    "conjugate_gradient",
    "fista",
    "group_soft_threshold",
    "non_negative",
    "primal_dual",
    "sirt",
    "soft_threshold",
]
