"""Distribution profiles: every built-in one loads, a mistake is named with its nearest known key, and all resolve."""

from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.mesh.distributions import built_in, load
from harness.mesh.distributions.documentation import document
from harness.mesh.distributions.istio_versions import KNOWN, facts
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.distributions.profile import known_keys, parse
from harness.mesh.resolve import leaves, resolve
from harness.mesh.values import primary_values
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.runs.options import OPTIONS, Options
from harness.runs.options import parse as parse_options

PR = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
SAIL: dict[str, Any] = {"name": "vendor", "installer": "sail", "operator": {"arrival": "present"}}


@pytest.mark.parametrize("name", built_in())
def test_built_in_profiles_load_and_resolve(name: str) -> None:
    """By their name, and they say the same name to reports."""
    distribution = load(name)
    settings = resolve(distribution, istio_version=distribution.istio_version or "1.31.0", istioctl=Path("istioctl"))
    assert (distribution.name, settings.distribution) == (name, name)
    assert settings.brings_operator is (name != "istio")


def test_ossm_holds_the_chapters_versions_beside_current_ones() -> None:
    """v1.24.1 in v1alpha1, as the chapter writes; newer ones in v1 from their own channels."""
    ossm = load("ossm")
    chapter = resolve(ossm, istio_version=ossm.istio_version, istioctl=Path("istioctl"))
    assert (chapter.istio_version, chapter.api_version) == ("1.24.1", "v1alpha1")
    assert isinstance(chapter.operator, OlmSubscription)
    assert chapter.operator.channel == "candidates"
    for version, channel in (("1.24.6", "stable-3.0"), ("1.26.2", "stable-3.1"), ("1.30.3", "stable-3.4")):
        current = resolve(ossm, istio_version=version, istioctl=Path("istioctl"))
        assert current.api_version == "v1"
        assert isinstance(current.operator, OlmSubscription)
        assert current.operator.channel == channel
    unknown = resolve(ossm, istio_version="1.29.0", istioctl=Path("istioctl"))
    assert isinstance(unknown.operator, OlmSubscription)
    assert (unknown.api_version, unknown.operator.channel) == ("auto", "stable")
    # The operator sets it by itself on OpenShift: nothing is added to the chapter but the access log.
    assert not any("pilot.cni" in line for line in chapter.deviations)


@pytest.mark.parametrize(
    ("wrong", "named", "nearest"),
    [
        ({"instaler": "sail"}, "instaler", "installer"),
        ({"operator": {"arrival": "helm", "chrat": "sail-operator"}}, "operator.chrat", "chart"),
        ({"operator": {"arrival": "olm", "package": "a", "chanel": "b", "source": "c"}}, "operator.chanel", "channel"),
        ({"namespaces": {"sistem": "istio-system"}}, "namespaces.sistem", "system"),
        ({"releases": {"1.24.1": {"api-version": "v1"}}}, "releases.1.24.1.api-version", "api_version"),
    ],
)
def test_unknown_keys_are_errors_that_name_the_nearest(wrong: dict[str, Any], named: str, nearest: str) -> None:
    """At any depth."""
    with pytest.raises(UserError) as error:
        parse({"name": "vendor", **wrong}, "vendor.yaml")
    assert named in error.value.what
    assert f"did you mean {nearest}?" in error.value.fix


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- a list", "is no distribution profile"),
        ("a: [", "is not YAML"),
        ("name: v\ninstaller: helm", "installer in"),
        ("name: v\ninstaller: sail", "does not say how the operator arrives"),
        ("name: v\ninstaller: sail\noperator: {arrival: helm, chart: nowhere}", "nowhere does not exist"),
        ("name: v\npull_secret: {name: pull, file: nowhere.json}", "nowhere.json does not exist"),
    ],
)
def test_unusable_files_are_errors(text: str, what: str, tmp_path: Path) -> None:
    """What can be found out before anything is created is."""
    path = tmp_path / "vendor.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=what):
        load(str(path))


def test_a_name_that_does_not_exist_names_the_nearest() -> None:
    """Built-in ones are suggested."""
    with pytest.raises(UserError, match="did you mean --distribution=sail"):
        load("sial")


def test_paths_are_taken_from_the_profile(tmp_path: Path) -> None:
    """A vendor's directory holds the profile, the chart and the credentials."""
    (tmp_path / "chart").mkdir()
    (tmp_path / "auth.json").write_text("{}")
    path = tmp_path / "vendor.yaml"
    path.write_text(
        "name: vendor\ninstaller: sail\noperator: {arrival: helm, chart: chart}\n"
        "pull_secret: {name: pull, file: auth.json}\n"
    )
    loaded = load(str(path))
    assert loaded.operator is not None
    assert loaded.operator.model_dump()["chart"] == str(tmp_path / "chart")
    assert loaded.pull_secret is not None
    assert loaded.pull_secret.file == str(tmp_path / "auth.json")


def test_everything_added_to_the_chapter_is_a_deviation() -> None:
    """Each value of the profile has a line; images that were built here are told to the operator, and reported."""
    profile = parse({**SAIL, "values": {"pilot": {"env": {"A": "b"}}, "meshConfig": {"x": True}}}, "vendor.yaml")
    settings = resolve(profile, istio_version="1.31.0", istioctl=Path("istioctl"), images="local", built=("hub", "tag"))
    lines = "\n".join(settings.deviations)
    for line in ("global.hub=hub", "global.tag=tag", "pilot.env.A=b", "meshConfig.x=true"):
        assert line in lines
    values = primary_values(PR, PR["east"], settings)
    assert set(leaves({"pilot": {"env": {"A": "b"}}, "global": {"hub": "hub"}})) <= set(leaves(values))


@pytest.mark.parametrize(("version", "added"), [("1.22.6", "pilot.env.EXTERNAL_ISTIOD=true"), ("1.24.1", "value")])
def test_serving_remotes_is_written_as_the_version_knows_it(version: str, added: str) -> None:
    """The charts know global.externalIstiod as a whole since 1.23."""
    settings = resolve(load("istio"), istio_version=version, istioctl=Path("istioctl"))
    written = set(leaves(primary_values(PR, PR["east"], settings)))
    assert (added if added != "value" else "global.externalIstiod=true") in written


def test_versions() -> None:
    """A newer one is like the newest known; an older one than the oldest is an error; what changed when is known."""
    assert facts("1.99.0") == KNOWN[-1]
    assert facts("v1.30-latest").name == "1.30"
    assert facts("1.31-alpha.eed52ebb66ad").envoy == "1.39"
    assert [known.name for known in KNOWN if not known.native_sidecars][-1] == "1.26"
    assert facts("1.24.1").helloworld_image.startswith("docker.io/istio/")
    for wrong, what in (("1.9.0", "too old"), ("newest", "is no version")):
        with pytest.raises(UserError, match=what):
            facts(wrong)


def test_options() -> None:
    """--installer and --istio-version win over the profile; the profile's version over none."""
    assert _options(distribution="ossm").istio_version == "1.24.1"
    assert _options(distribution="ossm", **{"istio-version": "v1.27.3"}).istio_version == "1.27.3"
    assert _options(distribution="sail", installer="istioctl").distribution.installer == "istioctl"
    with pytest.raises(UserError, match="--installer=sail can't be used"):
        _options(installer="sail")
    with pytest.raises(UserError, match="--registry-mirror"):
        _options(**{"registry-mirror": "registry:5000"})
    with pytest.raises(UserError, match="can't be used with --images=local"):
        _options(images="local", **{"node-image": "example.org/node:1"})


def test_documentation_is_current() -> None:
    """docs/distributions.md is made from the model."""
    path = Path(__file__).parents[3] / "docs" / "distributions.md"
    assert path.read_text() == document(), "python -m harness.mesh.distributions > docs/distributions.md"
    for key in known_keys():
        assert f"`{key}`" in path.read_text()


def _options(**given: str) -> Options:
    defaults: dict[str, str | list[str] | bool] = {
        option.name: False if option.flag else [] if option.repeatable else option.default for option in OPTIONS
    }
    return parse_options(lambda name: given.get(name, defaults[name]), {})
