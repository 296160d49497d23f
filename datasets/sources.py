"""Public data sets: where a person gets them, on which terms, and how the folder must look.

None of them may be downloaded without a person agreeing to terms, or without hundreds of gigabytes:
a missing folder is answered by what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A public data set.

    Parameters
    ----------
    name
        What people call it.
    url
        Where its terms and files are.
    licence
        On which terms.
    layout
        How the folder given to the dataset must look.
    reference
        The paper to cite.
    """

    name: str
    url: str
    licence: str
    layout: str
    reference: str


SOURCES: Mapping[str, Source] = {
    "fastmri": Source(
        "fastMRI",
        "https://fastmri.med.nyu.edu (register; the links come by e-mail)",
        "NYU's data sharing agreement: internal research or education only, no redistribution",
        "one folder a split and challenge, such as multicoil_train, of HDF5 volumes (.h5)",
        "F. Knoll et al., Radiol Artif Intell 2, e190007 (2020)",
    ),
    "calgary-campinas": Source(
        "Calgary-Campinas (CC359), raw multi-channel data",
        "https://sites.google.com/view/calgary-campinas-dataset",
        "the terms on its page, which name the paper to cite",
        "a folder of HDF5 volumes (.h5) from train_val_12_channel.zip, such as its Train or Val",
        "R. Souza et al., NeuroImage 170, 482 (2018)",
    ),
    "lodopab": Source(
        "LoDoPaB-CT",
        "https://doi.org/10.5281/zenodo.3384092 (the zip files, unpacked into one folder)",
        "CC BY 4.0",
        "observation_train_000.hdf5 ..., ground_truth_train_000.hdf5 ..., and the lists "
        "patient_ids_rand_train.csv ...",
        "J. Leuschner et al., Sci Data 8, 109 (2021)",
    ),
    "mayo": Source(
        "Low Dose CT Image and Projection Data (Mayo Clinic)",
        "https://doi.org/10.7937/9NPB-2637 (TCIA, by its NBIA Data Retriever)",
        "TCIA's data usage policy; head scans need TCIA's restricted-data agreement",
        "a folder a patient, with DICOM series whose description says Full Dose Images and Low "
        "Dose Images",
        "T. Moen et al., Med Phys 48, 902 (2021)",
    ),
    "2detect": Source(
        "2DeteCT",
        "https://doi.org/10.1038/s41597-023-02484-6 (its Data Records list the Zenodo archives)",
        "CC BY 4.0",
        "slice00001/mode1/sinogram.tif, dark.tif, flat1.tif, flat2.tif ..., and the reference "
        "reconstructions slice00001/mode2/reconstruction.tif in the same tree or another one",
        "M. Kiss et al., Sci Data 10, 576 (2023)",
    ),
}


def require_folder(folder: str | PathLike[str], source: Source | None = None) -> Path:
    """Return the folder, or say where its data come from.

    Raises
    ------
    FileNotFoundError
        No such folder; names the place to get the data, the licence and the layout.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder{'. ' + advice(source) if source else ''}")
    return path


def advice(source: Source) -> str:
    """How to get a data set, in one line."""
    return (
        f"{source.name} is at {source.url}; licence: {source.licence}; expected: {source.layout}; "
        f"to cite: {source.reference}"
    )
