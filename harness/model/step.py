"""A step of the procedure, as it went."""

from datetime import datetime
from enum import StrEnum

from harness.model.base import Model

WAIT_FOR_CONTROL_PLANE = "Wait for the control plane to be ready"
"""The title of the step that waits for a cluster's control plane begins with this (chapter: "Wait for the control
plane to return the Ready status condition"); its seconds are what CP-READY judges."""


class Phase(StrEnum):
    """The part of a run that a step belongs to, in the order of a run."""

    ENVIRONMENT = "environment"
    IMAGES = "images"
    CLUSTERS = "clusters"
    LOAD_BALANCER = "load balancer"
    CERTIFICATES = "certificates"
    MESH = "mesh"
    WORKLOADS = "workloads"
    EXPERIMENTS = "experiments"
    OBSERVE = "observe"
    FAULTS = "faults"
    """Breaking and mending a mesh on purpose."""
    RESILIENCE = "resilience"
    CLEANUP = "cleanup"


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    """The step did not reach its goal: the mesh or the environment is at fault."""
    ERROR = "error"
    """The suite itself failed."""
    SKIPPED = "skipped"


class Step(Model):
    """One step of the procedure, on one cluster or on all of them."""

    phase: Phase
    title: str
    """What the step does, as the chapter would say it."""
    cluster: str | None
    """The cluster's name (`east`), or None for a step that concerns all of them."""
    started: datetime
    seconds: float
    outcome: Outcome
    detail: str = ""
    """Why it did not succeed or what is worth knowing; one or a few lines."""
