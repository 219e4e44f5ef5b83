"""What commands share that may have to fetch weights from a model hub."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from spinaldx.cli import console, options, progress

if TYPE_CHECKING:
    from spinaldx.models import Bundle
    from spinaldx.models.bundle_store import KnownBundle
    from spinaldx.models.hub import HubOptions, Offer

_YES = frozenset(("1", "ON", "YES", "TRUE"))


def hub_options() -> "HubOptions":
    """Read how to reach the hub from the environment, as `huggingface_hub` does."""
    from spinaldx.models.hub import (  # noqa: PLC0415 - imports numpy
        DEFAULT_ENDPOINT,
        HubOptions,
    )

    # It reads these when it is imported, which is later.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    return HubOptions(
        endpoint=(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
        token=os.environ.get("HF_TOKEN", "").strip(),
        cache=_cache(),
        offline=os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES,
    )


def _cache() -> Path | None:
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else None


def obtain(weights: str, *, quiet: bool = False) -> "Bundle":
    """Find a bundle; one that a manifest pins and that is not here is fetched.

    Args:
        weights: Name or folder.
        quiet: No progress bar.
    """
    from spinaldx.models import find_bundle  # noqa: PLC0415 - imports numpy
    from spinaldx.models.bundle_store import known_bundles  # noqa: PLC0415 - as above
    from spinaldx.models.manifest import HubSource  # noqa: PLC0415 - as above

    store = options.user_store()
    known = known_bundles(store).get(weights)
    is_on_hub = known is not None and isinstance(known.entry.source, HubSource)
    if known is None or known.is_present or not is_on_hub:
        return find_bundle(weights, user_store=store)
    return pull_known(known, quiet=quiet)


def pull_known(known: "KnownBundle", *, quiet: bool = False) -> "Bundle":
    """Fetch a bundle that a manifest pins, with a bar."""
    from spinaldx.models import hub  # noqa: PLC0415 - imports numpy

    total = sum(file.size for file in known.entry.files.values())
    with progress.download_bar(f"Fetching {known.name}", total, quiet=quiet) as told:
        listener = hub.Listener(told, note_wait)
        return hub.pull_known(known, options.user_store(), hub_options(), listener)


def pull_offer(offer: "Offer", *, quiet: bool = False) -> "Bundle":
    """Fetch and pin what a person has agreed to, with a bar."""
    from spinaldx.models import hub  # noqa: PLC0415 - imports numpy

    title = f"Fetching {offer.bundle.name}"
    with progress.download_bar(title, offer.size, quiet=quiet) as told:
        listener = hub.Listener(told, note_wait)
        return hub.pull_offer(offer, options.user_store(), hub_options(), listener)


def note_wait() -> None:
    """Say that another process holds the store."""
    console.note("Another process changes the weights; waiting for it.")
