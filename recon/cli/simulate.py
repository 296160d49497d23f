"""``spinray simulate``: raw files with a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Write raw files of phantoms with a known truth, as a scanner would.",
)


@app.command("mr")
def mr(
    output: Annotated[Path, typer.Argument(help="ISMRMRD file to write (.h5), or BART (.cfl).")],
    trajectory: Annotated[str, typer.Option(help="cartesian, radial or spiral.")] = "cartesian",
    matrix: Annotated[int, typer.Option(help="Pixels a side.")] = 256,
    coils: Annotated[int, typer.Option(help="Receive coils.")] = 8,
    acceleration: Annotated[
        float, typer.Option(help="Below Nyquist: of lines, spokes or turns of spiral.")
    ] = 1.0,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Of Cartesian lines: random or equispaced; or poisson, as in a slice of a 3D "
            "scan, where both axes are phase encoded. Default: random."
        ),
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="Signal to noise of the fully sampled image; none without.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of masks and noise.")] = 0,
) -> None:
    """Multi-coil k-space of the Shepp-Logan phantom, from its closed form.

    Example: [bold]spinray simulate mr radial.h5 --trajectory radial --acceleration 4[/bold]
    """
    from ...datasets import simulate_mr
    from ..io import check_writable, save
    from ..scan import MRScan

    check_writable(output, MRScan)
    scan = simulate_mr(
        matrix=matrix,
        coils=coils,
        trajectory=trajectory,
        acceleration=acceleration,
        mask=mask,
        snr=snr,
        seed=seed,
    )
    save(scan, output)
    typer.echo(f"{output}: {scan}", err=True)


@app.command("ct")
def ct(
    output: Annotated[Path, typer.Argument(help="Data Exchange file to write (.h5).")],
    phantom: Annotated[
        str | None,
        typer.Option(help="head or water; head-3d where rows are more. Default: a head."),
    ] = None,
    geometry: Annotated[str, typer.Option(help="parallel, fan, helical or cone.")] = "fan",
    views: Annotated[int, typer.Option(help="Number of views; of a helix, in a turn.")] = 720,
    columns: Annotated[int, typer.Option(help="Detector columns.")] = 736,
    photons: Annotated[
        float | None, typer.Option(help="Photons a ray without object; noiseless without.")
    ] = 1e5,
    seed: Annotated[int, typer.Option(help="Of the photon noise.")] = 0,
) -> None:
    """Detector counts of an analytic head or water phantom, with white and dark fields.

    Example: [bold]spinray simulate ct head.h5 --views 120 --photons 20000[/bold]
    """
    from ...datasets import simulate_ct
    from ..io import check_writable, save
    from ..scan import CTScan

    check_writable(output, CTScan)
    scan = simulate_ct(
        phantom, geometry=geometry, views=views, columns=columns, photons=photons, seed=seed
    )
    save(scan, output)
    typer.echo(f"{output}: {scan}", err=True)


@app.command("low-dose")
def low_dose(
    source: Annotated[Path, typer.Argument(help="Raw CT file of a normal dose.")],
    output: Annotated[Path, typer.Argument(help="Data Exchange file to write (.h5).")],
    dose: Annotated[float, typer.Option(help="Share of the dose, such as 0.25.")],
    photons: Annotated[
        float | None,
        typer.Option(
            help="Photons a ray without object in SOURCE. Default: told by the noise of its blank "
            "scan."
        ),
    ] = None,
    electronic_noise: Annotated[
        float | None,
        typer.Option(help="In photons. Default: told by the dark scan, or none."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """A scan as it would be at a lower dose: noise that fits the scan's own is put in.

    Example: [bold]spinray simulate low-dose scan.h5 quarter.h5 --dose 0.25[/bold]
    """
    from ..io import check_writable, load, save
    from ..pipelines.low_dose import at_lower_dose
    from ..scan import CTScan

    check_writable(output, CTScan)
    if output.exists() and output.samefile(source):
        raise ValueError(f"{output}: is the scan to read, write to another file")
    scan = load(source)
    if not isinstance(scan, CTScan):
        raise ValueError(f"{source}: low-dose is for CT, this is an MR scan")
    scan = at_lower_dose(scan, dose, photons=photons, electronic_noise=electronic_noise, seed=seed)
    save(scan, output)
    typer.echo(f"{output}: {scan}, {scan.header['photons']:.4g} photons a ray", err=True)
