"""On a mesh that somebody else installed no suggestion changes anything, and each says where to change it."""

import shlex
from collections.abc import Iterator, Mapping

import pytest

from harness.judge.diagnose import diagnose, foreign
from harness.judge.diagnose.cause import Cause
from harness.judge.diagnose.registry import Found
from harness.judge.judgement import Finding, Judgement, Level, Verdict
from harness.model.observation import Observation
from harness.model.origin import Origin, Owner
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.edit import edit, on
from harness.proof.faults.fault import Fault
from harness.proof.faults.mutations import faults
from suites.selftest.proof.test_faults import TOPOLOGIES, _applying, _whole
from suites.selftest.support.good import good
from suites.selftest.support.judgements import judged

READING: dict[str, set[tuple[str, ...]]] = {
    "kubectl": {("get",), ("describe",), ("diff",), ("logs",), ("version",), ("auth", "can-i"), ("config", "view")},
    "istioctl": {("analyze",), ("proxy-config",), ("proxy-status",), ("version",)},
    "base64": {("-d",)},
    "openssl": {("crl2pkcs7",), ("pkcs7",)},
}
"""Program → the verbs that change nothing, wherever they are used."""
WITH_VALUE = {"--context", "-n", "--namespace"}


def _foreign(observation: Observation) -> Observation:
    asked = observation.asked.model_copy(update={"mode": "verify-only"})
    return observation.model_copy(update={"asked": asked})


def _commands(repair: str) -> Iterator[list[str]]:
    """The simple commands of a line, without options that stand before the verb."""
    words = shlex.shlex(repair, posix=True, punctuation_chars="&|;<>()")
    words.whitespace_split, words.commenters = True, "#"
    command: list[str] = []
    for word in [*map(str, words), "|"]:
        if word == "|":
            yield command
            command = []
        else:
            assert not set(word) <= set("&|;<>()"), f"{repair}: only pipes"
            command.append(word)


def _verb(command: list[str]) -> tuple[str, ...]:
    words, verb = iter(command[1:]), list[str]()
    for word in words:
        if word in WITH_VALUE:
            next(words)
        else:
            verb.append(word)
    return tuple(verb)


def _failed(row: str) -> Judgement:
    finding = Finding(cluster="east", object="Service sample/helloworld", field="f", expected="e", found="f")
    return Judgement(id=row, level=Level.MUST, area="", title="", verdict=Verdict.FAIL, findings=(finding,))


def _assert_only_reads(cause: Cause) -> None:
    for command in _commands(cause.repair):
        allowed = READING.get(command[0], set())
        assert any(_verb(command)[: len(verb)] == verb for verb in allowed), cause.repair


@pytest.mark.parametrize(
    ("fault", "topology"), [pytest.param(*case, id=f"{case[0].id}-{case[1]}") for case in _applying(TOPOLOGIES)]
)
def test_no_suggestion_changes_a_foreign_mesh(
    fault: Fault, topology: str, good_observations: Mapping[str, Observation]
) -> None:
    """Every fault, in every topology, if what it declares fails; and each cause says what to change."""
    broken = _foreign(fault.apply(_whole(good_observations[topology])))
    causes = diagnose(broken, tuple(map(_failed, sorted(fault.must_fail | fault.one_of))))
    assert causes
    for cause in causes:
        _assert_only_reads(cause)
        assert "where it is declared" in cause.change, cause
        for command in ("delete", "patch", "apply", "restart", "istioctl install", "ip route add", "label "):
            assert command not in cause.repair.partition("#")[0], cause.repair


@pytest.mark.parametrize(
    "repair",
    [
        "kubectl --context a -n istio-system delete secret cacerts",
        "kubectl --context a -n istio-system get secret cacerts && kubectl --context a delete ns x",
        "kubectl --context a get pods | kubectl --context a apply -f -",
        "kubectl --context a get pods > /etc/passwd",
        "kubectl --context get delete secret cacerts",
        "kubectl -n get delete secret cacerts",
        "istioctl --context a install -f a.yaml",
        "ip route add 10.0.0.0/8 via 10.1.1.1",
        "kubectl --context a exec deploy/sleep -- rm -rf /",
        "kubectl --context a auth reconcile -f x",
    ],
)
def test_the_test_refuses_what_changes_something(repair: str) -> None:
    cause = Cause(id="x", title="", cluster="", object="", field="", expected="", found="", repair=repair)
    with pytest.raises(AssertionError):
        _assert_only_reads(cause)


def test_the_suites_own_mesh_keeps_its_commands(good_observations: Mapping[str, Observation]) -> None:
    """There the repair is ready to be pasted, and no other place is named."""
    broken = faults()["network-unlabelled"].apply(good_observations["multi-primary-multi-network"])
    (cause,) = diagnose(broken, judged(broken))
    assert " label namespace istio-system topology.istio.io/network=" in cause.repair
    assert cause.change == ""


def test_the_place_where_the_object_is_declared_is_named(good_observations: Mapping[str, Observation]) -> None:
    """The owner of the very object at fault, on the cluster at fault."""
    observation = good_observations["multi-primary-multi-network"]
    broken = faults()["gateway-unlabelled"].apply(observation)
    (cause,) = diagnose(broken, judged(broken))
    argo = Origin(owner=Owner.ARGO_CD, name="mesh")
    services = edit(broken[cause.cluster].services, lambda s: s.name == "istio-eastwestgateway", origin=argo)
    owned = _foreign(on(broken, broken.topology[cause.cluster], services=services))

    (cause,) = diagnose(owned, judged(owned))

    network = owned.topology[cause.cluster].network
    assert cause.change == (
        "Change Service istio-system/istio-eastwestgateway label topology.istio.io/network from none to "
        f"{network}, where it is declared: Argo CD application mesh."
    )
    assert cause.repair.endswith(" get service istio-eastwestgateway -o yaml")


OBJECTS = {
    "Secret istio-system/cacerts": "-n istio-system describe secret cacerts",
    "Secret istio-system/cacerts ca-key.pem": "-n istio-system describe secret cacerts",
    "Secret istio-system/cacerts root-cert.pem": (
        r"-n istio-system get secret cacerts -o jsonpath='{.data.root-cert\.pem}' | base64 -d | "
        "openssl crl2pkcs7 -nocrl -certfile /dev/stdin | openssl pkcs7 -print_certs -text -noout"
    ),
    "Pod istio-system/istiod-1:15012": "-n istio-system describe pod istiod-1",
    "Pod istio-system/istiod-9:15012": "get pod --all-namespaces",
    "Service istio-system/istio-eastwestgateway port 15443": (
        "-n istio-system get service istio-eastwestgateway -o yaml"
    ),
    "Gateway istio-system/elsewhere": "get gateway.networking.istio.io --all-namespaces",
    "ConfigMap istio-system/istio": "-n istio-system get configmap istio -o yaml",
    "Istio default": "get istio.sailoperator.io default -o yaml",
    "proxy sample/sleep-1": "proxy-config endpoints sleep-1.sample",
    "API server https://10.0.0.1": "get --raw='/readyz?verbose'",
    "route east → west": "get nodes -o wide",
    "something new": "analyze --all-namespaces",
}


@pytest.mark.parametrize(("object_", "shown"), OBJECTS.items())
def test_what_shows_an_object(object_: str, shown: str) -> None:
    """No key and no token is ever shown; what was not observed is looked for among its kind."""
    observation = good(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI), "sail")
    found = Found("east", object_, "field", "expected", "found", "kubectl delete everything")
    program = "istioctl" if shown.startswith(("analyze", "proxy-config")) else "kubectl"
    assert foreign.look(observation, found) == f"{program} --context {observation['east'].context} {shown}"


def test_a_detectors_own_words_come_first(good_observations: Mapping[str, Observation]) -> None:
    """Where field, expected and found say it badly."""
    observation = good_observations["multi-primary-multi-network"]
    found = Found("east", "Service a/b", "port", "x", "y", "", change="Open TCP 15443 in the firewall.")
    assert foreign.advice(observation, found, effect=True) == ("Open TCP 15443 in the firewall, where it is declared.")
