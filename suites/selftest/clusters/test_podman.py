"""Podman: what it says, as it was recorded from 4.3.1, and what is missing for kind's nodes."""

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base import container_engine
from harness.base.container_engine import DOCKER, PODMAN
from harness.clusters import containers, podman, preflight

RECORDED = Path(__file__).parents[1] / "recorded" / "podman"
ROOTLESS = {"rootless": True, "cgroup": "v2"}


def recorded(name: str) -> Any:
    """What `podman info`, `podman network inspect` or `podman inspect` said."""
    return json.loads((RECORDED / f"{name}.json").read_text())


FACTS = podman.facts_of(recorded("info"), frozenset({"netavark", "aardvark-dns"}), modules=True)


def test_facts() -> None:
    assert (FACTS.version, FACTS.rootless, FACTS.cgroup, FACTS.backend) == ("4.3.1", False, "v1", "netavark")
    assert {"cpu", "memory", "pids"} <= set(FACTS.controllers)


@pytest.mark.parametrize("change", [{}, {"backend": "cni", "helpers": frozenset()}, ROOTLESS])
def test_nothing_is_missing(change: dict[str, Any]) -> None:
    assert podman.problems(replace(FACTS, **change)) == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "3.4.4"}, "3.4.4"),
        ({"helpers": frozenset({"netavark"})}, "aardvark-dns"),
        ({"modules": False}, "kind mounts it"),
        ({"drops": True}, "chain FORWARD is DROP"),
        ({"rootless": True}, "this machine has v1"),
        (ROOTLESS | {"controllers": ("memory", "pids")}, "not delegated to this user: cpu"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], why: str) -> None:
    (problem,) = podman.problems(replace(FACTS, **change))
    assert why in problem.why
    assert problem.fix


def test_preflight_tells_it() -> None:
    machine = preflight.Machine(
        engine="4.3.1",
        client=PODMAN,
        podman=replace(FACTS, modules=False),
        memory=8.0,
        disk=0.5,
        disk_path="/d",
        inotify_limit=512,
    )
    checks = preflight.judge(preflight.Needs(clusters=2), machine)
    assert str(checks[0]) == "ok  container engine: podman 4.3.1"
    modules, disk = preflight.problems(checks)
    assert modules.what == "/lib/modules is missing."
    assert "podman system df" in disk.fix


def test_network_and_addresses() -> None:
    addresses = containers.addresses_of(recorded("containers"))
    assert addresses == {"node-a": "10.89.0.5", "node-b": "10.89.0.6", "node-c": ""}
    network = containers.network_of(recorded("network")[0], addresses.values())
    assert network.subnet == ipaddress.IPv4Network("10.89.0.0/24")
    assert {str(address) for address in network.in_use} == {"10.89.0.1", "10.89.0.5", "10.89.0.6"}


def test_subnets_of_both_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = [
        {"IPAM": {"Config": [{"Subnet": "fc00::/64"}, {"Subnet": "172.18.0.0/16"}]}},
        {"IPAM": {"Config": None}},  # the networks host and none
    ]
    answers = {"docker": docker, "podman": recorded("network")}
    monkeypatch.setattr(
        container_engine,
        "run",
        lambda command, **_: "a" if "ls" in command else json.dumps(answers[command[0]]),
    )
    assert containers.subnets(DOCKER) == ("172.18.0.0/16",)
    assert containers.subnets(PODMAN) == ("10.89.0.0/24",)


@pytest.mark.parametrize(("engine", "volumes"), [(DOCKER, []), (PODMAN, ["v1", "v2"])])
def test_a_nodes_volume_goes_with_it(
    engine: container_engine.ContainerEngine, volumes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind gives it the node's name as its label; it is no anonymous volume."""
    removed: list[str] = []

    def run(command: Sequence[str], **_: object) -> str:
        if command[1:3] == ["volume", "ls"]:
            return {"label=node-a": "v1\nv2\n"}.get(command[-1], "")
        if command[1:3] == ["volume", "rm"]:
            removed.extend(command[4:])
        return ""

    monkeypatch.setattr(container_engine, "run", run)
    containers.remove(engine, ["node-a", "registry"])
    assert removed == volumes
