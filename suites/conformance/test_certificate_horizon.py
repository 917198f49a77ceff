"""Certificates: that no CA of the mesh is about to expire."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, certificate_paths, renewal
from harness.model.certificate import Certificate
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from suites.conformance.common import ca_home, ca_secrets


@requirement("CERT-HORIZON", Level.EXTENDED, area="certificates", needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_horizon(observation: Observation, evidence: Evidence) -> None:
    """No CA certificate in use expires within 30 days, or is in the last third of a lifetime of less than 90 days.

    When an intermediate expires every workload of its clusters loses its identity within a day, when the root does the
    mesh is gone. A CA of a few days or weeks is renewed by a program: what counts is that it was not renewed in time.
    Examined are the CA certificates in the primaries' `cacerts` and those that control planes, proxies and trust
    bundles were found to use. Only reported are a remote's own secret, which signs nothing, and a former intermediate
    that workloads still have and istiod has already replaced.

    Source: Istio, "Plug in CA Certificates"; cert-manager, Certificate `renewBefore`.
    """
    used: dict[str, tuple[str, Certificate]] = {}
    for cluster, observed, secret in ca_secrets(observation, evidence):
        found = [cert for cert in (secret.ca_cert, secret.root_cert, *secret.cert_chain) if cert]
        if ca.found(observation):
            paths = certificate_paths.paths(ca.signing_chain(secret), ca.bundle(observed))
            found = [cert for path in paths for cert in path]
        if cluster.is_primary:
            used |= {cert.sha256: (ca_home(observation, cluster), cert) for cert in reversed(found)}
        else:
            soonest = min((cert.not_after for cert in found), default=None)
            evidence.fact(f"{cluster.name}: `cacerts`, which signs nothing here, is valid until {soonest}")
    for cluster in observation.topology.clusters:
        for place, cert in renewal.in_use(observation, cluster):
            used.setdefault(cert.sha256, (place, cert))
        for cert in renewal.replaced(observation, cluster):
            until = f"{cert.not_after:%Y-%m-%d %H:%M}"
            evidence.fact(f"{cluster.name}: workloads still have the former CA {cert.subject}, valid until {until}")
    for name, cert in used.values():
        left, lifetime = cert.not_after - observation.observed, cert.not_after - cert.not_before
        of = f" of {renewal.span(lifetime)}" if renewal.is_short_lived(cert) else ""
        evidence.expect(
            not renewal.is_due(cert, observation.observed),
            cluster=name,
            object=f"CA certificate {cert.subject} (serial {cert.serial})",
            field="notAfter",
            expected=f"more than {renewal.span(renewal.margin(cert))}{of} left",
            found=f"{cert.not_after:%Y-%m-%d %H:%M}, {renewal.span(left)}{of} left",
        )
