"""What runs outside of the mesh is shown with the cluster that it serves."""

from harness.model.cluster import Reading, ReadOutcome, Subject
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.observe.hosting import with_control_plane
from suites.selftest.support.certificates import pki
from suites.selftest.support.good_cluster import cluster_of
from suites.selftest.support.good_objects import SYSTEM

TOPOLOGY = preset(ControlPlaneModel.EXTERNAL, NetworkModel.SINGLE)
HOST, OWN = (cluster_of(TOPOLOGY, TOPOLOGY[name], pki(), "istioctl") for name in ("control", "east"))


def test_the_control_plane_goes_with_its_primary() -> None:
    """Its pods, its Deployment, its CA and its configuration; nothing of the gateway's own istiod."""
    (pod,) = (pod for pod in HOST.pods if pod.labels.get("app") == "istiod")
    other = pod.model_copy(update={"namespace": "external-istiod-gateway", "name": "istiod-gateway-1"})
    (plane,) = HOST.control_planes
    planes = (plane, plane.model_copy(update={"pod": other.name}))
    host = HOST.model_copy(update={"pods": (*HOST.pods, other), "control_planes": planes})

    seen = with_control_plane(OWN, host, SYSTEM)

    assert seen.pods == (*OWN.pods, pod)
    assert seen.control_planes == (plane,)
    assert (seen.ca_secret, seen.mesh_config) == (HOST.ca_secret, HOST.mesh_config)
    assert [found.name for found in seen.workloads if found not in OWN.workloads] == ["istiod"]
    assert (seen.services, seen.config, seen.remote_secrets) == (OWN.services, OWN.config, OWN.remote_secrets)


def test_what_was_not_read_of_the_host_was_not_read() -> None:
    """Of what both clusters have, and of what the host alone has; what only the cluster itself has stays as it is."""

    def refused(*subjects: Subject) -> tuple[Reading, ...]:
        return tuple(
            reading.model_copy(update={"outcome": ReadOutcome.UNREACHABLE}) if reading.subject in subjects else reading
            for reading in HOST.readings
        )

    unread = {Subject.CA_SECRET, Subject.PODS}
    host = HOST.model_copy(update={"readings": refused(*unread, Subject.SERVICES)})
    seen = with_control_plane(OWN, host, SYSTEM)
    assert {subject for subject in Subject if OWN.was_read(subject) and not seen.was_read(subject)} == unread
