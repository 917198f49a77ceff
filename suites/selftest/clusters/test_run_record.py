"""A run's record: what it makes is found again, and nothing else is."""

import os
import subprocess
import sys

import pytest

from harness.base import container_engine
from harness.base.command import CommandError
from harness.base.container_engine import DOCKER, PODMAN, ContainerEngine
from harness.base.errors import UserError
from harness.clusters import containers, kind, leftovers
from harness.clusters.kept_clusters import misfit
from harness.clusters.run_record import Run, RunRecord, add_images, begin, records, reserve, runs_directory
from harness.model.step_log import StepLog


def test_record_is_gone_with_its_clusters() -> None:
    """A run that made nothing, or removed all, leaves no directory."""
    with begin() as run:
        assert run.directory.stat().st_mode & 0o777 == 0o700
        assert [record.id for record in records()] == [run.id]
    assert not run.directory.exists()


def test_ranges_differ_between_runs() -> None:
    """Two runs at once get different ranges and names."""
    with begin("a") as first, begin("b") as second:
        one = reserve(first, ("east", "west"), "image", ())
        two = reserve(second, ("east", "west"), "image", ())
        assert len({cluster.pods for cluster in (*one, *two)}) == 4
        assert len({cluster.kind_name for cluster in (*one, *two)}) == 4
        for run in (first, second):
            run.update(lambda record, _: record.model_copy(update={"clusters": ()}))


def test_name_under_way() -> None:
    """The name of a run that is under way can't be used."""
    with begin("a"), pytest.raises(UserError, match="under way"), begin("a"):
        pass


def test_name_taken() -> None:
    """Nor that of one that left clusters."""
    with begin("a") as run:
        reserve(run, ("east",), "image", ())
    with pytest.raises(UserError, match="is taken"), begin("a"):
        pass


@pytest.mark.parametrize("name", ["A", "-a", "a" * 13, "a/b"])
def test_unusable_name(name: str) -> None:
    """A run's name becomes part of container names and paths."""
    with pytest.raises(UserError, match="can't be named"), begin(name):
        pass


def test_a_killed_process_leaves_a_leftover(engine: dict[str, str]) -> None:
    """While it lives its clusters are its own; once it is killed the next run finds exactly them, and removes them."""
    code = (
        "import sys\nfrom harness.clusters.run_record import begin, reserve\n"
        "with begin('a') as run:\n  reserve(run, ('east', 'west'), 'image', ())\n  print('made', flush=True)\n"
        "  sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ), text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "made\n"
        assert leftovers.leftovers() == ()
        process.kill()
        process.wait()
    (found,) = leftovers.leftovers()
    assert found.clusters == ("eastwest-a-east", "eastwest-a-west")
    assert leftovers.remove(found)
    assert set(engine) == {"eastwest-b-east-control-plane", "kind-control-plane"}
    assert records() == ()


def test_unrecorded_clusters_are_only_named(engine: dict[str, str]) -> None:
    """A cluster named like the suite's that no record knows may be another user's; its nodes are one cluster."""
    engine["eastwest-b-east-worker2"] = "eastwest-b-east"
    with begin("a") as run:
        reserve(run, ("east", "west"), "image", ())
        assert leftovers.unrecorded(DOCKER) == ("eastwest-b-east",)
        leftovers.remove_clusters(run, StepLog())
    assert "eastwest-b-east-control-plane" in engine


def test_kept_is_no_leftover() -> None:
    """Kept on purpose is listed apart."""
    with begin("a") as run:
        reserve(run, ("east",), "image", ())
        run.keep()
    assert leftovers.leftovers() == ()
    (kept,) = leftovers.ended()
    assert kept.kept
    assert "kept" in str(kept)


def test_reuse_takes_a_kept_run_that_fits_once() -> None:
    """A second run at the same time gets a new one."""
    with begin("a") as run:
        reserve(run, ("east", "west"), "image", ())
        run.keep()

    def fits(record: RunRecord) -> bool:
        return not misfit(record, ("east", "west"), kind.Nodes(image="image"), "auto")

    with begin(reuse=fits) as first, begin(reuse=fits) as second:
        assert first.id == "a"
        assert first.record.clusters
        assert second.id != "a"
        assert not second.record.clusters


NODES = kind.Nodes(image="image")
BOTH = ("east", "west")


@pytest.mark.parametrize(
    ("names", "nodes", "balancer", "why"),
    [
        (BOTH, NODES, "auto", ""),
        (BOTH, NODES, "metallb", ""),
        (("east",), NODES, "metallb", "its clusters are east, west"),
        (BOTH, kind.Nodes(image="other"), "metallb", "its nodes were made from image"),
        (BOTH, kind.Nodes(image="image", count=2), "metallb", "its clusters have 1 nodes each"),
        (BOTH, kind.Nodes(image="image", engine=PODMAN), "metallb", "its nodes run in docker"),
        (BOTH, NODES, "cloud-provider-kind", "its load balancer is metallb"),
        (BOTH, kind.Nodes(image="image", images={"a/pilot:1": "sha256:1", "a/new:1": "sha256:3"}), "auto", ""),
        (
            BOTH,
            kind.Nodes(image="image", images={"a/pilot:1": "sha256:2"}),
            "auto",
            "image a/pilot:1 was rebuilt since, and its nodes may still have the former one",
        ),
    ],
)
def test_what_fits(names: tuple[str, ...], nodes: kind.Nodes, balancer: str, why: str) -> None:
    """Another size, node image or load balancer is not what was asked for, nor is an image's former content."""
    with begin("a") as run:
        reserve(run, BOTH, "image", ())
        add_images(run, {"a/pilot:1": "sha256:1"})
        record = run.update(lambda record, _: record.model_copy(update={"load_balancer": "metallb"}))
    assert misfit(record, names, nodes, balancer) == why


def test_images_are_remembered_from_one_use_to_the_next() -> None:
    """What nodes were offered in any of them, they may hold."""
    with begin("a") as run:
        reserve(run, BOTH, "image", ())
        add_images(run, {"a/pilot:1": "sha256:1"})
        add_images(run, {"a/new:1": "sha256:3"})
        assert run.record.images == {"a/pilot:1": "sha256:1", "a/new:1": "sha256:3"}


def test_damaged_record() -> None:
    """It is named, with what to look for."""
    directory = runs_directory() / "a"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json can't be read"):
        records()


def test_name_of_another_cluster(engine: dict[str, str]) -> None:
    """A cluster that stands there before is not touched."""
    before = dict(engine)
    with begin("b") as run, pytest.raises(UserError, match="eastwest-b-east is taken"):
        kind.create(("east", "west"), run=run, nodes=kind.Nodes(), log=StepLog())
    assert engine == before
    assert records() == ()


def test_creation_that_fails_leaves_nothing(engine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One cluster of two can't be made: the other is removed, the error is kind's, the record is empty."""

    def fake(command: list[object], **_: object) -> str:
        if "create" in command and str(command[4]).endswith("west"):
            raise CommandError([str(word) for word in command], 1, "ERROR: no space left on device")
        engine["eastwest-a-east-control-plane"] = "eastwest-a-east"
        raise CommandError([str(word) for word in command], 1, "ERROR: failed to lock config file")

    for name in ("east", "west"):
        del engine[f"eastwest-a-{name}-control-plane"]
    monkeypatch.setattr(kind, "run", fake)
    monkeypatch.setattr(kind, "_taken", lambda _: ())
    monkeypatch.setattr(ContainerEngine, "version", lambda _: "28")
    with begin("a") as run:
        with pytest.raises(UserError, match="could not be made"):
            kind.create(("east", "west"), run=run, nodes=kind.Nodes(), log=StepLog())
        assert run.record.clusters == ()
    assert set(engine) == {"eastwest-b-east-control-plane", "kind-control-plane"}


def test_engine_that_stops_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said so, and the record stays, for the next run to clean up."""

    def fake(command: list[object], **_: object) -> str:
        raise CommandError([str(word) for word in command], 1, "Cannot connect to the Docker daemon")

    monkeypatch.setattr(kind, "run", fake)
    monkeypatch.setattr(containers, "names", lambda _: frozenset())
    monkeypatch.setattr(container_engine, "run", fake)
    monkeypatch.setattr(kind, "_taken", lambda _: ())
    monkeypatch.setattr(ContainerEngine, "version", lambda _: None)
    with begin("a") as run, pytest.raises(UserError, match="stopped answering"):
        kind.create(("east",), run=run, nodes=kind.Nodes(), log=StepLog())
    (left,) = leftovers.leftovers()
    assert left.clusters == ("eastwest-a-east",)


def test_handle() -> None:
    """A Run is plain data."""
    with begin("a") as run:
        assert run == Run(run.id, run.directory, run.started, os.getpid())
