"""``spinaldx doctor``: what this machine offers, and a self-test."""

import os
import platform
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinaldx.cli import console, hub, options
from spinaldx.cli.console import OutputFormat
from spinaldx.errors import InferenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spinaldx.models import Bundle, Networks
    from spinaldx.records import CaseResult

_PACKAGES = ("torch", "openvino", "numpy", "nibabel", "pydicom", "highdicom")

# The self-test's patient has a lesion that no working bundle misses.
_SELF_TEST_SEED = 20
_LEAST_DICE = 0.5

# Two engines or devices may differ in a few voxels on the lesion's edge.
_LEAST_AGREEMENT = 0.98
_MOST_PROBABILITY_DIFFERENCE = 0.05


def doctor(
    weights: options.Weights = options.DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    self_test: Annotated[
        bool, typer.Option(help="Run the networks on a built-in simulated study.")
    ] = True,
    output_format: options.Format = OutputFormat.HUMAN,
) -> None:
    """Show devices, engines, weights and memory, and test the cascade.

    Example: `spinaldx doctor --device cpu`
    """
    found: dict[str, Any] = {"machine": _machine(), "packages": _packages()}
    bundle = _bundle(weights)
    found["weights"] = {
        "name": bundle.name,
        "version": bundle.version,
        "trained on": bundle.training_data,
    }
    found["device"] = _device(bundle, device, precision)
    if self_test:
        found["self-test"] = _self_test(bundle, device, precision)
    if output_format is OutputFormat.JSON:
        console.show_json(found)
    else:
        for title, values in found.items():
            console.show_values(title, values)
    if self_test and not found["self-test"]["passed"]:
        message = "The self-test failed: this installation must not be used."
        hint = "Try --device cpu --precision fp32, and reinstall the packages above."
        raise InferenceError(message, hint=hint)


def _machine() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "processor cores": os.cpu_count(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts["memory"] = f"{memory / 2**30:.0f} GiB"
    return facts


def _packages() -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415 - slow, only here

    found = {}
    for name in ("spinaldx", *_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _bundle(weights: str) -> "Bundle":
    from spinaldx.models import verify_bundle  # noqa: PLC0415 - imports numpy

    bundle = hub.obtain(weights)
    verify_bundle(bundle)
    return bundle


def _device(bundle: "Bundle", device: str, precision: str) -> dict[str, str]:
    networks = _open(bundle, device, precision)
    networks.close()
    return {
        "device": networks.device,
        "engine": networks.engine,
        "precision": networks.precision,
    }


def _open(
    bundle: "Bundle", device: str, precision: str, engine: str = "auto"
) -> "Networks":
    from spinaldx.models import EngineOptions, open_networks  # noqa: PLC0415 - numpy

    return open_networks(bundle, device, precision, EngineOptions(engine=engine))


def _self_test(bundle: "Bundle", device: str, precision: str) -> dict[str, Any]:
    """Run a simulated study on the device, and in torch fp32 on the processor."""
    import numpy as np  # noqa: PLC0415 - a tenth of a second

    from spinaldx.cascade import run_case  # noqa: PLC0415 - as above
    from spinaldx.records import Disease  # noqa: PLC0415
    from spinaldx.simulation.patient import (  # noqa: PLC0415
        PatientOptions,
        simulate_patient,
    )

    seed = np.random.SeedSequence(_SELF_TEST_SEED)
    patient = simulate_patient(
        "self-test", seed, PatientOptions(disease=Disease.EPENDYMOMA)
    )
    volumes = [station.volume for station in patient.stations]
    results: list[CaseResult] = []
    seconds: list[float] = []
    for where in ((device, precision, "auto"), ("cpu", "fp32", "torch")):
        networks = _open(bundle, *where)
        start = time.perf_counter()
        results.append(run_case("self-test", volumes, networks, bundle))
        seconds.append(time.perf_counter() - start)
        networks.close()
    truth = np.concatenate([item.lesion.ravel() for item in patient.stations])
    masks = [
        np.concatenate([item.mask.labels.ravel() for item in result.series])
        for result in results
    ]
    with_truth = _dice(masks[0], truth)
    agreement = _dice(masks[0], masks[1])
    difference = max(
        (
            abs(value - results[1].prediction.probabilities.get(disease, 0.0))
            for disease, value in results[0].prediction.probabilities.items()
        ),
        default=0.0,
    )
    return {
        "passed": with_truth >= _LEAST_DICE
        and agreement >= _LEAST_AGREEMENT
        and difference <= _MOST_PROBABILITY_DIFFERENCE,
        "Dice with the truth": round(with_truth, 3),
        "Dice with torch fp32 on the processor": round(agreement, 4),
        "largest difference in probability": round(difference, 5),
        "seconds": round(seconds[0], 2),
        "seconds in torch on the processor": round(seconds[1], 2),
    }


def _dice(first: "NDArray[np.uint8]", second: "NDArray[np.uint8]") -> float:
    overlap = int(((first != 0) & (second != 0)).sum())
    total = int((first != 0).sum()) + int((second != 0).sum())
    return 2 * overlap / total if total else 1.0
