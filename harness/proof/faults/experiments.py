"""Faults that only experiments show."""

from collections.abc import Callable

from harness.model.cluster import ConfigObject
from harness.model.experiment import Exchange, Experiments
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult
from harness.proof.faults import configuration
from harness.proof.faults.acts import experiments as acts
from harness.proof.faults.acts import policies
from harness.proof.faults.edit import west, with_config
from harness.proof.faults.fault import EVERY_PLANE, Fault

Change = Callable[[Exchange], Exchange]


def _seen(observation: Observation) -> Experiments:
    if observation.experiments is None:
        raise LookupError("no experiments were made")
    return observation.experiments


def _with(observation: Observation, **fields: object) -> Observation:
    return observation.model_copy(update={"experiments": _seen(observation).model_copy(update=fields)})


def _changed(exchanges: tuple[Exchange, ...] | None, change: Change) -> tuple[Exchange, ...]:
    if not exchanges:
        raise LookupError("no such requests were sent")
    return tuple(change(exchange) for exchange in exchanges)


def _tcp_broken(observation: Observation) -> Observation:
    """Plain TCP to West is parsed as HTTP there, and refused."""
    name = west(observation).name

    def change(exchange: Exchange) -> Exchange:
        if exchange.target not in {name, ""}:
            return exchange
        refused = {"result": ProbeResult.REFUSED, "status": 0, "answers": {}, "detail": "connection reset by peer"}
        return exchange.model_copy(update=refused)

    return _with(observation, tcp=_changed(_seen(observation).tcp, change))


def _payload_lost(observation: Observation) -> Observation:
    """What is long does not arrive on West."""
    name = west(observation).name

    def change(exchange: Exchange) -> Exchange:
        if exchange.target != name:
            return exchange
        lost = {"result": ProbeResult.TIMEOUT, "status": 0, "answers": {}, "returned": 0, "detail": "i/o timeout"}
        return exchange.model_copy(update=lost)

    return _with(observation, payload=_changed(_seen(observation).payload, change))


def _grpc_broken(observation: Observation) -> Observation:
    """All calls of a connection go where the connection went: one endpoint."""

    def change(exchange: Exchange) -> Exchange:
        version = sorted(exchange.answers)[0] if exchange.answers else ""
        return exchange.model_copy(update={"answers": {version: sum(exchange.answers.values())}})

    return _with(observation, grpc=_changed(_seen(observation).grpc, change))


def _plaintext(observation: Observation) -> Observation:
    strict = _seen(observation).strict
    if strict is None:
        raise LookupError("STRICT was not tried")
    name = west(observation).name

    def change(exchange: Exchange) -> Exchange:
        same = (exchange.source, exchange.url)
        answered = next((e for e in strict.control if (e.source, e.url) == same), exchange)
        return answered if exchange.target == name else exchange

    item = ConfigObject(
        api_version="security.istio.io/v1",
        kind="PeerAuthentication",
        namespace=observation.asked.sample_namespace,
        name="plaintext-for-helloworld",
        spec=configuration.plaintext_for_helloworld(),
    )
    changed = with_config(observation, observation.topology.primaries, item)
    return _with(changed, strict=strict.model_copy(update={"plaintext": _changed(strict.plaintext, change)}))


def _authz_missing(observation: Observation) -> Observation:
    """The policy is absent on West's primary: everybody is let in at the destinations that it configures."""
    seen = _seen(observation).authorization
    if seen is None:
        raise LookupError("no policy was tried")
    primary = west(observation).primary
    served = {c.name for c in observation.topology.clusters if c.primary == primary}
    policy = seen.policy.model_copy(update={"clusters": tuple(c for c in seen.policy.clusters if c != primary)})

    def change(exchange: Exchange) -> Exchange:
        if exchange.account != seen.denied or exchange.target not in served:
            return exchange
        same = (exchange.source, exchange.url, exchange.account)
        return next((e for e in seen.control if (e.source, e.url, e.account) == same), exchange)

    update = {"policy": policy, "exchanges": _changed(seen.exchanges, change)}
    return _with(observation, authorization=seen.model_copy(update=update))


def _not_idempotent(observation: Observation) -> Observation:
    rerun = _seen(observation).rerun
    if rerun is None:
        raise LookupError("the procedure was not run again")
    name = west(observation).name
    renewed = dict.fromkeys(rerun.certificates_after.get(name, {}), "f" * 64)
    after = {**rerun.certificates_after, name: renewed}
    return _with(observation, rerun=rerun.model_copy(update={"certificates_after": after}))


FAULTS: tuple[Fault, ...] = (
    Fault(
        "tcp-broken",
        "the echo Service's TCP port is named http on West",
        _tcp_broken,
        "tcp-broken",
        frozenset({"TR-TCP"}),
        live=True,
        act=acts.tcp_broken,
    ),
    Fault(
        "payload-lost",
        "a connection to West's echo server is dropped after 32 KiB",
        _payload_lost,
        "payload-lost",
        frozenset({"TR-PAYLOAD"}),
        live=True,
        act=acts.payload_lost,
    ),
    Fault(
        "grpc-broken",
        "the echo Service's gRPC port is named tcp: calls stick to a connection",
        _grpc_broken,
        "grpc-broken",
        frozenset({"TR-GRPC"}),
        live=True,
        act=acts.grpc_broken,
    ),
    Fault(
        "plaintext-accepted",
        "STRICT undone for helloworld by a PeerAuthentication of its own",
        _plaintext,
        "plaintext-accepted",
        frozenset({"MTLS-STRICT"}),
        planes=EVERY_PLANE,
        live=True,
        act=policies.plaintext_accepted,
    ),
    Fault(
        "authz-missing",
        "the policy is absent where West's destinations are read from",
        _authz_missing,
        "authz-missing",
        frozenset({"AUTHZ-IDENTITY"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.authz_missing,
    ),
    Fault(
        "not-idempotent",
        "a second run made a new CA",
        _not_idempotent,
        "not-idempotent",
        frozenset({"IDEMPOTENT"}),
        planes=EVERY_PLANE,
    ),
)
