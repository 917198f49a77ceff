"""Every image, built from pinned Go modules, Debian packages and PyPI's Envoy: no registry is asked."""

from harness.machine.images.local import LocalImages, Tools, helm_program, local_images
from harness.machine.images.registry import Registry, hosts_toml, start_registry, stop_registry

__all__ = [
    "LocalImages",
    "Registry",
    "Tools",
    "helm_program",
    "hosts_toml",
    "local_images",
    "start_registry",
    "stop_registry",
]
