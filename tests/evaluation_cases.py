"""Truth tables and results folders whose every count is known by construction."""

import csv
import json
from dataclasses import dataclass, field

import numpy as np

from spinaldx.evaluation.inputs import join_results, read_patients
from spinaldx.files import sha256_of
from spinaldx.report.nifti import write_nifti
from spinaldx.report.prediction_json import COLUMNS

TASKS = ("tumour_vs_demyelination", "astrocytoma_vs_ependymoma", "ms_vs_nmosd")
DISEASES = ("astrocytoma", "ependymoma", "ms", "nmosd")


@dataclass
class Block:
    """Patients of each disease, and how many each model gets wrong."""

    split: str
    patients: tuple[int, int, int, int]
    wrong_first: tuple[int, int, int, int]
    wrong_second: tuple[int, int, int, int]
    difficult: bool = False


# Table 2 of the paper: the test block is its difficult part and the rest.
TABLE_2 = (
    Block("validation", (24, 26, 20, 28), (3, 0, 1, 0), (4, 6, 2, 4)),
    Block("test", (11, 7, 7, 15), (1, 0, 1, 0), (2, 1, 2, 2), difficult=True),
    Block("test", (23, 38, 26, 30), (2, 2, 1, 0), (1, 10, 5, 7)),
)


@dataclass
class Case:
    """One patient of the truth table with the program's scores."""

    name: str
    diagnosis: str
    scores: tuple[float, float, float] | None = (0.1, 0.1, 0.1)
    answer: str = ""
    truth: dict = field(default_factory=dict)
    result: dict = field(default_factory=dict)


def table_2_cases():
    cases = []
    for number, block in enumerate(TABLE_2):
        for place, disease in enumerate(DISEASES):
            for index in range(block.patients[place]):
                is_wrong_first = index < block.wrong_first[place]
                # Wrong seconds are taken from the end: other patients than the first.
                left = block.patients[place] - index
                is_wrong_second = left <= block.wrong_second[place]
                cases.append(
                    Case(
                        f"b{number}-{disease}-{index}",
                        disease,
                        scores_for(place, is_wrong_first, is_wrong_second),
                        truth={
                            "split": block.split,
                            "difficult": "yes" if block.difficult else "no",
                        },
                    )
                )
    return cases


def scores_for(place, is_wrong_first=False, is_wrong_second=False):
    """Scores of the three models for a true disease, right unless told otherwise."""
    first = (place >= 2) != is_wrong_first
    second = (place % 2 == 1) != is_wrong_second
    of_pair = 0.8 if second else 0.2
    pair = (of_pair, 0.3) if place < 2 else (0.3, of_pair)
    return (0.9 if first else 0.1, *pair)


def result_row(case, cut_offs=(0.5, 0.5, 0.5)):
    """One row of studies.csv."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {
        "study": case.name,
        "weights": "test 1",
        "weights_training_data": "patients",
    }
    if case.answer == "failed":
        return row | {"status": "failed", "message": "No usable series."} | case.result
    row |= {"status": "complete", "diagnosis": case.answer or "no_lesion"}
    row |= {"lesion_count": 1, "lesion_volume_ml": 2.0, "lesion_length_mm": 20.0}
    if case.answer == "no_lesion":
        return row | {"lesion_count": 0, "lesion_volume_ml": 0.0} | case.result
    demyelination, ependymoma, nmosd = case.scores
    calls = [score >= cut for score, cut in zip(case.scores, cut_offs, strict=True)]
    path = (
        ("ms", "nmosd")[calls[2]]
        if calls[0]
        else ("astrocytoma", "ependymoma")[calls[1]]
    )
    tumour = 1 - demyelination
    joint = (
        tumour * (1 - ependymoma),
        tumour * ependymoma,
        demyelination * (1 - nmosd),
        demyelination * nmosd,
    )
    row |= {"diagnosis": case.answer or path, "p_demyelination": demyelination}
    row |= {
        "p_ependymoma_given_tumour": ependymoma,
        "p_nmosd_given_demyelination": nmosd,
    }
    return (
        row | {f"p_{d}": p for d, p in zip(DISEASES, joint, strict=True)} | case.result
    )


def write_results(folder, cases, cut_offs=(0.5, 0.5, 0.5)):
    """Write studies.csv alone."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [result_row(case, cut_offs) for case in cases]
    return write_table(folder / "studies.csv", rows).parent


def write_truth(path, cases):
    """Write cases.csv with the columns that the cases have."""
    rows = [{"case": c.name, "diagnosis": c.diagnosis, **c.truth} for c in cases]
    return write_table(path, rows)


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_prediction(folder, case, *, cut_offs=(0.5, 0.5, 0.5), origin="automatic"):
    """Write as much of a prediction.json as `evaluate` reads, for the mask there is."""
    stages = [{"task": t, "cut_off": c} for t, c in zip(TASKS, cut_offs, strict=True)]
    mask = folder / case.name / "t2w" / "lesion_mask.nii.gz"
    digest = sha256_of(mask) if mask.is_file() else "0" * 64
    series = {"name": "t2w", "mask_origin": origin, "mask_sha256": digest}
    record = {"stages": stages, "series": [series]}
    path = folder / case.name / "prediction.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def write_mask(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2.0, 1.0, 1.0, 1.0]) if affine is None else affine
    write_nifti(path, np.asarray(voxels, np.uint8), affine)
    return path


def box(shape=(6, 20, 20), start=(2, 5, 5), size=(2, 4, 4)):
    """A mask with one box."""
    voxels = np.zeros(shape, np.uint8)
    ends = np.add(start, size)
    voxels[start[0] : ends[0], start[1] : ends[1], start[2] : ends[2]] = 1
    return voxels


def cohort_of(folder, cases, results=None):
    """Write truth and results, and join them."""
    patients = read_patients(write_truth(folder / "cases.csv", cases))
    return join_results(patients, write_results(folder / "out", results or cases))


def cells(table, row=0):
    """One row of a table by column."""
    names = [column.key for column in table.columns]
    return dict(zip(names, table.rows[row], strict=True))


def balanced_cases(of_each, **truth):
    """As many right answers of each disease."""
    return [
        Case(f"{disease}-{index}", disease, scores_for(place), truth=dict(truth))
        for place, disease in enumerate(DISEASES)
        for index in range(of_each)
    ]
