"""Meshes that the suite found, and did not install."""

from harness.model.observation import Observation


def foreign(observation: Observation) -> Observation:
    """The same mesh as one that somebody else installed."""
    return observation.model_copy(update={"asked": observation.asked.model_copy(update={"mode": "verify-only"})})
