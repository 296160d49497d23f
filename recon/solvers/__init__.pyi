from .normal_equations import conjugate_gradient as conjugate_gradient
from .proximal_gradient import fista as fista
from .chambolle_pock import Term as Term
from .chambolle_pock import primal_dual as primal_dual
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
