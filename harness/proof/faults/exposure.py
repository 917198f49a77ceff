"""Faults of what east-west gateways expose."""

from harness.model import expectations
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.proxy import FilterChain, Listener, Proxy
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.proof.faults import configuration
from harness.proof.faults.acts import exposure as acts
from harness.proof.faults.edit import east, on, probes, server, with_config
from harness.proof.faults.fault import MN, PR, Consequence, Fault, either


def _object(kind: str, namespace: str, name: str, spec: configuration.Spec) -> ConfigObject:
    api_version = "networking.istio.io/v1"
    return ConfigObject(
        api_version=api_version, kind=kind, namespace=namespace, name=name, spec=dict(spec), generation=1
    )


def _istiod_plain(observation: Observation) -> Observation:
    target, system = server(observation), observation.asked.system_namespace
    specs = {"Gateway": configuration.plain_gateway(), "VirtualService": configuration.plain_route(system, acts.NAME)}
    items = [_object(kind, system, acts.NAME, spec) for kind, spec in specs.items()]
    changed = with_config(observation, (target,), *items)
    # The gateway of a host outside of the mesh takes its configuration from there alone.
    for cluster in observation.topology.served_by(target) or (target,):
        own = expectations.gateway_proxies(changed[cluster])
        proxies = tuple(_open(proxy) if proxy in own else proxy for proxy in changed[cluster].proxies)
        changed = on(changed, cluster, proxies=proxies)
    return changed


def _open(proxy: Proxy) -> Proxy:
    to = f"outbound|{configuration.PLAIN_PORT}||istiod.istio-system.svc.cluster.local"
    name = f"0.0.0.0_{configuration.PLAIN_PORT}"
    listener = Listener(name=name, port=configuration.PLAIN_PORT, chains=(FilterChain(clusters=(to,)),))
    return proxy.model_copy(update={"listeners": (*proxy.listeners, listener)})


def _tls_originated(observation: Observation) -> Observation:
    target = observation.topology.control_plane_of(east(observation))
    system = observation.asked.system_namespace
    rule = _object("DestinationRule", system, acts.MUTUAL, configuration.mutual_for_all())
    reset = {"result": ProbeResult.REFUSED, "certificates": (), "detail": "connection reset"}

    def change(probe: Probe) -> Probe:
        own = probe.target == target.name and probe.port == expectations.XDS_PORT
        wrapped = own and probe.kind in {ProbeKind.TLS, ProbeKind.CSR_NO_TOKEN}
        return probe.model_copy(update=reset) if wrapped else probe

    return probes(with_config(observation, (target,), rule), change)


FAULTS = (
    Fault(
        "istiod-exposed-plain",
        "the gateways of West's primary lead 15010 to istiod, which has no TLS there",
        _istiod_plain,
        "istiod-exposed-plain",
        frozenset({"GW-ISTIOD-PLAIN"}),
        where=either(MN, PR),
        live=True,
        act=acts.istiod_exposed_plain,
    ),
    Fault(
        "istiod-tls-originated",
        "a DestinationRule says ISTIO_MUTUAL for every service; the gateway wraps remotes' TLS to istiod",
        _tls_originated,
        "istiod-tls-originated",
        frozenset({"CERT-ISTIOD"}),
        consequences=(Consequence(("GW-HARDENED",), "a port that serves nobody proves nothing"),),
        where=PR,
        live=True,
        act=acts.istiod_tls_originated,
    ),
)
