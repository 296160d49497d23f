from . import coils as coils
from . import masks as masks
from . import phantoms as phantoms
from . import trajectories as trajectories
from .calgary_campinas import CalgaryCampinas as CalgaryCampinas
from .coils import CoilSeries as CoilSeries
from .coils import birdcage as birdcage
from .crimes import Finding as Finding
from .crimes import image_findings as image_findings
from .crimes import kspace_findings as kspace_findings
from .crimes import twin_findings as twin_findings
from .data_module import DataModule as DataModule
from .data_module import VolumeSampler as VolumeSampler
from .demo_data import DemoFiles as DemoFiles
from .demo_data import demo_files as demo_files
from .examples import CTExample as CTExample
from .examples import MRExample as MRExample
from .examples import PatchExample as PatchExample
from .examples import collate as collate
from .fastmri import FastMRI as FastMRI
from .image_folders import ScanFolder as ScanFolder
from .line_masks import CaipirinhaMask as CaipirinhaMask
from .line_masks import LineMask as LineMask
from .line_masks import MaskMixture as MaskMixture
from .line_masks import MaskSampler as MaskSampler
from .line_masks import PoissonMask as PoissonMask
from .lodopab import LoDoPaB as LoDoPaB
from .mayo import MayoImages as MayoImages
from .opening import KINDS as KINDS
from .opening import open_dataset as open_dataset
from .patches import ImagePatches as ImagePatches
from .phantoms import Ellipse as Ellipse
from .phantoms import EllipsePhantom as EllipsePhantom
from .phantoms import Ellipsoid as Ellipsoid
from .phantoms import EllipsoidPhantom as EllipsoidPhantom
from .phantoms import phantom as phantom
from .reports import DatasetReport as DatasetReport
from .reports import report as report
from .reports import split_findings as split_findings
from .samples import SAMPLES as SAMPLES
from .samples import FetchError as FetchError
from .samples import Sample as Sample
from .samples import fetch as fetch
from .simulate import reference_image as reference_image
from .simulate import simulate_ct as simulate_ct
from .simulate import simulate_mr as simulate_mr
from .simulated_ct import SimulatedCT as SimulatedCT
from .simulated_mr import SimulatedMR as SimulatedMR
from .slices import SliceDataset as SliceDataset
from .slices import split_subjects as split_subjects
from .sources import SOURCES as SOURCES
from .sources import Source as Source
from .two_detect import TwoDeteCT as TwoDeteCT

__all__ = [
    "KINDS",
    "SAMPLES",
    "SOURCES",
    "CTExample",
    "CaipirinhaMask",
    "CalgaryCampinas",
    "CoilSeries",
    "DataModule",
    "DatasetReport",
    "DemoFiles",
    "Ellipse",
    "EllipsePhantom",
    "Ellipsoid",
    "EllipsoidPhantom",
    "FastMRI",
    "FetchError",
    "Finding",
    "ImagePatches",
    "LineMask",
    "LoDoPaB",
    "MRExample",
    "MaskMixture",
    "MaskSampler",
    "MayoImages",
    "PatchExample",
    "PoissonMask",
    "Sample",
    "ScanFolder",
    "SimulatedCT",
    "SimulatedMR",
    "SliceDataset",
    "Source",
    "TwoDeteCT",
    "VolumeSampler",
    "birdcage",
    "coils",
    "collate",
    "demo_files",
    "fetch",
    "image_findings",
    "kspace_findings",
    "masks",
    "open_dataset",
    "phantom",
    "phantoms",
    "reference_image",
    "report",
    "simulate_ct",
    "simulate_mr",
    "split_findings",
    "split_subjects",
    "trajectories",
    "twin_findings",
]
