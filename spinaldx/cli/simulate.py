"""``spinaldx simulate``: a simulated cohort with truth."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spinaldx.cli import console, options, progress


class FileFormat(StrEnum):
    """How the images are stored."""

    NIFTI = "nifti"
    DICOM = "dicom"


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="New folder for the cohort.")
    ],
    patients: Annotated[
        int, typer.Option("--patients", "-n", min=1, help="How many patients.")
    ] = 20,
    seed: Annotated[
        int, typer.Option(min=0, help="Same seed, same bytes, any --workers.")
    ] = 0,
    contrast: Annotated[
        float,
        typer.Option(
            min=0.1, max=5.0, help="Of lesions against cord, 1 as usual; 1.6 is clear."
        ),
    ] = 1.0,
    noise: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="Of the images, 1 as usual.")
    ] = 1.0,
    swelling: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Of the cord around a lesion, 1 as usual; 0 leaves it as it was.",
        ),
    ] = 1.0,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Lesions without cysts, caps, oedema and bright spots."
        ),
    ] = False,
    regions_alike: Annotated[
        bool,
        typer.Option(
            "--regions-alike", help="Lesions of all diseases lie in the same regions."
        ),
    ] = False,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="NIfTI files, or DICOM studies.")
    ] = FileFormat.NIFTI,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that work side by side.")
    ] = 1,
    quiet: options.Quiet = False,
) -> None:
    """Simulate patients with lesion masks, cord masks and diagnoses.

    The folder gets `cases.csv`, which `predict`, `fine-tune` and `evaluate` read.

    Example: `spinaldx simulate cohort -n 40 --seed 1`
    """
    from spinaldx.simulation import cohort  # noqa: PLC0415 - imports scipy
    from spinaldx.simulation.patient import PatientOptions  # noqa: PLC0415 - as above

    chosen = PatientOptions(
        contrast_factor=contrast,
        noise_factor=noise,
        swelling_factor=swelling,
        signs=not plain,
        regions_alike=regions_alike,
    )
    with progress.bar("Simulating", patients, quiet=quiet) as advance:
        table = cohort.simulate_cohort(
            out,
            patients=[chosen] * patients,
            seed=seed,
            file_format=file_format.value,
            workers=workers,
            progress=lambda *_: advance(),
        )
    console.note(f"Wrote {table}. Simulated patients, no real ones.", quiet=quiet)
