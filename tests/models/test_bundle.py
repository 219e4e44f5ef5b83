import dataclasses
import hashlib
import json
import pickle
import shutil

import numpy as np
import phantoms
import pytest
from safetensors.numpy import load, save

from spinaldx.errors import (
    ChecksumError,
    IncompatibleWeightsError,
    ManifestError,
    OutputError,
    WeightsNotFoundError,
)
from spinaldx.grid import CropSpec
from spinaldx.models import (
    bundle_store,
    find_bundle,
    load_bundle,
    verify_bundle,
    write_bundle,
)
from spinaldx.models.bundle import load_tensors
from spinaldx.models.manifest import Manifest, load_manifest
from spinaldx.records import Task, WeightsInfo

WEIGHTS = "segmentation.safetensors"
MANIFEST = "weights_manifest.json"


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    """A copy of the tiny bundle that a test may spoil."""
    return shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")


def description(folder):
    return json.loads((folder / "bundle.json").read_text())


def describe(folder, document):
    (folder / "bundle.json").write_text(json.dumps(document))


def change(folder, path, value):
    """Replace one value of the description; None deletes it."""
    document = description(folder)
    place = document
    *way, last = path
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    describe(folder, document)


def replace_weights(folder, content):
    """Put other bytes in place and describe them rightly."""
    (folder / WEIGHTS).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    change(folder, ("segmentation", "sha256"), sha256)


def manifest_of(folder, name="tiny", **changes):
    """Write a manifest that pins a bundle's description."""
    content = (folder / "bundle.json").read_bytes()
    entry = {
        "source": {"kind": "package"},
        "files": {
            "bundle.json": {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
            }
        },
        "licence": "Apache-2.0",
        "summary": "Tiny.",
        "training_data": "simulated",
        "minimum_program_version": "0.1.0",
    } | changes
    return json.dumps({"schema_version": 1, "bundles": {name: entry}})


class TestLoadBundle:
    def test_reads_what_was_described(self, tiny_bundle):
        found = load_bundle(tiny_bundle.folder)

        assert found == tiny_bundle
        assert found.segmentation.network.outputs == ("lesion", "cord")
        assert set(found.classifiers) == set(Task)
        assert list(found.parts) == ["segmentation", *Task]

    def test_says_which_weights_they_are(self, folder):
        content = (folder / "bundle.json").read_bytes()

        sha256 = hashlib.sha256(content).hexdigest()
        assert load_bundle(folder).info == WeightsInfo("tiny", "1", "simulated", sha256)

    def test_refuses_a_folder_without_one(self, tmp_path):
        with pytest.raises(WeightsNotFoundError, match="No weight bundle") as caught:
            load_bundle(tmp_path)
        assert "weights list" in caught.value.hint

    @pytest.mark.parametrize(
        ("path", "value", "where"),
        [
            (("name",), "../x", r"\$\.name: '\.\./x' is not a plain"),
            (("licence",), " ", r"\$\.licence: expected a text"),
            (("intended_use",), "a\x00b", r"\$\.intended_use"),
            (("training_data",), "guesses", r"\$\.training_data: expected one of"),
            (("ethics",), 3, r"\$\.ethics: expected a text, got a number"),
            (("fast_precision",), ["int8"], r"\$\.fast_precision\[0\]: unknown"),
            (("fast_precision",), [8], r"\$\.fast_precision\[0\]: expected a text"),
            (("metrics",), None, r"\$\.metrics: missing"),
            (("colour",), "red", r"\$\.colour: unknown key"),
            (("segmentation", "threshold"), 1.5, r"threshold: expected 0 to 1, got"),
            (("segmentation", "threshold"), "x", r"threshold: expected a number"),
            (("segmentation", "threshold"), True, r"threshold: .*true or false"),
            (("segmentation", "file"), "../w", r"segmentation\.file: '\.\./w'"),
            (("segmentation", "file"), "w.pt", r"only \.safetensors files"),
            (("segmentation", "grid", "pixel_mm"), 0, r"grid\.pixel_mm: expected 0\.1"),
            (("segmentation", "network", "width"), 3, r"network\.width: unknown"),
            (("classifiers", "more"), {}, r"\$\.classifiers\.more: unknown"),
            (("classifiers", "ms_vs_nmosd"), None, r"classifiers\.ms_vs_nmosd: miss"),
            (
                ("classifiers", "ms_vs_nmosd", "network", "blocks"),
                [1, 2, 3],
                r"network\.blocks: expected 4 numbers, got 3",
            ),
            (
                ("classifiers", "ms_vs_nmosd", "network", "blocks"),
                [1, 2, 3, 0],
                r"network\.blocks\[3\]: expected a whole number from 1",
            ),
            (
                ("classifiers", "ms_vs_nmosd", "temperature"),
                0,
                r"temperature: expected 0\.01 to 100",
            ),
            (
                ("segmentation", "grid", "least_slice_mm"),
                -1,
                r"least_slice_mm: expected 0 to 20",
            ),
            (("crop", "channels"), ["t1w"], r"crop\.channels\[0\]: unknown channel"),
            (("crop", "masking"), None, r"crop\.masking: missing"),
        ],
    )
    def test_names_a_fault_by_its_json_path(self, folder, path, value, where):
        change(folder, path, value)

        with pytest.raises(ManifestError, match=where):
            load_bundle(folder)

    @pytest.mark.parametrize(
        ("path", "value", "problem"),
        [
            (("schema_version",), 2, "schema version 2"),
            (("minimum_program_version",), "99.0", "needs spinaldx 99.0"),
            (("segmentation", "architecture"), "unet", "not 'unet'"),
            (("classifiers", "ms_vs_nmosd", "architecture"), "vit", "not 'vit'"),
            (("segmentation", "grid", "size_multiple"), 15, "multiple of 2"),
            (("segmentation", "grid", "bright_percentile"), 98.0, "no brighter"),
            (("segmentation", "network", "in_channels"), 2, "must be odd"),
            (("segmentation", "network", "outputs"), ["cord"], "output lesion"),
            (("segmentation", "network", "outputs"), [], "distinct names"),
            (("crop", "height_mm"), 100.0, "multiples of 16"),
            (("crop", "channels"), ["t2w"], "in_channels must be 1"),
        ],
    )
    def test_refuses_by_name_what_it_cannot_run(self, folder, path, value, problem):
        change(folder, path, value)

        with pytest.raises(IncompatibleWeightsError, match=problem) as caught:
            load_bundle(folder)
        assert caught.value.exit_code == 4

    @pytest.mark.parametrize(
        ("part", "key"),
        [
            ("grid", "least_slice_mm"),
            ("grid", "bright_percentile"),
            ("crop", "reference_percentile"),
        ],
    )
    @pytest.mark.parametrize("value", [None, 0.0, 2.5])
    def test_images_are_shown_as_they_are_unless_it_says_otherwise(
        self, folder, part, key, value
    ):
        content = json.loads((folder / "bundle.json").read_text())
        described = {**content["segmentation"], **content}[part]
        del described[key]
        if value is not None:
            described[key] = value
        (folder / "bundle.json").write_text(json.dumps(content))

        bundle = load_bundle(folder)

        parts = {"grid": bundle.segmentation.grid, "crop": bundle.crop}
        assert getattr(parts[part], key) == (value or 0.0)

    def test_keeps_any_metrics_and_an_ethics_statement(self, folder):
        change(folder, ("metrics",), {"dice": [0.5, None]})
        change(folder, ("ethics",), "Approved.\nConsent waived.")

        bundle = load_bundle(folder)

        assert bundle.metrics == {"dice": [0.5, None]}
        assert bundle.ethics == "Approved.\nConsent waived."


class TestVerifyBundle:
    def test_accepts_what_was_written(self, tiny_bundle):
        verify_bundle(tiny_bundle)

    def test_refuses_a_flipped_bit(self, folder):
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[-1] ^= 1
        (folder / WEIGHTS).write_bytes(content)

        with pytest.raises(ChecksumError, match=WEIGHTS):
            verify_bundle(load_bundle(folder))

    def test_refuses_a_missing_file(self, folder):
        (folder / WEIGHTS).unlink()

        with pytest.raises(WeightsNotFoundError, match=WEIGHTS):
            verify_bundle(load_bundle(folder))

    def test_refuses_a_pickle_with_the_right_hash(self, folder):
        replace_weights(folder, pickle.dumps({"weights": [1.0]}))

        with pytest.raises(IncompatibleWeightsError, match="not a safetensors file"):
            verify_bundle(load_bundle(folder))

    def test_refuses_another_networks_tensors(self, folder):
        content = (folder / "ms_vs_nmosd.safetensors").read_bytes()
        replace_weights(folder, content)

        with pytest.raises(IncompatibleWeightsError, match="lacks tensor"):
            verify_bundle(load_bundle(folder))

    def test_refuses_nan_with_the_right_hash(self, folder):
        tensors = load((folder / WEIGHTS).read_bytes())
        name = min(tensors)
        tensors[name] = np.full_like(tensors[name], np.nan)
        replace_weights(folder, save(tensors))

        with pytest.raises(IncompatibleWeightsError, match="NaN"):
            verify_bundle(load_bundle(folder))


class TestWriteBundle:
    def test_writes_the_same_bytes_again(self, tiny_bundle, tmp_path):
        again = phantoms.tiny_bundle(tmp_path)

        for file in tiny_bundle.folder.iterdir():
            assert (tmp_path / file.name).read_bytes() == file.read_bytes()
        assert again.info == tiny_bundle.info

    def test_reads_back_the_numbers(self, tiny_bundle, tmp_path):
        tensors = {part: load_tensors(tiny_bundle, part) for part in tiny_bundle.parts}

        bundle = write_bundle(tiny_bundle, tensors, tmp_path, half=False)

        found = load_tensors(bundle, "ms_vs_nmosd")
        for name, values in tensors["ms_vs_nmosd"].items():
            assert np.array_equal(found[name], values)

    def test_writes_the_card(self, tiny_bundle, tmp_path):
        tensors = {part: load_tensors(tiny_bundle, part) for part in tiny_bundle.parts}

        write_bundle(tiny_bundle, tensors, tmp_path, card="# Mine\n")

        assert (tmp_path / "README.md").read_text() == "# Mine\n"
        assert "simulated" in (tiny_bundle.folder / "README.md").read_text()

    def test_writes_null_for_figures_that_are_not_numbers(self, tmp_path):
        metrics = {"dice": (0.5, float("nan")), "auc": {"ms": float("inf"), "n": 3}}

        bundle = phantoms.tiny_bundle(tmp_path, metrics=metrics)

        assert bundle.metrics == {"dice": [0.5, None], "auc": {"ms": None, "n": 3}}

    def test_replaces_an_older_one(self, tmp_path):
        older = phantoms.tiny_bundle(tmp_path, seed=0)

        newer = phantoms.tiny_bundle(tmp_path, seed=50)

        assert newer.info.sha256 != older.info.sha256
        verify_bundle(newer)

    def test_refuses_tensors_that_do_not_fit_and_writes_nothing(
        self, tiny_bundle, tmp_path
    ):
        tensors = {part: load_tensors(tiny_bundle, part) for part in tiny_bundle.parts}
        tensors["segmentation"] = tensors["ms_vs_nmosd"]

        with pytest.raises(IncompatibleWeightsError, match="lacks tensor"):
            write_bundle(tiny_bundle, tensors, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_refuses_a_description_that_could_not_be_read(self, tiny_bundle, tmp_path):
        tensors = {part: load_tensors(tiny_bundle, part) for part in tiny_bundle.parts}
        odd = dataclasses.replace(tiny_bundle, crop=CropSpec(height_mm=50.0))

        with pytest.raises(IncompatibleWeightsError, match="multiples of 16"):
            write_bundle(odd, tensors, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_says_where_it_cannot_write(self, tiny_bundle, tmp_path):
        tensors = {part: load_tensors(tiny_bundle, part) for part in tiny_bundle.parts}
        (tmp_path / "file").touch()

        with pytest.raises(OutputError):
            write_bundle(tiny_bundle, tensors, tmp_path / "file")


class TestFindBundle:
    @pytest.fixture
    def store(self, folder):
        """A user's store with the tiny bundle in it."""
        (folder.parent / MANIFEST).write_text(manifest_of(folder))
        return folder.parent

    def test_by_folder(self, folder):
        assert find_bundle(str(folder)).folder == folder

    def test_by_a_folders_bare_name(self, folder, monkeypatch):
        monkeypatch.chdir(folder.parent)

        assert find_bundle("tiny").name == "tiny"

    def test_by_name_in_the_users_store(self, store):
        assert find_bundle("tiny", user_store=store).folder == store / "tiny"

    def test_the_shipped_one_wins(self, store, tmp_path, monkeypatch):
        shipped = tmp_path / "shipped"
        phantoms.tiny_bundle(shipped / "tiny", seed=9)
        content = manifest_of(shipped / "tiny").encode()
        (tmp_path / "shipped.json").write_bytes(content)
        manifest = load_manifest(tmp_path / "shipped.json")
        monkeypatch.setattr(bundle_store, "shipped_manifest", lambda: manifest)
        monkeypatch.setattr(bundle_store, "_SHIPPED", shipped)

        assert find_bundle("tiny", user_store=store).folder == shipped / "tiny"

    def test_refuses_a_description_that_is_not_the_pinned_one(self, store):
        change(store / "tiny", ("version",), "2")

        with pytest.raises(ChecksumError, match="manifest pins") as caught:
            find_bundle("tiny", user_store=store)
        assert caught.value.exit_code == 4

    def test_refuses_a_pinned_bundle_that_is_gone(self, store):
        shutil.rmtree(store / "tiny")

        with pytest.raises(WeightsNotFoundError):
            find_bundle("tiny", user_store=store)

    def test_refuses_an_unknown_name(self, store, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        with pytest.raises(WeightsNotFoundError, match="unknown"):
            find_bundle("unknown", user_store=store)

    def test_a_store_without_a_manifest_holds_nothing(self, folder, tmp_path):
        with pytest.raises(WeightsNotFoundError):
            find_bundle("tiny", user_store=folder)


def test_shipped_bundles_are_those_of_the_manifest():
    manifest = bundle_store.shipped_manifest()

    assert isinstance(manifest, Manifest)
    for name in manifest.bundles:
        verify_bundle(find_bundle(name))
