"""What --keep leaves: the mesh that was observed last, and a page that says how it is reached."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.kube.access import ClusterAccess
from harness.runs.kept import Kept, markdown
from harness.runs.options import OPTIONS, parse
from suites.selftest.runs.test_interrupted import Staged, staged
from suites.selftest.support.sessions import ended

__all__ = ["staged"]
MESH = {"mesh-east", "mesh-west", "sample"}
ACCESSES = tuple(
    ClusterAccess(name, f"kind-a-{name}", Path(f"/runs/a/{name}"), "https://p") for name in ("east", "west")
)


def _kept(removal: str = "make clean", **given: Any) -> Kept:
    values: dict[str, Any] = {option.name: option.not_given for option in OPTIONS}
    options = parse(lambda name: (values | {name.replace("_", "-"): value for name, value in given.items()})[name], {})
    return Kept(options.topologies[-1], ACCESSES, options, (removal,))


@pytest.mark.parametrize("arguments", [(), ("-k", "multi-primary")], ids=["all", "selected"])
def test_the_mesh_that_was_observed_last_is_kept(arguments: tuple[str, ...], staged: Staged) -> None:
    """Whatever pytest leaves out, and nobody knew of when the first topology was formed."""
    process = staged.begin("", "--topology=all", "--requirement=NET-LABEL,CLEAN", "--keep", *arguments)
    assert ended(process) == 0, staged.said
    assert staged.made >= MESH
    (record,) = staged.records
    last = "primary-remote" if not arguments else "multi-primary"
    assert f"{last}-multi-network" in (record.parent / "kept-mesh.json").read_text()
    page = (staged.directory / "output" / "kept.md").read_text()
    assert f"The mesh {last}-multi-network" in page
    assert str(record.parent / "east.kubeconfig") in page
    assert page in staged.said
    assert "--keep left the mesh in place" in (staged.directory / "output" / "report.json").read_text()


def test_why_kept_clusters_are_not_used_is_told(staged: Staged) -> None:
    """Others are made, and those that were kept stay."""
    assert ended(staged.begin("", "--requirement=NET-LABEL", "--keep")) == 0, staged.said
    (kept,) = staged.records
    assert ended(staged.begin("", "--requirement=NET-LABEL", "--reuse", "--nodes=2")) == 0, staged.said
    said = " ".join(staged.said.split())
    assert f"run {kept.parent.name}: its clusters have 1 nodes each. New clusters are made" in said
    assert "make clean" in said
    assert staged.records == [kept]


def test_the_page_of_clusters_that_the_suite_made() -> None:
    given = {"network": "single", "images": "local", "nodes": "3", "container_engine": "podman"}
    page = markdown(_kept(topology="primary-remote", **given))
    assert (
        "pytest --verify-only --contexts=kind-a-east,kind-a-west --kubeconfig=/runs/a/east --kubeconfig=/runs/a/west"
        in page
    )
    forming = "pytest --reuse --keep --topology=primary-remote --network=single --nodes=3"
    assert f"{forming} --container-engine=podman --images=local\n" in page
    assert "export KUBECONFIG=/runs/a/east:/runs/a/west\n" in page
    assert "kubectl --context=kind-a-west get pods" in page
    assert "istioctl --context=kind-a-west" not in page  # a remote has no control plane
    assert page.endswith("    make clean\n")


def test_the_page_of_existing_clusters() -> None:
    """They are reached by the user's own kubeconfig: the run's private copy is removed at its end."""
    page = markdown(_kept("kubectl --context=a delete namespace sample", contexts="a,b", namespace="mine"))
    assert "/runs/" not in page
    assert "--reuse" not in page
    assert "make clean" not in page
    assert "--namespace=mine\n" in page
    assert "kubectl --context=a delete namespace sample\n" in page
    named = markdown(_kept(contexts="a,b", kubeconfig=["/my/clusters"]))
    assert "--kubeconfig=/my/clusters" in named


def test_the_page_of_an_external_control_plane() -> None:
    """--verify-only does not know it; istiod is asked where it runs."""
    accesses = tuple(replace(ACCESSES[0], name=name, context=f"kind-a-{name}") for name in ("control", "east", "west"))
    page = markdown(replace(_kept(topology="external", network="single"), clusters=accesses))
    assert "--verify-only" not in page
    assert "istioctl --context=kind-a-control proxy-status" in page
    assert "pytest --reuse --keep --topology=external --network=single\n" in page


@pytest.mark.parametrize(
    "given", [{}, {"topology": "multi-primary", "clusters": "3"}, {"namespace": "mine", "distribution": "sail"}]
)
def test_the_commands_are_understood(given: dict[str, str]) -> None:
    """Each of their options is declared."""
    kept = _kept(**given)
    named = {word.removeprefix("--").partition("=")[0] for word in f"{kept.judging} {kept.forming}".split()}
    assert named - {"pytest"} <= {option.name for option in OPTIONS}
