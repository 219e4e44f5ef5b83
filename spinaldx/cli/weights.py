"""``spinaldx weights``: list, show and verify weight bundles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinaldx.cli import console, options
from spinaldx.cli.console import OutputFormat

if TYPE_CHECKING:
    from spinaldx.models import Bundle
    from spinaldx.models.manifest import Manifest, ManifestEntry

group = typer.Typer(
    no_args_is_help=True,
    help="Weight bundles: list, show, verify.",
    rich_markup_mode="markdown",
)

Name = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="Bundle, by name or folder.")
]


@group.command("list")
def list_bundles(output_format: options.Format = OutputFormat.HUMAN) -> None:
    """List the bundles that are known here.

    Example: `spinaldx weights list`
    """
    entries = _known()
    if output_format is OutputFormat.JSON:
        console.show_json({"schema_version": 1, "bundles": entries})
        return
    columns = ("name", "source", "trained on", "size", "licence", "summary")
    rows = [
        (
            entry["name"],
            entry["source"],
            entry["training_data"],
            f"{entry['bytes'] / 1e6:.1f} MB",
            entry["licence"],
            entry["summary"],
        )
        for entry in entries
    ]
    console.show_table("Weight bundles", columns, rows)
    console.note(
        "Bundles that ship with the program have no hub address until their "
        "maintainers publish them."
    )


def _known() -> list[dict[str, Any]]:
    from spinaldx.models.manifest import (  # noqa: PLC0415 - imports numpy
        MANIFEST_NAME,
        load_manifest,
        shipped_manifest,
    )

    manifests = [shipped_manifest()]
    own = options.user_store() / MANIFEST_NAME
    if own.is_file():
        manifests.append(load_manifest(own))
    entries: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        for name, entry in _entries(manifest).items():
            entries.setdefault(name, entry)
    return list(entries.values())


def _entries(manifest: "Manifest") -> dict[str, dict[str, Any]]:
    return {name: _entry(name, item) for name, item in manifest.bundles.items()}


def _entry(name: str, item: "ManifestEntry") -> dict[str, Any]:
    from spinaldx.models.manifest import HubSource  # noqa: PLC0415 - as above

    source = "ships with the program"
    if isinstance(item.source, HubSource):
        source = f"{item.source.repo_id}@{item.source.commit[:12]}"
    return {
        "name": name,
        "source": source,
        "training_data": item.training_data,
        "bytes": sum(file.size for file in item.files.values()),
        "licence": item.licence,
        "summary": item.summary,
    }


@group.command("show")
def show(name: Name, output_format: options.Format = OutputFormat.HUMAN) -> None:
    """Show a bundle's facts and its model card.

    Example: `spinaldx weights show phantom-v0`
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
        console.data().print(Markdown(text))


@group.command("verify")
def verify(
    name: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="Bundle, by name or folder.")
    ] = options.DEFAULT_WEIGHTS,
) -> None:
    """Check every byte and every tensor of a bundle.

    Example: `spinaldx weights verify phantom-v0`
    """
    from spinaldx.models import verify_bundle  # noqa: PLC0415 - imports numpy

    bundle = _find(name)
    verify_bundle(bundle)
    files = ", ".join(part.file for part in bundle.parts.values())
    console.data().print(
        console.printable(f"{bundle.name} {bundle.version}: fine ({files})")
    )


def _find(name: str) -> "Bundle":
    from spinaldx.models import find_bundle  # noqa: PLC0415 - imports numpy

    return find_bundle(name, user_store=options.user_store())
