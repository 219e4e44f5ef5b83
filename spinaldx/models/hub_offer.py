"""What a repository on a hub holds, asked before anything is fetched."""

import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from spinaldx.errors import ChecksumError, HubError
from spinaldx.models.bundle import BUNDLE_NAME, Bundle, parse_bundle
from spinaldx.models.bundle_store import COMPANIONS
from spinaldx.models.hub import HubOptions, Offer, Reference, Wanted
from spinaldx.models.hub_download import Received, receive_right
from spinaldx.models.hub_session import HubSession, ask, open_hub
from spinaldx.models.manifest import HubSource, is_commit

# A list without an end would fill the memory.
_MOST_FILES = 1000
_LARGEST_DESCRIPTION = 1 << 20


def read_offer(reference: Reference, options: HubOptions) -> Offer:
    """Ask a hub what a repository holds; see `hub.request_offer`."""
    with open_hub(options, str(reference)) as (api, session):
        commit = ask(session, lambda: _read_commit(api, reference))
        source = HubSource(reference.repo_id, commit)
        listed = list_files(api, session, source)
        description = _fetch_description(source, listed, session)
    bundle = parse_bundle(description, Path(reference.repo_id) / BUNDLE_NAME)
    wanted = _select_files(bundle, source, listed)
    others = tuple(sorted(set(listed) - set(wanted)))
    return Offer(source, bundle, description, wanted, others)


def list_files(
    api: HfApi, session: HubSession, source: HubSource
) -> Mapping[str, Wanted]:
    """List the files of a commit with all that the hub says of their bytes."""
    return ask(session, lambda: _read_tree(api, source))


def _read_commit(api: HfApi, reference: Reference) -> str:
    commit = api.repo_info(reference.repo_id, revision=reference.revision).sha
    if not isinstance(commit, str) or not is_commit(commit):
        message = f"not a commit: {commit!r}"
        raise ValueError(message)
    return commit


def _read_tree(api: HfApi, source: HubSource) -> dict[str, Wanted]:
    tree = api.list_repo_tree(source.repo_id, revision=source.commit, recursive=True)
    items = itertools.islice(tree, _MOST_FILES)
    return {item.path: _parse_item(item) for item in items if hasattr(item, "size")}


def _parse_item(item: Any) -> Wanted:  # noqa: ANN401 - checked here
    if type(item.size) is not int or item.size < 0:
        message = f"not a size: {item.size!r}"
        raise ValueError(message)
    if item.lfs is not None:
        return Wanted(item.size, sha256=str(item.lfs.sha256))
    return Wanted(item.size, blob_id=str(item.blob_id))


def _fetch_description(
    source: HubSource, listed: Mapping[str, Wanted], session: HubSession
) -> bytes:
    if BUNDLE_NAME not in listed:
        message = f"{source.repo_id} has no {BUNDLE_NAME}: it is no spinaldx bundle."
        raise HubError(message, hint="Check the name of the repository.")
    if listed[BUNDLE_NAME].size > _LARGEST_DESCRIPTION:
        message = f"{source.repo_id}: {BUNDLE_NAME} is too large to be one."
        raise HubError(message)
    stream = io.BytesIO()
    received = Received(stream, listed[BUNDLE_NAME])
    receive_right(session, source, BUNDLE_NAME, received)
    return stream.getvalue()


def _select_files(
    bundle: Bundle, source: HubSource, listed: Mapping[str, Wanted]
) -> Mapping[str, Wanted]:
    wanted = {BUNDLE_NAME: listed[BUNDLE_NAME]}
    for part in bundle.parts.values():
        if part.file not in listed:
            message = f"{source.repo_id}@{source.commit[:12]} lacks {part.file}."
            raise HubError(message, hint="Ask its publisher, or pull another revision.")
        item = listed[part.file]
        if item.sha256 not in ("", part.sha256):
            message = (
                f"{source.repo_id}@{source.commit[:12]}: {part.file} has sha256 "
                f"{item.sha256}, its {BUNDLE_NAME} says {part.sha256}."
            )
            raise ChecksumError(message, hint="Do not use it; tell its publisher.")
        wanted[part.file] = Wanted(item.size, part.sha256, item.blob_id)
    wanted |= {name: listed[name] for name in COMPANIONS if name in listed}
    return wanted
