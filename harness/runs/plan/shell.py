"""A plan in words, with the commands of every step, and as a script for bash. Pure."""

import json
from textwrap import indent

from harness.mesh.injection import probe_pod
from harness.model.step import Phase
from harness.runs.plan import Plan
from harness.runs.plan.actions import joined
from harness.runs.plan.recorder import PlannedStep

HEADINGS = {
    Phase.CERTIFICATES: "Certificates",
    Phase.MESH: "Installing the mesh",
    Phase.WORKLOADS: "Sample applications",
    Phase.OBSERVE: "Verifying traffic",
    Phase.CLEANUP: "Removing the mesh",
}
_BY_INVENTORY = "# a run compares every cluster with an inventory that it took before, and removes what is new"
_FUNCTIONS = """
# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {{
  local deadline=$((SECONDS + $1))
  shift
  until "$@" > /dev/null; do
    if ((SECONDS >= deadline)); then
      echo "given up: $*" >&2
      return 1
    fi
    sleep 2
  done
}}

# injected CONTEXT NAMESPACE [LABEL]: whether a pod comes back from a dry run with a proxy.
injected() {{
  {cli} --context="$1" create --dry-run=server -o yaml -f - 2> /dev/null <<EOF | grep 'name: istio-proxy'
apiVersion: v1
kind: Pod
metadata:
  name: {pod[metadata][name]}
  namespace: $2
  labels: {{${{3:-}}}}
spec: {spec}
EOF
}}

# address CONTEXT NAMESPACE SERVICE: the load balancer's IP address or host name.
address() {{
  {cli} --context="$1" -n "$2" get service "$3" \\
    -o jsonpath='{{.status.loadBalancer.ingress[0].ip}}{{.status.loadBalancer.ingress[0].hostname}}' | grep .
}}

# has_ca CONTEXT NAME: whether the control plane has written its CA into a remote's webhook.
has_ca() {{
  {cli} --context="$1" get mutatingwebhookconfiguration "$2" \\
    -o jsonpath='{{.webhooks[0].clientConfig.caBundle}}' | grep .
}}
"""


def text(plan: Plan) -> str:
    """Every step with its cluster and what it does there, in order."""
    topology = plan.topology
    lines = [f"{topology.name}: mesh {topology.mesh_id}, trust domain {topology.trust_domain}"]
    lines += [f"  {host.name}: runs the control plane of {topology.hosted_by(host).name}" for host in topology.hosts]
    for cluster in topology.clusters:
        role = "primary" if cluster.is_primary else f"remote of {cluster.primary}"
        lines.append(
            f"  {cluster.name}: {cluster.cluster_name}, {cluster.network}, {role}, helloworld {cluster.version}"
        )
    heading = ""
    for number, step in enumerate(plan.steps, start=1):
        if HEADINGS[step.phase] != heading:
            heading = HEADINGS[step.phase]
            lines += ["", heading, "-" * len(heading)]
        where = f" [{step.cluster}]" if step.cluster else ""
        lines += [f"{number}. {step.title}{where}", indent(_body(step, plan), "     ")]
    return "\n".join(lines) + "\n"


def script(plan: Plan) -> str:
    """A script for bash that does what the plan says: without an argument the mesh, with `cleanup` its removal."""
    formed = [step for step in plan.steps if step.phase is not Phase.CLEANUP]
    removed = [step for step in plan.steps if step.phase is Phase.CLEANUP]
    pod = probe_pod("")
    parts = [
        "#!/usr/bin/env bash",
        f"# {plan.topology.name}. Usage: bash SCRIPT [cleanup]",
        f"# Needs {plan.settings.cli}, istioctl and openssl. Each variable below may be set in the environment.",
        "set -euo pipefail",
        "umask 077",
        *(f"{name}=${{{name}:-{value}}}" for name, value in plan.variables.items()),
        _FUNCTIONS.format(cli=plan.settings.cli, pod=pod, spec=json.dumps(pod["spec"])),
        "cleanup() {",
        *(_scripted(step, plan) for step in removed),
        "}",
        "",
        'if [ "${1:-}" = cleanup ]; then',
        "  cleanup",
        "  exit",
        "fi",
    ]
    heading = ""
    for step in formed:
        if HEADINGS[step.phase] != heading:
            heading = HEADINGS[step.phase]
            parts += ["", f"# {heading}"]
        parts.append(_scripted(step, plan))
    return "\n".join(parts) + "\n"


def _scripted(step: PlannedStep, plan: Plan) -> str:
    where = f"{step.cluster}: " if step.cluster else ""
    return f'\necho "{where}{step.title}"\n{_body(step, plan)}'


def _body(step: PlannedStep, plan: Plan) -> str:
    return "\n".join(action.shell(plan.settings.cli) for action in joined(step.actions)) or _BY_INVENTORY
