"""`reconstruct_many`: many raw files, here or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, overload

from ...kernels.warn import warn
from ..cluster import RETRIES, Crew, Outcome, Pending, crew
from ..image import Image
from ..io import check_writable
from .files import FileJob, run
from .progress import counter
from .slabs import joined, slab

SUFFIX = ".nii.gz"
Files = Sequence[str | PathLike[str]]


class FilesError(RuntimeError):
    """Some files of many could not be reconstructed; all others were.

    Attributes
    ----------
    failures
        The error of each file that failed, in order.
    results
        What was made of each file, in order; None where it failed.
    """

    def __init__(self, failures: dict[Path, Exception], results: list[Image | Path | None]) -> None:
        self.failures, self.results = failures, results
        listed = "; ".join(f"{path}: {error}" for path, error in failures.items())
        super().__init__(f"{len(failures)} of {len(results)} files failed: {listed}")


@overload
def reconstruct_many(
    files: Files, method: str = ..., *, scheduler: Any = ..., output: None = ...,
    slabs: int = ..., retries: int = ..., read: Mapping[str, Any] | None = ...,
    device: str = ..., progress: bool | None = ..., **options: Any,
) -> list[Image]: ...  # fmt: skip


@overload
def reconstruct_many(
    files: Files, method: str = ..., *, scheduler: Any = ..., output: str | PathLike[str],
    slabs: int = ..., retries: int = ..., read: Mapping[str, Any] | None = ...,
    device: str = ..., progress: bool | None = ..., **options: Any,
) -> list[Path]: ...  # fmt: skip


def reconstruct_many(
    files: Files,
    method: str = "auto",
    *,
    scheduler: Any = None,
    output: str | PathLike[str] | None = None,
    slabs: int = 1,
    retries: int = RETRIES,
    read: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Any,
) -> list[Image] | list[Path]:
    """Reconstruct many raw files, one after another or on the workers of a scheduler.

    Parameters
    ----------
    files
        Raw MR or CT files, which the workers find under the same paths.
    method, options
        As for `reconstruct`.
    scheduler
        Address of a dask.distributed scheduler (``tcp://host:8786``), or a cluster or client of
        that package (extra ``spinray[cluster]``). Default: this process.
    output
        A folder for the images, ``NAME.nii.gz``, which whoever reconstructs a file writes, whole
        or not at all. Default: the images come back.
    slabs
        Pieces that each file is cut into along its slices, for methods that take slices one by
        one; put together again at the end.
    retries
        How often a file is tried again that failed for another reason than its content. A worker
        that dies is none: dask gives its work to others.
    read
        Options of `spinray.load`.
    device
        Where to compute, such as "cuda".
    progress
        Whether to draw progress bars on stderr. Default: if it is a terminal.

    Returns
    -------
    list of Image, or of Path
        In the order of `files`.

    Raises
    ------
    FilesError
        Files that failed; the others were done before, and are in its `results`.
    ValueError
        Files of the same name for one folder, slabs below 1.
    OSError
        No scheduler at this address, no such folder.
    """
    sources = [Path(file).absolute() for file in files]
    targets: Sequence[Path | None] = [None] * len(sources)
    if output is not None:
        targets = targets_in(Path(output).absolute(), sources)
        for target in targets:
            check_writable(target)
    jobs = [
        FileJob(source, method, options, target, read or {}, device=device,
                progress=progress if scheduler is None else False)
        for source, target in zip(sources, targets, strict=True)
    ]  # fmt: skip
    results: list[Any] = []
    failures: dict[Path, Exception] = {}
    show = False if scheduler is None else progress
    with crew(scheduler, retries=retries) as workers, counter(show, "files", len(jobs)) as step:
        for job, outcome in zip(jobs, run_all(jobs, workers, slabs, step), strict=True):
            made = outcome.value
            if outcome.error is not None:
                failures[job.source] = outcome.error
            results.append(made and (made.path or made.image))
    if failures:
        raise FilesError(failures, results)
    return results


def run_all(
    jobs: Sequence[FileJob], workers: Crew, slabs: int = 1,
    on_done: Callable[[], object] = lambda: None,
) -> Iterator[Outcome]:  # fmt: skip
    """Give out all jobs; an outcome for each, in order, as soon as it and those before are done.

    `on_done` is called whenever one is done. An outcome's value is a `files.Made`.
    """
    if slabs < 1:
        raise ValueError(f"slabs must be 1 or more, got {slabs}")
    given = [_given_out(job, workers, slabs) for job in jobs]
    for pending in given:
        pending.when_done(on_done)
    return _outcomes(jobs, given)


def targets_in(folder: Path, sources: Sequence[Path], suffix: str = SUFFIX) -> list[Path]:
    """A file in a folder for each source.

    Raises
    ------
    ValueError
        Two of them would have the same name.
    """
    targets = [folder / f"{path.name.split('.')[0]}{suffix}" for path in sources]
    if len(set(targets)) < len(targets):
        raise ValueError("several of the files have the same name: reconstruct them one by one")
    return targets


def _given_out(job: FileJob, workers: Crew, slabs: int) -> Pending:
    if slabs == 1:
        return workers.submit(run, job)
    parts = [workers.submit(slab, job, index, slabs) for index in range(slabs)]
    return workers.submit(joined, job, parts)


def _outcomes(jobs: Sequence[FileJob], given: list[Pending]) -> Iterator[Outcome]:
    for job in jobs:
        outcome = given.pop(0).result()
        for text in outcome.warned:
            warn(f"{job.source}: {text}")
        yield outcome
