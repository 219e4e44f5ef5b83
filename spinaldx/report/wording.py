"""Everything that is said about a result, in one place.

The words follow two rules: what the program puts out is a classifier's output,
never a diagnosis; and ``no lesion`` and ``indeterminate`` are answers that need as
much care as a disease.
"""

from collections.abc import Sequence

from spinaldx.records import (
    Diagnosis,
    Disease,
    Lesion,
    MaskOrigin,
    Prediction,
    StageResult,
    Task,
    WeightsInfo,
    stages_on_path,
)
from spinaldx.report.reference import EXTENSIVE_LEVELS, levels_of

SIMULATION_NOTICE = (
    "Weights trained on simulated patients: not clinically valid, "
    "demonstration of the method."
)
SIMULATION_BURN_IN = "SIMULATION-TRAINED WEIGHTS - NOT CLINICALLY VALID"

FULL_NAMES = {
    "astrocytoma": "astrocytoma",
    "ependymoma": "ependymoma",
    "ms": "multiple sclerosis",
    "nmosd": "neuromyelitis optica spectrum disorder",
    "tumour": "tumour",
    "demyelination": "demyelination",
}
SHORT_NAMES = {**FULL_NAMES, "ms": "MS", "nmosd": "NMOSD"}

_OTHER_ANSWERS = {
    Diagnosis.INDETERMINATE: "indeterminate",
    Diagnosis.NO_LESION: "no lesion marked",
}

TASK_NAMES = {
    task: f"{SHORT_NAMES[task.negative]} vs {SHORT_NAMES[task.positive]}"
    for task in Task
}


def simulation_notice(weights: WeightsInfo) -> str:
    """Return the banner's text, empty for weights trained on patients."""
    return SIMULATION_NOTICE if weights.is_simulated else ""


def burn_in(weights: WeightsInfo) -> str:
    """Return the short notice drawn into every picture, or an empty text."""
    return SIMULATION_BURN_IN if weights.is_simulated else ""


def mask_origin(origin: MaskOrigin) -> str:
    """Say how a mask came about."""
    return "corrected by a person" if origin is MaskOrigin.PERSON else "automatic"


def output_kind(weights: WeightsInfo) -> str:
    """Name what the program puts out; never a diagnosis."""
    trained = " (trained on simulation)" if weights.is_simulated else ""
    return f"Classifier output{trained}"


def answer_name(diagnosis: Diagnosis) -> str:
    """Name an answer in a table."""
    return _OTHER_ANSWERS.get(diagnosis) or SHORT_NAMES[diagnosis.value]


def headline(prediction: Prediction, weights: WeightsInfo) -> str:
    """Say the answer in one sentence."""
    diagnosis = prediction.diagnosis
    if diagnosis is Diagnosis.NO_LESION:
        return "No lesion was marked, so no disease class was computed."
    if diagnosis is Diagnosis.INDETERMINATE:
        return f"{output_kind(weights)}: indeterminate."
    probability = prediction.probabilities[Disease(diagnosis.value)]
    name = FULL_NAMES[diagnosis.value]
    short = SHORT_NAMES[diagnosis.value]
    label = name if name == short else f"{name} ({short})"
    return f"{output_kind(weights)}: {label}, joint probability {probability:.2f}."


def explanation(prediction: Prediction, origins: frozenset[MaskOrigin]) -> str:
    """Say what the answer means and what it does not.

    Args:
        prediction: The study's answer.
        origins: Who drew the masks.
    """
    if prediction.diagnosis is Diagnosis.NO_LESION:
        return _no_lesion(origins)
    if prediction.diagnosis is Diagnosis.INDETERMINATE:
        return (
            f"{' '.join(indeterminate_reasons(prediction))} "
            "The scores do not separate the classes: read the four probabilities "
            "together, not only the largest."
        )
    return (
        "Only these four diseases can be answered. A high score excludes no other "
        "cause of a cord lesion, and says nothing about lesions that were not marked."
    )


def _no_lesion(origins: frozenset[MaskOrigin]) -> str:
    if origins == {MaskOrigin.PERSON}:
        who = "The person who corrected the masks left them empty."
    elif MaskOrigin.PERSON in origins:
        who = "Neither the network nor the person who corrected it left a marked voxel."
    else:
        who = (
            "The network marked nothing, or only what is left out: too small, beside "
            "the cord or no brighter than it."
        )
    return (
        f"{who} That does not exclude a lesion: small, faint and "
        "peripheral lesions can be missed on sagittal T2w alone."
    )


def indeterminate_reasons(prediction: Prediction) -> tuple[str, ...]:
    """Say why an answer is indeterminate; empty for any other answer."""
    if prediction.diagnosis is not Diagnosis.INDETERMINATE:
        return ()
    way = stages_on_path(prediction.stages)
    reasons = [_near(stage) for stage in way if stage.is_near_cut_off]
    top = max(prediction.probabilities, key=lambda d: prediction.probabilities[d])
    end = way[-1].answer
    if top.value != end:
        reasons.append(
            f"The decisions lead to {SHORT_NAMES[end]}, but the most probable of the "
            f"four is {SHORT_NAMES[top.value]}."
        )
    return tuple(reasons)


def _near(stage: StageResult) -> str:
    name = TASK_NAMES[stage.task]
    return (
        f"{name[0].upper()}{name[1:]} scored "
        f"{stage.positive_probability:.2f} for {SHORT_NAMES[stage.task.positive]}, "
        f"within {stage.margin:.2f} of the cut-off {stage.cut_off:.2f}."
    )


def length_sentence(lesions: Sequence[Lesion]) -> str:
    """Say how long the longest lesion is.

    Args:
        lesions: Of one study, at least one.
    """
    longest_mm = max(lesion.length_mm for lesion in lesions)
    # As printed, so that the sentence never contradicts itself.
    levels = round(levels_of(longest_mm), 1)
    reach = "at least" if levels >= EXTENSIVE_LEVELS else "less than"
    return (
        f"The longest lesion is {longest_mm:.1f} mm or {levels:.1f} cervical levels: "
        f"{reach} the {EXTENSIVE_LEVELS:.0f} that make a lesion longitudinally extensive."
    )
