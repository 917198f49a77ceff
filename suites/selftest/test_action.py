"""The suite as an action for the workflows of others, and the example for GitLab."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.runs.options import OPTIONS

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
TEXT = (ROOT / "action.yml").read_text()
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
RUN = next(step for step in STEPS if step.get("id") == "run")
VARIABLES = {option.variable: option for option in OPTIONS}
FAKE = """#!/bin/sh
mkdir -p "$EASTWEST_OUTPUT"
echo "the summary" > "$EASTWEST_OUTPUT/summary.md"
printf '%s\\n' "$PWD" "$EASTWEST_KUBECONFIG" "$@" > "$EASTWEST_OUTPUT/called"
exit 3
"""


def _example(number: int) -> dict[str, Any]:
    """The steps that an example of docs/ci.md has for the action."""
    page = (ROOT / "docs" / "ci.md").read_text()
    example = yaml.safe_load(re.findall(r"```yaml\n(.+?)```", page, re.DOTALL)[number])
    steps = example["jobs"]["conformance"]["steps"]
    return dict(next(step for step in steps if "uses" in step))


def test_every_input_is_used_and_exists() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", TEXT))
    assert used == ACTION["inputs"].keys()


def test_inputs_are_options_with_the_same_defaults() -> None:
    """An empty variable is not the same as none for every option: the default must be one that the option takes."""
    passed = {name: value for name, value in RUN["env"].items() if name.startswith("EASTWEST_")}
    assert passed.keys() <= VARIABLES.keys()
    for name, value in passed.items():
        if found := re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value):
            assert ACTION["inputs"][found[1]]["default"] == VARIABLES[name].default


def test_what_the_steps_call_is_there() -> None:
    assert os.access(ROOT / ".github" / "actions" / "tools" / "install", os.X_OK)
    assert ".github/actions/tools/install" in TEXT
    assert (ROOT / re.findall(r"action_path \}\}/(\S+)", TEXT)[0]).exists()
    assert "$(VENV)/ready:" in (ROOT / "Makefile").read_text()
    assert re.findall(r"^        echo \"(\w+)=", RUN["run"].replace("\n", "\n        "), re.MULTILINE) == [
        *ACTION["outputs"]
    ]


def test_every_script_is_one_for_bash() -> None:
    for script in (step["run"] for step in STEPS if "run" in step):
        subprocess.run(["bash", "-n", "-c", script], check=True)
    subprocess.run(["bash", "-n", ROOT / ".github" / "actions" / "tools" / "install"], check=True)


@pytest.mark.parametrize("config", ["", "my config"])
def test_the_run_gets_its_arguments_and_its_status_is_kept(config: str, tmp_path: Path) -> None:
    suite, workspace = tmp_path / "suite", tmp_path / "work space"
    for directory in (suite / ".venv" / "bin", workspace):
        directory.mkdir(parents=True)
    program = suite / ".venv" / "bin" / "pytest"
    program.write_text(FAKE)
    program.chmod(0o755)
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    variables = {
        "PATH": os.environ["PATH"],
        "GITHUB_ACTION_PATH": str(suite),
        "EASTWEST_OUTPUT": str(workspace / "report"),
        "CONFIG": config,
        "ARGS": """--verify-only --skip-requirement="CLEAN:not today" $(touch here)""",
        **{name: str(path) for name, path in files.items()},
    }
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", RUN["run"]]
    ended = subprocess.run(command, cwd=workspace, env=variables, check=False)
    assert ended.returncode == 3
    called = (workspace / "report" / "called").read_text().splitlines()
    assert called[:2] == [str(suite), str(workspace / config) if config else ""]
    assert called[2:] == ["--verify-only", "--skip-requirement=CLEAN:not today", "$(touch", "here)"]
    assert files["GITHUB_OUTPUT"].read_text() == f"status=3\nreport={workspace}/report\n"
    assert files["GITHUB_STEP_SUMMARY"].read_text() == "the summary\n"


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_use_inputs_and_options_that_exist(number: int) -> None:
    given = _example(number)["with"]
    assert given.keys() <= ACTION["inputs"].keys()
    names = {option.name for option in OPTIONS}
    assert set(re.findall(r"--([\w-]+)", given.get("args", ""))) <= names


def test_the_page_lists_every_input() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (?:`(\S+)`)? ?\|", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name: declared["default"] for name, declared in ACTION["inputs"].items()}


def test_the_example_for_gitlab_uses_what_exists() -> None:
    job = yaml.safe_load((ROOT / "docs" / "gitlab-ci.yml").read_text())["conformance"]
    given = {name for name in job["variables"] if name.startswith("EASTWEST_")}
    assert given <= VARIABLES.keys()
    options = set(re.findall(r"pytest --([\w-]+)", json.dumps(job["script"])))
    assert options
    assert options <= {option.name for option in OPTIONS}
