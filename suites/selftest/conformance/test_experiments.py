"""Every requirement that an experiment is made for notices what it is there for."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model.experiment import (
    ECHO,
    IDS,
    PAYLOAD_BYTES,
    AuthorizationExperiment,
    Exchange,
    Experiments,
    Rerun,
    ResourceChange,
    StrictExperiment,
)
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult
from suites.catalogue import catalogue
from suites.selftest.support.breakage import Breakage, check, edit, first, last, verdicts


def experiments_are(observation: Observation, **update: object) -> Observation:
    """Replace what experiments saw."""
    seen = observation.experiments
    assert seen
    return observation.model_copy(update={"experiments": seen.model_copy(update=update)})


def _seen(observation: Observation) -> Experiments:
    assert observation.experiments
    return observation.experiments


def _tcp(observation: Observation, **update: object) -> Observation:
    target = last(observation.topology).name
    exchanges = edit(_seen(observation).tcp or (), lambda exchange: exchange.target == target, **update)
    return experiments_are(observation, tcp=exchanges)


def _payload(observation: Observation, **update: object) -> Observation:
    target = last(observation.topology).name
    exchanges = edit(_seen(observation).payload or (), lambda exchange: exchange.target == target, **update)
    return experiments_are(observation, payload=exchanges)


def _grpc(observation: Observation, change: Callable[[Exchange], dict[str, Any]]) -> Observation:
    source = first(observation.topology).name
    return experiments_are(
        observation,
        grpc=tuple(
            exchange.model_copy(update=change(exchange)) if exchange.source == source else exchange
            for exchange in _seen(observation).grpc or ()
        ),
    )


def _strict(observation: Observation, **update: object) -> Observation:
    strict = _seen(observation).strict
    assert isinstance(strict, StrictExperiment)
    return experiments_are(observation, strict=strict.model_copy(update=update))


def plaintext(observation: Observation, **update: object) -> Observation:
    """Replace what came of plaintext to the last cluster under STRICT."""
    strict, target = _seen(observation).strict, last(observation.topology).name
    assert strict
    return _strict(observation, plaintext=edit(strict.plaintext, lambda e: e.target == target, **update))


def _loop_broken(observation: Observation) -> Observation:
    strict, client = _seen(observation).strict, first(observation.topology).name
    assert strict
    broken = [
        sequence.model_copy(
            update={"requests": edit(sequence.requests, lambda r: r.sent == 0, status=503, version="", error="reset")}
        )
        if sequence.client == client
        else sequence
        for sequence in strict.loop
    ]
    return _strict(observation, loop=tuple(broken))


def authorized(observation: Observation, account: str, **update: object) -> Observation:
    """Replace what came of a caller's requests to the last cluster under the policy."""
    seen, target = _seen(observation).authorization, last(observation.topology).name
    assert isinstance(seen, AuthorizationExperiment)
    exchanges = edit(seen.exchanges, lambda e: (e.account, e.target) == (account, target), **update)
    return experiments_are(observation, authorization=seen.model_copy(update={"exchanges": exchanges}))


def _rerun(observation: Observation, **update: object) -> Observation:
    rerun = _seen(observation).rerun
    assert isinstance(rerun, Rerun)
    return experiments_are(observation, rerun=rerun.model_copy(update=update))


def _new_ca(observation: Observation) -> Observation:
    rerun, cluster = _seen(observation).rerun, last(observation.topology).name
    assert rerun
    after = {**rerun.certificates_after[cluster], "cacerts/ca-cert.pem": "0" * 64}
    return _rerun(observation, certificates_after={**rerun.certificates_after, cluster: after})


def _changed(observation: Observation) -> Observation:
    change = ResourceChange(
        cluster=last(observation.topology).name,
        kind="Deployment.apps",
        namespace="istio-system",
        name="istio-eastwestgateway",
        change="changed",
        fields=("spec.template.metadata.annotations.restarted",),
        generations=(1, 2),
    )
    return _rerun(observation, changes=(change,))


ANSWERED = {"result": ProbeResult.ANSWERED, "status": 200, "detail": ""}
BREAKAGES = (
    Breakage(
        "TR-TCP",
        "taken-for-http",
        lambda o: _tcp(o, result=ProbeResult.REFUSED, answers={}, status=0, detail="HTTP/1.1 400 Bad Request"),
    ),
    Breakage("TR-TCP", "answered-from-elsewhere", lambda o: _tcp(o, answers={first(o.topology).version: 3})),
    Breakage("TR-PAYLOAD", "cut-off", lambda o: _payload(o, returned=PAYLOAD_BYTES - 1)),
    Breakage("TR-PAYLOAD", "lost", lambda o: _payload(o, result=ProbeResult.TIMEOUT, answers={}, status=0, returned=0)),
    Breakage("TR-PAYLOAD", "answered-from-elsewhere", lambda o: _payload(o, answers={first(o.topology).version: 1})),
    Breakage(
        "TR-GRPC",
        "sticks-to-a-connection",
        lambda o: _grpc(o, lambda exchange: {"answers": {first(o.topology).version: exchange.sent}}),
    ),
    Breakage(
        "TR-GRPC",
        "unavailable",
        lambda o: _grpc(o, lambda _: {"result": ProbeResult.REFUSED, "answers": {}, "detail": "code = Unavailable"}),
    ),
    Breakage("MTLS-STRICT", "plaintext-accepted", lambda o: plaintext(o, **ANSWERED)),
    Breakage("MTLS-STRICT", "loop-broken", _loop_broken),
    Breakage("AUTHZ-IDENTITY", "not-enforced", lambda o: authorized(o, ECHO, **ANSWERED)),
    Breakage("AUTHZ-IDENTITY", "identity-lost", lambda o: authorized(o, "sleep", status=403, answers={})),
    Breakage("IDEMPOTENT", "new-ca", _new_ca),
    Breakage("IDEMPOTENT", "changed", _changed),
    Breakage("IDEMPOTENT", "step-failed", lambda o: _rerun(o, failed_steps=("west: Install Istio: refused",))),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else but what is declared."""
    check(breakage, made_observations.values())


def test_same_ids() -> None:
    """The stage and the catalogue mean the same requirements."""
    assert {row.id for row in catalogue().values() if row.experiment} == IDS


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        ({}, Verdict.SKIPPED),
        ({"prevented": dict.fromkeys(IDS, "TR-REACH: not every version answers west")}, Verdict.BLOCKED),
        ({"errors": dict.fromkeys(IDS, "KeyError: 'items'")}, Verdict.UNKNOWN),
    ],
    ids=("left out", "prevented", "suite failed"),
)
def test_not_made(update: dict[str, Any], verdict: Verdict, made_observations: Mapping[str, Observation]) -> None:
    """An experiment that was not made is never passed."""
    for observation in made_observations.values():
        found = verdicts(observation.model_copy(update={"experiments": Experiments(**update)}))
        assert {found[row] for row in IDS} == {verdict}


def test_verify_only(made_observations: Mapping[str, Observation]) -> None:
    """Where nothing may be changed, no experiment is made."""
    for observation in made_observations.values():
        found = verdicts(observation.model_copy(update={"experiments": None}))
        assert {row for row, verdict in found.items() if verdict is Verdict.SKIPPED} == IDS


@pytest.mark.parametrize("name", ["strict", "authorization"])
def test_no_control_no_pass(name: str, made_observations: Mapping[str, Observation]) -> None:
    """What was not answered without the policy either proves nothing when it is refused."""
    unanswered = {"result": ProbeResult.TIMEOUT, "status": 0, "answers": {}}
    for observation in made_observations.values():
        seen = getattr(_seen(observation), name)
        for control in ((), tuple(exchange.model_copy(update=unanswered) for exchange in seen.control)):
            changed = experiments_are(observation, **{name: seen.model_copy(update={"control": control})})
            found = verdicts(changed)
            assert found["MTLS-STRICT" if name == "strict" else "AUTHZ-IDENTITY"] is Verdict.BLOCKED


@pytest.mark.parametrize(
    ("result", "verdict"), [(ProbeResult.TRANSPORT, Verdict.UNKNOWN), (ProbeResult.NO_TOOL, Verdict.SKIPPED)]
)
def test_unsent(result: ProbeResult, verdict: Verdict, made_observations: Mapping[str, Observation]) -> None:
    """A request that could not be sent is no verdict on the mesh."""

    def unsent(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
        return tuple(
            exchange.model_copy(update={"result": result, "answers": {}, "status": 0}) for exchange in exchanges
        )

    for observation in made_observations.values():
        seen = _seen(observation)
        assert seen.tcp and seen.payload and seen.grpc and seen.strict and seen.authorization
        found = verdicts(
            experiments_are(
                observation,
                tcp=unsent(seen.tcp),
                payload=unsent(seen.payload),
                grpc=unsent(seen.grpc),
                strict=seen.strict.model_copy(update={"plaintext": unsent(seen.strict.plaintext)}),
                authorization=seen.authorization.model_copy(update={"exchanges": unsent(seen.authorization.exchanges)}),
            )
        )
        assert {found[row] for row in IDS - {"IDEMPOTENT"}} == {verdict}


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        # East reaches West and North, which share a network, over their gateways: one of them is enough.
        ({"v1": 60, "v2": 67}, Verdict.PASS),
        ({"v1": 60, "v3": 67}, Verdict.PASS),
        ({"v2": 60, "v3": 67}, Verdict.FAIL),
        ({"v1": 127}, Verdict.FAIL),
    ],
)
def test_behind_a_networks_gateways_a_connection_chooses_once(
    answers: dict[str, int], verdict: Verdict, made_observations: Mapping[str, Observation]
) -> None:
    seen = _grpc(made_observations["mixed"], lambda _: {"answers": answers})
    assert verdicts(seen)["TR-GRPC"] is verdict
    causes = {found.id for found in diagnose(seen, (judge(catalogue()["TR-GRPC"], seen),))}
    assert causes == ({"grpc-broken"} if verdict is Verdict.FAIL else set())
