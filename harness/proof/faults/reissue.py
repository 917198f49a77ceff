"""Re-issues the certificates of an observation under new keys, so that one of them can be made wrong. Pure.

An observation holds no private keys. Roots and intermediates are made with new ones; leaves keep their public keys and
are only signed again. Everything else of a certificate stays as it was, except what a fault changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from harness.model import x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.proof.faults.edit import each, on, probes
from harness.proof.faults.toy_certificates import Ca, Shape, make
from harness.proof.faults.toy_keys import toy_key

_COMMON_ROOT = Shape(owner="root")


@dataclass(frozen=True)
class ReissuePlan:
    """How the certificates of a mesh are re-issued: by default as they were."""

    roots: Mapping[str, Shape]
    """Cluster → root, where it is not the common one."""
    intermediates: Mapping[str, Shape]
    leaves: Mapping[str, Shape]
    """Primary → the workloads' certificates that it signs."""
    serving: Mapping[str, Shape]
    """Primary → istiod's own certificate."""
    root: Shape = _COMMON_ROOT
    """The common root."""


AS_IT_WAS = ReissuePlan({}, {}, {}, {})


@dataclass(frozen=True)
class _Made:
    root: Ca
    intermediate: Ca


def reissue(
    observation: Observation,
    *,
    root: Shape | None = None,
    roots: Mapping[str, Shape] | None = None,
    intermediates: Mapping[str, Shape] | None = None,
    leaves: Mapping[str, Shape] | None = None,
    serving: Mapping[str, Shape] | None = None,
) -> Observation:
    """Make every certificate of a good observation again, as planned, wherever it appears.

    Args:
        observation: a good one: every cluster has a complete `cacerts`.
        root: the common root, where it is changed.
        roots: cluster → root of its own.
        intermediates: cluster → intermediate.
        leaves: primary → workloads' certificates it signs.
        serving: primary → certificate of istiod.
    """
    plan = replace(
        AS_IT_WAS,
        root=root or AS_IT_WAS.root,
        roots=roots or {},
        intermediates=intermediates or {},
        leaves=leaves or {},
        serving=serving or {},
    )
    made = {cluster.name: _authorities(observation, cluster, plan) for cluster in observation.topology.clusters}
    return _Reissue(observation, plan, made).everywhere()


def _secret(observation: Observation, name: str) -> CaSecret:
    secret = observation[name].ca_secret
    if secret is None or secret.ca_cert is None or secret.root_cert is None:
        raise LookupError(f"{name} has no complete cacerts")
    return secret


def _authorities(observation: Observation, cluster: Cluster, plan: ReissuePlan) -> _Made:
    secret = _secret(observation, cluster.name)
    shape = plan.roots.get(cluster.name, plan.root)
    common = _root(_secret(observation, observation.topology.clusters[0].name).root_cert, shape)
    wanted = plan.intermediates.get(cluster.name, Shape())
    wanted = wanted if wanted.owner else replace(wanted, owner=cluster.name)
    if secret.ca_cert is None:
        raise LookupError(f"{cluster.name} has no intermediate")
    return _Made(common, Ca(make(secret.ca_cert, wanted, common), toy_key(wanted.owner, wanted.bits)))


def _root(template: Certificate | None, shape: Shape) -> Ca:
    if template is None:
        raise LookupError("there is no root")
    return Ca(make(template, shape, None), toy_key(shape.owner, shape.bits))


@dataclass(frozen=True)
class _Reissue:
    observation: Observation
    plan: ReissuePlan
    made: Mapping[str, _Made]

    def everywhere(self) -> Observation:
        """The observation with all certificates re-issued."""
        changed = self.observation
        for cluster in self.observation.topology.clusters:
            changed = self._cluster(changed, cluster)
        topology = self.observation.topology
        names = {cluster.name: cluster.primary for cluster in topology.clusters}
        names |= {host.name: topology.hosted_by(host).name for host in topology.hosts}
        return probes(
            changed,
            lambda probe: (
                probe.model_copy(
                    update={"certificates": self._all(names[probe.target], probe.certificates, probe.port != 15443)}  # noqa: PLR2004
                )
                if probe.certificates and probe.target in names
                else probe
            ),
        )

    def _cluster(self, observation: Observation, cluster: Cluster) -> Observation:
        observed, primary = observation[cluster], cluster.primary
        secret, own = _secret(self.observation, cluster.name), self.made[cluster.name]
        chain = (own.intermediate.certificate, own.root.certificate)
        return on(
            observation,
            cluster,
            ca_secret=secret.model_copy(
                update={"ca_cert": chain[0], "root_cert": chain[1], "cert_chain": chain, "key_matches": True}
            ),
            root_config_map=self._all(primary, observed.root_config_map or (), False),
            webhooks=each(
                observed.webhooks,
                lambda webhook: webhook.model_copy(
                    update={
                        "webhooks": each(
                            webhook.webhooks,
                            lambda rule: rule.model_copy(
                                update={"ca_bundle": self._all(primary, rule.ca_bundle, False)}
                            ),
                        )
                    }
                ),
            ),
            control_planes=each(
                observed.control_planes,
                lambda plane: plane.model_copy(update={"serving_chain": self._all(primary, plane.serving_chain, True)}),
            ),
            proxies=each(
                observed.proxies,
                lambda proxy: proxy.model_copy(
                    update={
                        "chain": self._all(primary, proxy.chain, False),
                        "roots": self._all(primary, proxy.roots, False),
                    }
                ),
            ),
        )

    def _all(self, primary: str, found: tuple[Certificate, ...], serving: bool) -> tuple[Certificate, ...]:
        return tuple(self._one(primary, certificate, serving) for certificate in found)

    def _one(self, primary: str, found: Certificate, serving: bool) -> Certificate:
        secret, made = _secret(self.observation, primary), self.made[primary]
        if secret.root_cert and found.sha256 == secret.root_cert.sha256:
            return made.root.certificate
        if secret.ca_cert and x509.same_key(found, secret.ca_cert):
            return made.intermediate.certificate
        shape = (self.plan.serving if serving else self.plan.leaves).get(primary, Shape())
        return make(found, shape, made.intermediate)


def self_signed_ca(observation: Observation, primary: Cluster, owner: str) -> Ca:
    """The CA that istiod makes for itself where it finds no `cacerts`: O=cluster.local, ten years."""
    template = _secret(observation, primary.name).root_cert
    shape = Shape(
        owner=owner,
        bits=2048,
        subject=f"O={observation.topology.trust_domain}",
        not_before=observation.observed - timedelta(hours=1),
        not_after=observation.observed + timedelta(days=3650),
    )
    return _root(template, shape)


def signed_by_itself(observation: Observation, primary: Cluster, ca: Ca) -> Observation:
    """Everything that a control plane signs comes from a CA of its own; `cacerts` stays as it is."""
    names = {cluster.name for cluster in observation.topology.served_by(primary)}
    shown = {*names, primary.host}

    def reissued(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        return (make(chain[0], Shape(), ca), ca.certificate) if chain else ()

    for name in names:
        observed = observation[name]
        observation = on(
            observation,
            name,
            root_config_map=(ca.certificate,),
            webhooks=each(
                observed.webhooks,
                lambda webhook: webhook.model_copy(
                    update={
                        "webhooks": each(
                            webhook.webhooks, lambda rule: rule.model_copy(update={"ca_bundle": (ca.certificate,)})
                        )
                    }
                ),
            ),
            control_planes=each(
                observed.control_planes,
                lambda plane: plane.model_copy(update={"serving_chain": reissued(plane.serving_chain)}),
            ),
            proxies=each(
                observed.proxies,
                lambda proxy: proxy.model_copy(update={"chain": reissued(proxy.chain), "roots": (ca.certificate,)}),
            ),
        )
    return probes(
        observation,
        lambda probe: (
            probe.model_copy(update={"certificates": reissued(probe.certificates)})
            if probe.target in shown and probe.certificates
            else probe
        ),
    )
