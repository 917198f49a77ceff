"""Writes docs/distributions.md from the profile's model. Pure."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from harness.mesh.distributions.istio_versions import KNOWN
from harness.mesh.distributions.model import (
    Distribution,
    HelmChart,
    Manifests,
    Namespaces,
    OlmSubscription,
    Present,
    PullSecret,
    Release,
)
from harness.mesh.distributions.profile import built_in, load

_HEAD = """\
# Distributions

<!-- Made by `python -m harness.mesh.distributions > docs/distributions.md`; change that instead. -->

A distribution profile is a YAML file that says everything that differs between vendors of Istio, and nothing else does.
`--distribution=NAME` takes a built-in one, `--distribution=FILE` your own. `--installer` and `--istio-version` win over
what it says. A key that is not known is an error that names the nearest one. What a profile adds to the chapter's
values is listed in the report as a deviation, and the report repeats what was installed, resolved.

"""
_EXAMPLE = """\
## A profile of your own

Paths are relative to the file.

```yaml
name: example-mesh
installer: sail
istio_version: 1.30.3
hub: registry.example.com/istio
pull_secret: {name: example-pull, file: config.json}
operator:
  arrival: helm
  chart: charts/sail-operator
  values:
    image: registry.example.com/sail-operator:1.30.3
values:
  pilot:
    env: {EXAMPLE: "true"}
```

"""
_MIRROR = """\
## Images from a mirror

`--images=registry --registry-mirror=URL` lets the nodes of kind clusters pull every image, under its usual name, from
one registry: that of a site without internet, or one that holds builds of your own. `--node-image=REFERENCE` is the
node image to go with it. istioctl, kind and (for a chart) helm of the wanted versions are taken from PATH.

"""
_OPERATOR = """\
## `operator`: how the operator arrives

What the run has brought it removes at the end; an operator that stood before stays. One that is there already is used
as it is, whatever this key says.

"""
_OLM = """\
## An operator from a catalogue of OLM

- **Before anything is created** the run sees that the cluster has OLM, the CatalogSource, the package and the channel,
  and stops where it does not.
- **Approval.** With `Manual` the step *Approve the InstallPlan of the operator* names the plan and the version. A plan
  that installs anything else, or that another Subscription wants as well, is the user's to approve: the run waits for
  that. So is one that asks for approval although the profile says `Automatic`, because another Subscription of the
  namespace says `Manual`.
- **An operator that is there** is used as it is. The step names its version and its channel; another channel in the
  profile changes nothing.
- **A Subscription of somebody whose operator does not run** stops the run: it changes no Subscription but its own.
- **Definitions that OLM kept of an operator that was removed** are no operator: it is installed, and removed again, and
  the definitions stay.
- **An upgrade.** Keep the mesh (`--keep`), change the Subscription's channel, and judge the mesh (`--verify-only`). The
  version that is installed then is what is removed in the end.
- **What is removed in the end:** the Subscription with its InstallPlans; the version with its copies in other
  namespaces and its roles; whatever else of the bundle is in no namespace; the definitions; OLM's record of the
  operator; and, where the run has made them, the OperatorGroup with its roles, and the namespace.

Tried live on kind clusters with OLM 0.46, a catalogue of two versions, and an operator built from Sail's source: both
of the chapter's topologies, an ambient mesh, `Automatic` and `Manual`, a namespace of its own and one that is shared,
a pinned `starting_csv`, an upgrade by channel, kept clusters used again, and a channel that the catalogue lacks. All
meshes were conformant, CLEAN among them.

Not tried on OpenShift:

- the profile `ossm` with Red Hat's catalogue: package, channels, images;
- security context constraints: whether the sample and what experiments need are admitted, and what the operator binds
  for istio-cni;
- istio-cni beside Multus, where the operator sets `pilot.cni` and the plugin's directories by itself;
- the OperatorGroup `global-operators` of `openshift-operators`, and approval in a namespace that others share;
- `oc` as the command that is shown, and that scripts of `--plan=shell` use;
- Routes, which the suite neither makes nor needs.

"""
_VERSIONS = """\
## Versions of Istio

What differs between versions (harness/mesh/distributions/istio_versions.py). A newer version is treated like the last.

| Istio | Kubernetes from | Envoy | native sidecars | a primary serves remotes by |
|---|---|---|---|---|
"""


def document() -> str:
    """The whole page."""
    return (
        _HEAD
        + "## Built-in profiles\n\n"
        + "".join(f"- `{name}`: {load(name).description}\n" for name in built_in())
        + "\n"
        + _EXAMPLE
        + _section("Keys", Distribution)
        + _section("`namespaces`", Namespaces)
        + _section("`pull_secret`", PullSecret)
        + _section("`releases`: what is different for one version of Istio", Release)
        + _OPERATOR
        + "".join(_section(f"`{_arrival(model)}`", model, "###") for model in _ARRIVALS)
        + _OLM
        + _MIRROR
        + _VERSIONS
        + "".join(_version_row())
    )


_ARRIVALS: tuple[type[BaseModel], ...] = (HelmChart, OlmSubscription, Manifests, Present)


def _section(title: str, model: type[BaseModel], level: str = "##") -> str:
    about = f"{_sentence(model)}\n\n" if level == "###" else ""
    return f"{level} {title}\n\n{about}| key | default | meaning |\n|---|---|---|\n{''.join(_rows(model))}\n"


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _rows(model: type[BaseModel]) -> Iterator[str]:
    described = _properties(model)
    for name, field in model.model_fields.items():
        if name == "arrival":
            yield f"| `arrival` | | `{_arrival(model)}` |\n"
        else:
            yield f"| `{name}` | {_default(field.default)} | {described[name]['description']} |\n"


def _arrival(model: type[BaseModel]) -> str:
    return str(_properties(model)["arrival"]["const"])


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    return dict(model.model_json_schema()["properties"])


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    return f"`{value}`" if isinstance(value, str) and value else ""


def _version_row() -> Iterator[str]:
    for known in KNOWN:
        by = "`global.externalIstiod`" if known.external_istiod == "value" else "`pilot.env.EXTERNAL_ISTIOD`"
        sidecars = "yes" if known.native_sidecars else "no"
        yield f"| {known.name} | {known.kubernetes} | {known.envoy} | {sidecars} | {by} |\n"
