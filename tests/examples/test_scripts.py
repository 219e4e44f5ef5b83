import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

if shutil.which("bash") is None:
    pytest.skip("no bash", allow_module_level=True)


@pytest.fixture
def run(tmp_path):
    """Run a script with a stand-in for spinaldx that ends with the codes given."""

    def run_script(script, codes, environment=None):
        tools = tmp_path / "bin"
        tools.mkdir()
        (tools / "codes").write_text("\n".join(map(str, codes)) + "\n")
        stand_in(tools / "spinaldx", 'code=$(sed -n 1p "$here/codes")')
        stand_in(tools / "scontrol", "code=0")
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [EXAMPLES / script, "studies", "out", "--no-report"],
            env={"PATH": path, **(environment or {})},
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        calls = (tools / "calls").read_text().splitlines()
        return done, calls

    return run_script


def stand_in(path, set_code):
    """Write a program that notes how it was called."""
    lines = (
        "#!/usr/bin/env bash",
        'here=$(dirname "$0")',
        'echo "$(basename "$0") $*" >> "$here/calls"',
        set_code,
        'sed -i 1d "$here/codes"',
        'exit "$code"',
    )
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)


class TestBatch:
    def test_passes_everything_on_and_ends_well(self, run):
        done, calls = run("batch.sh", [0])

        assert done.returncode == 0
        assert calls == ["spinaldx predict studies -o out --no-report"]

    @pytest.mark.parametrize("code", [3, 4, 5, 8, 130, 143, 1])
    def test_keeps_the_exit_code_and_says_what_it_means(self, run, code):
        done, calls = run("batch.sh", [code])

        assert done.returncode == code
        assert done.stderr
        assert len(calls) == 1

    @pytest.mark.parametrize("first", [6, 7])
    def test_tries_failed_studies_once_more(self, run, first):
        done, calls = run("batch.sh", [first, 0])

        assert done.returncode == 0
        assert "--retry-failed" in calls[1]

    def test_lists_what_still_fails(self, run, tmp_path):
        broken = tmp_path / "out/broken/failure.json"
        broken.parent.mkdir(parents=True)
        broken.write_text("{}")
        done, _ = run("batch.sh", [6, 6])

        assert done.returncode == 6
        assert "out/broken/failure.json" in done.stderr


class TestSlurmArray:
    TASK = {  # noqa: RUF012 - a constant
        "SLURM_ARRAY_TASK_ID": "6",
        "SLURM_ARRAY_TASK_MIN": "4",
        "SLURM_ARRAY_TASK_COUNT": "8",
        "SLURM_CPUS_PER_TASK": "4",
        "SLURM_JOB_ID": "77",
    }

    def test_takes_its_own_shard(self, run):
        done, calls = run("slurm_array.sh", [0], self.TASK)

        assert done.returncode == 0
        options = "-o out --shard 3/8 --threads 4 --no-report"
        assert calls == [f"spinaldx predict studies {options}"]

    def test_counts_failed_studies_as_done(self, run):
        assert run("slurm_array.sh", [6], self.TASK)[0].returncode == 0

    def test_is_queued_again_when_stopped(self, run):
        _, calls = run("slurm_array.sh", [143], self.TASK)

        assert calls[1] == "scontrol requeue 77"

    def test_keeps_other_codes(self, run):
        assert run("slurm_array.sh", [4], self.TASK)[0].returncode == 4


class TestUsage:
    @pytest.mark.parametrize("script", ["batch.sh", "slurm_array.sh"])
    def test_is_said_when_arguments_are_missing(self, script):
        done = subprocess.run([EXAMPLES / script], check=False, capture_output=True)

        assert done.returncode == 2
        assert b"usage" in done.stderr

    @pytest.mark.parametrize("script", ["batch.sh", "slurm_array.sh"])
    def test_shellcheck_finds_nothing(self, script):
        program = shutil.which("shellcheck")
        if program is None:
            pytest.skip("shellcheck is not installed")
        subprocess.run([program, EXAMPLES / script], check=True)
