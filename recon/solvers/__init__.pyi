from .chambolle_pock import Term as Term
from .chambolle_pock import primal_dual as primal_dual
from .common import Convergence as Convergence
from .consistency import data_consistency as data_consistency
from .expectation_maximization import mlem as mlem
from .generalized_variation import GeneralizedVariationProx as GeneralizedVariationProx
from .least_squares import cgls as cgls
from .least_squares import lsqr as lsqr
from .low_rank import LocallyLowRankProx as LocallyLowRankProx
from .low_rank import singular_value_threshold as singular_value_threshold
from .neighbor_penalty import NeighborPenalty as NeighborPenalty
from .normal_equations import conjugate_gradient as conjugate_gradient
from .ordered_subsets import LeastSquares as LeastSquares
from .proximal import group_soft_threshold as group_soft_threshold
from .proximal import non_negative as non_negative
from .proximal import p_shrinkage as p_shrinkage
from .proximal import soft_threshold as soft_threshold
from .proximal_gradient import fista as fista
from .simultaneous import sart as sart
from .simultaneous import sirt as sirt
from .splitting import admm as admm
from .subsets import Subsets as Subsets
from .total_variation import TotalVariationProx as TotalVariationProx

__all__ = [
    "Convergence",
    "GeneralizedVariationProx",
    "LeastSquares",
    "LocallyLowRankProx",
    "NeighborPenalty",
    "Subsets",
    "Term",
    "TotalVariationProx",
    "admm",
    "cgls",
    "conjugate_gradient",
    "data_consistency",
    "fista",
    "group_soft_threshold",
    "lsqr",
    "mlem",
    "non_negative",
    "p_shrinkage",
    "primal_dual",
    "sart",
    "singular_value_threshold",
    "sirt",
    "soft_threshold",
]
