"""Every requirement on networks, gateways and remote secrets notices what it is there for."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from harness.judge.diagnose.registry import detectors
from harness.model import expectations, requested
from harness.model.cluster import RemoteAccess, RemoteSecret
from harness.model.observation import Observation
from harness.model.topology import Feature, Topology
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.selftest.support.breakage import (
    Breakage,
    check,
    edit,
    first,
    gateway_is,
    gateway_of_istiod,
    last,
    multi_network,
    on,
    with_probes,
)


def _labelled(observation: Observation, labels: dict[str, str]) -> Observation:
    cluster, system = last(observation.topology), observation.asked.system_namespace
    namespaces = edit(observation[cluster].namespaces, lambda item: item.name == system, labels=labels)
    return on(observation, cluster, namespaces=namespaces)


def _is(kind: ProbeKind, port: int = 0) -> Callable[[Probe], bool]:
    return lambda probe: probe.kind is kind and port in {0, probe.port}


def _deployment(observation: Observation) -> Observation:
    cluster = gateway_of_istiod(observation.topology)
    workloads = observation[cluster].workloads
    return on(
        observation,
        cluster,
        workloads=edit(workloads, lambda item: item.name == expectations.GATEWAY, conditions=(), desired=0, ready=0),
    )


def _listeners(observation: Observation, port: int) -> Observation:
    crossing = port == expectations.MESH_PORT
    cluster = first(observation.topology) if crossing else gateway_of_istiod(observation.topology)
    proxy = expectations.gateway_proxies(observation[cluster])[0]
    listeners = tuple(listener for listener in proxy.listeners if listener.port != port)
    return on(
        observation,
        cluster,
        proxies=edit(observation[cluster].proxies, lambda item: item == proxy, listeners=listeners),
    )


def _terminated(observation: Observation) -> Observation:
    """The listener ends TLS itself instead of passing it on."""
    cluster = first(observation.topology)
    proxy = expectations.gateway_proxies(observation[cluster])[0]
    listeners = tuple(
        listener.model_copy(update={"chains": edit(listener.chains, lambda _: True, tls=True)})
        for listener in proxy.listeners
    )
    return on(
        observation,
        cluster,
        proxies=edit(observation[cluster].proxies, lambda item: item == proxy, listeners=listeners),
    )


def _other_hosts(observation: Observation) -> Observation:
    """The Gateway is there, for the services of another namespace."""
    cluster = first(observation.topology)
    proxy = expectations.gateway_proxies(observation[cluster])[0]
    own = requested.server_name(observation.asked)
    other = {"server_names": ("outbound_.80_._.shop.other.svc.cluster.local",)}
    other["clusters"] = other["server_names"]
    listeners = tuple(
        listener.model_copy(
            update={
                "chains": tuple(c.model_copy(update=other) if own in c.server_names else c for c in listener.chains)
            }
        )
        for listener in proxy.listeners
    )
    return on(
        observation,
        cluster,
        proxies=edit(observation[cluster].proxies, lambda item: item == proxy, listeners=listeners),
        config=edit(
            observation[cluster].config,
            lambda item: item.name == "cross-network-gateway",
            spec={
                "servers": [
                    {
                        "port": {"number": expectations.MESH_PORT},
                        "tls": {"mode": "AUTO_PASSTHROUGH"},
                        "hosts": ["*.other.svc.cluster.local"],
                    }
                ]
            },
        ),
    )


def test_a_gateway_for_other_hosts_is_the_cause(good_observations: Mapping[str, Observation]) -> None:
    seen = _other_hosts(good_observations["primary-remote-multi-network"])
    (named,) = (detector for detector in detectors() if detector.id == "services-not-exposed")
    (found,) = named.find(seen)
    assert found.found == "AUTO_PASSTHROUGH, for other hosts"
    assert not list(named.find(good_observations["primary-remote-multi-network"]))


def _another_certificate(observation: Observation) -> Observation:
    istiod = observation[first(observation.topology)].control_planes[0].serving_chain
    return with_probes(observation, _is(ProbeKind.TLS, expectations.MESH_PORT), certificates=istiod)


def _secrets(observation: Observation, **update: object) -> Observation:
    cluster = first(observation.topology)
    secrets = observation[cluster].remote_secrets
    return on(observation, cluster, remote_secrets=edit(secrets, lambda item: item == secrets[0], **update))


def _without_secret(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    return on(observation, cluster, remote_secrets=observation[cluster].remote_secrets[1:])


def _secret_of_itself(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    secret = RemoteSecret(
        namespace=observation.asked.system_namespace,
        name="extra",
        labelled=True,
        clusters=(cluster.cluster_name,),
        servers=("https://192.0.2.1:6443",),
        has_token=True,
        created=observation.started,
        access=(RemoteAccess(cluster=cluster.cluster_name, form="token"),),
    )
    return on(observation, cluster, remote_secrets=(*observation[cluster].remote_secrets, secret))


def _permission(observation: Observation, name: str, allowed: bool) -> Observation:
    probes = tuple(
        probe.model_copy(update={"permissions": probe.permissions | {name: allowed}}) if probe.permissions else probe
        for probe in observation.probes
    )
    return observation.model_copy(update={"probes": probes})


def _not_synced(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    planes = observation[cluster].control_planes
    rows = edit(planes[0].clusters, lambda row: row.id != cluster.cluster_name, sync_status="timeout")
    return on(observation, cluster, control_planes=edit(planes, lambda _: True, clusters=rows))


def _without_address(topology: Topology) -> set[str]:
    """What needs the address of the first cluster's gateway: its clients, and on a remote its control plane."""
    blocked = {"GW-REACHABLE", "GW-HARDENED"}
    if multi_network(topology) and not topology.hosts:
        blocked |= {"GW-DATAPATH", "EP-COMPLETE", "EP-WEIGHTS", "TR-DISTRIBUTION"}
    if Feature.PRIMARY_REMOTE in topology.features:
        blocked |= {"CERT-ISTIOD", "CP-REMOTE-PROFILE"}
    return blocked


SECRET_MISSING = ("RS-USABLE", "RS-LEAST")
HOUR = timedelta(hours=1)


def _access(observation: Observation, **fields: object) -> Observation:
    """Change the kubeconfig in a remote secret."""
    (access,) = next(secret.access for secret in observation.clusters[0].remote_secrets)
    return _secrets(observation, access=(access.model_copy(update=fields),))


BREAKAGES = (
    Breakage("NET-LABEL", "unlabelled", lambda o: _labelled(o, {}), blocked=lambda _: ("NET-DISTINCT",)),
    Breakage(
        "NET-DISTINCT",
        "same-name",
        lambda o: _labelled(o, {expectations.NETWORK_LABEL: first(o.topology).network}),
        also_fail=lambda _: ("NET-LABEL",),
    ),
    Breakage(
        "NET-PACKETS", "packets-lost", lambda o: with_probes(o, _is(ProbeKind.PACKETS), result=ProbeResult.TIMEOUT)
    ),
    Breakage("NET-ROUTES", "no-route", lambda o: with_probes(o, _is(ProbeKind.POD_ROUTE), result=ProbeResult.TIMEOUT)),
    Breakage(
        "GW-AVAILABLE",
        "scaled-down",
        _deployment,
        blocked=lambda topology: (
            *("GW-REACHABLE", "GW-EXPOSE-ISTIOD", "GW-HARDENED"),
            *(() if topology.hosts else ("GW-EXPOSE-SERVICES", "GW-DATAPATH")),
        ),
    ),
    Breakage(
        "GW-ADDRESS",
        "pending",
        lambda o: gateway_is(o, gateway_of_istiod(o.topology), ingress=(), resolved=()),
        blocked=_without_address,
    ),
    *(
        Breakage(
            "GW-REACHABLE",
            f"filtered-{port}",
            lambda o, port=port: with_probes(o, _is(ProbeKind.TCP, port), result=ProbeResult.TIMEOUT),  # type: ignore[misc]
            when=lambda topology, port=port: port in expectations.needed_ports(topology, first(topology)),  # type: ignore[misc]
        )
        for port in (expectations.MESH_PORT, expectations.XDS_PORT, expectations.WEBHOOK_PORT)
    ),
    Breakage("GW-EXPOSE-SERVICES", "no-listener", lambda o: _listeners(o, expectations.MESH_PORT)),
    Breakage("GW-EXPOSE-SERVICES", "terminated", _terminated),
    Breakage("GW-EXPOSE-SERVICES", "other-hosts", _other_hosts),
    Breakage("GW-EXPOSE-ISTIOD", "no-xds", lambda o: _listeners(o, expectations.XDS_PORT)),
    Breakage("GW-EXPOSE-ISTIOD", "no-webhook", lambda o: _listeners(o, expectations.WEBHOOK_PORT)),
    Breakage(
        "GW-DATAPATH",
        "no-handshake",
        lambda o: with_probes(
            o, _is(ProbeKind.TLS, expectations.MESH_PORT), result=ProbeResult.REFUSED, certificates=()
        ),
        blocked=lambda _: ("GW-HARDENED",),
    ),
    Breakage("GW-DATAPATH", "another-certificate", _another_certificate),
    Breakage(
        "GW-HARDENED",
        "plain",
        lambda o: with_probes(o, _is(ProbeKind.TLS_NO_CERTIFICATE), result=ProbeResult.ANSWERED, status=200),
        when=multi_network,
    ),
    Breakage(
        "GW-HARDENED",
        "signs-for-anyone",
        lambda o: with_probes(o, _is(ProbeKind.CSR_NO_TOKEN), result=ProbeResult.ANSWERED, status=200),
        when=lambda topology: Feature.PRIMARY_REMOTE in topology.features,
    ),
    Breakage("RS-PRESENT", "missing", _without_secret, blocked=lambda _: SECRET_MISSING),
    Breakage("RS-PRESENT", "unlabelled", lambda o: _secrets(o, labelled=False), blocked=lambda _: SECRET_MISSING),
    Breakage("RS-PRESENT", "elsewhere", lambda o: _secrets(o, namespace="default"), blocked=lambda _: SECRET_MISSING),
    Breakage(
        "RS-PRESENT", "wrong-name", lambda o: _secrets(o, clusters=("cluster9",)), blocked=lambda _: SECRET_MISSING
    ),
    Breakage("RS-PRESENT", "wrong-server", lambda o: _secrets(o, servers=(o.clusters[0].api_server,))),
    Breakage("RS-PRESENT", "superfluous", _secret_of_itself),
    Breakage(
        "RS-USABLE",
        "unreachable",
        lambda o: with_probes(o, _is(ProbeKind.API_SERVER), result=ProbeResult.TIMEOUT, permissions={}),
        blocked=lambda _: ("RS-LEAST",),
    ),
    Breakage("RS-USABLE", "powerless", lambda o: _permission(o, "list endpointslices", False)),
    Breakage("RS-SYNCED", "timeout", _not_synced),
    Breakage("RS-LEAST", "powerful", lambda o: _permission(o, "create pods/exec", True)),
    Breakage("RS-HORIZON", "token-ends", lambda o: _access(o, ends=o.observed + timedelta(days=29))),
    Breakage("RS-HORIZON", "token-ended", lambda o: _access(o, begins=o.observed - HOUR, ends=o.observed)),
    Breakage("RS-VERIFIED", "insecure", lambda o: _access(o, insecure=True)),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else but what is declared."""
    check(breakage, made_observations.values())
