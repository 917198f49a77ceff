"""How long the credentials in a remote secret last. Pure."""

from datetime import datetime, timedelta

from harness.model.istio import RemoteAccess

SOON = timedelta(days=30)
"""Credentials that end within this time are to be renewed now."""
SHORT_LIVED = timedelta(days=7)
"""Nobody renews by hand what lasts no longer than this: something does it regularly."""


def is_short_lived(access: RemoteAccess) -> bool:
    """Whether credentials are made for so short a time that something must renew them regularly."""
    return access.begins is not None and access.ends is not None and access.ends - access.begins <= SHORT_LIVED


def ends_soon(access: RemoteAccess, at: datetime) -> bool:
    """Whether credentials have ended, or end soon and were not made for a short time only.

    Args:
        access: the credentials.
        at: the time of the observation.
    """
    if access.ends is None:
        return False
    return access.ends <= at or (access.ends - at < SOON and not is_short_lived(access))
