"""How a read ended: read, not permitted, never reachable, or lost in the middle."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TypeVar

from kubernetes.client import ApiException
from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from harness.base.redaction import redact
from harness.kube.api import TransportError, explain_api_error
from harness.model.cluster import Reading, ReadOutcome, Subject

Value = TypeVar("Value")
_NOT_PERMITTED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def classify(failed: Exception, answered: bool) -> ReadOutcome:
    """What a failed read says about the cluster.

    Args:
        failed: what was raised.
        answered: whether the API server had answered before.
    """
    if isinstance(failed, ExceptionGroup):
        outcomes = {classify(part, answered) for part in parts(failed)}
        return outcomes.pop() if len(outcomes) == 1 else ReadOutcome.LOST
    status = getattr(failed, "status", 0) or 0
    if status in _NOT_PERMITTED:
        return ReadOutcome.FORBIDDEN
    silent = isinstance(failed, HTTPError | OSError) or (isinstance(failed, ApiException) and not status)
    return ReadOutcome.UNREACHABLE if silent and not answered else ReadOutcome.LOST


def parts(failed: Exception) -> Iterator[Exception]:
    """What failed, one by one, where several reads side by side did; otherwise the failure itself."""
    if isinstance(failed, ExceptionGroup):
        for part in failed.exceptions:
            yield from parts(part)
    else:
        yield failed


def explain(failed: Exception) -> str:
    """Why a read failed, in one line without secrets."""
    if isinstance(failed, ExceptionGroup):
        return "; ".join(dict.fromkeys(map(explain, parts(failed))))
    if isinstance(failed, ApiException):
        return redact(explain_api_error(failed))
    if isinstance(failed, ValidationError):
        # Its message would quote the value that did not fit.
        fields = ", ".join(".".join(map(str, error["loc"])) for error in failed.errors())
        return f"{failed.title}: {fields} not as expected"
    return redact(str(failed) if isinstance(failed, TransportError) else f"{type(failed).__name__}: {failed}")


class Reader:
    """Reads the subjects of one cluster, never raises, and notes how each went. Safe to use from several threads.

    Args:
        cluster: its name, for `errors`.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._readings: dict[str, Reading] = {}
        self._errors: list[str] = []
        self.answered = False
        """Whether the API server has answered once."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How each subject went, in the order of `Subject`."""
        order = [subject.value for subject in Subject]
        return tuple(sorted(self._readings.values(), key=lambda reading: order.index(reading.subject)))

    def reading(self, subject: Subject) -> Reading | None:
        """How a subject went so far."""
        return self._readings.get(subject)

    @property
    def errors(self) -> tuple[str, ...]:
        """Failures of the suite itself."""
        return tuple(self._errors)

    def read(self, subject: Subject, function: Callable[[], Value], default: Value) -> Value:
        """What the function returns, or the default where it fails."""
        try:
            value = function()
        except Exception as failed:  # noqa: BLE001 - whatever fails is noted, nothing may stop an observation
            self.failed(subject, failed)
            return default
        self.answered = True
        self._note(Reading(subject=subject, outcome=ReadOutcome.READ))
        return value

    def failed(self, subject: Subject, failed: Exception) -> None:
        """Note that a subject, or a part of it, could not be read."""
        outcome = classify(failed, self.answered)
        if outcome is ReadOutcome.FORBIDDEN:
            self.answered = True
        for part in parts(failed):
            if not isinstance(part, ApiException | HTTPError | OSError | TransportError):
                self.error(f"{subject}: {explain(part)}")
        self._note(Reading(subject=subject, outcome=outcome, detail=explain(failed)))

    def unreachable(self, detail: str) -> None:
        """Note that nothing can be read, for the API server does not answer."""
        for subject in Subject:
            self._note(Reading(subject=subject, outcome=ReadOutcome.UNREACHABLE, detail=detail))

    def error(self, text: str) -> None:
        """Note a failure of the suite itself."""
        with self._lock:
            self._errors.append(f"{self._cluster}: {text}")

    def _note(self, reading: Reading) -> None:
        with self._lock:
            known = self._readings.get(reading.subject)
            # A part that could not be read is not made good by another part that could.
            if known is None or known.outcome is ReadOutcome.READ:
                self._readings[reading.subject] = reading
