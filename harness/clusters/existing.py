"""Clusters that exist already, by their kubeconfig contexts. Nothing is created on them here."""

import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import yaml
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from harness.base.addresses import is_loopback
from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.kube import kubeconfig
from harness.kube.access import ClusterAccess
from harness.kube.api import metadata, unanswered
from harness.kube.client import Kube


def take(
    names: Sequence[str],
    contexts: Sequence[str],
    *,
    kubeconfigs: Sequence[Path],
    peer_servers: Mapping[str, str],
    directory: Path,
    need_peers: bool = True,
) -> tuple[ClusterAccess, ...]:
    """Existing clusters, each with a private copy of its kubeconfig context.

    Args:
        names: the topology's names for them, in the contexts' order.
        contexts: kubeconfig contexts.
        kubeconfigs: files; default those of KUBECONFIG, else ~/.kube/config.
        peer_servers: context → URL of its API server as other clusters must use it; default the kubeconfig's.
        directory: where the copies go, as files of mode 0600.
        need_peers: whether other clusters are going to be told these URLs: not when a mesh is only observed.

    Raises:
        UserError: a context is named twice, missing or incomplete, a file can't be read, an API server does not
            answer, two contexts lead to one cluster, or a URL is of no use to other clusters.
    """
    _check_names(contexts, peer_servers)
    whole = kubeconfig.merged(kubeconfig.files(kubeconfigs, os.environ))
    accesses = []
    for name, context in zip(names, contexts, strict=True):
        config = kubeconfig.single(whole, context)
        peer = peer_servers.get(context) or kubeconfig.server_of(config)
        if need_peers and is_loopback(peer):
            raise UserError(
                f"The API server of {context} is not known to other clusters.",
                f"the kubeconfig's address {peer} leads every machine to itself",
                f"give the address other clusters must use: --peer-server={context}=https://HOST:PORT",
            )
        accesses.append(ClusterAccess(name, context, _write(directory / f"{name}.kubeconfig", config), peer))
    identities = in_parallel(_identity, accesses)
    if same := twins(contexts, identities):
        raise UserError(
            f"The contexts {same[0]} and {same[1]} lead to the same cluster.",
            "their kube-system namespaces have one uid",
            "each cluster of a mesh must be another one: correct --contexts",
        )
    return tuple(accesses)


def twins(contexts: Sequence[str], identities: Sequence[str]) -> tuple[str, str] | None:
    """Two contexts of one identity, if any: pure."""
    seen: dict[str, str] = {}
    for context, identity in zip(contexts, identities, strict=True):
        if identity in seen:
            return seen[identity], context
        seen[identity] = context
    return None


def _check_names(contexts: Sequence[str], peer_servers: Mapping[str, str]) -> None:
    twice = sorted({context for context in contexts if list(contexts).count(context) > 1})
    if twice:
        raise UserError(
            f"The context {twice[0]} is named twice.",
            "each cluster of a mesh must be another one",
            "name every context once in --contexts",
        )
    unknown = sorted(set(peer_servers) - set(contexts))
    if unknown:
        raise UserError(
            f"--peer-server names {unknown[0]}, which is none of the contexts.",
            f"the contexts are: {', '.join(contexts)}",
            "correct --peer-server or --contexts",
        )


def _write(path: Path, config: kubeconfig.Config) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return path


def _identity(access: ClusterAccess) -> str:
    """The uid of kube-system; where that may not be read, the API server's address.

    Raises:
        UserError: the API server does not answer, or refuses the credentials.
    """
    try:
        system = Kube(access).read("/api/v1/namespaces/kube-system")
        return str(metadata(system or {}).get("uid") or access.api.configuration.host)
    except (ApiException, HTTPError) as failed:
        if isinstance(failed, ApiException) and failed.status == HTTPStatus.FORBIDDEN:
            return str(access.api.configuration.host)
        raise unanswered(access.context, "which cluster it is", failed) from None
    except (ConfigException, OSError, ValueError) as failed:
        raise UserError(
            f"The API server of the context {access.context} can't be asked.",
            str(failed),
            f"try: kubectl --context {access.context} version",
        ) from None
