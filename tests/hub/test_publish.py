"""Publishing to a hub, and the way back."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import hub_faults as faults
import nibabel as nib
import numpy as np
import phantoms
import pytest
from hub_faults import files_of, status
from huggingface_hub import ModelCard

from spinaldx.errors import (
    ChecksumError,
    HubError,
    IncompatibleWeightsError,
    UsageError,
)
from spinaldx.models import hub_publish, load_bundle
from spinaldx.models.archive import export_bundle
from spinaldx.models.bundle_store import describe_bundle
from spinaldx.models.hub_publish import card_with_metadata, publish_bundle
from spinaldx.models.manifest import ArchiveSource, FileEntry, load_manifest
from spinaldx.records import Disease
from spinaldx.simulation.patient import PatientOptions, simulate_patient


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    """A copy of the tiny bundle that a test may change."""
    return shutil.copytree(tiny_bundle.folder, tmp_path / "mine")


@pytest.fixture
def options(hub_options):
    return replace(hub_options, token="hf_right")


def uploaded_in(repo, made):
    """Bytes by name of what a repository got."""
    uploaded = dict(repo.commits[made.source.commit])
    del uploaded[".gitattributes"]
    return uploaded


def sent_from(folder):
    """Bytes by name of what a bundle's folder gives, its card with metadata on top."""
    files = files_of(folder)
    card = card_with_metadata(load_bundle(folder), files["README.md"].decode())
    return {**files, "README.md": card.encode()}


def describe(folder, **changes):
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return load_bundle(folder)


class TestPublish:
    def test_uploads_the_bundle_in_private(self, hub, folder, options):
        made = publish_bundle(load_bundle(folder), "lab/new", options)

        repo = hub.repos["lab/new"]
        assert uploaded_in(repo, made) == sent_from(folder)
        assert (repo.private, made.is_private) == (True, True)
        assert repo.tags == {made.tag: made.source.commit}

    def test_changes_nothing_here(self, folder, options):
        before = files_of(folder)

        publish_bundle(load_bundle(folder), "lab/new", options)

        assert files_of(folder) == before

    def test_the_entry_pins_what_the_hub_holds(self, hub, folder, options):
        made = publish_bundle(load_bundle(folder), "lab/new", options)

        uploaded = uploaded_in(hub.repos["lab/new"], made)
        assert made.entry.files == {
            name: FileEntry(sha256(content).hexdigest(), len(content))
            for name, content in uploaded.items()
        }

    def test_a_bundle_of_the_store_keeps_its_pins(
        self, tiny_bundle, store, spinaldx, tmp_path
    ):
        entry = describe_bundle(tiny_bundle, ArchiveSource())
        file = tmp_path / "tiny.zip"
        export_bundle("tiny", entry, tiny_bundle.folder, file)
        assert spinaldx("weights", "import", file)[0] == 0

        code = spinaldx("weights", "publish", store / "tiny", "--repo", "lab/new")[0]

        assert (code, spinaldx("weights", "verify", "tiny")[0]) == (0, 0)

    def test_is_public_only_when_told(self, hub, folder, options):
        publish_bundle(load_bundle(folder), "lab/new", options, public=True)

        assert hub.repos["lab/new"].private is False

    def test_does_not_put_private_weights_in_a_public_repository(
        self, hub, folder, options
    ):
        hub.add("lab/open", {"README.md": b"x"})

        with pytest.raises(HubError, match="is public; nothing was sent"):
            publish_bundle(load_bundle(folder), "lab/open", options)
        assert hub.count("commit") == 0

    def test_leaves_other_files_of_the_folder_here(self, hub, folder, options):
        (folder / "patients.csv").write_text("secret")

        made = publish_bundle(load_bundle(folder), "lab/new", options)

        assert "patients.csv" not in hub.repos["lab/new"].commits[made.source.commit]

    def test_refuses_patients_without_a_word_on_ethics(self, hub, folder, options):
        bundle = describe(folder, training_data="patients", ethics="")

        with pytest.raises(IncompatibleWeightsError, match="nothing of ethics"):
            publish_bundle(bundle, "lab/new", options)
        assert hub.requests == []

    def test_nor_where_a_part_of_the_weights_has_met_them(self, folder, options):
        told = {"learned_from": "patients"}
        bundle = replace(describe(folder, training_data="simulated"), metrics=told)

        with pytest.raises(IncompatibleWeightsError, match="nothing of ethics"):
            publish_bundle(replace(bundle, ethics=""), "lab/new", options)

    def test_accepts_patients_with_one(self, folder, options):
        bundle = describe(folder, training_data="patients", ethics="Approved, no. 7.")

        assert publish_bundle(bundle, "lab/new", options).tag

    def test_refuses_a_version_twice(self, folder, options):
        publish_bundle(load_bundle(folder), "lab/new", options)

        with pytest.raises(HubError, match="already published"):
            publish_bundle(load_bundle(folder), "lab/new", options)

    @pytest.mark.parametrize("repo", ["new", "a/b/c", "../x"])
    def test_refuses_a_bad_name(self, repo, folder, options):
        with pytest.raises(UsageError, match="is not ORG/NAME"):
            publish_bundle(load_bundle(folder), repo, options)

    def test_refuses_a_version_that_is_no_tag(self, folder, options):
        with pytest.raises(UsageError, match="cannot be a tag"):
            publish_bundle(describe(folder, version="1 0"), "lab/new", options)

    def test_refuses_a_damaged_bundle(self, hub, folder, options):
        (folder / "segmentation.safetensors").write_bytes(b"x")

        with pytest.raises(ChecksumError):
            publish_bundle(load_bundle(folder), "lab/new", options)
        assert hub.requests == []

    def test_refuses_a_bundle_without_a_card(self, folder, options):
        (folder / "README.md").unlink()

        with pytest.raises(IncompatibleWeightsError, match="model card"):
            publish_bundle(load_bundle(folder), "lab/new", options)

    def test_notices_that_the_hub_holds_other_bytes(self, hub, folder, options):
        def spoil(handler):
            handler.body = b"spoilt"
            handler.answer()

        hub.faults["blob"] = [spoil]

        with pytest.raises(ChecksumError, match="as it was sent"):
            publish_bundle(load_bundle(folder), "lab/new", options)
        assert hub.repos["lab/new"].tags == {}


FAULTS = {
    "a wrong token": ("whoami", status(401, text="Invalid credentials"), "refuses"),
    "no right to create": ("create", status(403), "refuses access"),
    "a dead server": ("whoami", faults.reset, "Cannot reach"),
    "no answer": ("whoami", faults.hang, "no answer in time"),
    "a portal": ("whoami", faults.portal, "not answer as a model hub"),
    "an upload cut": ("blob", faults.reset, "Cannot reach"),
    "an upload refused": ("blob", status(403), "refuses"),
    "an overloaded store": ("blob", status(503), "HTTP status 503"),
    "a commit refused": ("commit", status(403), "refuses"),
    "a commit cut": ("commit", faults.reset, "Cannot reach"),
    "a tag refused": ("tag", status(403), "refuses"),
    "a card refused": ("yaml", status(400, text="bad card"), "as a model hub"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name, hub, folder, options):
    kind, fault, message = FAULTS[name]
    hub.faults[kind] = [fault]
    # The library's own pauses between its tries are real.
    options = replace(options, patience_s=2.0)

    with pytest.raises(HubError, match=message) as caught:
        publish_bundle(load_bundle(folder), "lab/new", options)
    assert "\n" not in caught.value.message


def test_without_a_token_says_so(hub, folder, spinaldx, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)

    code, _, err = spinaldx("weights", "publish", folder, "--repo", "lab/new")

    assert (code, "HF_TOKEN" in err, "Traceback" in err) == (4, True, False)


class TestCard:
    @pytest.mark.parametrize(
        ("licence", "shown"),
        [
            ("Apache-2.0", "apache-2.0"),
            ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
            ("Ours", "other"),
        ],
    )
    def test_has_metadata_that_hubs_read(self, licence, shown):
        bundle = phantoms.fake_bundle(licence=licence)

        card = ModelCard(card_with_metadata(bundle, "# Card\n"))

        assert card.data.license == shown
        assert card.data.library_name == "spinaldx"
        assert card.data.pipeline_tag == "image-segmentation"
        assert "trained-on-simulated" in card.data.tags
        assert card.text.strip() == "# Card"

    def test_is_the_same_when_written_twice(self):
        bundle = phantoms.fake_bundle()
        once = card_with_metadata(bundle, "# Card\n")

        assert card_with_metadata(bundle, once) == once


def test_the_entry_can_go_into_a_manifest(folder, options, tmp_path):
    made = publish_bundle(load_bundle(folder), "lab/new", options)
    path = tmp_path / "weights_manifest.json"

    hub_publish.add_to_manifest(path, "tiny", made.entry)
    hub_publish.add_to_manifest(path, "again", made.entry)

    assert load_manifest(path).bundles == {"tiny": made.entry, "again": made.entry}


@pytest.fixture
def study(tmp_path):
    options = PatientOptions(disease=Disease.EPENDYMOMA)
    patient = simulate_patient("sim", np.random.SeedSequence(4), options)
    volume = patient.stations[0].volume
    (tmp_path / "study").mkdir()
    image = nib.Nifti1Image(volume.voxels.astype(np.int16), volume.affine_ras)
    nib.save(image, tmp_path / "study" / "t2w.nii.gz")
    return tmp_path / "study"


def results_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "runs" not in path.parts
    }


@pytest.fixture
def trained(tmp_path):
    """The folder of a bundle that a tiny `fine-tune` wrote."""
    pytest.importorskip("torch")
    import training_cases  # noqa: PLC0415 - imports torch

    from spinaldx.training.fine_tuning import fine_tune  # noqa: PLC0415 - as above

    table = training_cases.write_cohort(tmp_path / "cohort")
    request = training_cases.tiny_request(table, tmp_path / "trained")
    return fine_tune(request, training_cases.Listener()).bundle.folder


def test_the_round_trip_of_a_trained_bundle_changes_no_byte(
    hub, trained, study, store, spinaldx, tmp_path
):
    folder = trained
    manifest = tmp_path / "manifest.json"
    words = ("predict", study, "--no-report", "--threads", 1, "-o")
    before = spinaldx(*words, tmp_path / "before", "--weights", folder)

    code, out, _ = spinaldx(
        "weights", "publish", folder, "--repo", "lab/new", "--write-manifest", manifest
    )
    assert (code, list(json.loads(out))) == (0, ["tiny"])

    # A laboratory that got the manifest: predict fetches on first use.
    store.mkdir()
    shutil.copy(manifest, store / "weights_manifest.json")
    after = spinaldx(*words, tmp_path / "after", "--weights", "tiny")

    assert (before[0], after[0]) == (0, 0)
    assert spinaldx("weights", "verify", "tiny")[0] == 0
    assert results_of(tmp_path / "before") == results_of(tmp_path / "after")
    assert files_of(store / "tiny") == sent_from(folder)
