"""From folders and a truth table to a written evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinaldx import __version__
from spinaldx.errors import TableError, UsageError
from spinaldx.evaluation.baselines import baseline_table
from spinaldx.evaluation.calibration import calibration_table, reliability_table
from spinaldx.evaluation.classification import (
    cascade_table,
    classification_table,
    detection_table,
    disease_table,
    flow_table,
    matrix_table,
)
from spinaldx.evaluation.cohort_table import cohort_tables
from spinaldx.evaluation.comparison import classification_comparison, dice_comparison
from spinaldx.evaluation.decision import decision_table
from spinaldx.evaluation.evaluation import Evaluation, EvaluationOptions
from spinaldx.evaluation.figures import draw_figures
from spinaldx.evaluation.inputs import join_results, read_patients
from spinaldx.evaluation.masks import MaskScores, Progress, score_masks
from spinaldx.evaluation.patients import Cohort, Patient, patient_blocks, to_scored
from spinaldx.evaluation.readers import (
    find_readers,
    reader_comparison_table,
    reader_table,
)
from spinaldx.evaluation.scored import HEALTHY, Scored
from spinaldx.evaluation.segmentation import (
    dice_by_group,
    empty_truth_table,
    patient_table,
    segmentation_table,
)
from spinaldx.evaluation.subgroups import subgroup_dice_table, subgroup_table
from spinaldx.evaluation.tables import Table, cell_text
from spinaldx.evaluation.write import write_evaluation
from spinaldx.files import sha256_of
from spinaldx.records import RESEARCH_USE
from spinaldx.report.wording import SIMULATION_NOTICE

_SIMULATED = f"Classifier output (trained on simulation). {SIMULATION_NOTICE}"
_TRAINED = "Classifier output, never a diagnosis."

# Training learns from the first, and chooses thresholds and cut-offs by the second.
_KNOWN_SPLITS = ("train", "validation")


@dataclass(frozen=True, slots=True, eq=False)
class _Folder:
    """One results folder with all that is computed from it once."""

    cohort: Cohort
    scored: Scored
    masks: MaskScores


def evaluate(
    results: Sequence[Path],
    truth: Path,
    out: Path,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score results folders against a truth table and write the evaluation.

    Args:
        results: Folders that `predict` wrote, or their `studies.csv`. All tables
            are of the first; the others are compared with it.
        truth: `cases.csv`; masks and diagnoses are each optional.
        out: Folder for `evaluation.json`, tables, figures, Markdown and page.
        options: Split, bootstrap and overlap rules.
        progress: Called with the patients whose masks are done, and all, a folder.

    Returns:
        What was written.

    Raises:
        TableError: If a table is faulty or nothing can be matched.
        UsageError: If there is no results folder, or `out` is one of them.
        OutputError: If a result cannot be read or the output not be written.
    """
    options = options or EvaluationOptions()
    if not results:
        message = "No results folder was given."
        raise UsageError(message, hint="Give the folder that predict wrote.")
    if out.resolve() in {folder.resolve() for folder in results}:
        message = "The output folder is a results folder."
        raise UsageError(message, hint="Choose another folder with -o.")
    patients = _of_split(read_patients(truth), options.split)
    folders = _load(patients, results, options, progress)
    evaluation = _assemble(folders, truth, options)
    write_evaluation(evaluation, out)
    return evaluation


def _of_split(patients: tuple[Patient, ...], split: str) -> tuple[Patient, ...]:
    chosen = tuple(item for item in patients if not split or item.split == split)
    if not chosen:
        message = f"No case of the table belongs to the split '{split}'."
        raise TableError(message, hint="Look at the column 'split'.")
    return chosen


def _load(
    patients: tuple[Patient, ...],
    results: Sequence[Path],
    options: EvaluationOptions,
    progress: Progress | None,
) -> list[_Folder]:
    folders: list[_Folder] = []
    for path in results:
        cohort = join_results(patients, path)
        taken = [folder.cohort.name for folder in folders]
        if cohort.name in taken:
            cohort = replace(cohort, name=f"{cohort.name} ({len(taken) + 1})")
        masks = score_masks(cohort, options.overlap, progress)
        folders.append(_Folder(cohort, to_scored(cohort), masks))
    return folders


def _assemble(
    folders: list[_Folder], truth: Path, options: EvaluationOptions
) -> Evaluation:
    first = folders[0]
    statement = f"{_SIMULATED if _is_simulated(folders) else _TRAINED} {RESEARCH_USE}"
    tables = tuple(
        table
        for table in (
            *_classification_tables(first),
            *_segmentation_tables(first, options),
            *_comparison_tables(folders, options),
            *_context_tables(first, options),
        )
        if table is not None
    )
    dice = dice_by_group(first.masks.overlaps)
    return Evaluation(
        statement=statement,
        folders=tuple(folder.cohort.name for folder in folders),
        tables=tables,
        headline=_headline(tables),
        warnings=_warnings(folders),
        missing=_missing(folders),
        provenance=_provenance(folders, truth, options),
        figures=draw_figures(first.scored, dice, statement),
    )


def _has_labels(folder: _Folder) -> bool:
    return bool(folder.scored.is_labelled.any())


def _classification_tables(first: _Folder) -> list[Table]:
    scored, blocks = first.scored, patient_blocks(first.cohort)
    tables = [flow_table(scored)]
    if _has_labels(first):
        tables += [
            cascade_table(scored, blocks),
            classification_table(scored, blocks),
            classification_table(scored, blocks, secondary=True),
            matrix_table(scored),
            disease_table(scored, blocks),
        ]
    if _has_labels(first) or (scored.truth == HEALTHY).any():
        tables.append(detection_table(scored))
    return tables


def _segmentation_tables(first: _Folder, options: EvaluationOptions) -> list[Table]:
    overlaps, draw = first.masks.overlaps, options.bootstrap
    tables = []
    if any(patient.has_lesion for patient in overlaps):
        table = segmentation_table(overlaps, draw)
        rule = (
            f"Surface tolerance {options.overlap.tolerance_mm:g} mm; a lesion counts "
            f"from {options.overlap.lesion_overlap:.0%} of its voxels."
        )
        tables.append(replace(table, notes=(*table.notes, rule)))
    if any(not patient.has_lesion for patient in overlaps):
        tables.append(empty_truth_table(overlaps, draw))
    return tables


def _comparison_tables(
    folders: list[_Folder], options: EvaluationOptions
) -> list[Table | None]:
    first, others = folders[0], folders[1:]
    tables: list[Table | None] = []
    if others and _has_labels(first):
        scored = {other.cohort.name: other.scored for other in others}
        tables.append(classification_comparison(first.scored, scored))
    if others:
        overlaps = {other.cohort.name: other.masks.overlaps for other in others}
        tables.append(
            dice_comparison(first.masks.overlaps, overlaps, options.bootstrap)
        )
    return tables


def _context_tables(first: _Folder, options: EvaluationOptions) -> list[Table | None]:
    cohort, scored = first.cohort, first.scored
    tables: list[Table | None] = []
    if _has_labels(first):
        readers = find_readers(cohort.patients, scored)
        if readers:
            tables += [
                reader_table(scored, readers),
                reader_comparison_table(scored, readers),
            ]
        tables += [
            calibration_table(scored, options.bootstrap),
            reliability_table(scored),
            decision_table(scored),
            subgroup_table(cohort, scored),
        ]
    tables.append(subgroup_dice_table(cohort, _dice(first), options.bootstrap))
    if _has_labels(first):
        tables += [
            baseline_table(cohort, scored),
            *cohort_tables(cohort, first.masks.lesions),
        ]
    if first.masks.overlaps:
        tables.append(patient_table(first.masks.overlaps))
    return tables


def _dice(folder: _Folder) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    of_case = {
        patient.case: patient.overlap.dice or 0.0
        for patient in folder.masks.overlaps
        if patient.has_lesion
    }
    cases = [patient.case for patient in folder.cohort.patients]
    return np.array([of_case.get(case, np.nan) for case in cases], dtype=float)


def _headline(tables: Sequence[Table]) -> tuple[tuple[str, str], ...]:
    wanted = (
        ("cascade", 0, "accuracy", "Four diseases, every labelled patient"),
        ("classification", 0, "accuracy", "Model 1: tumour vs demyelination"),
        ("classification", 1, "accuracy", "Model 2: astrocytoma vs ependymoma"),
        ("classification", 3, "accuracy", "Model 3: MS vs NMOSD"),
        ("segmentation", 0, "dice_mean", "Mean Dice, patients with a lesion"),
        ("detection", 0, "specificity", "Healthy patients without a false lesion"),
    )
    found = {table.key: table for table in tables}
    lines = []
    for key, place, name, title in wanted:
        if key not in found:
            continue
        keys = [column.key for column in found[key].columns]
        column = found[key].columns[keys.index(name)]
        row = found[key].rows[place]
        origins = {one[0] for one in found[key].rows} if keys[0] == "masks" else set()
        masks = f" ({row[0]} masks)" if origins - {"automatic"} else ""
        lines.append((title + masks, cell_text(row[keys.index(name)], column)))
    return tuple(lines)


def _is_simulated(folders: Sequence[_Folder]) -> bool:
    return any(folder.cohort.is_simulated for folder in folders)


def _warnings(folders: Sequence[_Folder]) -> tuple[str, ...]:
    cohort = folders[0].cohort
    warnings = []
    known = {name: int(cohort.where("split", name).sum()) for name in _KNOWN_SPLITS}
    marked = " and ".join(
        f"{count} as {name}" for name, count in known.items() if count
    )
    if marked:
        warnings.append(
            f"Patients are marked as known: {marked}. If these weights were trained on "
            "them, or had thresholds and cut-offs chosen by them, every figure over "
            "all patients is too good. Use --split test."
        )
    elif not any(patient.split for patient in cohort.patients) and _met_patients(
        cohort
    ):
        warnings.append(
            "The truth table has no column 'split': if these weights were trained on "
            "some of its patients, every figure is too good."
        )
    if len(folders) > 1:
        warnings.append(f"All tables but the comparisons are of {cohort.name}.")
    for folder in folders:
        warnings += _folder_warnings(folder.cohort)
    return tuple(warnings)


def _met_patients(cohort: Cohort) -> bool:
    return any(row and row.training_data == "patients" for row in cohort.results)


def _folder_warnings(cohort: Cohort) -> list[str]:
    rows = [row for row in cohort.results if row is not None]
    warnings = []
    weights = sorted({row.weights for row in rows if row.weights})
    if len(weights) > 1:
        mixed = ", ".join(weights)
        warnings.append(
            f"{cohort.name}: results of several weights are mixed: {mixed}."
        )
    if not any(row.training_data for row in rows):
        warnings.append(
            f"{cohort.name}: it is not said what the weights were trained on."
        )
    if any(row.stages and not row.cut_offs for row in rows):
        warnings.append(
            f"{cohort.name}: no prediction.json for some studies; their cut-offs are "
            "taken as 0.5 where the final answer does not tell the stage's answer."
        )
    corrected = sum(row.is_corrected for row in rows)
    if corrected:
        warnings.append(
            f"{cohort.name}: the masks of {corrected} patients were corrected by a "
            "person before classification, as in the paper; see the subgroup 'masks'."
        )
    return warnings


def _missing(folders: Sequence[_Folder]) -> tuple[str, ...]:
    sentences: list[str] = []
    first = folders[0]
    for folder in folders:
        prefix = f"{folder.cohort.name}: " if len(folders) > 1 else ""
        found = (*folder.cohort.missing, *folder.masks.missing)
        sentences += [prefix + sentence for sentence in found]
    if not _has_labels(first):
        sentences.append("No diagnoses: classification was not scored.")
    absent = [
        title
        for name, title in (("age", "ages"), ("sex", "sexes"), ("site", "sites"))
        if not any(
            getattr(item, name) not in {None, ""} for item in first.cohort.patients
        )
    ]
    if absent:
        sentences.append(
            f"No {', '.join(absent)}: no subgroups and baselines of these."
        )
    if not any(patient.raters for patient in first.cohort.patients):
        sentences.append("No readers: columns rater1, rater2 ... are not there.")
    return tuple(sentences)


def _provenance(
    folders: Sequence[_Folder], truth: Path, options: EvaluationOptions
) -> dict[str, object]:
    return {
        "program_version": __version__,
        "truth": truth.name,
        "truth_sha256": sha256_of(truth),
        "results": [
            {
                "name": folder.cohort.name,
                "weights": sorted({r.weights for r in folder.cohort.results if r}),
                "weights_training_data": sorted(
                    {r.training_data for r in folder.cohort.results if r}
                ),
            }
            for folder in folders
        ],
        "options": {
            "split": options.split,
            "bootstrap_replicates": options.bootstrap.replicates,
            "seed": options.bootstrap.seed,
            "tolerance_mm": options.overlap.tolerance_mm,
            "lesion_overlap": options.overlap.lesion_overlap,
        },
    }
