"""What the program's own manifest names wins, wherever its bytes lie."""

import dataclasses
import shutil

import pytest

from spinaldx.errors import ChecksumError, IncompatibleWeightsError
from spinaldx.models import archive, bundle_store, find_bundle
from spinaldx.models import hub as models_hub
from spinaldx.models.bundle_store import describe_bundle
from spinaldx.models.hub import Listener, Reference
from spinaldx.models.manifest import HubSource, Manifest, PackageSource


@pytest.fixture
def ship(tiny_bundle, monkeypatch, tmp_path):
    """Let the program's manifest name the tiny bundle; gives its pins."""
    monkeypatch.setattr(bundle_store, "_SHIPPED", tmp_path / "shipped")

    def name_it(source, name="tiny"):
        entry = describe_bundle(tiny_bundle, source)
        manifest = Manifest({name: entry})
        monkeypatch.setattr(bundle_store, "shipped_manifest", lambda: manifest)
        return entry

    return name_it


def test_a_bundle_too_large_for_the_wheel_is_fetched(ship, published, store, spinaldx):
    ship(HubSource("lab/tiny", published))

    assert spinaldx("weights", "pull", "tiny")[0] == 0
    assert find_bundle("tiny", user_store=store).folder == store / "tiny"
    assert not (store / "weights_manifest.json").exists()
    assert spinaldx("weights", "remove", "tiny", "--yes")[0] == 0


def test_it_may_come_in_an_archive(ship, published, tiny_bundle, store, tmp_path):
    entry = ship(HubSource("lab/tiny", published))
    file = tmp_path / "tiny.zip"
    archive.export_bundle("tiny", entry, tiny_bundle.folder, file)

    assert archive.import_bundle(file, store).folder == store / "tiny"
    assert not (store / "weights_manifest.json").exists()


def test_an_archive_with_other_bytes_is_refused(
    ship, published, tiny_bundle, store, tmp_path
):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")
    (folder / "README.md").write_text("# Another card\n")
    bundle = dataclasses.replace(tiny_bundle, folder=folder)
    entry = describe_bundle(bundle, PackageSource())
    archive.export_bundle("tiny", entry, folder, tmp_path / "tiny.zip")
    ship(HubSource("lab/tiny", published))

    with pytest.raises(IncompatibleWeightsError, match="which wins"):
        archive.import_bundle(tmp_path / "tiny.zip", store)


def test_a_repository_cannot_take_its_name(ship, hub, published, store, hub_options):
    ship(PackageSource())
    offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)

    with pytest.raises(IncompatibleWeightsError, match="which wins"):
        models_hub.pull_offer(offer, store, hub_options, Listener())


def test_a_damaged_one_without_an_address_is_named(ship, store, spinaldx):
    ship(PackageSource())

    code, _, err = spinaldx("weights", "pull", "tiny")

    assert (code, "has no hub address" in err) == (4, True)


def test_a_bundle_under_another_name_is_refused(ship, published, store, hub_options):
    ship(HubSource("lab/tiny", published), name="renamed")
    known = models_hub.find_known("renamed", store)

    with pytest.raises(IncompatibleWeightsError, match="calls itself tiny"):
        models_hub.pull_known(known, store, hub_options, Listener())


def test_list_says_that_the_shipped_have_no_address(spinaldx):
    assert "no hub address" in spinaldx("weights", "list")[2]


def test_damage_that_no_hub_can_mend_is_a_checksum_error(ship, store, hub_options):
    ship(PackageSource())
    known = models_hub.find_known("tiny", store)

    with pytest.raises(ChecksumError):
        models_hub.pull_known(known, store, hub_options, Listener())
