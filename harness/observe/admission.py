"""Reads the admission webhooks of a cluster: one reading of each kind for every subject that looks at them."""

import threading
from collections.abc import Callable, Iterable

from harness.kube.api import Object
from harness.model.cluster import AdmissionWebhook, InjectionWebhook
from harness.observe import istio_objects

_MUTATING, _VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"


class AdmissionWebhooks:
    """The webhook configurations of one cluster. Safe to use from several threads.

    Args:
        items: gives the objects behind a path; what it raises is raised.
    """

    def __init__(self, items: Callable[[str], Iterable[Object]]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._known: dict[str, list[Object]] = {}

    def injection(self) -> tuple[InjectionWebhook, ...]:
        """Istio's that inject sidecars."""
        found = self._read(_MUTATING)
        return tuple(istio_objects.injection_webhook(raw) for raw in found if istio_objects.is_injection_webhook(raw))

    def validation(self) -> tuple[InjectionWebhook, ...]:
        """Istio's that validate its objects."""
        found = self._read(_VALIDATING)
        return tuple(istio_objects.injection_webhook(raw) for raw in found if istio_objects.is_validation_webhook(raw))

    def others(self) -> tuple[AdmissionWebhook, ...]:
        """Of other vendors, as far as they are asked about pods."""
        return tuple(
            istio_objects.admission_webhook(raw, kind)
            for kind in (_MUTATING, _VALIDATING)
            for raw in self._read(kind)
            if istio_objects.is_about_pods(raw) and not istio_objects.is_injection_webhook(raw)
        )

    def _read(self, kind: str) -> list[Object]:
        with self._lock:
            if kind not in self._known:
                self._known[kind] = list(self._items(f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s"))
            return self._known[kind]
