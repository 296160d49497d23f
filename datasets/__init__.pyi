from . import coils as coils
from . import masks as masks
from . import phantoms as phantoms
from . import trajectories as trajectories
from .coils import CoilSeries as CoilSeries
from .coils import birdcage as birdcage
from .demo_data import DemoFiles as DemoFiles
from .demo_data import demo_files as demo_files
from .examples import CTExample as CTExample
from .examples import MRExample as MRExample
from .examples import collate as collate
from .line_masks import LineMask as LineMask
from .line_masks import MaskSampler as MaskSampler
from .line_masks import PoissonMask as PoissonMask
from .phantoms import Ellipse as Ellipse
from .phantoms import EllipsePhantom as EllipsePhantom
from .phantoms import Ellipsoid as Ellipsoid
from .phantoms import EllipsoidPhantom as EllipsoidPhantom
from .phantoms import phantom as phantom
from .samples import SAMPLES as SAMPLES
from .samples import FetchError as FetchError
from .samples import Sample as Sample
from .samples import fetch as fetch
from .simulate import reference_image as reference_image
from .simulate import simulate_ct as simulate_ct
from .simulate import simulate_mr as simulate_mr

__all__ = [
    "SAMPLES",
    "CTExample",
    "CoilSeries",
    "DemoFiles",
    "Ellipse",
    "EllipsePhantom",
    "Ellipsoid",
    "EllipsoidPhantom",
    "FetchError",
    "LineMask",
    "MRExample",
    "MaskSampler",
    "PoissonMask",
    "Sample",
    "birdcage",
    "coils",
    "collate",
    "demo_files",
    "fetch",
    "masks",
    "phantom",
    "phantoms",
    "reference_image",
    "simulate_ct",
    "simulate_mr",
    "trajectories",
]
