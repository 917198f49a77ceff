"""What carries the traffic of workloads. Pure."""

from enum import StrEnum


class DataPlane(StrEnum):
    """What carries the traffic of workloads."""

    SIDECAR = "sidecar"
    AMBIENT = "ambient"
