"""Meshes whose control planes have trust domains of their own. Pure."""

from harness.model import ca
from harness.model.observation import Observation


def federated(observation: Observation) -> bool:
    """Whether on a mesh of others the primaries' trust domains differ, and each accepts those of all.

    Where none was given the mesh id is that of the trust domain; Istio's sample spire-trust-domain-federation gives
    each cluster one of its own. Source: Istio, manifests/charts/istio-control/istio-discovery, values, meshID.
    """
    domains = {ca.trust_domain(observation, primary) for primary in observation.topology.primaries}
    return (
        observation.asked.mode == "verify-only"
        and len(domains) > 1
        and all(ca.accepted_everywhere(observation, domain) for domain in domains)
    )
