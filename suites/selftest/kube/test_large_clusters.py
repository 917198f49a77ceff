"""Of a large cluster a page at a time is in memory, and only what matters is read and kept."""

import weakref
from typing import Any

from kubernetes.client import ApiException

from harness.kube import inventory
from harness.kube.api import PAGE, Object, listed
from harness.model.cluster import ReadOutcome, Subject
from harness.observe.cluster import read_cluster
from suites.selftest.observe.test_cluster import ASKED
from suites.selftest.support.fake_kube import FakeKube

MANY = 5 * PAGE + 7
ENTRIES = "/apis/networking.istio.io/v1/serviceentries"
SECRETS = "/api/v1/namespaces/istio-system/secrets"
KIND = {"resource": "serviceentries", "responseKind": {"kind": "ServiceEntry"}, "verbs": ["list"]}
GROUP = {"metadata": {"name": "networking.istio.io"}, "versions": [{"version": "v1", "resources": [KIND]}]}


class _Item(dict[str, Any]):
    """An object that is seen to go."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class _LargeKube(FakeKube):
    """Answers page by page, as API servers do; the last ServiceEntry of very many is about helloworld.

    Args:
        forgets: a place in a list that it does not know any more.
    """

    def __init__(self, forgets: int = -1) -> None:
        super().__init__("east")
        self.forgets, self.most_alive = forgets, 0
        self.alive: weakref.WeakSet[_Item] = weakref.WeakSet()
        self.asked: list[str] = []

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """One page of a list, or what the cluster serves."""
        self.asked.append(path)
        if path not in {ENTRIES, SECRETS}:
            return {"items": [GROUP]} if path == "/apis" else super().read(path, accept=accept)
        begins = int(query.get("continue", 0))
        if begins == self.forgets:
            raise ApiException(status=410, reason="Expired")
        ends = min(begins + int(query["limit"]), MANY)
        items = [_item(number) for number in range(begins, ends)]
        self.alive.update(items)
        self.most_alive = max(self.most_alive, len(self.alive))
        return {"metadata": {"continue": str(ends)} if ends < MANY else {}, "items": items}


def _item(number: int) -> _Item:
    host = "helloworld.sample.svc.cluster.local" if number == MANY - 1 else f"host-{number}.example.com"
    name = {"name": f"item-{number}", "namespace": f"apps-{number % 20}", "uid": str(number)}
    return _Item(metadata=name, spec={"hosts": [host]})


def test_an_inventory_holds_one_page_of_objects() -> None:
    kube = _LargeKube()
    taken = inventory.take(kube)
    assert len(taken.entries) == MANY
    assert kube.asked.count(ENTRIES) == MANY // PAGE + 1
    assert kube.most_alive <= 2 * PAGE


def test_a_kind_of_which_a_page_is_lost_counts_as_unread() -> None:
    """Half of its objects would look as if the others had gone."""
    taken = inventory.take(_LargeKube(forgets=2 * PAGE))
    assert (taken.entries, taken.unread) == ({}, {"ServiceEntry.networking.istio.io": "410 Expired"})


def test_of_very_many_objects_those_that_matter_are_kept() -> None:
    kube = _LargeKube()
    read = read_cluster(kube, ASKED, 1)
    outcomes = {reading.subject: reading.outcome for reading in read.reader.readings}
    assert [found.name for found in read.observed.config] == [f"item-{MANY - 1}"]
    assert read.observed.remote_secrets == ()
    assert outcomes[Subject.CONFIG] is outcomes[Subject.REMOTE_SECRETS] is ReadOutcome.READ
    # ServiceEntries and Secrets side by side, each with the page that is asked for while the last one goes.
    assert kube.most_alive <= 4 * PAGE


def test_a_subject_that_is_not_needed_is_not_read() -> None:
    kube = _LargeKube()
    read = read_cluster(kube, ASKED, 1, without=(Subject.CONFIG,))
    assert ENTRIES not in kube.asked
    assert read.reader.reading(Subject.CONFIG) is None


def test_what_is_not_served_is_told_from_what_is_empty() -> None:
    kube = _LargeKube()
    kube.answers = {"/api/v1/pods": {"items": []}}
    empty = listed(kube, "/api/v1/pods")
    assert empty is not None
    assert list(empty) == []
    assert listed(kube, "/apis/nothing") is None
