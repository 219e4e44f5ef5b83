"""``spinaldx weights``: weight bundles here, on a hub, and in archives."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinaldx.cli import console, hub, options
from spinaldx.cli.console import OutputFormat
from spinaldx.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from spinaldx.models import Bundle
    from spinaldx.models.bundle_store import KnownBundle
    from spinaldx.models.hub import Offer
    from spinaldx.models.hub_publish import Published

group = typer.Typer(
    no_args_is_help=True,
    help="Weight bundles: list, check, fetch, carry, publish.",
    rich_markup_mode="markdown",
)

Name = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="Bundle, by name or folder.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@group.command("list")
def list_bundles(output_format: options.Format = OutputFormat.HUMAN) -> None:
    """List the bundles that are known here.

    Example: `spinaldx weights list`
    """
    from spinaldx.models.bundle_store import known_bundles  # noqa: PLC0415 - numpy

    entries = [_entry(item) for item in known_bundles(options.user_store()).values()]
    if output_format is OutputFormat.JSON:
        console.show_json({"schema_version": 1, "bundles": entries})
        return
    described = [(entry["name"], _lines(entry)) for entry in entries]
    console.show_entries("Weight bundles", described)
    console.note(
        "Bundles that ship with the program have no hub address until their "
        "maintainers publish them."
    )


def _lines(entry: Mapping[str, Any]) -> list[str]:
    """Describe a bundle in lines that terminals of any width can show."""
    place = "here" if entry["present"] else "not here yet"
    size = f"{entry['bytes'] / 1e6:.1f} MB"
    trained = f"trained on {entry['training_data']}"
    facts = [entry["source"], place, size, trained, f"licence {entry['licence']}"]
    return [", ".join(facts), *([entry["summary"]] if entry["summary"] else [])]


def _entry(known: "KnownBundle") -> dict[str, Any]:
    from spinaldx.models.manifest import (  # noqa: PLC0415 - as above
        ArchiveSource,
        HubSource,
    )

    source = "ships with the program"
    if isinstance(known.entry.source, HubSource):
        source = f"{known.entry.source.repo_id}@{known.entry.source.commit[:12]}"
    if isinstance(known.entry.source, ArchiveSource):
        source = "imported from a file"
    return {
        "name": known.name,
        "source": source,
        "present": known.is_present,
        "training_data": known.entry.training_data,
        "bytes": sum(file.size for file in known.entry.files.values()),
        "licence": known.entry.licence,
        "summary": known.entry.summary,
    }


@group.command("show")
def show(name: Name, output_format: options.Format = OutputFormat.HUMAN) -> None:
    """Show a bundle's facts and its model card.

    Example: `spinaldx weights show phantom-v1`
    """
    from spinaldx.models.bundle import (  # noqa: PLC0415 - imports numpy
        CARD_NAME,
        bundle_document,
    )

    bundle = _find(name)
    if output_format is OutputFormat.JSON:
        console.show_json(bundle_document(bundle))
        return
    console.show_values(
        f"{bundle.name} {bundle.version}",
        {
            "trained on": bundle.training_data,
            "licence": bundle.licence,
            "intended use": bundle.intended_use,
            "folder": bundle.folder,
            "sha256 of bundle.json": bundle.description_sha256,
        },
    )
    _show_card(bundle.folder / CARD_NAME)


def _show_card(path: Path) -> None:
    from rich.markdown import Markdown  # noqa: PLC0415 - only here

    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        plain = "".join(s for s in text if s.isprintable() or s == "\n")
        console.data().print(Markdown(plain))


@group.command("pull")
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|ORG/REPO@REVISION",
            help="A known bundle, or a repository at a commit, tag or branch.",
        ),
    ],
    yes: Yes = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a bundle from a model hub and check every byte of it.

    A known bundle has been pinned and comes without a question. For a repository
    that no manifest names, its licence, files and commit are shown first, and what
    came is pinned.

    Example: `spinaldx weights pull lab/spine-weights@v1.0`
    """
    from spinaldx.models import hub as models_hub  # noqa: PLC0415 - imports numpy

    known = models_hub.find_known(name, options.user_store())
    if known is not None:
        bundle = hub.pull_known(known, quiet=quiet)
    else:
        reference = models_hub.parse_reference(name)
        offer = models_hub.request_offer(reference, hub.hub_options())
        models_hub.check_name_is_free(
            offer.bundle.name, options.user_store(), offer.source
        )
        _show_offer(offer)
        _confirm("Fetch and trust this bundle?", yes=yes)
        bundle = hub.pull_offer(offer, quiet=quiet)
    _show_placed(bundle)


def _show_offer(offer: "Offer") -> None:
    terminal = console.messages()
    facts = {
        "repository": offer.source.repo_id,
        "commit": offer.source.commit,
        "bundle": f"{offer.bundle.name} {offer.bundle.version}",
        "licence": offer.bundle.licence,
        "trained on": offer.bundle.training_data,
        "intended use": offer.bundle.intended_use,
        "together": f"{offer.size / 1e6:.1f} MB",
        **{name: f"{file.size} bytes" for name, file in offer.wanted.items()},
    }
    for title, value in facts.items():
        terminal.print(f"  {console.printable(title)}: {console.printable(value)}")
    if offer.others:
        terminal.print(f"  {len(offer.others)} other files are not fetched")


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        message = "Nobody is there to be asked."
        raise UsageError(message, hint="Say --yes where this has been decided.")
    if not typer.confirm(question, err=True):
        message = "Nothing was changed."
        raise UsageError(message)


def _show_placed(bundle: "Bundle") -> None:
    _print(f"{bundle.name} {bundle.version} is here: {bundle.folder}")


@group.command("verify")
def verify(
    name: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="Bundle, by name or folder.")
    ] = options.DEFAULT_WEIGHTS,
) -> None:
    """Check every byte and every tensor of a bundle.

    Example: `spinaldx weights verify phantom-v1`
    """
    from spinaldx.models import verify_bundle  # noqa: PLC0415 - imports numpy
    from spinaldx.models.bundle_store import known_bundles  # noqa: PLC0415 - as above
    from spinaldx.models.manifest import check_files  # noqa: PLC0415 - as above

    bundle = _find(name)
    known = known_bundles(options.user_store()).get(name)
    if known is not None:
        check_files(known.entry, known.folder)
    verify_bundle(bundle)
    files = ", ".join(part.file for part in bundle.parts.values())
    _print(f"{bundle.name} {bundle.version}: fine ({files})")


@group.command("export")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive to write.")],
) -> None:
    """Write a bundle into one file, to carry it to where no network is.

    Example: `spinaldx weights export phantom-v1 phantom-v1.zip`
    """
    from spinaldx.files import sha256_of  # noqa: PLC0415 - with those below
    from spinaldx.models import archive  # noqa: PLC0415 - imports numpy
    from spinaldx.models.bundle_store import (  # noqa: PLC0415 - as above
        describe_bundle,
        known_bundles,
    )
    from spinaldx.models.manifest import ArchiveSource  # noqa: PLC0415 - as above

    bundle = _find(name)
    known = known_bundles(options.user_store()).get(name)
    entry = known.entry if known else describe_bundle(bundle, ArchiveSource())
    archive.export_bundle(bundle.name, entry, bundle.folder, file)
    _print(f"{file} sha256 {sha256_of(file)}")


@group.command("import")
def import_archive(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive to read.")],
) -> None:
    """Put the bundle of an archive among the user's bundles; needs no network.

    Example: `spinaldx weights import phantom-v1.zip`
    """
    from spinaldx.models import archive  # noqa: PLC0415 - imports numpy

    _show_placed(archive.import_bundle(file, options.user_store(), hub.note_wait))


@group.command("publish")
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Bundle to publish.")],
    repo: Annotated[
        str, typer.Option(metavar="ORG/NAME", help="Repository; made when missing.")
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may read it, not only ORG.")
    ] = False,
    write_manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the entry into this manifest."),
    ] = None,
) -> None:
    """Put a bundle on a model hub, private unless told otherwise.

    The card goes there with the metadata that hubs read on top; DIR stays as it is.
    Printed is the manifest entry by which others can pin what was published.

    Example: `spinaldx weights publish my-bundle --repo lab/spine-weights`
    """
    from spinaldx.models import load_bundle  # noqa: PLC0415 - imports numpy
    from spinaldx.models.manifest import entry_document  # noqa: PLC0415 - as above

    options_of_hub = hub.hub_options()
    # Imports huggingface_hub, which must see the environment set above.
    from spinaldx.models import hub_publish  # noqa: PLC0415

    bundle = load_bundle(folder)
    published = hub_publish.publish_bundle(bundle, repo, options_of_hub, public=public)
    if write_manifest is not None:
        hub_publish.add_to_manifest(write_manifest, bundle.name, published.entry)
    console.show_json({bundle.name: entry_document(published.entry)})
    _note_published(published, public=public)


def _note_published(published: "Published", *, public: bool) -> None:
    source = published.source
    seen = "private" if published.is_private else "public"
    console.note(f"Published as {source.repo_id}@{published.tag}, {seen}.")
    if public and published.is_private:
        console.warn(f"{source.repo_id} was private before and still is.")


@group.command("remove")
def remove(name: Name, yes: Yes = False) -> None:
    """Remove a bundle of the user's from this machine.

    Example: `spinaldx weights remove spine-weights --yes`
    """
    from spinaldx.models import user_store  # noqa: PLC0415 - imports numpy
    from spinaldx.models.bundle_store import known_bundles  # noqa: PLC0415 - as above

    store = options.user_store()
    known = known_bundles(store).get(name)
    if known is None or known.folder.parent != store:
        message = f"{name} is not one of the bundles in {store}."
        raise WeightsError(message, hint="`spinaldx weights list` names them.")
    _confirm(f"Remove {known.folder}?", yes=yes)
    with user_store.locked_store(store, hub.note_wait):
        user_store.remove_bundle(store, name)
    _print(f"{name} was removed.")


def _print(text: str) -> None:
    console.data().print(console.printable(text), soft_wrap=True)


def _find(name: str) -> "Bundle":
    from spinaldx.models import find_bundle  # noqa: PLC0415 - imports numpy

    return find_bundle(name, user_store=options.user_store())
