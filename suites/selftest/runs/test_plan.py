"""Plans: the steps are those of real runs, nothing is touched, and the script runs to its end."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.kube.client import Kube
from harness.machine.images import versions
from harness.mesh.injection import probe_pod
from harness.runs.options import OPTIONS, Options, parse
from harness.runs.plan import CREATE_CERTIFICATES, SEND, Plan, plan
from harness.runs.plan.shell import script, text
from suites.catalogue import catalogue

CERTIFICATES = (
    "Create the project of the control plane",
    "Set the default network for the pods of the cluster",
    "Create the CA certificates, certificate chain, and the private key for Istio",
    "Create an Istio Container Network Interface (CNI) resource",
)
SAMPLE = (
    "Create a sample application namespace",
    "Label the application namespace to support sidecar injection",
    "Wait for sidecar injection to answer",
    "Create the helloworld service",
    "Create the helloworld deployment of the cluster's version",
    "Deploy the sleep application",
    "Wait for the helloworld application to be available",
    "Wait for the sleep application to be available",
    SEND,
    "Remove Istio and the sample applications: the namespaces of the control plane, the sample and the CNI plugin",
    "Remove what the chapter leaves behind: cluster roles, webhooks, config maps, custom resource definitions",
    "Wait for the namespaces to be gone",
)
RECORDED = {
    "east": (
        *CERTIFICATES,
        "Install Istio on the primary cluster",
        "Wait for the control plane to be ready",
        "Create an East-West gateway",
        "Expose the control plane through the gateway",
        "Expose the services through the gateway",
        "Save the address of the East-West gateway",
        "Install a remote secret that provides access to the API server of another cluster",
        "Wait for Istio's CNI plugin to be on every node",
        "Wait for the East-West gateway to be available",
        *SAMPLE,
    ),
    "west": (
        *CERTIFICATES,
        "Install Istio on the remote cluster",
        "Annotate the istio-system namespace so that it is managed by the control plane of the primary",
        "Wait for the control plane to be ready",
        "Create an East-West gateway",
        "Wait for Istio's CNI plugin to be on every node",
        "Wait for the East-West gateway to be available",
        *SAMPLE,
    ),
}
"""Cluster → titles of the steps of a live primary-remote multi-network run; it sends its requests from all at once."""
PROFILE = {
    "name": "mine",
    "installer": "sail",
    "istio_version": "1.30.3",
    "pull_secret": {"name": "pull", "file": "config.json"},
    "operator": {"arrival": "helm", "chart": "chart", "values": {"image": "i"}},
}
LISTENER = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in *"-f -"*|*"--filename -"*|*"--values -"*) cat >> "$LOG" ;; esac
echo "192.0.2.1 - name: istio-proxy"
"""


def _options(**given: str) -> Options:
    values: dict[str, Any] = {option.name: [] if option.repeatable else option.default for option in OPTIONS}
    values |= {name.replace("_", "-"): value for name, value in given.items()}
    return parse(lambda name: values[name], {})


def _plan(**given: str) -> Plan:
    options = _options(**{"topology": "primary-remote", **given})
    return plan(options.topologies[0], options, experiments=False)


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a plan asks no API server and runs no program")

    for name in ("_dynamic", "_resource"):
        monkeypatch.setattr(Kube, name, property(refuse))
    monkeypatch.setattr("harness.base.command.run", refuse)


@pytest.mark.parametrize("cluster", ["east", "west"])
def test_steps_are_those_of_a_run(cluster: str) -> None:
    assert tuple(step.title for step in _plan().steps if step.cluster == cluster) == RECORDED[cluster]


def test_order_is_the_chapters() -> None:
    """Certificates on every cluster come before the mesh on any."""
    steps = _plan().steps
    assert (steps[0].title, steps[0].cluster) == (CREATE_CERTIFICATES, None)
    phases = list(dict.fromkeys(step.phase.value for step in steps))
    assert phases == ["certificates", "mesh", "workloads", "observe", "cleanup"]


def test_experiments_are_planned_where_a_run_makes_them() -> None:
    options = replace(_options(topology="primary-remote"), catalogue=catalogue())
    titles = {step.title for step in plan(options.topologies[0], options).steps}
    assert "Deploy what the experiments need: an echo server, and a client that is no part of the mesh" in titles


@pytest.mark.parametrize("network", ["multi", "single"])
@pytest.mark.parametrize("topology", ["multi-primary", "primary-remote"])
@pytest.mark.parametrize("distribution", ["istio", "sail", "ossm"])
def test_every_plan_can_be_printed(topology: str, network: str, distribution: str) -> None:
    planned = _plan(topology=topology, network=network, distribution=distribution, clusters="3")
    printed = text(planned)
    assert all(step.title in printed for step in planned.steps)
    subprocess.run(["bash", "-n"], input=script(planned), text=True, check=True)


@pytest.mark.parametrize("distribution", ["istio", "sail"])
@pytest.mark.parametrize(("images", "upstream"), [("auto", False), ("registry", False), ("local", True)])
def test_a_plan_says_what_images_built_here_need(images: str, upstream: bool, distribution: str) -> None:
    """Their data plane is upstream Envoy: without istiod's variables for it no gateway gets ready."""
    printed = script(_plan(images=images, distribution=distribution))
    assert ("PILOT_ENABLE_METADATA_EXCHANGE" in printed) is upstream
    assert (f"hub: {versions.ISTIO_HUB}" in printed) is (upstream and distribution == "sail")


@pytest.mark.parametrize("distribution", ["istio", "sail"])
def test_an_ambient_mesh_is_planned(distribution: str) -> None:
    """With the definitions of the Gateway API by their address, and istiod's Gateway apart from Istio's own."""
    planned = _plan(topology="multi-primary", data_plane="ambient", distribution=distribution)
    printed = script(planned)
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    assert "get crd gateways.gateway.networking.k8s.io || " in printed
    assert (
        "wait --namespace=istio-system --for=condition=Programmed gateway.gateway.networking.k8s.io/istio-east"
        in printed
    )
    assert "istio.io/dataplane-mode=ambient" in printed
    assert "injected " not in printed.partition("cleanup() {")[2]
    titles = [step.title for step in planned.steps if step.cluster == "east"]
    definitions = titles.index("Install the definitions of the Kubernetes Gateway API")
    assert (
        definitions < titles.index("Install Istio on the primary cluster") < titles.index("Create a ZTunnel resource")
    )


def test_the_script_reads_the_root_that_an_external_control_planes_cluster_is_to_trust() -> None:
    """It is known only when cacerts is there."""
    printed = script(_plan(topology="external", network="multi", distribution="sail"))
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    assert "ROOT_CONTROL=$(kubectl" in printed
    assert "--output=jsonpath='{.data.root-cert\\.pem}')" in printed
    assert "validationCABundle: ${ROOT_CONTROL}" in printed


def test_the_script_tries_injection_with_the_pod_of_a_run() -> None:
    """One that a namespace with Pod Security "Restricted" admits."""
    pod = script(_plan()).partition("<<EOF | grep 'name: istio-proxy'\n")[2].partition("\nEOF")[0]
    assert yaml.safe_load(pod.replace("${3:-}", ""))["spec"] == probe_pod("sample")["spec"]


def test_the_remote_is_given_the_address_of_the_primary() -> None:
    assert 'DISCOVERY_ADDRESS_CLUSTER1=$(address "${CTX_CLUSTER1}"' in script(_plan())
    assert "remotePilotAddress: ${DISCOVERY_ADDRESS_CLUSTER1}" in script(_plan())


def test_contexts_and_addresses_are_those_that_are_given() -> None:
    options = _options(topology="multi-primary", contexts="a,b")
    printed = script(plan(options.topologies[0], options))
    assert "CTX_CLUSTER1=${CTX_CLUSTER1:-a}" in printed
    assert '--name cluster2 ${API_SERVER_CLUSTER2:+--server="${API_SERVER_CLUSTER2}"}' in printed


def test_what_is_in_a_pull_secret_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": "hidden"}')
    (tmp_path / "chart").mkdir()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PROFILE))
    printed = script(_plan(distribution=str(tmp_path / "mine.yaml")))
    assert f"--from-file=.dockerconfigjson={tmp_path / 'config.json'}" in printed
    assert "hidden" not in printed
    assert "aGlkZGVu" not in printed
    assert "helm upgrade --install" in printed
    assert printed.index("helm upgrade") < printed.index("kind: IstioCNI")


def test_a_script_leaves_to_olm_what_others_may_use(tmp_path: Path) -> None:
    """Its namespace stays; an OperatorGroup is made only where there is none, and approval is given by name."""
    operator = {"arrival": "olm", "package": "mesh", "channel": "stable", "source": "ours", "approval": "Manual"}
    profile = {"name": "mine", "installer": "sail", "istio_version": "1.30.3", "operator": operator}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))
    printed = script(_plan(distribution=str(tmp_path / "mine.yaml")))
    kubectl = 'kubectl --context="${CTX_CLUSTER1}"'
    assert "delete namespace/istio-system" in printed
    assert "delete namespace/openshift-operators" not in printed
    groups = f"{kubectl} get operatorgroup --namespace=openshift-operators --output=name"
    assert f"{groups} | grep . || {kubectl} create -f - <<'EOF'" in printed
    within = f"{kubectl} --namespace=openshift-operators"
    assert f"{within} wait --for=condition=InstallPlanPending subscription/mesh --timeout=300s" in printed
    plan_of = f"{within} get subscription/mesh -o jsonpath='{{.status.installPlanRef.name}}'"
    assert f'{within} patch installplan "$({plan_of})" ' in printed
    assert """--type=merge --patch '{"spec": {"approved": true}}'""" in printed
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    assert "installplan" not in script(_plan(distribution="ossm"))


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which every program that the script runs only listens."""
    for name in ("kubectl", "istioctl", "openssl"):
        path = tmp_path / name
        path.write_text(LISTENER)
        path.chmod(0o755)
    log, certificates = str(tmp_path / "log"), str(tmp_path / "certificates")
    for name in ("east", "west"):
        (tmp_path / "certificates" / name).mkdir(parents=True)
        (tmp_path / "certificates" / name / "cert-chain.pem").touch()
    yield {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": log, "CERTS": certificates}


def test_the_script_runs_to_its_end(programs: dict[str, str]) -> None:
    """The remote secret goes to the primary, the address into the remote's values; then all is removed."""
    for arguments in ([], ["cleanup"]):
        command = ["bash", "-s", *arguments]
        ended = subprocess.run(
            command, input=script(_plan()), env=programs, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
    told = Path(programs["LOG"]).read_text()
    assert "istioctl create-remote-secret --context west" in told
    assert "remotePilotAddress: 192.0.2.1" in told
    assert told.count("curl -sS --max-time 5 helloworld.sample:5000/hello") == 20
    assert "delete namespace/istio-system" in told
