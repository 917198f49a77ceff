"""kind's configuration and its failures. No container engine is used."""

from pathlib import Path

import pytest
import yaml

from harness.base.errors import UserError
from harness.clusters import (
    containers,
    kind,
    kind_config,
)
from harness.clusters.run_record import ClusterRecord, begin
from harness.model.step_log import StepLog

EAST = ClusterRecord(
    name="east",
    kind_name="eastwest-abc-east",
    pods="10.128.0.0/17",
    services="10.128.128.0/17",
    addresses={"eastwest-abc-east-control-plane": "172.18.0.4"},
)


class TestKind:
    """What kind is told, and what it says."""

    def test_own_image(self) -> None:
        """An image of the suite's own brings its pod network; pulls go where it is told."""
        config = yaml.safe_load(kind_config.kind_config(EAST, own_network=True, hosts_directory=Path("/run/certs.d")))
        assert config["networking"]["disableDefaultCNI"] is True
        assert config["networking"]["podSubnet"] == EAST.pods
        assert config["networking"]["serviceSubnet"] == EAST.services
        assert config["networking"]["apiServerAddress"] == "127.0.0.1"
        assert "apiServerPort" not in config["networking"]
        assert config["nodes"][0]["extraMounts"][0]["containerPath"] == "/etc/containerd/certs.d"

    def test_published_image(self) -> None:
        """An image of kind's keeps kind's own network and registries."""
        config = yaml.safe_load(kind_config.kind_config(EAST, own_network=False, hosts_directory=None))
        assert "disableDefaultCNI" not in config["networking"]
        assert config["nodes"] == [{"role": "control-plane"}]
        assert [yaml.safe_load(patch)["kind"] for patch in config["kubeadmConfigPatches"]] == ["ClusterConfiguration"]

    def test_several_nodes(self) -> None:
        """All take pods and find their images; each is a zone of the cluster's region."""
        text = kind_config.kind_config(EAST, own_network=True, hosts_directory=Path("/run/certs.d"), nodes=3)
        nodes = yaml.safe_load(text)["nodes"]
        assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
        assert all(node["extraMounts"] for node in nodes)
        assert [node["labels"]["topology.kubernetes.io/zone"] for node in nodes] == ["east-1", "east-2", "east-3"]
        assert {node["labels"]["topology.kubernetes.io/region"] for node in nodes} == {"east"}
        assert "taints: []" in text

    def test_order_of_nodes(self) -> None:
        """The API server's comes first, whatever the engine lists first."""
        names = ("x-worker2", "x-worker10", "x-worker", "x-control-plane")
        assert kind.control_plane_first(names) == ("x-control-plane", "x-worker", "x-worker2", "x-worker10")

    def test_access(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other clusters use the node's address; the kubeconfig is the run's."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        with begin("abc") as run:
            access = kind.access_of(EAST, run)
        assert access.peer_server == "https://172.18.0.4:6443"
        assert access.context == "kind-eastwest-abc-east"
        assert access.kubeconfig == run.directory / "east.kubeconfig"
        assert access.nodes == ("eastwest-abc-east-control-plane",)

    @pytest.mark.parametrize("found", [{}, {"eastwest-abc-east-control-plane": ""}])
    def test_nodes_that_are_not_found(
        self, found: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Kind is given no other engine or network; clusters that are elsewhere all the same are an error."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
        monkeypatch.setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", "other")
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
        given: list[dict[str, str]] = []

        def run(command: list[object], *, env: dict[str, str], **_: object) -> str:
            Path(str(command[command.index("--kubeconfig") + 1])).touch()
            given.append(env)
            return ""

        monkeypatch.setattr(kind, "run", run)
        monkeypatch.setattr(kind, "_taken", lambda _: ())
        monkeypatch.setattr(containers, "names", lambda _: frozenset())
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        monkeypatch.setattr(containers, "remove", lambda *_: None)
        monkeypatch.setattr(containers, "running_addresses", lambda *_: found)
        with begin("abc") as own, pytest.raises(UserError, match="cluster east are not to be found"):
            kind.create(["east"], run=own, nodes=kind.Nodes(), log=StepLog())
        (environment,) = given
        assert environment["HTTPS_PROXY"] == "http://proxy"
        assert environment["KIND_EXPERIMENTAL_PROVIDER"] == "docker"
        assert "KIND_EXPERIMENTAL_DOCKER_NETWORK" not in environment

    @pytest.mark.parametrize(
        ("output", "why"),
        [
            ("docker: Bind for 127.0.0.1:4242 failed: port is already allocated.", "port"),
            ("write /var/lib/docker/x: no space left on device", "disk is full"),
            ("failed to create fsnotify watcher: too many open files", "inotify"),
            ('ERROR: failed to pull image "kindest/node"', "can't be pulled"),
            ("ERROR: something new\nStack trace", "something new"),
            ("", "wrote nothing"),
        ],
    )
    def test_failures_are_explained(self, output: str, why: str) -> None:
        """Known reasons are named; of unknown ones kind's own words are shown."""
        assert why in kind_config.explain(output)[0]

    def test_unchanged(self) -> None:
        """A kept cluster must be where it was."""
        node = next(iter(EAST.addresses))
        assert not kind.unchanged(EAST, {node: "172.18.0.4"})
        assert "was 172.18.0.4 and is 172.18.0.9" in kind.unchanged(EAST, {node: "172.18.0.9"})
        assert "does not run" in kind.unchanged(EAST, {node: ""})
        assert "is gone" in kind.unchanged(EAST, {})
        assert "never finished" in kind.unchanged(EAST.model_copy(update={"addresses": {}}), {})
