"""Kubeconfig files: merging several as kubectl does, and taking one context out of them. Pure but for reading.

Source: Kubernetes, "Organizing Cluster Access Using kubeconfig Files": the first file to set a name wins, and
relative paths are relative to the file that has them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import UserError

Config = dict[str, Any]
_PATHS = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
}


def files(given: Sequence[Path], environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files to read: those given, else those that KUBECONFIG lists, else ~/.kube/config."""
    if given:
        return tuple(given)
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    # kubectl passes over files of the list that do not exist.
    return tuple(path for path in listed if path.exists()) or ((Path.home() / ".kube" / "config"),)


def merged(paths: Sequence[Path]) -> Config:
    """Contexts, clusters and users of several files.

    Returns:
        "contexts", "clusters", "users", each name → entry, with absolute paths.

    Raises:
        UserError: a file can't be read or is no kubeconfig.
    """
    whole: Config = {"contexts": {}, "clusters": {}, "users": {}}
    for path in paths:
        content = _read(path)
        for section, entries in whole.items():
            for entry in content.get(section) or ():
                value = _absolute(section, entry.get(section.removesuffix("s")) or {}, path.resolve().parent)
                entries.setdefault(entry["name"], value)
    return whole


def _read(path: Path) -> Config:
    try:
        content = yaml.safe_load(path.expanduser().read_text())
    except (OSError, UnicodeDecodeError) as failed:
        reason = failed.strerror if isinstance(failed, OSError) else "it is no text"
        raise _unreadable(path, str(reason)) from None
    except yaml.YAMLError:
        # What the parser says quotes the file, which may hold keys.
        raise _unreadable(path, "it is not YAML") from None
    if not isinstance(content, dict) or not isinstance(content.get("contexts"), list):
        raise _unreadable(path, "it has no list of contexts")
    return content


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"The kubeconfig {path} can't be read.", why, "correct --kubeconfig, or the variable KUBECONFIG")


def _absolute(section: str, entry: Config, directory: Path) -> Config:
    changed: Config = {key: str(directory / entry[key]) for key in _PATHS.get(section, ()) if entry.get(key)}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        changed["exec"] = {**plugin, "command": str(directory / plugin["command"])}
    return {**entry, **changed}


def single(whole: Config, context: str) -> Config:
    """A kubeconfig that holds one context and what it names.

    Raises:
        UserError: there is no such context, or it names a cluster or user that is not there.
    """
    if context not in whole["contexts"]:
        known = ", ".join(sorted(whole["contexts"])) or "none"
        raise UserError(
            f"There is no context {context}.", f"the kubeconfig has: {known}", "correct --contexts or --kubeconfig"
        )
    names = whole["contexts"][context]
    for key, section in (("cluster", "clusters"), ("user", "users")):
        if names.get(key) not in whole[section]:
            raise UserError(
                f"The context {context} can't be used.",
                f"it names the {key} {names.get(key)}, which the kubeconfig does not have",
                "correct the kubeconfig: kubectl config view",
            )
    cluster, user = names["cluster"], names["user"]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": names}],
        "clusters": [{"name": cluster, "cluster": whole["clusters"][cluster]}],
        "users": [{"name": user, "user": whole["users"][user]}],
    }


def server_of(config: Config) -> str:
    """The API server's URL in a kubeconfig of one context."""
    return str(config["clusters"][0]["cluster"].get("server", ""))
