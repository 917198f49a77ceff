"""What OLM must have before an operator is subscribed to, and whose operator stands there, on a fake API server."""

from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.base.errors import UserError
from harness.kube.api import Object
from harness.mesh import olm_catalogue, operator, procedure
from harness.mesh.distributions.model import OlmSubscription, Present
from harness.model.step import Outcome
from suites.selftest.mesh.test_sail import CRD, EAST, OperatorKube, definition, mesh_of, outcome

OLM = OlmSubscription(arrival="olm", package="servicemeshoperator3", channel="stable", source="redhat-operators")
CATALOGUE: Object = {
    "kind": "CatalogSource",
    "metadata": {"name": "redhat-operators", "namespace": "openshift-marketplace"},
    "status": {"connectionState": {"lastObservedState": "READY"}},
}


class OlmKube(OperatorKube):
    """An API server that serves what OLM defines, and what definitions of the operator define."""

    kinds: tuple[str, ...] = ("Subscription", "PackageManifest")
    refused: Exception | None = None

    def serves(self, api_version: str, kind: str) -> bool:
        """Of OLM what it is said to serve."""
        return kind in self.kinds if "operators.coreos.com" in api_version else super().serves(api_version, kind)

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """As ever, but that packages may be refused."""
        if kind == "PackageManifest" and self.refused:
            raise self.refused
        return super().list(api_version, kind, namespace, **selectors)


def package(name: str = OLM.package, source: str = OLM.source, **channels: tuple[str, ...]) -> Object:
    """A package of a catalogue, with its channels and their versions."""
    where = OLM.source_namespace
    labels = {"catalog": source, "catalog-namespace": where}
    listed = [
        {"name": channel.replace("_", "-"), "entries": [{"name": version} for version in versions]}
        for channel, versions in channels.items()
    ]
    return {
        "kind": "PackageManifest",
        "metadata": {"name": name, "namespace": where, "labels": labels},
        "status": {"catalogSource": source, "catalogSourceNamespace": where, "channels": listed},
    }


def subscription(name: str, **status: Any) -> Object:
    """A Subscription of the package under some name."""
    metadata = {"name": name, "namespace": "operators"}
    spec = {"name": OLM.package, "channel": "stable-3.0"}
    return {"kind": "Subscription", "metadata": metadata, "spec": spec, "status": status}


def group(name: str) -> Object:
    """An OperatorGroup of the namespace that is subscribed in."""
    return {"kind": "OperatorGroup", "metadata": {"name": name, "namespace": OLM.namespace}}


def version(owned: str) -> Object:
    """A version of an operator that owns a definition."""
    metadata = {"name": "some.v1", "namespace": "operators"}
    spec = {"customresourcedefinitions": {"owned": [{"name": owned}]}}
    return {"kind": "ClusterServiceVersion", "metadata": metadata, "spec": spec}


def left(**labels: str) -> Object:
    """The operator's definition, with labels."""
    found = definition("Istio", "v1")
    return {**found, "metadata": {**found["metadata"], "labels": labels}}


STABLE = package(stable=("servicemeshoperator3.v3.0.0", "servicemeshoperator3.v3.1.0"), stable_3_0=())


@pytest.mark.parametrize(
    "there",
    [(), (group("global-operators"),), (package("other"),)],
    ids=["nothing", "a group", "others"],
)
def test_where_olm_can_install_it_nothing_is_said(there: tuple[Object, ...]) -> None:
    """Package and channel are in the catalogue; a first version too, where one is asked for."""
    kube = OlmKube(CATALOGUE, STABLE, *there)
    olm_catalogue.require_catalogue(kube, OLM)
    olm_catalogue.require_catalogue(kube, OLM.model_copy(update={"starting_csv": "servicemeshoperator3.v3.0.0"}))
    assert not kube.writes


def test_a_cluster_without_olms_package_server_is_not_asked_for_packages() -> None:
    """OLM resolves a Subscription without it, and tells what is missing itself."""
    kube = OlmKube(CATALOGUE)
    kube.kinds = ("Subscription",)
    olm_catalogue.require_catalogue(kube, OLM)


@pytest.mark.parametrize(
    ("there", "changed", "what", "why"),
    [
        ((STABLE,), {}, "no CatalogSource redhat-operators in openshift-marketplace on east", "none at all"),
        (
            (CATALOGUE, STABLE),
            {"source_namespace": "olm"},
            "no CatalogSource redhat-operators in olm",
            "openshift-marketplace/redhat-operators",
        ),
        ((CATALOGUE,), {}, "has no package servicemeshoperator3", "packages that it holds: 0; its connection: READY"),
        (
            (CATALOGUE, STABLE, package("other")),
            {"package": "servicemeshoperator"},
            "has no package servicemeshoperator.",
            "packages that it holds: 2, the nearest is servicemeshoperator3",
        ),
        ((CATALOGUE, STABLE), {"channel": "stabel"}, "has no channel stabel", "it has: stable, stable-3-0"),
        (
            (CATALOGUE, package(source="another", stable=())),
            {},
            "has no package servicemeshoperator3",
            "packages that it holds: 0",
        ),
        (
            (CATALOGUE, STABLE),
            {"starting_csv": "servicemeshoperator3.v2.0.0"},
            "Channel stable of servicemeshoperator3 on east has no servicemeshoperator3.v2.0.0",
            "servicemeshoperator3.v3.0.0, servicemeshoperator3.v3.1.0",
        ),
        (
            (CATALOGUE, STABLE, subscription("mesh", state="UpgradePending")),
            {},
            "A Subscription of servicemeshoperator3 stands on east already",
            "operators/mesh, UpgradePending",
        ),
        ((CATALOGUE, STABLE, group("a"), group("b")), {}, "has 2 OperatorGroups", "openshift-operators/a"),
    ],
    ids=[
        "no catalogue",
        "catalogue elsewhere",
        "no package",
        "another package",
        "channel",
        "another catalogue's",
        "version",
        "subscription",
        "groups",
    ],
)
def test_what_olm_lacks_stops_the_run_before_anything_is_created(
    there: tuple[Object, ...], changed: dict[str, str], what: str, why: str
) -> None:
    """In three lines that name what there is instead."""
    kube = OlmKube(*there)
    with pytest.raises(UserError) as error:
        olm_catalogue.require_catalogue(kube, OLM.model_copy(update=changed))
    assert what in error.value.what
    assert why in error.value.why
    assert error.value.fix
    assert not kube.writes


def test_a_cluster_without_olm_stops_the_run() -> None:
    """Unless the operator is there already, or does not arrive by OLM."""
    kube = OperatorKube()
    settings = mesh_of(kube, OLM).settings
    kube.answers = {"/version": {"gitVersion": "v1.36.1"}}
    with pytest.raises(UserError, match=r"\(OLM\) is not installed on east"):
        procedure.require_cluster(kube, settings)
    procedure.require_cluster(kube, mesh_of(kube, Present(arrival="present")).settings)
    kube.apply(definition("Istio", "v1"))
    procedure.require_cluster(kube, settings)


def test_packages_that_can_not_be_read_stop_the_run() -> None:
    """With what the API server said."""
    kube = OlmKube(CATALOGUE)
    kube.refused = ApiException(status=503, reason="Service Unavailable")
    with pytest.raises(UserError) as error:
        olm_catalogue.require_catalogue(kube, OLM)
    assert (error.value.why, "packageserver" in error.value.fix) == ("503 Service Unavailable", True)


@pytest.mark.parametrize(
    ("there", "is_there"),
    [
        ((left(**{"olm.managed": "true"}),), False),
        ((left(**{"operators.coreos.com/servicemeshoperator3.operators": ""}),), False),
        ((left(**{"olm.managed": "true"}), version("jaegers.example.org")), False),
        ((left(**{"olm.managed": "true"}), version("istios.sailoperator.io")), True),
        (
            (
                left(**{"olm.managed": "true"}),
                {
                    "kind": "Deployment",
                    "metadata": {"name": "o", "namespace": "o", "labels": {"control-plane": "sail-operator"}},
                },
            ),
            True,
        ),
        ((left(),), True),
    ],
    ids=["left by OLM", "left by OLM with its label", "another's version", "a version", "a Deployment", "not OLM's"],
)
def test_definitions_that_olm_left_are_no_operator(there: tuple[Object, ...], is_there: bool) -> None:
    """It is subscribed to then; the definitions, which stood before, stay."""
    kube = OlmKube(*there)
    assert operator.is_there(kube, OLM) is is_there
    mesh = mesh_of(kube, OLM)
    assert operator.install_operator(mesh, EAST) is not is_there
    assert (CRD[1], "", "istios.sailoperator.io") in kube.objects


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((), "it is there"),
        ((subscription("a"), subscription("b")), "it is there"),
        (
            (subscription("mesh", installedCSV="servicemeshoperator3.v3.0.0"),),
            "it is there: servicemeshoperator3.v3.0.0 by Subscription operators/mesh, channel stable-3.0, not stable; "
            "nothing is changed",
        ),
        ((subscription("mesh"),), "it is there: no version by Subscription operators/mesh, channel stable-3.0, not"),
    ],
)
def test_an_operator_that_is_there_is_named_with_its_channel(found: tuple[Object, ...], told: str) -> None:
    """Another channel of the profile changes nothing."""
    kube = OlmKube(definition("Istio", "v1"), *found)
    mesh = mesh_of(kube, OLM)
    assert operator.install_operator(mesh, EAST) is False
    ended, detail = outcome(mesh)
    assert (ended, detail.startswith(told)) == (Outcome.SKIPPED, True)
    assert not kube.writes


def test_the_channel_that_is_followed_is_not_mentioned_as_another() -> None:
    """Only a difference is worth a word."""
    kube = OlmKube(definition("Istio", "v1"), subscription("mesh"))
    told = olm_catalogue.standing(kube, OLM.model_copy(update={"channel": "stable-3.0"}))
    assert told == "it is there: no version by Subscription operators/mesh, channel stable-3.0"
