"""What CI and the image are made from: pinned, of the same versions as everything else, and nothing left out."""

import re
import tomllib
from pathlib import Path

import yaml

from harness.machine.images import versions

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"


def test_actions_are_pinned_by_commit() -> None:
    """A tag can be moved by whoever owns it."""
    files = [ROOT / "action.yml", *GITHUB.rglob("*.yml")]
    used = [line for file in files for line in re.findall(r"uses: (\S+)", file.read_text())]
    assert len(used) > 10
    assert [name for name in used if not re.fullmatch(r"\./\S+|[\w/-]+@[0-9a-f]{40}", name)] == []


def test_the_nightly_tools_are_of_the_versions_that_are_built_here() -> None:
    text = (GITHUB / "actions" / "tools" / "install").read_text()
    assert f"sigs.k8s.io/kind@{versions.KIND}\n" in text
    assert f"helm.sh/helm/v3/cmd/helm@{versions.HELM}\n" in text


def test_the_nightly_matrix_is_topology_by_version_by_distribution() -> None:
    """And a failed run does not keep the others, or the pages, from being made."""
    jobs = yaml.safe_load((GITHUB / "workflows" / "nightly.yml").read_text())["jobs"]
    strategy = jobs["conformance"]["strategy"]
    assert strategy["matrix"].keys() == {"topology", "istio", "distribution"}
    assert strategy["fail-fast"] is False
    assert "cancelled" in jobs["pages"]["if"]
    assert {"faults", "resilience"} <= jobs.keys()


def test_the_image_holds_every_package_and_no_output() -> None:
    """The Containerfile copies what pyproject.toml names, and the build context has no more than that."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = " ".join(
        re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    ).split()
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(allowed)
    assert {name.removesuffix("*") for name in packages} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_the_image_runs_without_privileges_and_names_no_index() -> None:
    text = (ROOT / "Containerfile").read_text()
    (user,) = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert int(user.partition(":")[0]) > 0
    assert not re.search(r"index-url|ARG .*(TOKEN|PASSWORD|INDEX)", text, re.IGNORECASE)


def test_a_release_is_tried_and_has_checksums_and_provenance() -> None:
    job = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())["jobs"]["release"]
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)", scripts)) <= targets
    assert "--observation=" in scripts
    subjects = [step["with"] for step in job["steps"] if "attest-build-provenance" in step.get("uses", "")]
    assert [set(each) & {"subject-checksums", "subject-digest"} for each in subjects] == [
        {"subject-checksums"},
        {"subject-digest"},
    ]
    assert job["permissions"]["id-token"] == job["permissions"]["attestations"] == "write"
