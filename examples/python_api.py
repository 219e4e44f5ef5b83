"""Use spinaldx from Python: the steps of `spinaldx predict`, one by one.

    python examples/python_api.py examples/studies results --weights phantom-v1

For many studies, with resume and shards, hand `spinaldx.batch` the same objects.
"""

import argparse
from pathlib import Path

from spinaldx.cascade import run_case
from spinaldx.errors import SpinalDxError
from spinaldx.models import find_bundle, open_networks
from spinaldx.records import RESEARCH_USE, CaseResult
from spinaldx.report import update_studies_csv, write_case, write_failure
from spinaldx.study import find_studies, load_study


def main(arguments: list[str] | None = None) -> None:
    """Take every study below a folder through the cascade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True, help="name or folder of a bundle")
    options = parser.parse_args(arguments)

    bundle = find_bundle(options.weights)
    networks = open_networks(bundle, device="auto")
    for source in find_studies([options.studies]):
        folder = options.out / source.name
        try:
            volumes = load_study(source)
            result = run_case(source.name, volumes, networks, bundle)
            write_case(result, folder)
        except SpinalDxError as error:
            # One bad study must not stop the others.
            write_failure(source.name, error, folder, weights=bundle.info)
            print(f"{source.name}: {error.message}")
        else:
            describe(result)
    networks.close()
    update_studies_csv(options.out)
    print(RESEARCH_USE)


def describe(result: CaseResult) -> None:
    """Print the answer and every lesion of one study."""
    print(f"{result.study}: {result.prediction.diagnosis}")
    for disease, probability in result.prediction.probabilities.items():
        print(f"  {disease}: {probability:.2f}")
    for lesion in result.lesions:
        right, front, up = lesion.centroid_ras_mm
        print(
            f"  lesion {lesion.number} in {lesion.series}:"
            f" {lesion.volume_mm3 / 1000:.2f} ml, {lesion.length_mm:.0f} mm long,"
            f" centre {right:.0f}, {front:.0f}, {up:.0f} mm"
        )


if __name__ == "__main__":
    main()
