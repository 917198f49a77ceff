"""Faults of a mesh without sidecars: of its ztunnels, of what they carry, of the Gateways between networks."""

from harness.model.data_plane import DataPlane
from harness.proof.faults import ambient_effects as effects
from harness.proof.faults.acts import ambient as acts
from harness.proof.faults.fault import MN, Consequence, Fault

AMBIENT = frozenset({DataPlane.AMBIENT})
_UNSEEN = Consequence(("AMB-VIEW",), "what istiod does not hand out no ztunnel knows")
_UNSENT = Consequence(
    ("TR-NO-ERRORS", "TR-DISTRIBUTION", "AMB-HBONE"), "shares and ways are looked at where every version answers"
)
_UNREACHED = Consequence(("TR-REACH",), "a version that no ztunnel leads to does not answer")


FAULTS: tuple[Fault, ...] = (
    Fault(
        "ztunnel-missing",
        "no ztunnel on West's nodes",
        effects.without_ztunnel,
        "ztunnel-missing",
        frozenset({"AMB-ZTUNNEL"}),
        consequences=(
            Consequence(("CERT-WORKLOAD", "CP-VERSION", "CP-SKEW"), "what is not there holds no certificate"),
            Consequence(("AMB-VIEW", "EP-COMPLETE", "EP-WEIGHTS"), "what is not there knows no endpoint"),
            Consequence(("TR-REACH", "TR-NO-ERRORS"), "pods are redirected to a ztunnel that does not listen"),
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
        live=True,
        act=acts.ztunnel_missing,
    ),
    Fault(
        "ztunnel-misplaced",
        "West's ztunnels have the cluster name of an installation without one",
        effects.misplaced,
        "ztunnel-misplaced",
        frozenset({"AMB-ZTUNNEL"}),
        consequences=(
            Consequence(("XDS-SYNCED",), "istiod lists it under the name that it gives"),
            Consequence(("CERT-WORKLOAD",), "istiod knows no node of that name, and signs nothing for its pods"),
            Consequence(("TR-REACH", "TR-NO-ERRORS"), "without certificates there is no HBONE"),
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
    ),
    Fault(
        "ambient-off",
        "West's sample namespace not labelled for ambient",
        effects.ambient_off,
        "ambient-off",
        frozenset({"AMB-CAPTURE"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "no ztunnel stands for a client that is not captured"),
            Consequence(("TR-REACH",), "without a ztunnel a client reaches the pods of its own cluster only"),
            Consequence(("TR-NO-ERRORS",), "the inner tunnel through West's gateway has no end"),
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
        live=True,
        act=acts.ambient_off,
    ),
    Fault(
        "service-local",
        "helloworld on West without the label istio.io/global",
        effects.service_local,
        "service-not-global",
        frozenset({"AMB-SCOPE"}),
        consequences=(
            _UNSEEN,
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "endpoints of a local Service go to its own cluster only"),
            _UNREACHED,
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
        live=True,
        act=acts.service_local,
    ),
    Fault(
        "hbone-gateway-missing",
        "West's Gateway deleted",
        effects.gateway_missing,
        "hbone-gateway-missing",
        frozenset({"GW-AVAILABLE", "GW-ADDRESS", "AMB-HBONE"}),
        consequences=(
            Consequence(("GW-REACHABLE", "GW-DATAPATH", "GW-HARDENED"), "istiod takes Deployment and Service away"),
            _UNSEEN,
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "without an address nobody can say where it must lead"),
            _UNREACHED,
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
        live=True,
        act=acts.gateway_missing,
    ),
    Fault(
        "hbone-gateway-unlabelled",
        "West's Gateway without the label of its network",
        effects.gateway_unlabelled,
        "hbone-gateway-unlabelled",
        frozenset({"AMB-HBONE", "AMB-VIEW"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "istiod finds the gateway of a network by this label"),
            _UNREACHED,
            _UNSENT,
        ),
        where=MN,
        planes=AMBIENT,
        live=True,
        act=acts.gateway_unlabelled,
    ),
    Fault(
        "plaintext-carried",
        "what West's ztunnels take in is not encrypted",
        effects.plaintext,
        "identity-lost",
        frozenset({"AMB-PLAINTEXT", "MTLS-PEER"}),
        where=MN,
        planes=AMBIENT,
    ),
)
