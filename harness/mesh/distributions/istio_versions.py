"""Everything that differs between versions of Istio, as far as the suite must know it. Pure.

Source: the repository of Istio at the first tag of each minor version: `manifests/charts`, `pilot/pkg/features`
(ENABLE_NATIVE_SIDECARS), `istioctl` (MinK8SVersion), `samples/helloworld`, `samples/sleep`; its proxy's Envoy.
"""

import re
from dataclasses import dataclass
from typing import Literal

from harness.base.errors import UserError

_HELLOWORLD = "examples-helloworld-{version}:1.0"


@dataclass(frozen=True)
class IstioVersion:
    """What is so in one minor version."""

    minor: tuple[int, int]
    kubernetes: str
    """The oldest Kubernetes that it supports."""
    envoy: str
    """Minor version of the Envoy that its proxy is made from."""
    sleep_image: str
    helloworld_image: str = f"docker.io/istio/{_HELLOWORLD}"
    """`{version}` stands for v1 or v2."""
    native_sidecars: bool = True
    """Whether sidecars are init containers unless configured otherwise."""
    external_istiod: Literal["value", "env"] = "value"
    """Serving remotes: by the value global.externalIstiod, or by pilot.env.EXTERNAL_ISTIOD."""

    @property
    def name(self) -> str:
        """For instance 1.31."""
        return ".".join(map(str, self.minor))


_CURL, _CURL_PINNED = "docker.io/curlimages/curl", "docker.io/curlimages/curl:8.16.0"
_RELEASED = f"registry.istio.io/release/{_HELLOWORLD}"

KNOWN = (
    IstioVersion((1, 22), "1.26", "1.30", _CURL, native_sidecars=False, external_istiod="env"),
    IstioVersion((1, 23), "1.26", "1.31", _CURL, native_sidecars=False),
    IstioVersion((1, 24), "1.28", "1.32", _CURL, native_sidecars=False),
    IstioVersion((1, 25), "1.28", "1.33", _CURL, native_sidecars=False),
    IstioVersion((1, 26), "1.29", "1.34", _CURL, native_sidecars=False),
    IstioVersion((1, 27), "1.29", "1.35", _CURL),
    IstioVersion((1, 28), "1.29", "1.36", _CURL_PINNED),
    IstioVersion((1, 29), "1.30", "1.37", _CURL_PINNED),
    IstioVersion((1, 30), "1.32", "1.38", _CURL_PINNED, _RELEASED),
    IstioVersion((1, 31), "1.32", "1.39", _CURL_PINNED, _RELEASED),
)
"""Oldest first."""


def minor_of(version: str) -> tuple[int, int]:
    """Major and minor number: (1, 31) of v1.31.0-beta.1, 1.31-latest, 1.31.

    Raises:
        UserError: it begins with no two numbers.
    """
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        raise UserError(
            f"{version} is no version.", "a version begins with two numbers: 1.31.0", "correct --istio-version"
        )
    return int(found[1]), int(found[2])


def facts(version: str) -> IstioVersion:
    """What is so in a version; a newer one than is known is taken to be like the newest.

    Raises:
        UserError: it is older than the oldest known.
    """
    minor = minor_of(version)
    if minor < KNOWN[0].minor:
        raise UserError(
            f"Istio {version} is too old.",
            f"the oldest version whose differences are known is {KNOWN[0].name}",
            "choose a newer one with --istio-version",
        )
    return next(known for known in reversed(KNOWN) if known.minor <= minor)
