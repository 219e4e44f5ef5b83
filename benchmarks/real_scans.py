"""Check a bundle on the real scans of ``../shared/data``, which it never saw.

Prints, for one bundle: cord Dice and false lesion volume on the healthy scans, Dice
on the painted lesion, false lesions on the lumbar slices, and Dice by disease and
contrast for lesions that this script paints into the two scans with cord masks, with
the classes that they are given. The
painting shares no code with the simulator. It is a check on healthy cords with painted
lesions, not evidence about patients.

    python benchmarks/real_scans.py [--weights NAME|DIR] [--repeats 4]
        [--first-seed 0] [--out FILE.json]
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib import image as reader
from scipy import ndimage

from spinaldx.cascade import run_case
from spinaldx.cli.options import DEFAULT_WEIGHTS
from spinaldx.models import Bundle, Networks, find_bundle, open_networks
from spinaldx.records import Disease, Prediction, Task, Volume
from spinaldx.stages.lesions import LesionOptions
from spinaldx.stages.marking import mark_lesions
from spinaldx.stages.segmentation import SegmentationOptions, segment
from spinaldx.training.classification import area_under_curve, class_of

DATA = Path(__file__).parents[2] / "shared" / "data"
HEALTHY = ("errsm_11", "errsm_18", "errsm_20")
RATIOS = (2.0, 1.6, 1.4, 1.25)
# Of lesion to cord as in the literature; the name that takes the place of a ratio.
LITERATURE = {"astrocytoma": 2.15, "ependymoma": 1.8, "ms": 1.47, "nmosd": 1.6}
AS_PUBLISHED = "as published"
SLAB = 3  # 1 mm slices averaged to clinical 3 mm slices


@dataclass(frozen=True)
class Shape:
    """Size ranges of a painted lesion: length and radius in mm, place in the cord."""

    length_mm: tuple[float, float]
    radius_mm: tuple[float, float]
    eccentricity: float
    roughness: float


SHAPES = {
    "astrocytoma": Shape((45, 80), (4.5, 7.0), 0.5, 0.5),
    "ependymoma": Shape((35, 65), (5.0, 7.0), 0.1, 0.2),
    "ms": Shape((9, 22), (1.8, 3.2), 0.9, 0.25),
    "nmosd": Shape((28, 75), (2.6, 4.0), 0.15, 0.35),
}


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


def to_slabs(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring slices along the last axis, as a thick slice would."""
    n = voxels.shape[2] // SLAB
    start = (voxels.shape[2] - n * SLAB) // 2
    kept = voxels[:, :, start : start + n * SLAB]
    slabs = kept.reshape(*voxels.shape[:2], n, SLAB).mean(axis=3)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2] * (start + (SLAB - 1) / 2)
    moved[:3, 2] *= SLAB
    return slabs, moved


def centreline(cord: np.ndarray) -> np.ndarray:
    """Centre of the cord on each plane across the head-foot axis, smoothed, (n, 3)."""
    rows = np.flatnonzero(cord.any(axis=(0, 2)))
    points = []
    for row in rows:
        where = np.argwhere(cord[:, row, :])
        points.append((where[:, 0].mean(), row, where[:, 1].mean()))
    return ndimage.gaussian_filter1d(np.asarray(points), 5, axis=0)


def paint(
    voxels: np.ndarray, cord: np.ndarray, kind: str, ratio: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paint one lesion into a 1 mm isotropic scan; returns image and soft mask."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[kind]
    line = centreline(cord)
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate(([0.0], np.cumsum(steps)))
    length = rng.uniform(*shape.length_mm)
    middle = rng.uniform(0.15 * along[-1] + length / 2, 0.85 * along[-1] - length / 2)
    radius = rng.uniform(*shape.radius_mm)
    angle = rng.uniform(0, 2 * np.pi)
    offset = shape.eccentricity * 3.0 * np.array((np.cos(angle), 0, np.sin(angle)))
    where = np.argwhere(ndimage.binary_dilation(cord, iterations=2))
    nearest = np.argmin(
        np.linalg.norm(where[:, None, :] - (line + offset)[None], axis=2), axis=1
    )
    distance = np.linalg.norm(where - (line + offset)[nearest], axis=1)
    along_share = np.abs(along[nearest] - middle) / (length / 2)
    noise = ndimage.gaussian_filter(rng.standard_normal(voxels.shape), 3)
    noise = noise / noise.std()
    wobble = 1 + shape.roughness * 0.5 * noise[tuple(where.T)]
    level = np.sqrt(along_share**2 + (distance / (radius * wobble)) ** 2)
    soft = np.zeros(voxels.shape, dtype=np.float32)
    soft[tuple(where.T)] = np.clip((1 - level) * 2.5 + 0.5, 0, 1)
    soft *= ndimage.gaussian_filter(cord.astype(np.float32), 0.7) > 0.3
    weight = ndimage.gaussian_filter(cord.astype(np.float32), 6) + 1e-6
    local = ndimage.gaussian_filter(voxels * cord, 6) / weight
    texture = 1 + 0.06 * noise
    painted = voxels * (1 - soft) + soft * (0.4 * voxels + 0.6 * local) * (
        1 + (ratio - 1) * texture
    )
    return painted, soft


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return float(2 * (a & b).sum() / total) if total else 1.0


def run(
    voxels: np.ndarray, affine: np.ndarray, bundle: Bundle, networks: Networks
) -> tuple[np.ndarray, np.ndarray]:
    """Return lesion and cord masks of one volume, as predict would make them."""
    volume = Volume(voxels.astype(np.float32), affine, "check")
    part = bundle.segmentation
    outputs = SegmentationOptions.of(part.network)
    found = segment(volume, networks, part.grid, outputs)
    options = LesionOptions(
        threshold=part.threshold, min_volume_mm3=part.min_lesion_mm3
    )
    marked = mark_lesions(found, volume, options)
    cord = marked.cord.voxels if marked.cord else np.zeros(voxels.shape, bool)
    return marked.mask.labels > 0, cord


def healthy(bundle: Bundle, networks: Networks) -> dict[str, dict[str, float]]:
    rows = {}
    for name in HEALTHY:
        folder = DATA / "real_t2w" / name
        voxels, affine = read(folder / "t2.nii.gz")
        truth_file = folder / "t2_manual_segmentation.nii.gz"
        for kind, slabs in (("1 mm", False), ("3 mm", True)):
            image, place = to_slabs(voxels, affine) if slabs else (voxels, affine)
            lesion, cord = run(image, place, bundle, networks)
            row = {"false_ml": lesion.sum() * abs(np.linalg.det(place[:3, :3])) / 1000}
            if truth_file.exists():
                truth, _ = read(truth_file)
                truth = to_slabs(truth, affine)[0] if slabs else truth
                # Rows without a drawn cord were outside what the rater outlined.
                rows_drawn = (truth > 0.5).any(axis=(0, 2))
                row["cord_dice"] = dice(cord[:, rows_drawn], truth[:, rows_drawn] > 0.5)
            rows[f"{name} {kind}"] = {k: round(float(v), 3) for k, v in row.items()}
    return rows


def fake_lesion(bundle: Bundle, networks: Networks) -> dict[str, float]:
    folder = DATA / "real_t2w" / "fake_lesion"
    voxels, affine = read(folder / "t2_fake_lesion.nii.gz")
    truth = read(folder / "t2_fake_lesion_lesion_seg.nii.gz")[0] > 0
    cord_truth = read(folder / "t2_fake_lesion_sc_seg.nii.gz")[0] > 0
    lesion, cord = run(voxels, affine, bundle, networks)
    labels, count = ndimage.label(lesion, np.ones((3, 3, 3)))
    best = max((dice(labels == n, truth) for n in range(1, count + 1)), default=0.0)
    return {
        "dice": round(dice(lesion, truth), 3),
        "best_component_dice": round(best, 3),
        "cord_dice": round(dice(cord, cord_truth), 3),
    }


def lumbar(bundle: Bundle, networks: Networks) -> dict[str, float]:
    """Share of lumbar slices without a lesion; each is given as a stack of one."""
    clean = []
    for path in sorted((DATA / "lumbar_t2w_png" / "images").glob("*.png")):
        pixels = reader.imread(path)
        grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(axis=2)
        # Columns run to the back, rows to the feet; pixel size is not recorded.
        affine = np.array(
            [[-4.0, 0, 0, 0], [0, 0, -0.6, 0], [0, -0.6, 0, 0], [0, 0, 0, 1.0]]
        )
        lesion, _ = run(grey[None].astype(np.float32), affine, bundle, networks)
        clean.append(not lesion.any())
    return {"slices": len(clean), "without_lesion": round(float(np.mean(clean)), 3)}


FIRST = Task.TUMOUR_VS_DEMYELINATION

Answers = list[tuple[str, str, Prediction]]


def painted(
    bundle: Bundle, networks: Networks, repeats: int, first_seed: int
) -> tuple[dict[str, dict[str, float]], Answers]:
    """Return Dice by kind and contrast, and kind, contrast and answer of each."""
    rows: dict[str, dict[str, float]] = {}
    answers: Answers = []
    scans = []
    for name in HEALTHY[:2]:
        folder = DATA / "real_t2w" / name
        voxels, affine = read(folder / "t2.nii.gz")
        cord = read(folder / "t2_manual_segmentation.nii.gz")[0] > 0.5
        scans.append((voxels, affine, cord))
    for kind in SHAPES:
        rows[kind] = {}
        for name in (AS_PUBLISHED, *map(str, RATIOS)):
            ratio = LITERATURE[kind] if name == AS_PUBLISHED else float(name)
            scores = []
            for number, (voxels, affine, cord) in enumerate(scans):
                for repeat in range(repeats):
                    seed = first_seed + 1000 * number + repeat
                    image, soft = paint(voxels, cord, kind, ratio, seed)
                    slabs, place = to_slabs(image, affine)
                    truth = to_slabs(soft, affine)[0] > 0.5
                    volume = Volume(slabs.astype(np.float32), place, "check")
                    result = run_case("check", [volume], networks, bundle)
                    answers.append((kind, name, result.prediction))
                    lesion = result.series[0].mask.labels > 0
                    scores.append(dice(lesion, truth))
            rows[kind][name] = round(float(np.mean(scores)), 3)
    return rows, answers


def classes(answers: Answers) -> dict[str, float | int | dict[str, int]]:
    """Judge the answers at the contrast of the literature; a missed lesion is wrong.

    ``answer_right`` asks for the answer itself, ``first_stage_right`` for the first of
    the three models, and the other shares for the largest of the four probabilities,
    which an answer of ``indeterminate`` has too.
    """
    judged = [one for one in answers if one[1] == AS_PUBLISHED]
    right, likely, group, first, scores = [], [], [], [], []
    for kind, _, prediction in judged:
        right.append(prediction.diagnosis.value == kind)
        by_name = prediction.probabilities
        top = max(by_name, key=lambda name: by_name[name]) if by_name else None
        likely.append(top is not None and top.value == kind)
        side = class_of(FIRST, Disease(kind))
        group.append(top is not None and class_of(FIRST, top) == side)
        stage = prediction.stages[0] if prediction.stages else None
        first.append(
            stage is not None and (stage.answer == FIRST.positive) == bool(side)
        )
        if prediction.stages:
            scores.append((side, prediction.stages[0].positive_probability))
    found, positive = np.array(scores, dtype=np.float64).reshape(-1, 2).T
    said = Counter(f"{kind}: {p.diagnosis.value}" for kind, _, p in judged)
    return {
        "lesions": len(judged),
        "answer_right": round(float(np.mean(right)), 3),
        "most_probable_right": round(float(np.mean(likely)), 3),
        "tumour_or_demyelination_right": round(float(np.mean(group)), 3),
        "first_stage_right": round(float(np.mean(first)), 3),
        "auc_of_those_found": round(area_under_curve(found, positive), 3),
        "answers": dict(sorted(said.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0, help="other lesions")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.weights)
    networks = open_networks(bundle)
    result = {
        "weights": f"{bundle.name} {bundle.version}",
        "healthy": healthy(bundle, networks),
        "fake_lesion": fake_lesion(bundle, networks),
        "lumbar": lumbar(bundle, networks),
    }
    scores, answers = painted(bundle, networks, arguments.repeats, arguments.first_seed)
    result |= {"painted_dice": scores, "painted_classes": classes(answers)}
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
