"""Kubernetes' label selectors, evaluated on labels. Pure."""

from collections.abc import Collection, Mapping
from typing import Any


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector matches; an empty one matches everything.

    Args:
        selector: as the API has it: `matchLabels` and `matchExpressions`, all of which must hold.
        labels: of the object.

    Source: Kubernetes, "Labels and Selectors", resources that support set-based requirements.
    """
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def asked_for(selector: Mapping[str, Any]) -> dict[str, str]:
    """The labels with which an object is selected, as far as labels can do that.

    Of `In` the first value, of `Exists` the value `true`. What `NotIn` and `DoesNotExist` rule out is not looked at:
    whether the selector then matches, `selects` tells.
    """
    expressions = selector.get("matchExpressions") or ()
    needed = (each for each in expressions if each["operator"] in {"In", "Exists"})
    found = {each["key"]: next(iter(each.get("values") or ()), "true") for each in needed}
    return {str(key): str(value) for key, value in {**found, **(selector.get("matchLabels") or {})}.items()}


def discovered(meshes: Collection[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether a control plane sees a namespace with these labels, by its mesh configuration; without selectors it does.

    Source: Istio, "Global Mesh Options", discoverySelectors.
    """
    wanted: list[Collection[Mapping[str, Any]]] = [mesh.get("discoverySelectors") or ({},) for mesh in meshes]
    return not wanted or any(selects(selector, labels) for selectors in wanted for selector in selectors)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    found, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
    return False
