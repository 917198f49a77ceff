"""The operator from a catalogue: what OLM does with a Subscription, played on a fake API server, and what it says."""

from typing import Any

import pytest

from harness.kube.api import Object
from harness.mesh import olm, operator
from harness.mesh.distributions.model import OlmSubscription
from harness.model.step import Outcome
from suites.selftest.mesh.test_sail import EAST, OperatorKube, definition, mesh_of, outcome

OLM = OlmSubscription(arrival="olm", package="servicemeshoperator3", channel="stable", source="redhat-operators")
CSV, PLAN = "servicemeshoperator3.v3.0.15", "install-x7k2p"
INSTALLED = {"installedCSV": CSV, "currentCSV": CSV, "state": "AtLatestKnown"}
SUCCEEDED = {"phase": "Succeeded"}
UNDER_WAY = {"currentCSV": CSV, "state": "UpgradePending", "installPlanRef": {"name": PLAN}}


class PlayedOlm(OperatorKube):
    """An API server on which OLM goes a step further with each change that is waited for."""

    def __init__(self, *acts: dict[tuple[str, str], dict[str, Any]]) -> None:
        super().__init__()
        self.acts = iter(acts)
        self.told: list[str] = []

    def play(self) -> bool:
        """One act: statuses by kind and name; definitions come with a version that has succeeded."""
        act = next(self.acts, None)
        for (kind, name), status in (act or {}).items():
            made: Object = {"kind": kind, "metadata": {"name": name, "namespace": OLM.namespace}}
            self.objects.setdefault((kind, OLM.namespace, name), made)["status"] = status
            if kind == "ClusterServiceVersion" and status.get("phase") == "Succeeded":
                self.apply(definition("Istio", "v1"))
                self.apply(definition("IstioCNI", "v1"))
        return act is not None

    def wait(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, **options: Any
    ) -> Object | None:
        """Until nothing is pending, looked at now and after each act, or the play is over."""
        while missing := options["pending"](self.get(api_version, kind, name, namespace)):
            self.told.append(missing)
            if not self.play():
                break
        return super().wait(api_version, kind, name, namespace, **options)


def condition(kind: str, reason: str, message: str = "", status: str = "True") -> dict[str, str]:
    """A condition as OLM writes it."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def subscribed(**status: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """An act in which the Subscription has a status."""
    return {("Subscription", OLM.package): status}


def installed(*acts: dict[tuple[str, str], dict[str, Any]]) -> tuple[PlayedOlm, Outcome, str]:
    """The operator is installed while OLM plays these acts: the API server, and how the wait for it ended."""
    kube = PlayedOlm(*acts)
    mesh = mesh_of(kube, OLM, cli="oc")
    assert operator.install_operator(mesh, EAST) is True
    operator.await_operator(mesh, EAST)
    return kube, *outcome(mesh)


def test_a_subscription_is_made_and_waited_for_until_the_operator_runs() -> None:
    """InstallPlan, ClusterServiceVersion, Succeeded; it is named by its version."""
    running = ("ClusterServiceVersion", CSV)
    kube, ended, told = installed(
        subscribed(**UNDER_WAY),
        {("InstallPlan", PLAN): {"phase": "Installing"}, running: {"phase": "Pending"}},
        subscribed(**INSTALLED),
        {running: {"phase": "Installing", "reason": "InstallWaiting", "message": "0 of 1 pods"}},
        {running: {"phase": "Succeeded"}},
    )
    assert (ended, told) == (Outcome.DONE, CSV)
    assert kube.objects["Subscription", OLM.namespace, OLM.package]["spec"] == {
        "name": "servicemeshoperator3",
        "channel": "stable",
        "source": "redhat-operators",
        "sourceNamespace": "openshift-marketplace",
        "installPlanApproval": "Automatic",
    }
    assert kube.told == [
        "Subscription servicemeshoperator3 is not installed (not yet taken up: does the cluster run OLM?)",
        "Subscription servicemeshoperator3 is not installed (UpgradePending)",
        "Subscription servicemeshoperator3 is not installed (UpgradePending)",
        f"ClusterServiceVersion {CSV} has not succeeded (Pending)",
        f"ClusterServiceVersion {CSV} has not succeeded (Installing: InstallWaiting: 0 of 1 pods)",
    ]


def test_an_install_plan_that_needs_approval_is_named_with_the_command() -> None:
    """Another Subscription of the namespace says Manual; the suite approves nothing that is not its own."""
    pending = condition("InstallPlanPending", "RequiresApproval")
    kube, ended, told = installed(subscribed(**UNDER_WAY, conditions=[pending]))
    assert ended is Outcome.FAILED
    command = f"oc --namespace=openshift-operators patch installplan {PLAN} --type=merge"
    assert f"""approve it: {command} --patch='{{"spec":{{"approved":true}}}}'""" in told
    assert ("InstallPlan", OLM.namespace, PLAN) not in kube.objects
    # Once the user has approved it, the run goes on.
    _, ended, _ = installed(
        subscribed(**UNDER_WAY, conditions=[pending]),
        subscribed(**INSTALLED),
        {("ClusterServiceVersion", CSV): {"phase": "Succeeded"}},
    )
    assert ended is Outcome.DONE


@pytest.mark.parametrize(
    ("acts", "reason"),
    [
        (
            [subscribed(conditions=[condition("ResolutionFailed", "ConstraintsNotSatisfiable", "no such channel")])],
            "ResolutionFailed: ConstraintsNotSatisfiable no such channel",
        ),
        (
            [
                subscribed(**UNDER_WAY, conditions=[condition("InstallPlanFailed", "InstallComponentFailed")]),
                {
                    ("InstallPlan", PLAN): {
                        "phase": "Failed",
                        "conditions": [condition("Installed", "InstallComponentFailed", "no OperatorGroup", "False")],
                    }
                },
            ],
            f"InstallPlan {PLAN} is Failed; Installed: InstallComponentFailed no OperatorGroup",
        ),
        (
            [
                subscribed(**UNDER_WAY),
                {
                    ("InstallPlan", PLAN): {
                        "phase": "Installing",
                        "bundleLookups": [
                            {"conditions": [condition("BundleLookupPending", "JobIncomplete", "unpack job", "True")]}
                        ],
                    }
                },
            ],
            "BundleLookupPending: JobIncomplete unpack job",
        ),
        (
            [
                subscribed(**UNDER_WAY),
                {
                    ("ClusterServiceVersion", CSV): {
                        "phase": "Failed",
                        "reason": "InstallCheckFailed",
                        "message": "slow",
                    }
                },
            ],
            f"ClusterServiceVersion {CSV} has not succeeded (Failed: InstallCheckFailed: slow)",
        ),
        (
            [
                subscribed(**INSTALLED),
                {("ClusterServiceVersion", CSV): {"phase": "Failed", "reason": "UnsupportedOperatorGroup"}},
            ],
            f"ClusterServiceVersion {CSV} has not succeeded (Failed: UnsupportedOperatorGroup)",
        ),
        ([subscribed(**INSTALLED)], "the ClusterServiceVersion does not exist"),
    ],
    ids=["resolution", "install plan", "bundle", "version while installing", "version", "no version"],
)
def test_why_it_is_not_installed_is_told_in_olms_words(acts: list[Any], reason: str) -> None:
    """Subscription, InstallPlan or ClusterServiceVersion: whichever knows."""
    _, ended, told = installed(*acts)
    assert ended is Outcome.FAILED
    assert reason in told


MANUAL = OLM.model_copy(update={"approval": "Manual"})
ASKED = subscribed(**UNDER_WAY, conditions=[condition("InstallPlanPending", "RequiresApproval")])


def plan(*versions: str, owners: tuple[str, ...] = ("own",)) -> Object:
    """An InstallPlan of Subscriptions, by their uids."""
    references = [{"kind": "Subscription", "name": f"sub-{uid}", "uid": uid} for uid in owners]
    metadata = {"name": PLAN, "namespace": OLM.namespace, "ownerReferences": references}
    return {"kind": "InstallPlan", "metadata": metadata, "spec": {"clusterServiceVersionNames": list(versions)}}


def arrived(
    wanted: OlmSubscription, found: Object | None, *acts: dict[tuple[str, str], dict[str, Any]]
) -> tuple[PlayedOlm, list[tuple[str, Outcome, str]]]:
    """The operator arrives while OLM plays these acts, with an InstallPlan there: how each step ended."""
    kube = PlayedOlm(*acts)
    mesh = mesh_of(kube, wanted)
    assert operator.install_operator(mesh, EAST) is True
    kube.objects["Subscription", OLM.namespace, OLM.package]["metadata"]["uid"] = "own"
    if found:
        kube.apply(found)
    operator.await_arrival(mesh, EAST)
    return kube, [(step.title, step.outcome, step.detail) for step in mesh.log.steps[1:]]


def test_with_manual_the_run_approves_its_own_install_plan_and_says_which() -> None:
    """Then it waits as ever; a newer version that asks for approval meanwhile is let be."""
    newer = subscribed(installedCSV=CSV, currentCSV="servicemeshoperator3.v3.1.0", state="UpgradePending")
    kube, steps = arrived(MANUAL, plan(CSV), ASKED, newer, {("ClusterServiceVersion", CSV): {"phase": "Succeeded"}})
    assert kube.objects["Subscription", OLM.namespace, OLM.package]["spec"]["installPlanApproval"] == "Manual"
    assert kube.objects["InstallPlan", OLM.namespace, PLAN]["spec"]["approved"] is True
    assert steps == [
        ("Approve the InstallPlan of the operator", Outcome.DONE, f"InstallPlan {PLAN}: {CSV}"),
        ("Wait for the operator to be ready", Outcome.DONE, CSV),
    ]


@pytest.mark.parametrize(
    ("wanted", "found", "why"),
    [
        (MANUAL, plan(CSV, "pipelines.v1"), f"InstallPlan {PLAN} installs {CSV}, pipelines.v1, and not only {CSV}"),
        (MANUAL, plan(), f"InstallPlan {PLAN} installs nothing that it names, and not only {CSV}"),
        (MANUAL, plan(CSV, owners=()), f"InstallPlan {PLAN} installs {CSV}, and not only {CSV}"),
        (MANUAL, plan(CSV, owners=("own", "b")), f"InstallPlan {PLAN} is also that of Subscription sub-b"),
        (MANUAL, plan(CSV, owners=("b",)), f"InstallPlan {PLAN} is also that of Subscription sub-b"),
        (MANUAL, None, f"InstallPlan {PLAN} is gone"),
        (
            MANUAL.model_copy(update={"starting_csv": "servicemeshoperator3.v3.0.1"}),
            plan(CSV),
            f"InstallPlan {PLAN} installs {CSV}, and not only servicemeshoperator3.v3.0.1",
        ),
        (OLM, plan(CSV), ""),
    ],
    ids=["another's version", "names none", "nobody's", "shared", "another's", "gone", "another version", "Automatic"],
)
def test_an_install_plan_that_is_not_the_runs_to_approve_is_the_users(
    wanted: OlmSubscription, found: Object | None, why: str
) -> None:
    """The step says why, and the wait for the operator how it is approved."""
    kube, steps = arrived(wanted, found, ASKED)
    assert not any(written.startswith("merge") for written in kube.writes)
    *before, (_, ended, told) = steps
    assert (ended, "approve it: kubectl" in told) == (Outcome.FAILED, True)
    assert [(outcome, why in detail) for _, outcome, detail in before] == ([(Outcome.SKIPPED, True)] if why else [])


def test_an_operator_that_was_approved_by_somebody_else_needs_nothing() -> None:
    """The run only waits."""
    kube, steps = arrived(MANUAL, None, {**subscribed(**INSTALLED), ("ClusterServiceVersion", CSV): SUCCEEDED})
    assert [outcome for _, outcome, _ in steps] == [Outcome.DONE, Outcome.DONE]
    assert not any(written.startswith("merge") for written in kube.writes)


def test_a_subscription_that_is_never_resolved_is_told_before_it_is_approved() -> None:
    """In OLM's words."""
    failed = condition("ResolutionFailed", "ConstraintsNotSatisfiable", "no such channel")
    _, steps = arrived(MANUAL, None, subscribed(conditions=[failed]))
    assert "ConstraintsNotSatisfiable no such channel" in steps[0][2]


def test_a_namespace_and_its_operator_group_are_made_where_there_are_none() -> None:
    """An OperatorGroup that is there is used: OLM installs nothing beside two."""
    kube = PlayedOlm()
    operator.install_operator(mesh_of(kube, OLM), EAST)
    made = kube.objects["OperatorGroup", OLM.namespace, OLM.package]
    assert (made["apiVersion"], made["spec"]) == ("operators.coreos.com/v1", {})
    assert ("Namespace", "", OLM.namespace) in kube.objects
    kube = PlayedOlm()
    kube.apply({"kind": "OperatorGroup", "metadata": {"name": "global-operators", "namespace": OLM.namespace}})
    operator.install_operator(mesh_of(kube, OLM), EAST)
    assert [name for kind, _, name in kube.objects if kind == "OperatorGroup"] == ["global-operators"]


def test_a_first_version_is_asked_for() -> None:
    """Only where the profile names one."""
    asked = olm.subscription(OLM.model_copy(update={"starting_csv": CSV}))
    assert asked["spec"]["startingCSV"] == CSV
    assert "startingCSV" not in olm.subscription(OLM)["spec"]
