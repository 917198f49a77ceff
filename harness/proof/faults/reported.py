"""Faults that public reports describe. They have no mutation: recordings of live meshes take its place."""

from harness.proof.faults.acts import reported as acts
from harness.proof.faults.certificates import NO_SHARES, SHARES
from harness.proof.faults.control_plane import NO_ISTIOD, SILENT
from harness.proof.faults.fault import MN, MP, PR, Consequence, Fault, both
from harness.proof.faults.policies import NO_ENDPOINTS

STANDING = "connections that stood before go on until they are drained; new ones fail"
SERVED = ("TR-REACH", "MTLS-PEER", *SHARES)
_CUT_OFF = (
    Consequence(("TR-REACH",), "no client reaches helloworld on the other cluster"),
    Consequence(SHARES, NO_SHARES),
)
_UNREACHED = (
    Consequence(("EP-WEIGHTS",), NO_ENDPOINTS),
    Consequence(("GW-HARDENED",), SILENT),
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "gateway-selector",
        "West's Gateway for all services selects istio: eastwest, a label that no gateway has",
        None,
        "gateway-selector",
        frozenset({"GW-EXPOSE-SERVICES", "GW-DATAPATH"}),
        consequences=(
            Consequence(("GW-REACHABLE",), "without a Gateway Envoy does not listen on 15443"),
            Consequence(("GW-HARDENED",), SILENT),
            Consequence(SERVED, STANDING, by_chance=True),
        ),
        where=MN,
        live=True,
        act=acts.gateway_selector,
    ),
    Fault(
        "chain-glued-restart",
        "cert-chain.pem on West has the END of one certificate and the BEGIN of the next on one line; istiod restarted",
        None,
        "cacerts-unreadable",
        frozenset({"CERT-CHAIN"}),
        consequences=(
            Consequence(("CERT-SECRET",), "a file that is no list of PEM blocks can't be used"),
            Consequence(("CP-READY",), "istiod ends when it can't read its CA"),
            Consequence(("CERT-IN-USE", "CERT-ISTIOD", "CP-VERSION", "CP-SKEW", "XDS-SYNCED", "RS-SYNCED"), NO_ISTIOD),
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook's Service has no endpoint"),
        ),
        where=MP,
        live=True,
        act=acts.chain_glued,
    ),
    Fault(
        "no-mtls",
        "a PeerAuthentication takes mTLS from helloworld",
        None,
        "mtls-disabled",
        frozenset({"EP-COMPLETE"}),
        consequences=(
            Consequence(("GW-DATAPATH",), "a gateway for all services passes on nothing but mTLS"),
            *_UNREACHED,
            *_CUT_OFF,
        ),
        where=MN,
        live=True,
        act=acts.no_mtls,
    ),
    Fault(
        "mesh-locality",
        "localityLbSetting of the mesh sends the traffic of each region to the region itself",
        None,
        "mesh-locality",
        frozenset({"EP-COMPLETE", "TR-REACH"}),
        consequences=(
            Consequence(("EP-WEIGHTS",), NO_ENDPOINTS),
            Consequence(("TR-NO-ERRORS", "TR-NO-RETRIES"), NO_SHARES),
            Consequence(
                ("TR-DISTRIBUTION",), "no even share is due where a setting prefers localities", by_chance=True
            ),
        ),
        where=MN,
        live=True,
        act=acts.mesh_locality,
    ),
    Fault(
        "gateway-selects-others",
        "the Service of West's gateway selects istiod, whose webhook then answers on 15443",
        None,
        "gateway-selects-others",
        frozenset({"GW-EXPOSE-SERVICES", "GW-DATAPATH"}),
        consequences=(Consequence(("GW-HARDENED",), SILENT), *_CUT_OFF),
        where=both(MN, MP),
        live=True,
        act=acts.gateway_selects_others,
    ),
    Fault(
        "network-value",
        "West's injector gives pods no network; the sample restarted",
        None,
        "network-value",
        frozenset({"WL-INJECTED"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "a client without a network is given pods of every network"),
            Consequence(SERVED, "pods of another network are reached where routes lead to them", by_chance=True),
        ),
        where=both(MN, MP),
        live=True,
        act=acts.network_value,
    ),
    Fault(
        "subset-unknown",
        "East alone has subsets of helloworld and routes to them; West's gateway does not know their server names",
        None,
        "subset-unknown",
        frozenset({"CONFIG-CONSISTENT"}),
        frozenset({"TR-REACH", "TR-NO-ERRORS"}),
        (
            Consequence(
                ("TR-REACH", "TR-NO-ERRORS"), "the gateway ends connections for a server name it does not know"
            ),
            Consequence(("TR-NO-RETRIES", "MTLS-PEER", "TR-DISTRIBUTION"), NO_SHARES, by_chance=True),
        ),
        where=both(MN, MP),
        live=True,
        act=acts.subset_unknown,
    ),
    Fault(
        "injector-left",
        "West has the injection webhook of a revision whose control plane is gone, with failurePolicy Fail",
        None,
        "injector-left",
        frozenset({"CP-INJECTION-WEBHOOK"}),
        consequences=(Consequence(("CP-READY",), "a remote is ready once its pods would be injected", PR),),
        live=True,
        act=acts.injector_left,
    ),
    Fault(
        "gateway-left-out",
        "discoverySelectors leave the system namespace out, where the gateways are",
        None,
        "gateway-left-out",
        frozenset({"GW-EXPOSE-SERVICES", "GW-DATAPATH"}),
        consequences=(
            Consequence(("EP-COMPLETE",), "istiod knows no gateway of the other network"),
            Consequence(("GW-REACHABLE",), "istiod sends no Gateway of a namespace that it leaves out"),
            *_UNREACHED,
            *_CUT_OFF,
        ),
        where=both(MN, MP),
        live=True,
        act=acts.gateway_left_out,
    ),
    Fault(
        "gateway-port-moved",
        "West's gateway listens on 443, and nothing says so",
        None,
        "gateway-port-moved",
        frozenset({"GW-REACHABLE"}),
        consequences=(
            Consequence(("EP-COMPLETE",), "clients know the gateway by the port 15443, on which nobody listens"),
            Consequence(("GW-DATAPATH",), "a TLS handshake needs the port"),
            *_UNREACHED,
            *_CUT_OFF,
        ),
        where=MN,
        live=True,
        act=acts.gateway_port_moved,
    ),
    Fault(
        "secret-unreachable-restart",
        "the server in East's remote secret for West does not answer; East's istiod restarted",
        None,
        "secret-unreachable",
        frozenset({"RS-USABLE", "RS-SYNCED"}),
        consequences=(
            Consequence(("RS-LEAST",), "what may be done with a token shows only where the server answers"),
            Consequence(
                ("EP-COMPLETE", "EP-WEIGHTS"), "a control plane that starts has no registry of West to go on with"
            ),
            *_CUT_OFF,
        ),
        where=MP,
        live=True,
        act=acts.unreachable_after_restart,
    ),
    Fault(
        "config-no-yaml",
        "the mesh configuration of West's primary is no YAML; istiod goes on with the former one",
        None,
        "mesh-config-unreadable",
        frozenset({"CP-IDENTITY"}),
        consequences=(Consequence(("CONFIG-CONSISTENT",), "what can't be read can't be compared", MP),),
        live=True,
        act=acts.config_no_yaml,
    ),
)
