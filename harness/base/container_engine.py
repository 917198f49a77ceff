"""The container engines that kind can use, by their command lines, and what differs between the two."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.base.command import CommandError, run
from harness.base.errors import UserError

PODMAN_CONFIGURATION = Path("/run/eastwest/containers.conf")
"""Of Podman, where the suite has written one (`harness/machine/engine`)."""
_ELSEWHERE = ("KIND_EXPERIMENTAL_PROVIDER", "KIND_EXPERIMENTAL_DOCKER_NETWORK", "KIND_EXPERIMENTAL_PODMAN_NETWORK")


@dataclass(frozen=True)
class ContainerEngine:
    """A container engine. Where nothing is said of it here, both take the same commands."""

    name: str
    """Its program, and the name of kind's provider for it."""
    version_field: str
    """In `info`. It is the engine's own: the `docker` of the package podman-docker does not know Docker's."""
    root_field: str
    """In `info`: the directory in which it keeps containers."""
    network_options: tuple[str, ...] = ()
    """With which kind makes its network."""

    def run(self, *words: str | Path, timeout: float | None = None) -> str:
        """Run the engine's client; returns its standard output.

        Raises:
            CommandError: it failed.
        """
        return run([self.name, *words], env=self.environment(), timeout=timeout)

    def info(self, field: str) -> str:
        """One field of `info`.

        Raises:
            CommandError: it failed.
        """
        return self.run("info", "--format", f"{{{{{field}}}}}", timeout=20).strip()

    def version(self) -> str | None:
        """Version of the engine that answers, or None."""
        try:
            return self.info(self.version_field) or None
        except CommandError:
            return None

    def why_not(self) -> str:
        """What the client says about the engine that does not answer."""
        try:
            self.info(self.version_field)
        except CommandError as failed:
            return (failed.output.strip().splitlines() or [f"{self.name} does not answer in time"])[-1]
        return f"{self.name} names no server"

    def environment(self) -> dict[str, str]:
        """For this engine's client and kind's programs: nothing leads them to another engine or network than this."""
        kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        configured = self.name == "podman" and PODMAN_CONFIGURATION.exists()
        own = {"CONTAINERS_CONF": str(PODMAN_CONFIGURATION)} if configured else {}
        return {**own, **kept, "KIND_EXPERIMENTAL_PROVIDER": self.name}


DOCKER = ContainerEngine(
    "docker",
    version_field=".ServerVersion",
    root_field=".DockerRootDir",
    network_options=("--opt", "com.docker.network.bridge.enable_ip_masquerade=true"),
)
PODMAN = ContainerEngine("podman", version_field=".Version.Version", root_field=".Store.GraphRoot")
ENGINES = {engine.name: engine for engine in (DOCKER, PODMAN)}
CHOICES = ("auto", *ENGINES)
"""What --container-engine takes."""


def answering() -> tuple[ContainerEngine, ...]:
    """The engines of this machine that answer, Docker first."""
    return tuple(engine for engine in ENGINES.values() if engine.version())


def choose(name: str) -> ContainerEngine:
    """The engine to use, whether it answers or not.

    Args:
        name: docker or podman; auto for the first that answers, and Docker where none does.

    Raises:
        UserError: it is none of these.
    """
    if name not in CHOICES:
        raise UserError(
            f"--container-engine={name} is not known.",
            f"the values it takes are: {', '.join(CHOICES)}",
            "correct --container-engine (or EASTWEST_CONTAINER_ENGINE)",
        )
    return ENGINES.get(name) or next((engine for engine in ENGINES.values() if engine.version()), DOCKER)
