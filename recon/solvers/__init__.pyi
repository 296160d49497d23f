from .chambolle_pock import Term as Term
from .chambolle_pock import primal_dual as primal_dual
from .consistency import data_consistency as data_consistency
from .normal_equations import conjugate_gradient as conjugate_gradient
from .proximal import group_soft_threshold as group_soft_threshold
from .proximal import non_negative as non_negative
from .proximal import soft_threshold as soft_threshold
from .proximal_gradient import fista as fista
from .simultaneous import sirt as sirt
from .total_variation import TotalVariationProx as TotalVariationProx

__all__ = [
    "Term",
    "TotalVariationProx",
    "conjugate_gradient",
    "data_consistency",
    "fista",
    "group_soft_threshold",
    "non_negative",
    "primal_dual",
    "sirt",
    "soft_threshold",
]
