"""Faults of the certificates."""

from datetime import timedelta

from harness.model.certificate import CaSecret
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import certificates as acts
from harness.proof.faults.edit import east, is_istiod, on, probes, signer, west
from harness.proof.faults.fault import EVERY_PLANE, MN, MP, PR, Consequence, Fault
from harness.proof.faults.reissue import reissue, self_signed_ca, signed_by_itself
from harness.proof.faults.toy_certificates import Shape

SHARES = ("TR-DISTRIBUTION", "TR-NO-ERRORS", "TR-NO-RETRIES")
"""What is judged over the requests for the distribution too."""


def _secret(observation: Observation, cluster: Cluster, **fields: object) -> Observation:
    secret = observation[cluster].ca_secret or CaSecret(exists=False)
    return on(observation, cluster, ca_secret=secret.model_copy(update=fields))


def _secret_only(observation: Observation, cluster: Cluster, **shape: object) -> Observation:
    """Put an intermediate of another shape into the secret; istiod goes on with the one it has."""
    good = reissue(observation)
    changed = reissue(observation, intermediates={cluster.name: Shape(**shape)})[cluster].ca_secret  # type: ignore[arg-type]
    return on(good, cluster, ca_secret=changed)


def _mutually_refused(observation: Observation) -> Observation:
    """Handshakes between clusters fail both ways."""
    for client in observation.topology.clusters:
        observation = requests.only_from(observation, client, client, vain="refused")
    return observation


def _root_weak(observation: Observation) -> Observation:
    return reissue(observation, root=Shape(owner="weak", bits=2048, no_usage=True))


def _root_differs(observation: Observation) -> Observation:
    return _mutually_refused(reissue(observation, roots={west(observation).name: Shape(owner="other root")}))


def _root_differs_remote(observation: Observation) -> Observation:
    return reissue(observation, roots={west(observation).name: Shape(owner="other root")})


def _cacerts_late(observation: Observation) -> Observation:
    primary = signer(observation)
    changed = signed_by_itself(observation, primary, self_signed_ca(observation, primary, "istiod's own"))
    started = next(pod.created for pod in observation[primary].pods if is_istiod(pod))
    changed = _secret(changed, primary, created=started + timedelta(minutes=1))
    return changed if observation.topology.remotes else _mutually_refused(changed)


def _incomplete(observation: Observation) -> Observation:
    secret = observation[west(observation)].ca_secret or CaSecret(exists=False)
    keys = tuple(key for key in secret.keys if key != "cert-chain.pem")
    return _secret(observation, west(observation), keys=keys, cert_chain=())


def _not_ca(observation: Observation) -> Observation:
    primary = signer(observation)
    good = reissue(observation)
    broken = reissue(observation, intermediates={primary.name: Shape(ca=False)})
    # istiod takes the new intermediate up and makes its own certificate again; workloads keep theirs for now.
    changed = on(
        good,
        primary,
        ca_secret=broken[primary].ca_secret,
        control_planes=broken[primary].control_planes,
    )
    shown = {(p.kind, p.source, p.target, p.port): p.certificates for p in broken.probes if p.port != 15443}  # noqa: PLR2004
    return probes(
        changed,
        lambda p: p.model_copy(
            update={"certificates": shown.get((p.kind, p.source, p.target, p.port), p.certificates)}
        ),
    )


def _no_pathlen(observation: Observation) -> Observation:
    return reissue(observation, intermediates={west(observation).name: Shape(any_path_length=True)})


def _shared(observation: Observation) -> Observation:
    return reissue(observation, intermediates={west(observation).name: Shape(owner=east(observation).name)})


def _expired(observation: Observation) -> Observation:
    yesterday = observation.observed - timedelta(hours=1)
    earlier = observation.observed - timedelta(days=365)
    return _secret_only(observation, signer(observation), not_before=earlier, not_after=yesterday)


def _expires_soon(observation: Observation) -> Observation:
    began, soon = observation.observed - timedelta(days=355), observation.observed + timedelta(days=10)
    return reissue(observation, intermediates={signer(observation).name: Shape(not_before=began, not_after=soon)})


def _chain_incomplete(observation: Observation) -> Observation:
    secret = observation[west(observation)].ca_secret or CaSecret(exists=False)
    return _secret(observation, west(observation), cert_chain=secret.cert_chain[:1])


def _chain_glued(observation: Observation) -> Observation:
    """The files joined without a line break between them, and istiod not restarted yet."""
    reason = "not a list of PEM blocks (line 33: END and BEGIN on one line)"
    return _secret(observation, west(observation), cert_chain=(), problems=(f"cert-chain.pem: {reason}",))


def _key_mismatch(observation: Observation) -> Observation:
    return _secret(observation, signer(observation), key_matches=False)


def _not_yet_valid(observation: Observation) -> Observation:
    """The signing primary's clock is five minutes ahead of all others."""
    primary = signer(observation)
    ahead = observation.observed + timedelta(minutes=3)
    changed = reissue(observation, leaves={primary.name: Shape(not_before=ahead)})
    served = {cluster.name for cluster in observation.topology.served_by(primary)}

    def accepted(client: Cluster, server: Cluster) -> bool:
        early = ((client, server), (server, client))
        return not any(shown.name in served and judge.name != primary.name for shown, judge in early)

    for client in observation.topology.clusters:
        answering = [target for target in observation.topology.clusters if accepted(client, target)]
        changed = requests.only_from(changed, client, *answering, vain="refused")
    return changed


def _istiod_name(observation: Observation) -> Observation:
    primary = signer(observation)
    changed = reissue(observation, serving={primary.name: Shape(dns_names=("istiod.elsewhere.svc",))})
    served = observation.topology.served_by(primary)
    why = "tls: failed to verify certificate: x509: certificate is valid for istiod.elsewhere.svc"
    return effects.disconnected(effects.injection_fails(changed, *served, why=why), *served)


RECONNECT = "istiod was restarted with this certificate; proxies check the name when they connect again, and refuse it"
WEBHOOK = "API servers check istiod's certificate before they call the injection webhook"
REMOTE_READY = "without an istiod of its own a remote is ready when its pods are injected"
REFUSED = "mutual TLS with the other cluster fails; Envoy retries on an endpoint at home, and the other never answers"
NO_SHARES = "a client that misses a version sends no requests for the distribution any more"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "root-weak",
        "root with RSA 2048 and no keyUsage, though the suite made it",
        _root_weak,
        "root-weak",
        frozenset({"CERT-ROOT-PROFILE"}),
    ),
    Fault(
        "root-differs",
        "West's CA under another root, istiod and workloads restarted",
        _root_differs,
        "root-differs",
        frozenset({"CERT-ROOT-SHARED"}),
        frozenset({"TR-NO-ERRORS", "TR-NO-RETRIES"}),
        (Consequence(("TR-REACH", "TR-NO-RETRIES"), REFUSED), Consequence(SHARES, NO_SHARES)),
        MP,
        live=True,
        act=acts.root_differs,
    ),
    Fault(
        "root-differs-remote",
        "the remote's cacerts under another root",
        _root_differs_remote,
        "root-differs-remote",
        frozenset({"CERT-ROOT-SHARED"}),
        where=PR,
        live=True,
        act=acts.root_differs_remote,
    ),
    Fault(
        "cacerts-late",
        "cacerts created after istiod started",
        _cacerts_late,
        "cacerts-late",
        frozenset({"CERT-IN-USE"}),
        consequences=(
            Consequence(
                ("CERT-WORKLOAD",), "workloads are certified by istiod's self-signed CA, not by the intermediate"
            ),
            Consequence(("CERT-ISTIOD",), "istiod's own certificate comes from its self-signed CA too"),
            Consequence(
                ("GW-DATAPATH",), "helloworld's certificate, seen through the gateway, has istiod's own root", MN
            ),
            Consequence(("TR-REACH", "TR-NO-RETRIES"), REFUSED, MP),
            Consequence(SHARES, NO_SHARES, MP),
        ),
        live=True,
        act=acts.cacerts_late,
    ),
    Fault(
        "cacerts-incomplete",
        "cert-chain.pem missing in West's cacerts",
        _incomplete,
        "cacerts-incomplete",
        frozenset({"CERT-SECRET"}),
        consequences=(Consequence(("CERT-CHAIN",), "there is no chain to examine; istiod keeps the CA it has"),),
        planes=EVERY_PLANE,
        live=True,
        act=acts.cacerts_incomplete,
    ),
    Fault(
        "intermediate-not-ca",
        "an intermediate with CA:false, the key as before",
        _not_ca,
        "intermediate-not-ca",
        frozenset({"CERT-INTERMEDIATE-PROFILE"}),
        consequences=(
            Consequence(
                ("CERT-ISTIOD",), "istiod reloads a changed intermediate and makes its own certificate with it"
            ),
            # Pods are still injected: API servers check the certificate when they connect, and keep connections.
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook's caBundle does not validate that certificate"),
        ),
        live=True,
        act=acts.intermediate_not_ca,
    ),
    Fault(
        "intermediate-no-pathlen",
        "West's intermediate without pathlen",
        _no_pathlen,
        "intermediate-no-pathlen",
        frozenset({"CERT-INTERMEDIATE-PROFILE"}),
        live=True,
        act=acts.intermediate_no_pathlen,
    ),
    Fault(
        "intermediate-shared",
        "both clusters hold one intermediate key",
        _shared,
        "intermediate-shared",
        frozenset({"CERT-INTERMEDIATE-DISTINCT"}),
        live=True,
        act=acts.intermediate_shared,
    ),
    Fault(
        "intermediate-expired",
        "an intermediate with notAfter in the past, the key as before",
        _expired,
        "intermediate-expired",
        frozenset({"CERT-INTERMEDIATE-PROFILE"}),
        consequences=(
            Consequence(("CERT-CHAIN",), "the path is not valid now"),
            Consequence(("CERT-HORIZON",), "what has expired has no time left"),
            Consequence(
                ("CERT-WORKLOAD",), "istiod keeps the CA it had; its leaves outlive what now stands in the secret"
            ),
        ),
        live=True,
        act=acts.intermediate_expired,
    ),
    Fault(
        "intermediate-expires-soon",
        "an intermediate of a year with 10 days left",
        _expires_soon,
        "intermediate-expires-soon",
        frozenset({"CERT-HORIZON"}),
        live=True,
        act=acts.intermediate_expires_soon,
    ),
    Fault(
        "chain-incomplete",
        "West's cert-chain.pem without the root",
        _chain_incomplete,
        "chain-incomplete",
        frozenset({"CERT-CHAIN"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.chain_incomplete,
    ),
    Fault(
        "chain-glued",
        "West's cert-chain.pem with END and BEGIN on one line",
        _chain_glued,
        "cacerts-unreadable",
        frozenset({"CERT-CHAIN"}),
        consequences=(Consequence(("CERT-SECRET",), "its content is no list of PEM blocks"),),
    ),
    Fault(
        "key-mismatch",
        "ca-key.pem of another certificate",
        _key_mismatch,
        "key-mismatch",
        frozenset({"CERT-KEY-MATCH"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.key_mismatch,
    ),
    Fault(
        "leaf-not-yet-valid",
        "the signing primary's clock is five minutes ahead",
        _not_yet_valid,
        "leaf-not-yet-valid",
        frozenset({"CERT-WORKLOAD"}),
        consequences=(
            Consequence(
                ("GW-DATAPATH",), "helloworld's certificate, seen through the gateway, begins in the future", MN
            ),
            Consequence(
                ("TR-REACH", "TR-NO-RETRIES"), "clusters with the right time refuse certificates of the future"
            ),
            Consequence(SHARES, NO_SHARES),
            Consequence(
                ("TR-NO-ERRORS",), "the remote, with the right time, refuses even its own pods' certificates", PR
            ),
        ),
    ),
    Fault(
        "istiod-name",
        "istiod serves a certificate for another name",
        _istiod_name,
        "istiod-name",
        frozenset({"CERT-ISTIOD"}),
        consequences=(
            Consequence(("CP-INJECTION-WEBHOOK",), WEBHOOK),
            Consequence(("CP-READY",), REMOTE_READY, PR),
            Consequence(("XDS-SYNCED",), RECONNECT),
        ),
    ),
)
