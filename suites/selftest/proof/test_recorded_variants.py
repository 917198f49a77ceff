"""Variants as they were recorded on live clusters: what was valid there is green today."""

from functools import cache
from pathlib import Path

import pytest

from harness.judge.judgement import Judgement
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation, load
from harness.proof.live.whole import judged_while_it_stands
from harness.proof.recordings import PREFERRED, SUFFIX
from harness.proof.variants.recordings import UNCHANGED, judged, main
from harness.proof.variants.registry import variants
from harness.proof.variants.trial import VariantResult
from suites.catalogue import catalogue

ROWS = tuple(catalogue().values())
RECORDED = Path(__file__).parents[1] / "recorded" / "variants"
RECORDINGS = {path.name.removesuffix(SUFFIX): path for path in sorted(RECORDED.glob(f"*{SUFFIX}"))}


def unchanged(topology: str) -> Observation:
    """The mesh in which the recordings of a topology were made, before any change."""
    return load(RECORDED / f"{topology}{SUFFIX}")


@cache
def judged_unchanged(topology: str) -> tuple[Judgement, ...]:
    """What is said of it: the same for all variants."""
    return judged_while_it_stands(unchanged(topology), ROWS)


@pytest.mark.parametrize("name", sorted(RECORDINGS.keys() - set(PREFERRED)))
def test_recorded_variant_is_green(name: str) -> None:
    after = load(RECORDINGS[name])
    trial = judged(variants()[name], judged_unchanged(after.topology.name), after, ROWS)
    assert (trial.alarms, trial.causes, trial.result) == ((), (), VariantResult.GREEN)


def test_every_variant_is_recorded() -> None:
    """Those of sidecars: no variant was recorded in a mesh of ztunnels yet."""
    assert RECORDINGS.keys() - set(PREFERRED) == {v.id for v in variants().values() if DataPlane.SIDECAR in v.planes}


def test_a_run_is_kept_where_it_is_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not green any more is refused with the reason, and not written."""
    topology, green, alarm = "primary-remote-multi-network", "ingress-policy", "strict-sample"
    source, target = tmp_path / "from", tmp_path / "to"
    before, after = unchanged(topology), load(RECORDINGS[green])
    broken = after.model_copy(update={"probes": ()})
    for name, observation in {UNCHANGED: before, green: after, alarm: broken}.items():
        observation.save(source / topology / f"{name}{SUFFIX}")
    assert main([str(source), str(target)], ROWS) == 1
    said = capsys.readouterr().out
    assert f"1 of {len(variants())} variants recorded" in said
    assert f"refused: {alarm} in {topology}: CERT-ISTIOD unknown" in said
    assert sorted(path.name for path in target.iterdir()) == [f"{green}{SUFFIX}", f"{topology}{SUFFIX}"]


def test_an_empty_directory_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "to")], ROWS) == main([], ROWS) == 4
    assert "make record-variants OUTPUT=DIR" in capsys.readouterr().err
