"""The HTML page, as text; suites/selftest/browser looks at it in a browser."""

import re
from collections.abc import Mapping
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from harness.model.observation import Observation
from harness.model.timeline import critical_path
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.mutations import faults
from reports import conformance, html
from reports.html import certificates, drawing, timeline, traffic
from reports.html.condition import State
from reports.result import TopologyResult
from suites.selftest.support.breakage import first, last, on
from suites.selftest.support.good import good
from suites.selftest.support.results import judged, procedure, run_info, without_address

MULTI_PRIMARY, PRIMARY_REMOTE = "multi-primary-multi-network", "primary-remote-multi-network"
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{1234*5678}}<script>alert(2)</script>"
VOID = {"meta", "img", "br"}


class _Page(HTMLParser):
    """Collects what a page is made of, and whether its elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.problems += [f"{tag} is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")


def _render(*results: TopologyResult) -> str:
    return html.render(conformance.build(results, run_info()), results, run_info())


@pytest.fixture(scope="module")
def broken(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A mesh whose last gateway has no address, judged."""
    return judged(without_address(good_observations[MULTI_PRIMARY]))


@pytest.fixture(scope="module")
def healthy(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A good mesh, judged."""
    result = judged(good_observations[PRIMARY_REMOTE])
    return result.model_copy(update={"observation": result.observation.model_copy(update={"steps": procedure()})})


def test_page_is_whole_and_self_contained(broken: TopologyResult, healthy: TopologyResult) -> None:
    """Well-formed, every link has its target, and nothing comes from elsewhere."""
    text = _render(broken, healthy)
    page = _Page(text)
    assert page.problems == []
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.attributes:
        assert name not in {"src", "srcset", "data", "action", "style"}, (tag, name)
        assert not name.startswith("on"), (tag, name)
        if name in {"href", "xlink:href"}:
            assert value.startswith("#")
            assert value[1:] in page.ids
    style = text[text.index("<style>") : text.index("</style>")]
    script = text[text.index("<script>") : text.index("</script>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?://", style + script), "an address of the outer world"
    assert "default-src 'none'" in text


def _poisoned(value: Any) -> Any:
    """The same data with hostile text appended to free texts."""
    keys = {"detail", "found", "expected", "object", "field", "title", "repair", "error", "subject", "message"}
    if isinstance(value, dict):
        return {
            key: each + HOSTILE if key in keys and isinstance(each, str) else _poisoned(each)
            for key, each in value.items()
        }
    return [_poisoned(each) for each in value] if isinstance(value, list) else value


def test_hostile_text_stays_text(broken: TopologyResult) -> None:
    """Whatever a cluster says, it is no markup."""
    data = broken.model_dump(mode="json")
    data["observation"]["deviations"] = data["observation"]["errors"] = [HOSTILE]
    data["not_run"] = [["CLEAN", HOSTILE]]
    data["label"] = HOSTILE
    poisoned = TopologyResult.model_validate(_poisoned(data))
    text = _render(poisoned, poisoned)
    page, clean = _Page(text), _Page(_render(broken, broken))
    assert page.problems == []
    assert "img" not in page.tags
    assert page.tags.count("script") == clean.tags.count("script") == 1
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in clean.attributes}
    assert "{{1234*5678}}" in text
    assert "7006652" not in text


def test_page_has_no_key_material(broken: TopologyResult) -> None:
    """No PEM block is in the page."""
    assert "-----BEGIN" not in _render(broken)


def test_causes_stand_before_requirements(broken: TopologyResult) -> None:
    """What is at fault comes first, with its repair."""
    text = _render(broken)
    cause = broken.causes[0]
    order = [text.index(part) for part in ('id="verdict"', 'id="t1-cause-1"', 'class="drawing', 'id="t1-GW-ADDRESS"')]
    assert order == sorted(order)
    assert cause.title in text
    assert 'data-verdict="fail" open' in text


def test_drawing_is_red_where_it_is_broken(broken: TopologyResult) -> None:
    """The gateway at fault and the direction that does not get through, nothing else."""
    drawn = drawing.draw(broken)
    rows = {(box.name, row.label): row.state for box in drawn.boxes for row in box.rows}
    assert rows.pop(("west", "east-west gateway")) is State.CAUSE
    assert set(rows.values()) == {State.GOOD}
    arrows = {arrow.label: arrow.state for arrow in drawn.arrows}
    assert [label for label, state in arrows.items() if state is not State.GOOD] == [
        "requests of east to v2 of west through west's gateway"
    ]
    assert "Broken: requests of east" in drawn.description


def test_of_three_clusters_only_the_way_to_the_broken_one_is_red() -> None:
    """What a finding counts among the answers that came is not what it is about."""
    topology = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI, 3)
    drawn = drawing.draw(judged(faults()["gateway-no-address"].apply(good(topology))))
    red = [arrow.label for arrow in drawn.arrows if arrow.state is not State.GOOD]
    assert red == [
        "requests of east to v3 of north through north's gateway",
        "requests of west to v3 of north through north's gateway",
    ]
    assert [arrow.said for arrow in drawn.arrows if arrow.label in red] == ["east gets no v3", "west gets no v3"]


def test_good_drawing_has_no_red(good_observations: Mapping[str, Observation]) -> None:
    """A good mesh is drawn without a fault, in every topology."""
    for observation in good_observations.values():
        drawn = drawing.draw(judged(observation))
        states = [arrow.state for arrow in drawn.arrows] + [row.state for box in drawn.boxes for row in box.rows]
        states += [frame.state for frame in drawn.frames] + [box.state for box in drawn.boxes]
        assert set(states) == {State.GOOD}
        assert len(drawn.frames) == len(observation.topology.networks) + len(observation.topology.hosts)
        assert all(box.x + 200 < drawn.width for box in drawn.boxes)


def test_a_control_plane_outside_of_the_mesh_is_drawn() -> None:
    """On its own cluster, which serves the others; it is red there when it is down."""
    observation = good(preset(ControlPlaneModel.EXTERNAL, NetworkModel.SINGLE))
    drawn = drawing.draw(judged(faults()["external-istiod-scaled-down"].apply(observation)))
    assert [frame.name for frame in drawn.frames] == ["outside of the mesh", "network1"]
    rows = {(box.name, row.label): row for box in drawn.boxes for row in box.rows}
    assert [label for name, label in rows if name == "control"] == ["CA", "control plane", "gateway"]
    assert rows["control", "control plane"].state is State.CAUSE
    assert rows["east", "control plane"].text == rows["west", "control plane"].text == "served by control"
    assert rows["east", "CA"].text == "that of control"
    (serves,) = (arrow.label for arrow in drawn.arrows if arrow.kind == "config")
    assert serves == "configuration and certificates: control serves east"
    assert drawn.description.startswith("control, outside of the mesh, runs istiod for east; east is a primary")


def test_remote_secret_that_is_missing_is_drawn(good_observations: Mapping[str, Observation]) -> None:
    """The arrow of a missing remote secret is broken."""
    observation = good_observations[MULTI_PRIMARY]
    missing = on(observation, first(observation.topology), remote_secrets=())
    states = {arrow.label: arrow.state for arrow in drawing.draw(judged(missing)).arrows if arrow.kind == "secret"}
    assert states["remote secret: east reads west"] in {State.BROKEN, State.CAUSE}
    assert states["remote secret: west reads east"] is State.GOOD


def test_traffic_shows_loop_and_shares(broken: TopologyResult) -> None:
    """Ten requests in the chapter's words, observed against expected shares."""
    east, west = traffic.clients(broken.observation)
    assert len(west.loop) == traffic.LOOP
    from_east = [answer.text for answer in west.loop if answer.version == 0]
    assert from_east
    assert all(text.startswith("Hello version: v1, instance: helloworld-v1") for text in from_east)
    assert [share.width for share in west.promised] == [50.0, 50.0]
    assert [share.label for share in west.observed] == ["v1", "v2"]
    assert any("no healthy upstream" in answer.text for answer in east.loop)
    assert east.promised == (), "the endpoints can't be told by cluster"


def test_certificates_hang_below_their_issuers(healthy: TopologyResult) -> None:
    """Root, intermediate, leaves."""
    for tree in certificates.trees(healthy.observation):
        (root,) = tree.roots
        assert root.certificate.subject == root.certificate.issuer
        assert all("Intermediate CA" in node.name for node in root.children)
        assert any(leaf.name.startswith("spiffe://") for node in root.children for leaf in node.children)
        assert {node.state for node in root.children} == {"valid"}


def test_expired_certificate_is_marked(healthy: TopologyResult) -> None:
    """It says so, and since when."""
    observation = healthy.observation
    late = observation.model_copy(update={"observed": observation.observed + timedelta(days=3)})
    leaf = certificates.trees(late)[0].roots[0].children[0].children[-1]
    assert leaf.state == "expired"
    assert leaf.left == "expired 2 days ago"


def test_timeline_has_every_step(broken: TopologyResult) -> None:
    """A bar for each step on each cluster."""
    laid = timeline.lay_out(broken.observation)
    assert laid
    bars = [bar for block in laid.blocks for row in block.rows for bar in row.bars]
    assert len(bars) == len(broken.observation.steps)
    assert all(laid.left <= bar.x and bar.x + bar.width <= laid.right + 2 for bar in bars)
    assert [step.title for step in laid.troubles] == ["Wait for the gateway's address"]
    assert sum(bar.critical for bar in bars) == len(critical_path(broken.observation.steps)) > 1


def test_page_without_anything(good_observations: Mapping[str, Observation]) -> None:
    """No results, no observation of traffic, no steps: still a page, and never a success."""
    assert "Nothing judged" in _render()
    observation = good_observations[MULTI_PRIMARY]
    empty = observation.model_copy(
        update={
            "steps": (),
            "traffic": None,
            "probes": (),
            "clusters": tuple(
                type(cluster)(name=cluster.name, context="", api_server="") for cluster in observation.clusters
            ),
        }
    )
    text = _render(TopologyResult(observation=empty, judgements=()))
    assert "Nothing judged" in text
    assert _Page(text).problems == []
    result = judged(on(empty, last(empty.topology)))
    assert "Unknown" in _render(result) or "Not conformant" in _render(result)
