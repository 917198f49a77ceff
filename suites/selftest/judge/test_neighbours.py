"""Of several objects that could be named the one at fault is, on meshes that somebody else installed."""

import json
from collections.abc import Callable

import pytest

from harness.judge.diagnose.registry import Found, detectors
from harness.model import gateways
from harness.model.cluster import ServicePort
from harness.model.istio import DryRun
from harness.model.observation import Observation
from harness.model.proxy import NetworkGateway
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.edit import each, edit, on, probes, with_config, with_namespace
from suites.selftest.judge.test_policies import causes
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import first, gateway_is, last
from suites.selftest.support.valid_kinds import PRIMARIES, REMOTE, Base, gateway

ROUTED = Base("variants/multi-primary-multi-network.json.gz")
"""Two primaries on two networks, whose API servers the contexts reach where the other clusters do."""


def _named(cause: str, observation: Observation) -> list[Found]:
    (detector,) = (each for each in detectors() if each.id == cause)
    return list(detector.find(observation))


def _labelled(observation: Observation, **labels: str | None) -> Observation:
    """West's sample asks for a revision that nothing injects for."""
    west = last(observation.topology)
    changed = with_namespace(observation, west, "sample", "labels", **labels)
    return on(changed, west, dry_run=DryRun(injected=False))


def test_a_namespace_that_asks_for_a_revision_that_is_gone() -> None:
    """The webhook of another revision serves others: nobody is told to change it."""
    asking = {"istio-injection": None, "istio.io/rev": "1-7-0"}
    (found,) = causes(_labelled(PRIMARIES.observation(), **asking))
    assert (found.id, found.cluster, found.object) == ("webhook-missing", "west", "Namespace sample")
    assert (found.field, found.found.partition(":")[0]) == ("label istio.io/rev", "1-7-0")
    assert found.change.startswith("Let Namespace sample on west ask for a revision or tag that is there")


def test_a_workload_that_asks_for_a_revision_that_is_gone() -> None:
    observation = _labelled(PRIMARIES.observation(), **{"istio-injection": None, "istio.io/rev": None})
    west = last(observation.topology)
    observed = observation[west]
    label = {"istio.io/rev": "1-7-0"}
    pods = tuple(
        each.model_copy(update={"labels": {**each.labels, **label}}) if each.namespace == "sample" else each
        for each in observed.pods
    )
    server = next(each for each in observed.workloads if each.labels.get("app") == "helloworld")
    workloads = edit(observed.workloads, lambda each: each == server, pod_labels={**server.pod_labels, **label})
    found = causes(on(observation, west, pods=pods, workloads=workloads))[0]
    assert (found.id, found.object) == ("webhook-missing", f"Deployment sample/{server.name}")


def _exchanged(observation: Observation) -> Observation:
    """The same mesh where east is what west was."""
    text = observation.model_dump_json().replace("eastwest", "\x01").replace("east", "\x00").replace("west", "east")
    data = json.loads(text.replace("\x00", "west").replace("\x01", "eastwest"))
    data["topology"]["clusters"].reverse()
    data["clusters"].reverse()
    return Observation.model_validate(data)


@pytest.mark.parametrize("at", ["west", "east"])
def test_the_control_plane_that_does_not_use_its_secret_is_named_alone(at: str) -> None:
    """Wherever it is: nobody is told to change the trust of the other one."""
    late = Base("faults/cacerts-late.json.gz").observation()
    found = causes(late if at == "west" else _exchanged(late))
    assert [(cause.id, cause.cluster) for cause in found] == [("cacerts-late", at)]
    assert found[0].change.startswith(f"Restart istiod of {at}, then its gateway and its workloads")


def test_of_two_roots_neither_is_called_the_right_one() -> None:
    found = causes(Base("faults/root-differs.json.gz").observation())[0]
    assert found.id == "root-differs"
    assert found.change.startswith("Let east and west trust each other: one root for both")


@pytest.mark.parametrize(
    ("name", "object_"),
    [
        ("secret-powerless", "ClusterRoleBinding istio-reader-clusterrole-istio-system"),
        ("secret-powerful", "ClusterRoleBinding of the account for east"),
    ],
)
def test_rights_are_changed_where_the_account_is(name: str, object_: str) -> None:
    """In the secret nothing can be changed: east's control plane has the token of an account of west."""
    (found,) = causes(Base(f"faults/{name}.json.gz").observation())
    assert (found.id, found.cluster, found.object) == (name, "west", object_)
    assert "in Secret istio-system/istio-remote-secret-cluster2 on east" in found.field
    assert found.change.startswith("On west ")
    assert found.repair.endswith("-west get clusterrolebinding")


@pytest.mark.parametrize("base", [ROUTED, REMOTE], ids=str)
def test_a_secret_that_leads_to_another_cluster(base: Base) -> None:
    """East's secret for west was made with the context of east, and istiod is synced with itself."""
    observation = base.observation()
    east, west = first(observation.topology), last(observation.topology)
    here = observation[east].api_server
    secrets = tuple(each.model_copy(update={"servers": (here,)}) for each in observation[east].remote_secrets)
    changed = effects.lose_endpoints(on(observation, east, remote_secrets=secrets), east, west)
    found = causes(requests.only_from(changed, east, east))
    assert [(cause.id, cause.cluster) for cause in found] == [("secret-other-cluster", "east")]
    assert found[0].object == "Secret istio-system/istio-remote-secret-cluster2"
    assert found[0].found == f"{here}, the API server of east"


def test_a_second_secret_that_istiod_does_not_use_is_not_blamed() -> None:
    observation = ROUTED.observation()
    east = first(observation.topology)
    (secret,) = observation[east].remote_secrets
    other = secret.model_copy(update={"name": "other", "servers": (observation[east].api_server,)})
    both = on(observation, east, remote_secrets=(secret, other))
    assert not [detector.id for detector in detectors() if list(detector.find(both))]


@pytest.mark.parametrize(("host", "named"), [("./*", False), ("./other.sample.svc.cluster.local", True)])
def test_a_dot_in_a_sidecar_of_the_root_namespace(host: str, named: bool) -> None:
    """It is the clients' own namespace, so that the real fault is named beside the example of Istio's reference."""
    observation = Base("meshes/no-mtls.json.gz").observation()
    sidecar = policy("Sidecar", "istio-system", egress=[{"hosts": [host, "istio-system/*"]}])
    found = causes(with_config(observation, observation.topology.primaries, sidecar))
    assert found[0].id == ("sidecar-scope" if named else "mtls-disabled")
    assert any(cause.id == "sidecar-scope" for cause in found) is named


def _unlabelled(observation: Observation, *, primaries: tuple[str, ...]) -> Observation:
    """West's gateway has no label, and meshNetworks of some primaries name it."""
    west = last(observation.topology)
    service = gateway(observation, west)
    address = {"address": gateways.addresses(service)[0], "port": 15443}
    networks = {west.network: {"endpoints": [{"fromRegistry": west.cluster_name}], "gateways": [address]}}
    for name in primaries:
        configs = tuple(each.model_copy(update={"networks": networks}) for each in observation[name].mesh_config)
        observation = on(observation, name, mesh_config=configs)
    labels = {key: value for key, value in service.labels.items() if key != gateways.NETWORK_LABEL}
    return gateway_is(observation, west, labels=labels)


@pytest.mark.parametrize(("primaries", "named"), [(("east", "west"), False), (("west",), True)])
def test_a_gateway_that_mesh_networks_name_needs_no_label(primaries: tuple[str, ...], named: bool) -> None:
    """It is missing only where the clients' own control plane does not know the gateway otherwise."""
    observation = Base("faults/gateway-filtered-15443.json.gz").observation()
    found = causes(_unlabelled(observation, primaries=primaries))
    assert found[0].id == ("gateway-unlabelled" if named else "gateway-filtered")
    assert any(cause.id == "gateway-unlabelled" for cause in found) is named


Wrong = dict[str, object]
ISTIOD_ASTRAY: dict[str, tuple[str, str, Wrong]] = {
    "selector": ("Gateway", "spec.selector", {"selector": {"istio": "eastwest"}}),
    "revision": ("Gateway", "label istio.io/rev", {}),
    "binding": ("VirtualService", "spec.gateways", {"gateways": ["other"]}),
    "host": (
        "VirtualService",
        "route.destination.host",
        {"tls": [{"route": [{"destination": {"host": "istiod-1-7-0.istio-system.svc.cluster.local"}}]}], "tcp": []},
    ),
}


@pytest.mark.parametrize("case", ISTIOD_ASTRAY)
def test_what_leads_remotes_astray_is_named(case: str) -> None:
    """All is there, and nothing of it is at the gateway: no firewall is in the way."""
    kind, field, wrong = ISTIOD_ASTRAY[case]
    observation, good = Base("faults/istiod-not-exposed.json.gz").observation(), REMOTE.observation()
    east = first(observation.topology)
    names = {"istiod-gateway", "istiod-vs"}
    objects = [item for item in good[first(good.topology)].config if item.name in names]
    assert {item.name for item in objects} == names
    labels = {"labels": {"istio.io/rev": "1-7-0"}} if case == "revision" else {}
    changed = tuple(
        item.model_copy(update={"spec": {**item.spec, **wrong}, **labels}) if item.kind == kind else item
        for item in objects
    )
    rest = tuple(item for item in observation[east].config if item.name not in names)
    found = causes(on(observation, east, config=(*rest, *changed)))[0]
    assert (found.id, found.cluster, found.field) == ("istiod-not-exposed", "east", field)
    assert found.object == f"{kind} istio-system/{'istiod-gateway' if kind == 'Gateway' else 'istiod-vs'}"


def test_a_gateway_for_a_revision_that_serves_other_proxies() -> None:
    """It runs, and the gateway is connected to another one."""
    observation = Base("meshes/gateway-selector.json.gz").observation()
    west, name = last(observation.topology), "cross-network-gateway"
    good = PRIMARIES.observation()
    spec = next(item.spec for item in good[last(good.topology)].config if item.name == name)
    observed = observation[west]
    (plane,) = observed.control_planes
    canary = plane.model_copy(update={"pod": "istiod-canary-1", "revision": "canary", "proxies": ()})
    config = edit(observed.config, lambda item: item.name == name, spec=spec, labels={"istio.io/rev": "canary"})
    found = causes(on(observation, west, config=config, control_planes=(plane, canary)))[0]
    assert (found.id, found.object) == ("gateway-revision", f"Gateway istio-system/{name}")
    assert (found.field, found.found) == ("label istio.io/rev", "canary")


def _refused(observation: Observation, cluster: Cluster, port: int) -> Observation:
    def change(probe: Probe) -> Probe:
        meant = (probe.target, probe.port) == (cluster.name, port) and probe.result is not ProbeResult.ANSWERED
        return probe.model_copy(update={"result": ProbeResult.REFUSED}) if meant else probe

    return probes(observation, change)


def _target(observation: Observation) -> Observation:
    """West's gateway listens on 15443, and its Service leads to 8443."""
    west = last(observation.topology)
    ports = edit(gateway(observation, west).ports, lambda port: port.port == 15443, target_port="8443")
    return _refused(gateway_is(observation, west, ports=ports), west, 15443)


def _ports_of_a_chart(observation: Observation) -> Observation:
    """East's gateway listens on 15012, and its Service does not have the port."""
    east = first(observation.topology)
    ports = tuple(port for port in gateway(observation, east).ports if port.port != 15012)
    return _refused(gateway_is(observation, east, ports=ports), east, 15012)


PORTS: dict[str, tuple[Callable[[Observation], Observation], str, str, str]] = {
    "gateway-filtered-15443": (_target, "west", "targetPort of port 15443", '"value":15443'),
    "gateway-filtered-15012": (_ports_of_a_chart, "east", "spec.ports", '"port":15012'),
}


@pytest.mark.parametrize("mode", ["own", "foreign"])
@pytest.mark.parametrize("name", PORTS)
def test_a_port_that_leads_elsewhere_is_no_matter_of_a_firewall(name: str, mode: str) -> None:
    change, cluster, field, command = PORTS[name]
    observation = Base(f"faults/{name}.json.gz").observation()
    if mode == "own":
        asked = observation.asked.model_copy(update={"mode": "install"})
        observation = observation.model_copy(update={"asked": asked})
    assert not _named("gateway-target-port", observation)
    found = causes(change(observation))[0]
    assert (found.id, found.cluster, found.field) == ("gateway-target-port", cluster, field)
    assert found.object == "Service istio-system/istio-eastwestgateway"
    assert (command in found.repair) is (mode == "own")
    assert "firewall" not in found.change


def _ingress_labelled(observation: Observation) -> Observation:
    """East's ingress gateway bears the network's label and has a port 15443, where its Envoy does not listen."""
    east, west = first(observation.topology), last(observation.topology)
    observed = observation[east]
    service = next(each for each in observed.services if each.name == "istio-ingressgateway")
    address = service.resolved[0]
    labels = {**service.labels, gateways.NETWORK_LABEL: east.network}
    ports = (*service.ports, ServicePort(name="tls", port=15443, target_port="15443"))
    fields = {"labels": labels, "ports": ports}
    services = edit(observed.services, lambda each: each == service, **fields)
    (pod,) = gateways.selected(observed, service)
    front = gateways.proxies(observed, gateway(observation, east))[0]
    envoy = front.model_copy(update={"pod": pod.name, "namespace": pod.namespace, "listeners": (), "endpoints": ()})
    changed = on(observation, east, services=services, proxies=(*observed.proxies, envoy))
    row = NetworkGateway(network=east.network, cluster=east.cluster_name, address=address, port=15443)
    for cluster in (east, west):
        planes = each(
            changed[cluster].control_planes,
            lambda plane: plane.model_copy(update={"network_gateways": (*plane.network_gateways, row)}),
        )
        changed = on(changed, cluster, control_planes=planes)
    refused = {"address": address, "result": ProbeResult.REFUSED, "detail": "connection refused", "certificates": ()}
    more = [p.model_copy(update=refused) for p in changed.probes if (p.target, p.port) == (east.name, 15443)]
    changed = changed.model_copy(update={"probes": (*changed.probes, *more)})
    return requests.traffic(changed, west, west=requests.Answers(), east=requests.Answers(failing=0.5))


def test_an_ingress_gateway_that_bears_the_networks_label() -> None:
    """The gateway itself is healthy, and is not named."""
    observation = Base("variants/ingress-beside.json.gz").observation()
    assert not _named("gateway-of-others", observation)
    broken = _ingress_labelled(observation)
    found = causes(broken)[0]
    assert (found.id, found.cluster) == ("gateway-of-others", "east")
    assert found.object == "Service istio-system/istio-ingressgateway"
    assert "istio-eastwestgateway" not in " ".join(each.object for each in _named("gateway-filtered", broken))
