"""Versions of Istio, and which of them may meet."""


def is_version(found: str, wanted: str) -> bool:
    """Whether a reported version is the one asked for; `1.31`, `v1.31-latest` ask for any of that minor version."""
    asked = wanted.removeprefix("v").removesuffix("-latest")
    return found == asked or found.startswith((f"{asked}.", f"{asked}-"))


def is_supported(control_plane: str, proxy: str) -> bool:
    """Whether a control plane may serve a proxy: of the same minor version, or one ahead of it.

    Versions that are none (a build of one's own) are not compared. Source: Istio, "Supported Releases", control
    plane/data plane skew.
    """
    ahead, behind = _minor(control_plane), _minor(proxy)
    return ahead is None or behind is None or (ahead[0] == behind[0] and ahead[1] - behind[1] in {0, 1})


def _minor(version: str) -> tuple[int, int] | None:
    major, minor, *_ = [*version.removeprefix("v").split("-")[0].split("."), "", ""]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
