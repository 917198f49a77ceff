"""Clusters: address ranges, kind's configuration, routes, load balancers, preflight. No container engine is used."""

import ipaddress
from pathlib import Path

import pytest
import yaml

from harness.base import processes
from harness.base.errors import UserError
from harness.clusters import (
    cloud_provider_kind,
    containers,
    kind,
    kind_config,
    metallb,
    node_network,
    preflight,
    routes,
)
from harness.clusters.cloud_provider_kind import CloudProviderKind
from harness.clusters.load_balancer import choose
from harness.clusters.metallb import MetalLB
from harness.clusters.preflight import Machine, Needs
from harness.clusters.ranges import address_pool, cluster_ranges, routed
from harness.clusters.routes import PodRoute
from harness.clusters.run_record import ClusterRecord, begin
from harness.model.step_log import StepLog

EAST = ClusterRecord(
    name="east",
    kind_name="eastwest-abc-east",
    pods="10.128.0.0/17",
    services="10.128.128.0/17",
    addresses={"eastwest-abc-east-control-plane": "172.18.0.4"},
)
SUBNET = ipaddress.IPv4Network("172.18.0.0/16")


class TestRanges:
    """Address ranges don't collide."""

    def test_halves_of_distinct_blocks(self) -> None:
        """Every cluster has a block of its own, in two halves."""
        first, second, third = cluster_ranges(3, [])
        nets = [ipaddress.IPv4Network(net) for r in (first, second, third) for net in (r.pods, r.services)]
        assert not any(a.overlaps(b) for n, a in enumerate(nets) for b in nets[n + 1 :])
        assert first.pods == "10.128.0.0/17"

    def test_avoids_what_is_taken(self) -> None:
        """Ranges of other clusters and routes are left alone; a default route takes nothing."""
        taken = ["10.128.0.0/17", "10.129.128.0/17", "0.0.0.0/0", "172.18.0.0/16", "10.130.4.0/24"]
        assert [r.pods for r in cluster_ranges(2, taken)] == ["10.131.0.0/17", "10.132.0.0/17"]

    def test_none_free(self) -> None:
        """A machine that routes all of it elsewhere is told so."""
        with pytest.raises(UserError, match="no free address ranges"):
            cluster_ranges(1, ["10.0.0.0/8"])

    def test_routes_of_the_machine(self) -> None:
        """The kernel's routing table has little-endian hex words."""
        table = (
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        )
        assert routed(table) == ("0.0.0.0/0", "172.18.0.0/16")

    def test_pools_differ_and_avoid_addresses_in_use(self) -> None:
        """Pools are taken from the top, without the broadcast address, a reserved pool or a container's address."""
        first = address_pool(SUBNET, [], [])
        second = address_pool(SUBNET, [], [first])
        third = address_pool(SUBNET, [ipaddress.IPv4Address("172.18.255.236")], [first])
        assert first == "172.18.255.240-172.18.255.247"
        assert second == "172.18.255.232-172.18.255.239"
        assert third == "172.18.255.224-172.18.255.231"

    def test_small_network_runs_out(self) -> None:
        """Only the upper half is used."""
        small = ipaddress.IPv4Network("192.168.7.0/27")
        pool = address_pool(small, [], [])
        assert pool == "192.168.7.16-192.168.7.23"
        with pytest.raises(UserError, match="no 8 free addresses"):
            address_pool(small, [], [pool])


class TestContainers:
    """What the engine says."""

    def test_addresses(self) -> None:
        """A stopped container has no address, whatever it had before."""
        networks = {"Networks": {"kind": {"IPAddress": "172.18.0.4"}}}
        inspected = [
            {"Name": "/a", "State": {"Running": True}, "NetworkSettings": networks},
            {"Name": "/b", "State": {"Running": False}, "NetworkSettings": networks},
            {"Name": "/c", "State": {"Running": True}, "NetworkSettings": {"Networks": {}}},
        ]
        assert containers.addresses_of(inspected) == {"a": "172.18.0.4", "b": "", "c": ""}

    def test_network(self) -> None:
        """The IPv4 subnet, and what is in use there."""
        inspected = [
            {
                "IPAM": {"Config": [{"Subnet": "fc00::/64"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
                "Containers": {"x": {"IPv4Address": "172.18.0.4/16"}, "y": {"IPv4Address": ""}},
            }
        ]
        network = containers.network_of(inspected)
        assert network.subnet == SUBNET
        assert {str(address) for address in network.in_use} == {"172.18.0.1", "172.18.0.4"}

    def test_network_without_ipv4(self) -> None:
        """Such a network is of no use."""
        with pytest.raises(UserError, match="no IPv4 subnet"):
            containers.network_of([{"IPAM": {"Config": None}, "Containers": {}}])


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
        monkeypatch.setattr(kind, "_taken", tuple)
        monkeypatch.setattr(containers, "names", frozenset)
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        monkeypatch.setattr(containers, "remove", lambda *_: None)
        monkeypatch.setattr(containers, "running_addresses", lambda *_: found)
        with begin("abc") as own, pytest.raises(UserError, match="cluster east are not to be found"):
            kind.create(["east"], run=own, nodes=kind.Nodes(), log=StepLog())
        (environment,) = given
        assert environment["HTTPS_PROXY"] == "http://proxy"
        assert not environment.keys() & {"KIND_EXPERIMENTAL_PROVIDER", "KIND_EXPERIMENTAL_DOCKER_NETWORK"}

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


class TestRoutes:
    """Direct routes between clusters."""

    def test_only_to_other_clusters(self) -> None:
        """A node is told about every node of every other cluster, none of its own."""
        all_routes = [
            PodRoute(name, f"{name}-node", f"10.{128 + n}.0.0/24", f"172.18.0.{n + 2}")
            for n, name in enumerate(("east", "west", "north"))
        ]
        text = routes.script(all_routes[0], all_routes, ("ip route replace {pods} via {via}", "own {own}"))
        assert text.splitlines() == [
            "ip route replace 10.129.0.0/24 via 172.18.0.3",
            "own 10.128.0.0/24",
            "ip route replace 10.130.0.0/24 via 172.18.0.4",
            "own 10.128.0.0/24",
        ]

    def test_from_a_node(self) -> None:
        """A Node object says where its pods are."""
        node = {
            "metadata": {"name": "n"},
            "spec": {"podCIDR": "10.128.0.0/24"},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n"},
                    {"type": "InternalIP", "address": "172.18.0.4"},
                ]
            },
        }
        assert routes.route_of("east", node) == PodRoute("east", "n", "10.128.0.0/24", "172.18.0.4")

    def test_node_without_address(self) -> None:
        """A node that reports none is an error that names it."""
        node = {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.128.0.0/24"}, "status": {}}
        with pytest.raises(UserError, match="The node n of east has no address"):
            routes.route_of("east", node)


class TestNodeNetwork:
    """The pod network between the nodes of one cluster."""

    def test_each_node_has_its_range_and_the_routes_to_the_others(self) -> None:
        """The configuration is whole when containerd sees it."""
        nodes = [PodRoute("east", f"n{number}", f"10.128.{number}.0/24", f"172.18.0.{number}") for number in (1, 2, 3)]
        assert node_network.script(nodes[1], nodes).splitlines() == [
            'sed "s|@POD_CIDR@|10.128.2.0/24|" /etc/eastwest/cni.conflist >/etc/cni/net.d/10-ptp.conflist.new',
            "mv /etc/cni/net.d/10-ptp.conflist.new /etc/cni/net.d/10-ptp.conflist",
            "ip route replace 10.128.1.0/24 via 172.18.0.1",
            "ip route replace 10.128.3.0/24 via 172.18.0.3",
        ]

    def test_what_is_waited_for(self) -> None:
        """The range comes from the controller manager, the address from the kubelet."""
        addresses = {"addresses": [{"type": "InternalIP", "address": "172.18.0.4"}]}
        assert node_network.pending(None) == "it has not registered"
        assert node_network.pending({}) == "it has no range of pod addresses and no address"
        assert node_network.pending({"status": addresses}) == "it has no range of pod addresses"
        assert not node_network.pending({"spec": {"podCIDR": "10.128.0.0/24"}, "status": addresses})


MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller}
spec: {template: {spec: {containers: [{name: controller, args: [], env: [], readinessProbe: {periodSeconds: 10}}]}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: metallb-webhook-configuration}
"""


class TestLoadBalancers:
    """MetalLB and cloud-provider-kind."""

    def test_metallb_manifest(self) -> None:
        """No webhook, a key in time, quick probes; each time another key."""
        namespace, key, controller = metallb.fast(MANIFEST, "https://172.18.0.4:6443")
        assert namespace["kind"] == "Namespace"
        assert key["metadata"]["name"] == "memberlist"
        assert key["stringData"] != metallb.fast(MANIFEST, "https://172.18.0.4:6443")[1]["stringData"]
        container = controller["spec"]["template"]["spec"]["containers"][0]
        assert "--webhook-mode=disabled" in container["args"]
        assert container["readinessProbe"]["periodSeconds"] == 1
        env = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("KUBERNETES_")}
        assert env == {"KUBERNETES_SERVICE_HOST": "172.18.0.4", "KUBERNETES_SERVICE_PORT": "6443"}

    def test_pool(self) -> None:
        """The pool is announced."""
        pool, advertisement = metallb.pool_manifests("172.18.255.240-172.18.255.247")
        assert pool["spec"]["addresses"] == ["172.18.255.240-172.18.255.247"]
        assert advertisement["spec"]["ipAddressPools"] == [pool["metadata"]["name"]]

    def test_arguments(self) -> None:
        """Only flags that this version of the program has."""
        assert cloud_provider_kind.arguments("  -v int\n") == ()
        usage = "  -gateway-channel string\n  -enable-default-ingress\n"
        assert len(cloud_provider_kind.arguments(usage)) == 2

    @pytest.mark.parametrize(
        "said",
        [
            "Starting cloud controller for cluster eastwest-a-west2",
            '"Starting cloud controller" cluster="eastwest-a-west2"',
        ],
        ids=["0.10", "0.11"],
    )
    def test_taken_up(self, said: str) -> None:
        """A cluster whose name another begins with is not taken for it."""
        line = f"I1123 21:18:41.1 1 controller.go:1] {said}\n"
        assert cloud_provider_kind.taken_up(line, "eastwest-a-west2")
        assert not cloud_provider_kind.taken_up(line, "eastwest-a-west")

    def test_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`auto` takes cloud-provider-kind where it is there; wanting it where it is not is an error."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        with begin("abc") as run:
            assert isinstance(choose("auto", run, None), MetalLB)
            with pytest.raises(UserError, match="not installed"):
                choose("cloud-provider-kind", run, None)
            _program(tmp_path, "true")
            assert isinstance(choose("auto", run, None), CloudProviderKind)
            assert isinstance(choose("metallb", run, None), MetalLB)

    def test_one_run_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is taken up by the run that starts it, and free again once that run stops it."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr(processes, "running", lambda _: ())
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        path = _program(tmp_path, 'echo "Starting cloud controller for cluster eastwest-abc-east"; exec sleep 60')
        log = StepLog()
        with begin("abc") as run:
            run.update(lambda record, _: record.model_copy(update={"clusters": (EAST,)}))
            provider, east = CloudProviderKind(str(path), run), kind.access_of(EAST, run)
            provider.start([east], log)
            provider.wait([east], log)
            assert cloud_provider_kind.used_by_another_run()
            with pytest.raises(UserError, match="another run"):
                CloudProviderKind(str(path), run).start([east], log)
            provider.stop(log)
            assert not cloud_provider_kind.used_by_another_run()
            assert "Starting cloud controller" in provider.log_file.read_text()

    def test_that_ends_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its last words are shown."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr(processes, "running", lambda _: ())
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        path, log = _program(tmp_path, "echo can not detect cluster provider"), StepLog()
        with begin("abc") as run:
            run.update(lambda record, _: record.model_copy(update={"clusters": (EAST,)}))
            provider, east = CloudProviderKind(str(path), run), kind.access_of(EAST, run)
            provider.start([east], log)
            with pytest.raises(UserError, match="can not detect"):
                provider.wait([east], log)
            provider.stop(log)


def _program(directory: Path, script: str) -> Path:
    path = directory / cloud_provider_kind.PROGRAM
    path.write_text(f'#!/bin/sh\n[ -z "$1" ] || exit 0\n{script}\n')
    path.chmod(0o755)
    return path


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
