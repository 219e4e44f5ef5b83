"""Pull bundles from a model hub: pinned, checked byte by byte, placed whole.

The hub's own cache is read and never written or trusted: what lies there counts
only when its bytes are those wanted. What is fetched goes straight into a hidden
folder of the user's store and becomes visible when all of it is right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spinaldx.errors import (
    ChecksumError,
    IncompatibleWeightsError,
    UsageError,
    WeightsError,
)
from spinaldx.models.bundle import (
    BUNDLE_NAME,
    Bundle,
    load_bundle,
    verify_bundle,
)
from spinaldx.models.bundle_store import (
    KnownBundle,
    describe_bundle,
    known_bundles,
    load_known,
)
from spinaldx.models.manifest import (
    HubSource,
    ManifestEntry,
    check_files,
    is_repo_id,
)
from spinaldx.models.user_store import locked_store, place_bundle, staging_folder

DEFAULT_ENDPOINT = "https://huggingface.co"

_DEFAULT_REVISION = "main"


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How to reach a hub; the command line fills it from the environment.

    Attributes:
        endpoint: Web address.
        token: Access token; empty takes the one that `hf auth login` stored.
        cache: Folder of the hub's own cache, read only; None takes its default.
        offline: Send nothing at all.
        patience_s: A server that gives nothing for so long is dead.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str = ""
    cache: Path | None = None
    offline: bool = False
    patience_s: float = 10.0

    @property
    def shown_endpoint(self) -> str:
        """The address for messages: without name and password."""
        scheme, mark, rest = self.endpoint.partition("://")
        place, slash, path = rest.partition("/")
        return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository on a hub at some revision.

    Attributes:
        repo_id: ``ORG/NAME``.
        revision: Branch, tag or commit.
    """

    repo_id: str
    revision: str = _DEFAULT_REVISION

    def __str__(self) -> str:
        """Return ``ORG/NAME@REVISION``."""
        return f"{self.repo_id}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of a file before it comes.

    Attributes:
        size: In bytes; not one byte more is read.
        sha256: 64 hex digits, empty where unknown.
        blob_id: Name of the bytes in git (sha1), empty where unknown.
    """

    size: int
    sha256: str = ""
    blob_id: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a repository that no manifest names would give.

    Attributes:
        source: Repository and the commit it stood at.
        bundle: Description of its bundle, as it stands there.
        description: Bytes of that description.
        wanted: What is known of each file of the bundle.
        others: Files that are not of the bundle and will not be fetched.
    """

    source: HubSource
    bundle: Bundle
    description: bytes
    wanted: Mapping[str, Wanted]
    others: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(item.size for item in self.wanted.values())


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what happens.

    Attributes:
        on_bytes: File and how many more bytes of it came; negative when a file
            starts anew.
        on_wait: Another process holds the store.
    """

    on_bytes: Callable[[str, int], None] = lambda _file, _count: None
    on_wait: Callable[[], None] = lambda: None


def parse_reference(text: str) -> Reference:
    """Parse ``ORG/NAME`` or ``ORG/NAME@COMMIT_OR_TAG``.

    Raises:
        UsageError: If the text is neither.
    """
    repo_id, _, revision = text.partition("@")
    is_plain = all(sign.isprintable() and not sign.isspace() for sign in revision)
    if not is_repo_id(repo_id) or not is_plain or text.endswith("@"):
        message = f"{text!r} is neither a known bundle nor ORG/NAME@COMMIT_OR_TAG."
        raise UsageError(message, hint="`spinaldx weights list` names known bundles.")
    return Reference(repo_id, revision or _DEFAULT_REVISION)


def find_known(text: str, store: Path) -> KnownBundle | None:
    """Find a bundle that some manifest pins, by name or by its own commit.

    Args:
        text: Name, or ``ORG/NAME@COMMIT``.
        store: Of the user.
    """
    known = known_bundles(store)
    if text in known:
        return known[text]
    for item in known.values():
        source = item.entry.source
        if (
            isinstance(source, HubSource)
            and text == f"{source.repo_id}@{source.commit}"
        ):
            return item
    return None


def is_intact(known: KnownBundle) -> bool:
    """Return whether every byte of a known bundle is there and right."""
    try:
        load_known(known)
        check_files(known.entry, known.folder)
    except WeightsError:
        return False
    return True


def pull_known(
    known: KnownBundle, store: Path, options: HubOptions, listener: Listener
) -> Bundle:
    """Make a pinned bundle present; nothing is sent when it already is.

    Args:
        known: From a manifest.
        store: Of the user.
        options: How to reach the hub.
        listener: Told of bytes.

    Returns:
        The bundle as it lies in the store, checked.

    Raises:
        HubError: If it cannot be fetched.
        ChecksumError: If the hub gives other bytes, twice.
        IncompatibleWeightsError: If this program cannot run it.
        OutputError: If the store cannot be written.
    """
    if is_intact(known):
        return load_known(known)
    source = known.entry.source
    if not isinstance(source, HubSource):
        message = f"Bundle {known.name} is damaged and has no hub address."
        raise ChecksumError(message, hint="Install spinaldx or import the file again.")
    with locked_store(store, listener.on_wait):
        # Another process may have fetched it while this one waited.
        if is_intact(known):
            return load_known(known)
        with staging_folder(store) as staged:
            _fetch(source, _pinned(known.entry), staged, options, listener)
            check_staged(known.name, known.entry, staged)
            place_bundle(store, known.name, staged, None)
    return load_known(known)


def request_offer(reference: Reference, options: HubOptions) -> Offer:
    """Ask a hub what a repository holds; only its description is fetched.

    Args:
        reference: Repository and revision.
        options: How to reach the hub.

    Raises:
        HubError: If the hub does not give it, or it holds no bundle.
        ManifestError: If its description breaks the schema.
        IncompatibleWeightsError: If this program cannot run it.
        ChecksumError: If its bytes are not what the hub itself says.
    """
    from spinaldx.models import hub_offer  # noqa: PLC0415 - imports huggingface_hub

    return hub_offer.read_offer(reference, options)


def pull_offer(
    offer: Offer, store: Path, options: HubOptions, listener: Listener
) -> Bundle:
    """Fetch what was offered and pin what came.

    Args:
        offer: What a person has agreed to.
        store: Of the user.
        options: How to reach the hub.
        listener: Told of bytes.

    Returns:
        The bundle as it lies in the store, checked.

    Raises:
        WeightsError: As `pull_known` does, or if another bundle has that name.
        OutputError: If the store cannot be written.
    """
    name = offer.bundle.name
    with locked_store(store, listener.on_wait):
        check_name_is_free(name, store, offer.source)
        with staging_folder(store) as staged:
            (staged / BUNDLE_NAME).write_bytes(offer.description)
            rest = {k: item for k, item in offer.wanted.items() if k != BUNDLE_NAME}
            _fetch(offer.source, rest, staged, options, listener)
            entry = describe_bundle(load_bundle(staged), offer.source)
            check_staged(name, entry, staged)
            place_bundle(store, name, staged, entry)
    return load_bundle(store / name)


def check_name_is_free(name: str, store: Path, source: HubSource | None) -> None:
    """Refuse to put one bundle in another's place; a newer commit may.

    Args:
        name: Of the bundle that comes.
        store: Of the user.
        source: Where it comes from; None if from a file.

    Raises:
        IncompatibleWeightsError: If the name belongs to another bundle.
    """
    known = known_bundles(store).get(name)
    if known is None:
        return
    if known.is_shipped:
        message = f"The program's own manifest names a bundle {name}, which wins."
        raise IncompatibleWeightsError(message, hint="Its publisher must rename it.")
    old = known.entry.source
    if source and isinstance(old, HubSource) and old.repo_id == source.repo_id:
        return
    message = f"Another bundle {name} is already here."
    raise IncompatibleWeightsError(message, hint=f"`spinaldx weights remove {name}`.")


def _fetch(
    source: HubSource,
    wanted: Mapping[str, Wanted],
    folder: Path,
    options: HubOptions,
    listener: Listener,
) -> None:
    from spinaldx.models import hub_download  # noqa: PLC0415 - imports huggingface_hub

    hub_download.fetch_files(source, wanted, folder, options, listener)


def _pinned(entry: ManifestEntry) -> Mapping[str, Wanted]:
    return {name: Wanted(file.size, file.sha256) for name, file in entry.files.items()}


def check_staged(name: str, entry: ManifestEntry, staged: Path) -> None:
    """Check a bundle that is about to be placed: bytes, name, tensors.

    Raises:
        WeightsError: If it must not be used.
    """
    check_files(entry, staged)
    bundle = load_bundle(staged)
    if bundle.name != name:
        message = f"The bundle calls itself {bundle.name}, not {name}."
        raise IncompatibleWeightsError(message)
    verify_bundle(bundle)
