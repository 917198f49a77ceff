"""Errors that are shown to a person: what, why, what to do."""

from harness.base.redaction import without_secrets


class UserError(Exception):
    """Something the user can mend. Shown as three lines, never as a traceback.

    Args:
        what: one line, what could not be done.
        why: one line, the reason found.
        fix: one line, what to do about it.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = map(without_secrets, (what, why, fix))

    def __str__(self) -> str:
        """The three lines."""
        return f"{self.what}\n  why: {self.why}\n  fix: {self.fix}"


class StepError(Exception):
    """A step of the procedure did not reach its goal; the message says what was last seen and why.

    The mesh under test is at fault, not the suite: the step is recorded as failed and the run goes on
    to observe what is there.
    """
