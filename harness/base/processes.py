"""Programs and memory of this machine."""

import psutil


def running(name: str) -> tuple[int, ...]:
    """Process ids of every program of this name; one that has ended and was not waited for doesn't run."""
    found = (each for each in psutil.process_iter(["name", "status"]) if each.info["name"] == name)
    return tuple(each.pid for each in found if each.info["status"] != psutil.STATUS_ZOMBIE)


def available_memory() -> float:
    """GiB that programs can have."""
    return float(psutil.virtual_memory().available) / 2**30
