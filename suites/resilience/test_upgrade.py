"""What holds while the control plane is upgraded."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model.expectations import GATEWAY, HELLOWORLD
from harness.model.observation import Observation
from harness.model.resilience import ACTED
from suites.resilience.common import (
    ENDING_BUDGET,
    GATEWAY_BUDGET,
    expect_served_but,
    moments,
    played,
    restarts,
)


@requirement("RES-REVISION-UPGRADE", Level.EXTENDED, area="resilience", scenario="revision-upgrade")
def test_res_revision_upgrade(observation: Observation, evidence: Evidence) -> None:
    """The control plane is upgraded by revision, and workloads are moved over, while the mesh serves on.

    A second revision of the same build is installed beside the first on every primary, and for every remote. On one
    cluster after the other the sample's namespace is labelled for it, workloads and gateway are restarted, and in the
    end the first revision is removed. Then no control plane but the new one is left, and it has injected every proxy.
    The same is done in the other direction.

    Error budget: none, for pods are replaced one after the other, and both revisions serve the same mesh meanwhile; but
    3 requests for each client while a gateway is restarted, as in RES-GATEWAY-RESTART, and 3 while a helloworld is, as
    in RES-LOCAL-OUT.

    Source: Istio, "Canary Upgrades".
    """
    for record in played(observation, evidence, "revision-upgrade"):
        moved = (GATEWAY_BUDGET, restarts(record, GATEWAY)), (ENDING_BUDGET, restarts(record, HELLOWORLD))
        expect_served_but(evidence, record, *moved)
        for act in moments(record, ACTED):
            new = act.detail.rpartition(" → ")[2]
            after = [each for each in record.revisions if each.at > act.at]
            for cluster in observation.topology.clusters:
                readings = [each for each in after if each.cluster == cluster.name]
                if not readings:
                    evidence.unknown(f"{cluster.name}: it was not looked at after {act.detail}")
                    continue
                wanted = (new,) if cluster.is_primary else ()
                evidence.expect(
                    readings[0].control_planes == wanted,
                    cluster=cluster,
                    object="Deployments of istiod",
                    field=f"revisions after {act.detail}",
                    expected=", ".join(wanted) or "none",
                    found=", ".join(readings[0].control_planes) or "none",
                )
                left = {pod: revision for pod, revision in readings[0].proxies.items() if revision != new}
                evidence.expect(
                    bool(readings[0].proxies) and not left,
                    cluster=cluster,
                    object=f"{len(readings[0].proxies)} proxies",
                    field=f"revision after {act.detail}",
                    expected=f"{new} everywhere",
                    found=", ".join(f"{pod}: {revision}" for pod, revision in left.items()) or f"{new} everywhere",
                )
