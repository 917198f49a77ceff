"""What the experiment stage records of a good mesh."""

from harness.experiments import authorization, echo, mutual_tls
from harness.model import expectations
from harness.model.experiment import (
    ECHO,
    GRPC_PORT,
    HTTP_PORT,
    PAYLOAD_BYTES,
    PLAIN,
    TCP_PORT,
    AuthorizationExperiment,
    Exchange,
    Experiments,
    Policy,
    Rerun,
    StrictExperiment,
)
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult
from suites.selftest.support.good_objects import SAMPLE

FORBIDDEN = 403


def good_experiments(observation: Observation) -> Experiments:
    """Every experiment as it must come out."""
    clusters = observation.topology.clusters
    pairs = [(source, target) for source in clusters for target in observation.topology.others(source)]
    count = echo.calls(len(clusters))
    each, more = divmod(count, len(clusters))
    return Experiments(
        tcp=tuple(
            _exchange(ECHO, source, target, f"tcp://{_host(target)}:{TCP_PORT}", sent=3) for source, target in pairs
        ),
        payload=tuple(
            _exchange(ECHO, source, target, f"tcp://{_host(target)}:{TCP_PORT}").model_copy(
                update={"returned": PAYLOAD_BYTES}
            )
            for source, target in pairs
        ),
        grpc=tuple(
            _exchange(ECHO, source, None, f"grpc://{ECHO}.{SAMPLE}:{GRPC_PORT}", sent=count).model_copy(
                update={
                    "status": 200,
                    "answers": {c.version: each + (n < more) for n, c in enumerate(clusters)},
                }
            )
            for source in clusters
        ),
        strict=_strict(observation),
        authorization=_authorization(observation, pairs),
        rerun=_rerun(observation),
    )


def _strict(observation: Observation) -> StrictExperiment:
    control = tuple(
        _exchange(PLAIN, source, target, f"http://{pod.ip}:{expectations.HELLOWORLD_PORT}/hello", account="default")
        for target in observation.topology.clusters
        for source in observation.topology.clusters
        if source.network == target.network
        for pod in expectations.helloworld_pods(observation[target], SAMPLE)
    )
    refused = {"result": ProbeResult.REFUSED, "status": 0, "answers": {}, "detail": "Connection reset by peer"}
    return StrictExperiment(
        control=control,
        policy=_policy(observation, "PeerAuthentication", mutual_tls.NAME, {"mtls": {"mode": "STRICT"}}),
        plaintext=tuple(exchange.model_copy(update=refused) for exchange in control),
        loop=observation.traffic.coverage if observation.traffic else (),
    )


def _authorization(observation: Observation, pairs: list[tuple[Cluster, Cluster]]) -> AuthorizationExperiment:
    control = tuple(
        _exchange(caller, source, target, f"http://{_host(target)}:{HTTP_PORT}/")
        for caller in (expectations.SLEEP, ECHO)
        for source, target in pairs
    )
    denied = {"status": FORBIDDEN, "answers": {}}
    return AuthorizationExperiment(
        allowed=expectations.SLEEP,
        denied=ECHO,
        control=control,
        policy=_policy(observation, "AuthorizationPolicy", authorization.NAME, {"action": "ALLOW"}),
        exchanges=tuple(e.model_copy(update=denied) if e.account == ECHO else e for e in control),
    )


def _rerun(observation: Observation) -> Rerun:
    certificates: dict[str, dict[str, str]] = {}
    for observed in observation.clusters:
        secret = observed.ca_secret
        assert secret and secret.ca_cert and secret.root_cert
        certificates[observed.name] = {
            "cacerts/ca-cert.pem": secret.ca_cert.sha256,
            "cacerts/root-cert.pem": secret.root_cert.sha256,
            "istio-ca-root-cert": secret.root_cert.sha256,
        }
    return Rerun(
        seconds=5.0,
        failed_steps=(),
        certificates_before=certificates,
        certificates_after=certificates,
        compared=dict.fromkeys(certificates, 60),
        changes=(),
        aside=("all: status: what controllers report",),
    )


def _host(target: Cluster) -> str:
    return f"{ECHO}-{target.version}.{SAMPLE}"


def _exchange(
    app: str, source: Cluster, target: Cluster | None, url: str, *, account: str = "", sent: int = 1
) -> Exchange:
    return Exchange(
        source=source.name,
        pod=f"{app}-1",
        account=account or app,
        target=target.name if target else "",
        url=url,
        sent=sent,
        result=ProbeResult.ANSWERED,
        status=200,
        answers={target.version: sent} if target else {},
        seconds=0.05,
    )


def _policy(observation: Observation, kind: str, name: str, spec: dict[str, object]) -> Policy:
    primaries = tuple(cluster.name for cluster in observation.topology.primaries)
    return Policy(kind=kind, namespace=SAMPLE, name=name, clusters=primaries, spec=spec, seconds=0.4)
