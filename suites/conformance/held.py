"""What a ztunnel holds for the pods of its node."""

from harness.judge.evidence import Evidence
from harness.model.captured import CapturedPod
from harness.model.topology import Cluster


def judge_held(evidence: Evidence, cluster: Cluster, view: CapturedPod) -> None:
    """A ztunnel that has no certificate for a pod of its node says why."""
    evidence.expect(
        False,
        cluster=cluster,
        object=view.title,
        field="certificate",
        expected="Available",
        found=view.certificate_state or "none asked for",
    )
