"""README's sentences of figures, from the results on disk: python -m benchmarks.sentences"""

from __future__ import annotations

import math
from typing import Any

from .tables import results


def _rows(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows by job and tool."""
    return {(row["job"], row["tool"]): row for row in results(name)["rows"]}


def _error(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}e}".replace("e-0", "e-")


def _within(*shares: float, digits: int = 1) -> str:
    """The largest departure from one, rounded up, in per cent."""
    largest = 100 * max(abs(share - 1) for share in shares)
    return f"{math.ceil(largest * 10**digits) / 10**digits:.{digits}f} %"


def mri() -> str:
    """On coil maps and on the time until the peers' errors are reached."""
    found = results("mri")["times"]
    maps, cases = found["espirit"], list(found["to the peers' errors"].values())

    def each(peer: str, tool: str) -> list[float]:
        return [case[peer][tool] for case in cases]

    def listed(values: list[float]) -> str:
        return ", ".join(f"{value:.2f}" for value in values)

    def span(values: list[float]) -> str:
        return f"{min(values):.2f} to {max(values):.2f} s"

    return (
        f"ESPIRiT maps of the slice take {maps['Spinray']:.2f} s (BART {maps['BART']:.2f} s as a "
        f"process, SigPy {maps['SigPy']:.2f} s); BART's error at 4x, 8x, 12x is reached in "
        f"{listed(each('BART', 'Spinray'))} s (BART at its best settings "
        f"{listed(each('BART', 'BART'))} s), SigPy's in {span(each('SigPy', 'Spinray'))} (SigPy "
        f"{span(each('SigPy', 'SigPy'))})."
    )


def parallel_imaging() -> str:
    """On GRAPPA, g-factors and ghosts."""
    found = results("parallel_imaging")
    seconds, nrmse = found["times"]["seconds"], found["quality"]["nrmse"]
    replicas = [row["replicas over closed form"] for row in found["g-factor"]["rows"].values()]
    ghosts = found["ghost"]["rows"]
    head = {state: 100 * row["level"] for state, row in ghosts["head"].items()}
    beyond = [100 * row["navigators"]["beyond ringing"] for row in ghosts.values()]
    return (
        f"At 2 x 2 with a 20 x 20 centre, GRAPPA takes {seconds['GRAPPA']:.3f} s, pygrappa "
        f"{seconds['pygrappa']:.2f} s (NRMSE {nrmse['GRAPPA']:.4f} against {nrmse['pygrappa']:.4f}, "
        f"kernels of 7 x 7). Pseudo-replica g-factors are within {_within(*replicas, digits=0)} of "
        f"the closed form at R = 2, 3, 4 (mean over the object). The ghost of EPI echoes late by 0.7 "
        f"samples falls from {head['uncorrected']:.0f} % to {head['navigators']:.2f} % of the signal "
        f"in a head phantom, of which {head['without delay']:.2f} % is there without delay; over "
        f"{len(ghosts)} phantoms up to {max(beyond):.1f} % is left beyond that."
    )


def grasp() -> str:
    """On dynamic MR."""
    rows = _rows("grasp")
    default, alone = rows["weight 0.5", "spinray"], rows["frame by frame", "spinray"]
    return (
        f"20 frames of 21 golden-angle spokes, 8 coils, 128 x 128: `grasp` takes "
        f"{default['seconds']:.1f} s and reaches NRMSE {default['error']:.3f}, frame by frame "
        f"{alone['error']:.3f} (`python -m benchmarks.grasp`)."
    )


def reading() -> str:
    """On ISMRMRD files."""
    seconds = {key: row["seconds"] for key, row in _rows("reading").items()}
    ours, loop = (seconds["the whole file", tool] for tool in ("spinray", "ismrmrd loop"))
    opening, one = (seconds[j, "spinray"] for j in ("opening", "one repetition of 34 MB"))
    return (
        f"Reading 1 GB of Cartesian ISMRMRD into sorted k-space takes {ours:.1f} s, `ismrmrd`'s loop "
        f"over its acquisitions {loop:.0f} s; opening it {opening:.2f} s, one repetition of 34 MB "
        f"{one:.2f} s (`python -m benchmarks.reading`)."
    )


def server() -> str:
    """On latency and ingest."""
    rows = _rows("server")
    paced, at_once = (
        rows[f"{way}, last line to last image", "spinray"] for way in ("paced", "at once")
    )
    readout = 8 * 256 * 32 + 342  # bytes: samples, header and message id
    ours, forgets, keeps = (
        readout / rows["ingest, a readout", tool]["seconds"] / 1e6
        for tool in ("spinray", "ismrmrd-python loop", "ismrmrd-python loop, readouts kept")
    )
    return (
        f"Server (`python -m benchmarks.server`): {paced['facts']['slices']} slices of 256 x 256 from "
        f"32 coils by `sense`, lines 20 ms apart: the last image is back {paced['seconds']:.2f} s "
        f"after the last line; {at_once['seconds']:.0f} s if the whole scan comes at once, so that "
        f"all work is left for the end. It takes {ours:.0f} MB/s of readouts, and keeps them; the "
        f"plain loop of `ismrmrd`'s `deserialize_from` {keeps:.0f} MB/s if it keeps them, too, "
        f"{forgets:.0f} MB/s if each lies in the memory of the one before."
    )


def soak() -> str:
    """On many sessions."""
    found = results("soak")
    growth = _within(1 + found["growth"])
    return (
        f"{found['seconds'] / 60:.0f} minutes of sessions, {found['clients at a time']} clients at a "
        f"time, a tenth of which leave in the middle (`python -m benchmarks.soak`): "
        f"{found['sessions']} sessions, {found['images']:,} images, {found['images lost']} lost, "
        f"{found['images wrong']} wrong; raw data of {found['raw files kept']} sessions kept; the "
        f"server's memory is within {growth} of what it was in the second quarter."
    )


def networks() -> str:
    """On VarNet and on training MoDL."""
    rows = _rows("network_speed")
    memory = [
        rows["MoDL, training step", tool]["memory"] / 1e9
        for tool in ("spinray", "spinray, checkpoints", "plain backpropagation")
    ]
    ours, official = (
        rows["VarNet, one cascade", tool]["seconds"] for tool in ("spinray", "fastmri")
    )
    return (
        f"A cascade of VarNet takes {ours:.2f} s on 8 x 320 x 320 (fastMRI's {official:.2f} s, the "
        f"same weights and image). A training step of MoDL, 10 unrolls of 10 iterations on 8 x 256 "
        f"x 256, needs {memory[0]:.2f} GB, {memory[1]:.2f} GB with checkpoints, by plain "
        f"backpropagation {memory[2]:.2f} GB (`python -m benchmarks.network_speed`)."
    )


def ratios() -> str:
    """On repeatability."""
    found = results("ratios")
    return (
        f"Times over peers' in the same run repeat within "
        f"{_within(1 + found['largest spread'], digits=0)} over "
        f"{found['runs']} runs of {len(found['ratios'])} small jobs (`python -m benchmarks.ratios`)."
    )


def ct() -> str:
    """On errors of projectors, FBP and FDK."""
    errors = {key: row["error"] for key, row in _rows("ct").items() if row["status"] == "ok"}

    def of(job: str, tool: str) -> str:
        return _error(errors[job, tool])

    footprint = "spinray separable-footprint"
    parallel, fan = "accuracy, parallel", "accuracy, fan flat"
    worse = min(errors[fan, f"astra {kind}"] for kind in ("line", "strip"))
    cone, fine = "cone forward, a view", "accuracy, cone"
    return (
        f"With pixels of half a column the footprint's is {of(parallel, footprint)} relative RMSE for "
        f"parallel beams (ASTRA `strip` {of(parallel, 'astra strip')}, `linear` "
        f"{of(parallel, 'astra linear')}, `line` {of(parallel, 'astra line')}) and "
        f"{of(fan, footprint)} for flat fans (ASTRA {_error(worse)} and more; our `joseph` "
        f"{of(fan, 'spinray joseph')}); with pixels of a whole column ASTRA's `linear` is the most "
        f"accurate ({of('parallel forward', 'astra linear')}, ours "
        f"{of('parallel forward', 'spinray')}). Cone beams: {of(fine, footprint)} with voxels of half "
        f"a cell, RTK's Joseph {of(fine, 'rtk joseph')}; with voxels of a whole cell Joseph is the "
        f"more accurate ({of(cone, 'rtk joseph')}, ours {of(cone, 'spinray')}). FBP inside the head: "
        f"{of('fbp', 'spinray')}, ASTRA {of('fbp', 'astra')}, scikit-image "
        f"{of('fbp', 'scikit-image')}; FDK of 90 views {of('fdk, a view', 'spinray')}, RTK "
        f"{of('fdk, a view', 'rtk')}."
    )


def gpu() -> str:
    """On errors of projections on a card, and on who is missing."""
    found = results("gpu")
    errors = {key: row["error"] for key, row in _rows("gpu").items()}
    ours = max(errors[f"{job} back", "spinray"] for job in ("parallel stack", "cone"))
    tools = {row["tool"] for row in found["rows"]}
    missing = "" if "cufinufft" in tools else (
        f" cuFINUFFT {found['machine']['versions']['cufinufft']} was installed there and has no row."
    )  # fmt: skip

    def pair(job: str) -> str:
        here, astra = (_error(errors[f"{job} forward", tool]) for tool in ("spinray", "astra"))
        return f"{here} (ASTRA {astra})"

    return (
        f"Errors of projections are alike: parallel {pair('parallel stack')}, cone {pair('cone')}; "
        f"Spinray's back projection is the transpose of its projection ({_error(ours, 0)}), ASTRA's of "
        f"cones is not ({_error(errors['cone back', 'astra'])}).{missing}"
    )


def ct_iterative() -> str:
    """On iterative CT against FBP and ASTRA."""
    found = results("ct_iterative")
    rows, sparse, speed = found["quality"]["rows"], found["sparse"]["rows"], found["speed"]
    gain = {name: f"{rows[name]['gain_db']:+.1f} dB" for name in ("pwls", "tv", "tgv")}
    edges = [f"{rows[name]['resolution']['60 HU']:.2f}" for name in ("pwls", "tv", "tgv")]
    seconds = [speed[f"astra {name}"]["seconds to it"] for name in ("CGLS", "SIRT")]
    near = speed["pwls, seconds to 1 HU"]
    alike = [
        sparse["tv, rays alike"]["psnr"] - sparse[f"astra {name}"]["psnr"]
        for name in ("SIRT", "CGLS")
    ]
    return (
        f"1e4 photons, 984 views: PSNR over FBP with the best filter {gain['pwls']} by `pwls`, "
        f"{gain['tv']} by `tv`, {gain['tgv']} by `tgv` (both with `weight=auto`); resolution (MTF 50 %) "
        f"of an insert of 60 HU {edges[0]}, {edges[1]} and {edges[2]} of FBP's, of 250 HU and more "
        f"above it. 60 views: `tv` {sparse['gain over SIRT, dB']:+.1f} dB over ASTRA's SIRT and "
        f"{sparse['gain over CGLS, dB']:+.1f} dB over its CGLS, each at its best iteration (with "
        f"all rays alike {alike[0]:+.1f} dB and {alike[1]:+.1f} dB). `pwls` comes within 1 HU RMS of its "
        f"converged image in {near:.1f} s; ASTRA takes {seconds[0]:.0f} s to CGLS' best iteration, "
        f"{seconds[1]:.0f} s to SIRT's."
    )


def ct_corrections() -> str:
    """On the corrections of a CT scan, one after another."""
    found = results("ct_corrections")
    tooth, water, pin = found["tooth"], found["water"], found["metal"]["without noise"]
    sharpest = [value for name, value in tooth.items() if name.startswith("sharpest")]
    rings = {
        name: tooth["ring index, as measured"] / tooth[f"ring index, {name}"]
        for name in ("sorting", "wavelet")
    }
    cupping = [water[f"flat filter, {state}"]["cupping, HU"] for state in ("before", "after")]
    shoulders, dose = found["starvation"], found["low dose"]
    return (
        f"Real tooth: the axis lies at column {tooth['centre by correlation'][0]:.2f} by opposite "
        f"views and {tooth['centre by vo'][0]:.2f} by Vo's method, the sharpest slices of a sweep at "
        f"{min(sharpest):.2f} to {max(sharpest):.2f}; rings fall by {rings['sorting']:.1f} (sorting) "
        f"and {rings['wavelet']:.1f} (wavelet). 240 mm of water at 120 kVp: cupping of "
        f"{cupping[0]:.1f} HU becomes {cupping[1]:.2f} HU. A steel pin of 8 mm in a head: RMSE outside "
        f"it {pin['RMSE uncorrected, HU']:.1f} HU, by NMAR {pin['RMSE NMAR, HU']:.1f} HU, without "
        f"noise. Shoulders at 2000 photons: RMSE {shoulders['RMSE, HU, windows']:.0f} HU by windows, "
        f"{shoulders['RMSE, HU, single readings']:.0f} HU by single readings. A fifth of the dose, "
        f"inserted: variance of FBP within {_within(dose['variance of FBP'])} of scans simulated at "
        f"that dose, noise power within {_within(*dose['noise power of FBP, six bands'])} in each of "
        f"six bands."
    )


SENTENCES = (
    mri, parallel_imaging, grasp, reading, server, soak, networks, ratios, ct, gpu, ct_iterative,
    ct_corrections,
)  # fmt: skip

if __name__ == "__main__":
    print(*(make() for make in SENTENCES), sep="\n\n")
