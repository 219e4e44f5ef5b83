"""What holds for every command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spinaldx.cli.app import app

ROOT = Path(__file__).parents[2]
HEAVY = (
    "highdicom", "huggingface_hub", "matplotlib", "nibabel", "numpy", "openvino",
    "pydicom", "reportlab", "scipy", "sklearn", "torch",
)  # fmt: skip


def all_commands():
    names = [(item.name,) for item in app.registered_commands]
    for group in app.registered_groups:
        inside = group.typer_instance.registered_commands
        names += [(group.name, item.name) for item in inside]
    return names


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_help_has_an_example(words):
    result = CliRunner().invoke(app, [*words, "--help"])

    assert result.exit_code == 0
    assert "Example: spinaldx " + " ".join(words) in " ".join(result.stdout.split())


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_the_readme_names_every_command(words):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"spinaldx {words[0]}" in readme
    assert words[-1] in readme


def test_help_says_research_use_only():
    result = CliRunner().invoke(app, ["--help"])

    assert "Research use only. Not a medical device." in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from spinaldx.cli import run; run(['predict', '--help']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stderr.strip() == "[]"


def test_no_option_bears_a_default_that_is_a_secret_or_a_path_of_this_machine():
    for words in all_commands():
        shown = CliRunner().invoke(app, [*words, "--help"]).stdout

        assert str(Path.home()) not in shown


def test_shells_get_a_completion_script():
    done = subprocess.run(
        [sys.executable, "-m", "spinaldx"],
        env={**os.environ, "_SPINALDX_COMPLETE": "source_bash"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "complete -o" in done.stdout
