"""With `-n` topologies are judged side by side, each by one process: it is observed once."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from reports import demo

RECORDED = Path(__file__).parent / "recorded"
TOPOLOGIES = ("primary-remote-multi-network", "multi-primary-multi-network")


def test_a_topology_is_judged_by_one_process(tmp_path: Path) -> None:
    recordings = [f"--observation={RECORDED / name}.json.gz" for name in TOPOLOGIES]
    command = [sys.executable, "-m", "pytest", "suites/conformance", "-n", "2", *recordings, f"--output={tmp_path}"]
    # This test may itself be run by one of xdist's processes, which tells its children so.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=demo.ROOT, env=variables)
    judges = defaultdict(set)
    for result in (tmp_path / "allure").glob("*-result.json"):
        labels = {label["name"]: label["value"] for label in json.loads(result.read_text())["labels"]}
        if "thread" in labels:  # the process's id, and its thread
            judges[labels["epic"]].add(labels["thread"])
    assert set(judges) == set(TOPOLOGIES), ended.stdout + ended.stderr
    assert all(len(processes) == 1 for processes in judges.values()), dict(judges)
    assert len(set.union(*judges.values())) == len(TOPOLOGIES)
