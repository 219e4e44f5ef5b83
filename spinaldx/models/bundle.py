"""A weight bundle: one folder with one weight file a network and one description.

``bundle.json`` holds everything that inference needs to know and the sha256 of
every ``.safetensors`` beside it; ``README.md`` is for people.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spinaldx
from spinaldx.errors import IncompatibleWeightsError, WeightsNotFoundError
from spinaldx.grid import CHANNELS, CropSpec, GridSpec
from spinaldx.models.json_fields import (
    JsonFields,
    check_schema,
    parse_json,
    parse_version,
)
from spinaldx.models.specs import (
    HEADS,
    DenseNetSpec,
    MultiResUNetSpec,
    expected_tensors,
)
from spinaldx.models.tensors import parse_tensors, read_checked_bytes
from spinaldx.records import Float32Array, Task, WeightsInfo

BUNDLE_NAME = "bundle.json"
CARD_NAME = "README.md"
SEGMENTATION = "segmentation"
FAST_PRECISIONS = ("bf16", "fp16")

# What `fine-tune` writes as `status` of the metrics of weights that are no better.
NOT_PROMOTED = "not_promoted"

_SCHEMA_VERSION = 1

# A Grad-CAM cell at the third dense block is so many pixels.
CELL_PIXELS = 16


@dataclass(frozen=True, slots=True)
class SegmentationPart:
    """The segmentation network of a bundle.

    Attributes:
        network: Its shape.
        grid: The grid it works on.
        threshold: Lesion probability from which a voxel is lesion.
        min_lesion_mm3: Smaller components are dropped.
        sha256: Of its file; empty before it is written.
        file: In the bundle's folder.
    """

    network: MultiResUNetSpec
    grid: GridSpec
    threshold: float
    min_lesion_mm3: float
    sha256: str = ""
    file: str = "segmentation.safetensors"


@dataclass(frozen=True, slots=True)
class ClassifierPart:
    """One classifier of a bundle.

    Attributes:
        network: Its shape.
        cut_off: Positive probability from which the answer is the positive class.
        margin: Nearer to the cut-off than this is undecided.
        temperature: Divides the logit of the mean probability.
        file: In the bundle's folder.
        sha256: Of its file; empty before it is written.
    """

    network: DenseNetSpec
    cut_off: float
    margin: float
    temperature: float
    file: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything known about one set of weights, without the tensors.

    Attributes:
        name: Safe as a folder name.
        version: Of the weights.
        licence: SPDX identifier or a short text.
        intended_use: For the card and the report.
        training_data: ``simulated`` while any network learned from simulated
            patients only, else ``patients``.
        segmentation: The segmentation network.
        classifiers: One a task, all three.
        crop: The classifiers' window.
        ethics: Statement on the patients' data; empty when there were none.
        minimum_program_version: Oldest spinaldx that can run it.
        fast_precision: Precisions other than fp32 that a recorded comparison
            allows ``--precision auto`` to choose.
        metrics: What was measured when it was made; any JSON.
        folder: Where it lies.
        description_sha256: Of the bytes of ``bundle.json``; empty before written.
        schema_version: Of ``bundle.json``.
    """

    name: str
    version: str
    licence: str
    intended_use: str
    training_data: str
    segmentation: SegmentationPart
    classifiers: Mapping[Task, ClassifierPart]
    crop: CropSpec = field(default_factory=CropSpec)
    ethics: str = ""
    minimum_program_version: str = "0.1.0"
    fast_precision: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    description_sha256: str = ""
    schema_version: int = _SCHEMA_VERSION

    @property
    def info(self) -> WeightsInfo:
        """What results say about their weights."""
        return WeightsInfo(
            self.name, self.version, self.training_data, self.description_sha256
        )

    @property
    def has_met_patients(self) -> bool:
        """Whether any network learned from patients, simulation's part or not."""
        return "patients" in (self.training_data, self.metrics.get("learned_from"))

    @property
    def is_not_promoted(self) -> bool:
        """Whether training found them no better than what it began with."""
        return self.metrics.get("status") == NOT_PROMOTED

    @property
    def parts(self) -> Mapping[str, SegmentationPart | ClassifierPart]:
        """All networks, by ``segmentation`` or the name of the task."""
        classifiers = {task.value: part for task, part in self.classifiers.items()}
        return {SEGMENTATION: self.segmentation, **classifiers}


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle's description; its tensors are not touched.

    Args:
        folder: Holds ``bundle.json``.

    Raises:
        WeightsNotFoundError: If there is no readable description.
        ManifestError: If it breaks the schema; the message has the JSON path.
        IncompatibleWeightsError: If it needs a newer program, or its networks are
            unknown or do not fit its own grid and crops.
    """
    path = folder / BUNDLE_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"No weight bundle in {folder}: {error.strerror or error}"
        hint = "Name a bundle of `spinaldx weights list`, or a folder with bundle.json."
        raise WeightsNotFoundError(message, hint=hint) from error
    return parse_bundle(content, path)


def load_tensors(bundle: Bundle, part: str) -> dict[str, Float32Array]:
    """Read one network's tensors; the bytes hashed are the bytes used.

    Args:
        bundle: From `load_bundle`.
        part: ``segmentation`` or the name of a task.

    Returns:
        float32 tensors by the names of `expected_tensors`.

    Raises:
        WeightsNotFoundError: If the file is missing.
        ChecksumError: If its bytes are not those of the description.
        IncompatibleWeightsError: If it does not hold the network's tensors.
    """
    described = bundle.parts[part]
    path = bundle.folder / described.file
    content = read_checked_bytes(path, described.sha256)
    return parse_tensors(content, expected_tensors(described.network), path)


def verify_bundle(bundle: Bundle) -> None:
    """Check every tensor file: bytes, names, shapes, types, finite values.

    Raises:
        WeightsError: As `load_tensors` does, at the first fault.
    """
    for part in bundle.parts:
        load_tensors(bundle, part)


def bundle_document(bundle: Bundle) -> dict[str, Any]:
    """Return the JSON value of a bundle's description."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "name": bundle.name,
        "version": bundle.version,
        "licence": bundle.licence,
        "intended_use": bundle.intended_use,
        "training_data": bundle.training_data,
        "ethics": bundle.ethics,
        "minimum_program_version": bundle.minimum_program_version,
        "fast_precision": list(bundle.fast_precision),
        "segmentation": _part_document(bundle.segmentation, "multiresunet"),
        "classifiers": {
            task.value: _part_document(bundle.classifiers[task], "densenet")
            for task in Task
            if task in bundle.classifiers
        },
        "crop": dataclasses.asdict(bundle.crop),
        "metrics": _without_nan(bundle.metrics),
    }


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    # A figure that could not be computed is null; JSON has no NaN.
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _part_document(
    part: SegmentationPart | ClassifierPart, architecture: str
) -> dict[str, Any]:
    return {"architecture": architecture, **dataclasses.asdict(part)}


def parse_bundle(content: bytes, path: Path) -> Bundle:
    """Parse a description's bytes; see `load_bundle`."""
    top = parse_json(content, path)
    check_schema(top, _SCHEMA_VERSION)
    minimum = top.version("minimum_program_version")
    _check_program(minimum, path)
    bundle = Bundle(
        name=top.name("name"),
        version=top.text("version"),
        licence=top.text("licence"),
        intended_use=top.text("intended_use"),
        training_data=top.choice("training_data", ("simulated", "patients")),
        ethics=top.optional_text("ethics"),
        minimum_program_version=minimum,
        fast_precision=_parse_fast_precision(top),
        segmentation=_parse_segmentation(top.fields("segmentation")),
        classifiers=_parse_classifiers(top.fields("classifiers")),
        crop=_parse_crop(top.fields("crop")),
        metrics=top.mapping("metrics"),
        folder=path.parent,
        description_sha256=hashlib.sha256(content).hexdigest(),
    )
    top.finish()
    _check_fit(bundle, path)
    return bundle


def _check_program(minimum: str, path: Path) -> None:
    if parse_version(spinaldx.__version__) < parse_version(minimum):
        message = (
            f"{path} needs spinaldx {minimum} or newer; this is {spinaldx.__version__}."
        )
        raise IncompatibleWeightsError(message, hint="Update spinaldx.")


def _parse_fast_precision(top: JsonFields) -> tuple[str, ...]:
    values = top.texts("fast_precision")
    for place, value in enumerate(values):
        if value not in FAST_PRECISIONS:
            top.fail(f"fast_precision[{place}]", f"unknown precision {value!r}")
    return values


def _parse_segmentation(fields: JsonFields) -> SegmentationPart:
    _check_architecture(fields, "multiresunet")
    network = fields.fields("network")
    grid = fields.fields("grid")
    part = SegmentationPart(
        file=_weight_file(fields),
        sha256=fields.sha256("sha256"),
        network=MultiResUNetSpec(
            in_channels=network.integer("in_channels", 1, 16),
            outputs=network.texts("outputs"),
            base_width=network.integer("base_width", 4, 256),
            levels=network.integer("levels", 2, 7),
            stem=network.integer("stem", 1, 8),
            channel_multiple=network.integer("channel_multiple", 1, 64),
            head=network.choice("head", HEADS),
        ),
        grid=GridSpec(
            pixel_mm=grid.number("pixel_mm", 0.1, 10.0),
            size_multiple=grid.integer("size_multiple", 1, 1024),
            reference_percentile=grid.number("reference_percentile", 1.0, 100.0),
            least_slice_mm=grid.optional_number("least_slice_mm", 0.0, 20.0),
            bright_percentile=grid.optional_number("bright_percentile", 0.0, 100.0),
        ),
        threshold=fields.number("threshold", 0.0, 1.0),
        min_lesion_mm3=fields.number("min_lesion_mm3", 0.0, 1e6),
    )
    for left in (network, grid, fields):
        left.finish()
    return part


def _parse_classifiers(fields: JsonFields) -> Mapping[Task, ClassifierPart]:
    classifiers = {task: _parse_classifier(fields.fields(task.value)) for task in Task}
    fields.finish()
    return classifiers


def _parse_classifier(fields: JsonFields) -> ClassifierPart:
    _check_architecture(fields, "densenet")
    network = fields.fields("network")
    part = ClassifierPart(
        file=_weight_file(fields),
        sha256=fields.sha256("sha256"),
        network=DenseNetSpec(
            in_channels=network.integer("in_channels", 1, 16),
            blocks=network.integers("blocks", 4),
            growth=network.integer("growth", 1, 256),
            initial_features=network.integer("initial_features", 2, 1024),
            classes=network.integer("classes", 2, 2),
        ),
        cut_off=fields.number("cut_off", 0.0, 1.0),
        margin=fields.number("margin", 0.0, 0.5),
        temperature=fields.number("temperature", 0.01, 100.0),
    )
    for left in (network, fields):
        left.finish()
    return part


def _parse_crop(fields: JsonFields) -> CropSpec:
    crop = CropSpec(
        pixel_mm=fields.number("pixel_mm", 0.1, 10.0),
        height_mm=fields.number("height_mm", 10.0, 2000.0),
        width_mm=fields.number("width_mm", 10.0, 2000.0),
        channels=fields.texts("channels"),
        masking=fields.choice("masking", ("none", "lesion", "dilated")),
        reference_percentile=fields.optional_number("reference_percentile", 0.0, 100.0),
    )
    for place, channel in enumerate(crop.channels):
        if channel not in CHANNELS:
            fields.fail(f"channels[{place}]", f"unknown channel {channel!r}")
    fields.finish()
    return crop


def _check_architecture(fields: JsonFields, known: str) -> None:
    found = fields.text("architecture")
    if found != known:
        message = (
            f"{fields.file}: {fields.path}.architecture: "
            f"this program has {known}, not {found!r}."
        )
        raise IncompatibleWeightsError(message, hint="Update spinaldx.")


def _weight_file(fields: JsonFields) -> str:
    name = fields.name("file")
    if not name.endswith(".safetensors"):
        fields.fail("file", "only .safetensors files are loaded")
    return name


def _check_fit(bundle: Bundle, path: Path) -> None:
    network, grid = bundle.segmentation.network, bundle.segmentation.grid
    channels = len(bundle.crop.channels)
    checks = (
        (
            grid.size_multiple % network.size_multiple == 0,
            "segmentation.grid.size_multiple",
            f"must be a multiple of {network.size_multiple} for this network",
        ),
        (
            grid.bright_percentile < grid.reference_percentile,
            "segmentation.grid.bright_percentile",
            "must be below reference_percentile, or the second look is no brighter",
        ),
        (
            network.in_channels % 2 == 1,
            "segmentation.network.in_channels",
            "must be odd, a slice and as many on either side",
        ),
        (
            "lesion" in network.outputs,
            "segmentation.network.outputs",
            "must name an output lesion",
        ),
        (
            all(e >= 32 and e % CELL_PIXELS == 0 for e in bundle.crop.shape),
            "crop",
            f"edges in pixels must be multiples of {CELL_PIXELS}, 32 or more",
        ),
        (
            all(p.network.in_channels == channels for p in bundle.classifiers.values()),
            "classifiers",
            f"in_channels must be {channels}, as many as the crop has",
        ),
    )
    for holds, place, problem in checks:
        if not holds:
            message = f"{path}: $.{place}: {problem}."
            raise IncompatibleWeightsError(message)
