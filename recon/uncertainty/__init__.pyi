from .conformal import Calibration as Calibration
from .conformal import calibrate as calibrate
from .conformal import coverage as coverage
from .ensembles import dropout_samples as dropout_samples
from .ensembles import ensemble_samples as ensemble_samples
from .ensembles import pooled as pooled
from .ensembles import statistics as statistics
from .null_space import Split as Split
from .null_space import split as split
from .residuals import ResidualTest as ResidualTest
from .residuals import residual_test as residual_test

__all__ = [
    "Calibration",
    "ResidualTest",
    "Split",
    "calibrate",
    "coverage",
    "dropout_samples",
    "ensemble_samples",
    "pooled",
    "residual_test",
    "split",
    "statistics",
]
