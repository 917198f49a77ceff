"""The libraries of the programs of `make images`: one go.mod selects them for several programs."""

import json
import os
from pathlib import Path

from harness.base.cache import cache_directory
from harness.base.command import run
from harness.machine.images import programs, versions
from harness.model.step import Phase
from harness.model.step_log import StepLog
from suites.selftest.support.go_mod import required


def test_istio_has_the_libraries_of_its_own_go_mod() -> None:
    """All but those of Kubernetes, which are of one release."""
    shared = programs.MODULES_DIRECTORY / programs.SHARED.name
    with StepLog().step(Phase.IMAGES, "Find Go") as step:
        go = programs.go_command(cache_directory(), step)
    question: list[str | Path] = [go, "mod", "download", "-json", f"istio.io/istio@{versions.ISTIO_MODULE}"]
    answer = run(question, cwd=shared, env=programs.go_environment(os.environ), timeout=300)
    wanted, ours = required(Path(json.loads(answer)["GoMod"])), required(shared / "go.mod")
    assert len(wanted) > 100
    differ = {name for name in wanted.keys() & ours.keys() if wanted[name] != ours[name]}
    assert {name for name in differ if not name.startswith("k8s.io/")} == set()
    minors = {found[name].rpartition(".")[0] for name in differ for found in (ours, wanted)}
    assert minors == {"v0." + versions.KUBERNETES.split(".")[1]}
    assert ours["istio.io/istio"] == versions.ISTIO_MODULE
