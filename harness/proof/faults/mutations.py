"""The registry of all faults."""

from harness.proof.faults import (
    ambient,
    certificates,
    control_plane,
    experiments,
    exposure,
    external,
    gateways,
    policies,
    remote_secrets,
    remotes,
    reported,
    workloads,
)
from harness.proof.faults.fault import Fault


def faults() -> dict[str, Fault]:
    """Every fault by its id, in the order of the table of faults.

    Raises:
        ValueError: an id is declared twice.
    """
    found: dict[str, Fault] = {}
    for module in (
        certificates,
        control_plane,
        remotes,
        external,
        gateways,
        exposure,
        remote_secrets,
        workloads,
        ambient,
        policies,
        experiments,
        reported,
    ):
        for fault in module.FAULTS:
            if found.setdefault(fault.id, fault) is not fault:
                raise ValueError(f"fault {fault.id} is declared twice")
    return found
