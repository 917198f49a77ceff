"""A cause: the first broken thing whose own needs are whole."""

from harness.model.base import Model


class Cause(Model):
    """What is at fault, where, and what repairs it."""

    id: str
    """Stable for ever, for instance gateway-no-address; an anchor in docs/causes.md."""
    title: str
    """One line a reader understands without knowing Istio's insides."""
    cluster: str
    """Name of the cluster; empty where it concerns the mesh as a whole."""
    object: str
    """Kind namespace/name."""
    field: str
    expected: str
    found: str
    repair: str
    """A command that repairs it; on a mesh that the suite did not install one that only looks."""
    change: str = ""
    """What to change, and where it is declared: on a mesh that the suite did not install."""
    evidence: tuple[str, ...] = ()
    """Events, conditions, log lines that name it; a few lines."""
    explains: tuple[str, ...] = ()
    """Ids of the requirements that fail or are blocked because of it."""
