"""A ztunnel that someone has built by hand: kept, made an image of, and asked for where it is missing."""

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.machine.images import by_hand, local, programs, recipes
from harness.model.step_log import StepLog
from harness.runs import environment
from harness.runs.options import OPTIONS, parse
from suites.selftest.machine.test_images import ingredients

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"


def _program(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_last_one_that_was_given_is_kept(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    assert by_hand.ztunnel(cache) is None
    for content in (ELF, ELF + b"newer", ELF + b"newer"):
        kept = by_hand.keep_ztunnel(_program(tmp_path / "given", content), cache)
        assert by_hand.ztunnel(cache) == kept
        assert kept.read_bytes() == content
        assert kept.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"", ELF[:18] + b"\xb7\x00"])
def test_what_nodes_can_not_run_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="is no program for the nodes"):
        by_hand.keep_ztunnel(_program(tmp_path / "given", content), tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        by_hand.keep_ztunnel(tmp_path / "absent", tmp_path)


def test_images_that_were_put_together_without_it_are_put_together_again(tmp_path: Path) -> None:
    """The record of what the registry serves is named by what it was made from."""
    without = local._inputs_digest(None)
    kept = by_hand.keep_ztunnel(_program(tmp_path / "given", ELF), tmp_path)
    assert local._inputs_digest(kept) != without
    other = by_hand.keep_ztunnel(_program(tmp_path / "given", ELF + b"newer"), tmp_path)
    assert local._inputs_digest(other) != local._inputs_digest(kept)


def test_an_image_is_made_of_it(tmp_path: Path) -> None:
    have = ingredients(tmp_path)
    assert not any("ztunnel" in image.references[0] for image in recipes.registry_images(have))
    image = recipes.ztunnel_image(have, _program(tmp_path / "given", ELF))
    assert image.references == recipes.istio_references("ztunnel")
    assert image.entrypoint == ("/usr/local/bin/ztunnel",)
    assert image.layers[0] == have.base


def test_where_it_is_missing_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the command; sidecars need no ztunnel."""
    monkeypatch.setattr(environment, "cache_directory", lambda: tmp_path)
    given = {option.name: option.not_given for option in OPTIONS} | {"topology": "multi-primary", "images": "local"}
    ambient = given | {"data-plane": "ambient"}
    environment.checks(parse(given.__getitem__, {}))
    for begin in (lambda options: environment.provide(options, StepLog()), environment.checks):
        with pytest.raises(UserError, match="no image of ztunnel") as raised:
            begin(parse(ambient.__getitem__, {}))
        assert "python -m harness.machine.images ztunnel" in raised.value.fix
        assert "https://github.com/istio/ztunnel" in raised.value.why
    by_hand.keep_ztunnel(_program(tmp_path / "given", ELF), tmp_path)
    environment.checks(parse(ambient.__getitem__, {}))


def test_a_directory_of_definitions_is_kept_as_one_file(tmp_path: Path) -> None:
    source = tmp_path / "standard"
    source.mkdir()
    for name in ("b", "a"):
        (source / f"{name}.yaml").write_text(f"name: {name}\n")
    programs._keep(source, "sigs.k8s.io/gateway-api", tmp_path)
    assert (tmp_path / "gateway-api.yaml").read_text().split() == ["name:", "a", "---", "name:", "b"]
