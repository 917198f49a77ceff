"""Faults of a control plane outside of the mesh."""

from harness.model import remotes
from harness.model.cluster import InjectionWebhook, RemoteSecret
from harness.model.observation import Observation
from harness.proof.faults import control_plane, effects
from harness.proof.faults.acts import external as acts
from harness.proof.faults.edit import each, east, is_istiod, on, pods, server, signer, workloads
from harness.proof.faults.fault import Consequence, Fault, outside
from harness.proof.faults.remotes import CUT_OFF, remote_address


def _no_config_secret(observation: Observation) -> Observation:
    """The control plane goes on with the kubeconfig that it has read."""
    host = server(observation)
    left: tuple[RemoteSecret, ...] = tuple(
        secret for secret in observation[host].remote_secrets if secret.name != remotes.CONFIG_SECRET
    )
    return on(observation, host, remote_secrets=left)


def _no_replicas(observation: Observation) -> Observation:
    changed = control_plane.down(observation)
    for cluster in (signer(observation), server(observation)):
        changed = pods(changed, cluster, lambda pod: None if is_istiod(pod) else pod)
        changed = workloads(changed, cluster, lambda w: w.name == "istiod", desired=0, ready=0)
    return changed


def _config_cluster_address(observation: Observation) -> Observation:
    cluster, nobody = east(observation), "192.0.2.1"
    changed = remote_address(observation, cluster, nobody)

    def called(webhook: InjectionWebhook) -> InjectionWebhook:
        rules = each(
            webhook.webhooks,
            lambda rule: rule.model_copy(update={"service": "", "url": f"https://{nobody}:15017{rule.path}"}),
        )
        return webhook.model_copy(update={"webhooks": rules})

    changed = on(changed, cluster, webhooks=each(changed[cluster].webhooks, called))
    return effects.disconnected(effects.injection_fails(changed, cluster, why="context deadline exceeded"), cluster)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "config-secret-missing",
        "the control plane outside of the mesh has no kubeconfig of its config cluster",
        _no_config_secret,
        "config-secret-missing",
        frozenset({"RS-PRESENT"}),
        where=outside,
        live=True,
        act=acts.config_secret_missing,
    ),
    Fault(
        "external-istiod-scaled-down",
        "the control plane outside of the mesh is scaled to 0",
        _no_replicas,
        "control-plane-down",
        frozenset({"CP-READY"}),
        consequences=(
            Consequence(
                ("CERT-IN-USE", "CERT-ISTIOD", "CP-VERSION", "CP-SKEW", "XDS-SYNCED", "RS-SYNCED"),
                control_plane.NO_ISTIOD,
            ),
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook's Service has no endpoint"),
            Consequence(("GW-HARDENED",), control_plane.SILENT),
        ),
        where=outside,
        live=True,
        act=acts.scaled_down,
    ),
    Fault(
        "config-cluster-address",
        "remotePilotAddress and the webhook's URL of the config cluster lead to nobody",
        _config_cluster_address,
        "discovery-address",
        frozenset({"CP-REMOTE-PROFILE"}),
        consequences=(
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook calls the same address"),
            Consequence(("XDS-SYNCED",), CUT_OFF),
        ),
        where=outside,
    ),
)
