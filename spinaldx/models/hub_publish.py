"""Put a bundle on a model hub, with a card that the hub understands."""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCardData
from huggingface_hub.errors import RepositoryNotFoundError

from spinaldx.errors import (
    ChecksumError,
    HubError,
    IncompatibleWeightsError,
    UsageError,
)
from spinaldx.files import json_bytes, write_bytes
from spinaldx.models.bundle import CARD_NAME, Bundle, verify_bundle
from spinaldx.models.bundle_store import bundle_files, describe_bundle
from spinaldx.models.hub import HubOptions, Reference, Wanted
from spinaldx.models.hub_download import Received
from spinaldx.models.hub_offer import list_files
from spinaldx.models.hub_session import HubSession, ask, open_hub
from spinaldx.models.manifest import (
    FileEntry,
    HubSource,
    Manifest,
    ManifestEntry,
    is_repo_id,
    load_manifest,
    manifest_document,
)

_PIPELINE = "image-segmentation"
_TAGS = ("medical-imaging", "mri", "spinal-cord", "image-classification")

# Licences that hubs know by name; any other is "other" with its own name.
_HUB_LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0"),
        *("cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "openrail", "mpl-2.0"),
    )
)

_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n+", re.DOTALL)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True, slots=True)
class Published:
    """What was put on a hub.

    Attributes:
        source: Repository and commit.
        tag: That names the commit.
        entry: For a manifest.
        is_private: Whether only members of the organisation can read it.
    """

    source: HubSource
    tag: str
    entry: ManifestEntry
    is_private: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """What goes to the hub: the files of a bundle's folder, but another card."""

    bundle: Bundle
    card: bytes

    def files(self) -> dict[str, Path | bytes]:
        """Return each file by name: its place here, or its bytes."""
        names = bundle_files(self.bundle)
        places = {name: self.bundle.folder / name for name in names}
        return {**places, CARD_NAME: self.card}

    def describe(self, source: HubSource) -> ManifestEntry:
        """Make the manifest entry of what was sent."""
        entry = describe_bundle(self.bundle, source)
        card = FileEntry(hashlib.sha256(self.card).hexdigest(), len(self.card))
        return replace(entry, files={**entry.files, CARD_NAME: card})


def publish_bundle(
    bundle: Bundle, repo_id: str, options: HubOptions, *, public: bool = False
) -> Published:
    """Upload a bundle and its card in one commit, and tag it with its version.

    The card goes there with the hub's metadata on top. Nothing here is changed: the
    bundle may lie in a store, which pins every byte.

    Args:
        bundle: From `load_bundle`.
        repo_id: ``ORG/NAME``; made when missing.
        options: How to reach the hub.
        public: Whether everybody may read it.

    Returns:
        Where it is now; the entry pins the files as they were sent.

    Raises:
        UsageError: If name or version cannot be a repository or a tag.
        IncompatibleWeightsError: If it was trained on patients and has no statement
            on ethics.
        WeightsError: If the bundle is not fit to be used.
        HubError: If the hub refuses, has this version, or is more public than asked.
        ChecksumError: If the hub says that it got other bytes.
    """
    _check_publishable(bundle, repo_id)
    sent = _Sent(bundle, _card(bundle))
    tag = f"v{bundle.version}"
    what = f"{repo_id}@{tag}"
    with open_hub(options, what) as (api, session):
        is_private = _make_repository(api, session, repo_id, public=public)
        _check_tag_is_free(api, session, repo_id, tag)
        commit = ask(session, lambda: _upload(api, sent, repo_id), writes=True)
        source = HubSource(repo_id, commit)
        _check_upload(api, session, source, sent)
        ask(
            session,
            lambda: api.create_tag(repo_id, tag=tag, revision=commit),
            writes=True,
        )
    return Published(source, tag, sent.describe(source), is_private)


def add_to_manifest(path: Path, name: str, entry: ManifestEntry) -> None:
    """Write an entry into a manifest file, which is made when missing.

    Raises:
        WeightsError: If the file is there and no manifest.
        OutputError: If it cannot be written.
    """
    manifest = load_manifest(path) if path.exists() else Manifest()
    bundles = {**manifest.bundles, name: entry}
    write_bytes(path, json_bytes(manifest_document(Manifest(bundles))))


def card_with_metadata(bundle: Bundle, text: str) -> str:
    """Put the metadata that hubs read on top of a card; older ones are replaced."""
    licence = bundle.licence.lower()
    is_listed = licence in _HUB_LICENCES
    slug = re.sub(r"[^a-z0-9.]+", "-", licence).strip("-.") or "other"
    metadata = ModelCardData(
        license=licence if is_listed else "other",
        license_name=None if is_listed else slug,
        library_name="spinaldx",
        pipeline_tag=_PIPELINE,
        tags=[*_TAGS, f"trained-on-{bundle.training_data}"],
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{_FRONT_MATTER.sub('', text)}"


def _check_publishable(bundle: Bundle, repo_id: str) -> None:
    if not is_repo_id(repo_id):
        message = f"{repo_id!r} is not ORG/NAME."
        raise UsageError(message)
    if _VERSION.fullmatch(bundle.version) is None:
        message = f"Version {bundle.version!r} cannot be a tag."
        raise UsageError(message, hint="Change it in bundle.json.")
    # Weights of which a part is simulation's say so, and may know patients too.
    if bundle.has_met_patients and not bundle.ethics.strip():
        message = f"{bundle.name} was trained on patients and says nothing of ethics."
        hint = "State approval and consent in bundle.json, under `ethics`."
        raise IncompatibleWeightsError(message, hint=hint)
    verify_bundle(bundle)


def _card(bundle: Bundle) -> bytes:
    path = bundle.folder / CARD_NAME
    try:
        old = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{bundle.folder} has no readable model card {CARD_NAME}."
        raise IncompatibleWeightsError(message, hint="Write one.") from error
    return card_with_metadata(bundle, old).encode()


def _make_repository(
    api: HfApi, session: HubSession, repo_id: str, *, public: bool
) -> bool:
    ask(session, api.whoami)
    try:
        info = ask(session, lambda: api.repo_info(repo_id))
    except RepositoryNotFoundError:
        ask(
            session,
            lambda: api.create_repo(repo_id, private=not public),
            writes=True,
        )
        info = ask(session, lambda: api.repo_info(repo_id))
    is_private = bool(info.private)
    if not is_private and not public:
        message = f"{repo_id} is public; nothing was sent."
        hint = "Say --public, or make the repository private first."
        raise HubError(message, hint=hint)
    return is_private


def _check_tag_is_free(api: HfApi, session: HubSession, repo_id: str, tag: str) -> None:
    refs = ask(session, lambda: api.list_repo_refs(repo_id))
    if tag in {item.name for item in refs.tags}:
        message = f"{Reference(repo_id, tag)} is already published."
        raise HubError(message, hint="Give the bundle a higher version.")


def _upload(api: HfApi, sent: _Sent, repo_id: str) -> str:
    operations = [CommitOperationAdd(*item) for item in sent.files().items()]
    with warnings.catch_warnings():
        # Advice on cards, for people who write them by hand.
        warnings.simplefilter("ignore")
        made = api.create_commit(
            repo_id,
            operations,
            commit_message=f"Publish {sent.bundle.name} {sent.bundle.version}",
            num_threads=1,
        )
    return made.oid


def _check_upload(
    api: HfApi, session: HubSession, source: HubSource, sent: _Sent
) -> None:
    listed = list_files(api, session, source)
    for name, content in sent.files().items():
        if name not in listed or not _is_same(content, listed[name]):
            message = f"{source.repo_id} does not hold {name} as it was sent."
            raise ChecksumError(message, hint="Do not use it; publish again.")


def _is_same(content: Path | bytes, listed: Wanted) -> bool:
    received = Received(io.BytesIO(), listed)
    received.add(content.read_bytes() if isinstance(content, Path) else content)
    return received.is_right
