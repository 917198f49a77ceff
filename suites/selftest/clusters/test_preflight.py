"""Whether clusters can be made on a machine."""

import pytest

from harness.clusters import (
    preflight,
)
from harness.clusters.preflight import Machine, Needs

GOOD = Machine(
    engine="28.0.0",
    memory=8.0,
    disk=50.0,
    disk_path="/var/lib/docker",
    inotify_limit=512,
    tools=frozenset({"kind"}),
)


class TestPreflight:
    """Bad input is found before anything is created."""

    def test_good(self) -> None:
        """Nothing is in the way."""
        checks = preflight.judge(Needs(clusters=2, tools=("kind",), names=("a",), ports=(1,)), GOOD)
        assert not preflight.problems(checks)
        assert all(str(check).startswith("ok") for check in checks)

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"engine": None}, "No container engine"),
            ({"memory": 1.0}, "memory"),
            ({"disk": 1.0}, "disk space"),
            ({"inotify_limit": 50}, "inotify instances"),
            ({"inotify_used": 500}, "inotify instances"),
            ({"tools": frozenset()}, "kind is missing"),
            ({"containers": frozenset({"a"})}, "name a is taken"),
            ({"busy_ports": frozenset({1})}, "port 1 is taken"),
        ],
    )
    def test_each_problem(self, change: dict[str, object], what: str) -> None:
        """One thing wrong, one problem, and it names that thing."""
        machine = Machine(**{**vars(GOOD), **change})
        (problem,) = preflight.problems(
            preflight.judge(Needs(clusters=2, tools=("kind",), names=("a",), ports=(1,)), machine)
        )
        assert what in problem.what
        assert problem.why
        assert problem.fix

    def test_says_how_much_is_missing(self) -> None:
        """More clusters than the memory can hold."""
        (problem,) = preflight.problems(preflight.judge(Needs(clusters=10), Machine(**{**vars(GOOD), "memory": 10.0})))
        assert "2.0 GiB are missing" in problem.why

    def test_more_nodes_need_more(self) -> None:
        """Memory, disk and inotify instances."""
        problems = preflight.problems(preflight.judge(Needs(clusters=2, nodes=20), GOOD))
        assert [problem.what.split(" for ")[0] for problem in problems] == [
            "There is not enough memory",
            "There is not enough disk space",
            "The kernel grants too few inotify instances",
        ]

    def test_existing_clusters_need_no_engine(self) -> None:
        """Nothing of this machine is needed."""
        assert preflight.judge(Needs(clusters=0), Machine(engine=None)) == ()
