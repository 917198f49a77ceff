"""What JUnit's XML carries of a judgement, as properties of its test case."""

from collections.abc import Iterable

from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement


def properties(judgement: Judgement, topology: str, causes: Iterable[Cause] = ()) -> list[tuple[str, str]]:
    """Name and value of each property, for a test's `user_properties`.

    Args:
        judgement: the verdict.
        topology: the topology's name.
        causes: all causes of that topology; those that explain the requirement are kept.
    """
    ids = dict.fromkeys(cause.id for cause in causes if judgement.id in cause.explains)
    found = [
        ("requirement", judgement.id),
        ("level", judgement.level.value),
        ("area", judgement.area),
        ("topology", topology),
        ("verdict", judgement.verdict.value),
    ]
    return found + [("cause", cause) for cause in ids]
