"""What a step of a plan does to a cluster, each as lines of a shell script. Pure."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import yaml

from harness.kube.api import Object

OWN_VARIABLES = ("${CTX_", "${DISCOVERY_ADDRESS_", "${API_SERVER_", "${ROOT_", "${CERTS}")
"""How the variables begin that the script sets; whatever else looks like a variable is meant as it stands."""


_READY = {
    "Gateway.gateway.networking.k8s.io": "condition=Programmed",
    "CustomResourceDefinition": "condition=Established",
    **dict.fromkeys(("Istio", "IstioCNI", "ZTunnel"), "condition=Ready"),
    "Subscription": "jsonpath='{.status.installedCSV}'",
}
"""Kind → what `kubectl wait` waits for."""


class Action(Protocol):
    """One thing that a step does."""

    def shell(self, cli: str) -> str:
        """As lines of a script; `cli` is the kubectl-compatible command."""


def quoted(word: str) -> str:
    """A word for a shell: the script's own variables are expanded, nothing else."""
    return f'"{_escaped(word)}"' if any(own in word for own in OWN_VARIABLES) else shlex.quote(word)


def heredoc(command: str, text: str) -> str:
    """A command that is given a text; `command` has `<<EOF` where it belongs."""
    if any(own in text for own in OWN_VARIABLES):
        text = _escaped(text)
    else:
        command = command.replace("<<EOF", "<<'EOF'")
    return f"{command}\n{text.rstrip()}\nEOF"


def document(objects: Iterable[Object]) -> str:
    """Objects as YAML."""
    return "---\n".join(yaml.safe_dump(found, sort_keys=False, width=1000) for found in objects)


def _escaped(text: str) -> str:
    for special in ("\\", "`", "$"):
        text = text.replace(special, f"\\{special}")
    for own in OWN_VARIABLES:
        text = text.replace(f"\\{own}", own)
    return text


@dataclass(frozen=True)
class ScriptCluster:
    """The cluster that an action is done on."""

    context: str
    """The script's variable: ${CTX_CLUSTER1}."""

    def kubectl(self, cli: str) -> str:
        """The command with its context."""
        return f'{cli} --context="{self.context}"'


@dataclass(frozen=True)
class Lines:
    """Lines of a script as they stand."""

    text: str

    def shell(self, _cli: str) -> str:
        """The lines."""
        return self.text


@dataclass(frozen=True)
class Apply:
    """Objects are applied."""

    on: ScriptCluster
    objects: tuple[Object, ...]

    def shell(self, cli: str) -> str:
        """As the chapter does it."""
        return heredoc(f"{self.on.kubectl(cli)} apply -f - <<EOF", document(self.objects))


@dataclass(frozen=True)
class Create:
    """An object is created unless it is there."""

    on: ScriptCluster
    object: Object

    def shell(self, cli: str) -> str:
        """The chapter's `get || create`."""
        metadata, kubectl = self.object["metadata"], self.on.kubectl(cli)
        if self.object["kind"] == "Namespace":
            name = metadata["name"]
            return f"{kubectl} get namespace {name} || {kubectl} create namespace {name}"
        if self.object["kind"] == "OperatorGroup":  # a namespace must have one, whatever it is called
            there = f"{kubectl} get operatorgroup --namespace={metadata['namespace']} --output=name | grep ."
            return heredoc(f"{there} || {kubectl} create -f - <<EOF", document([self.object]))
        return heredoc(f"{kubectl} create -f - <<EOF", document([self.object]))


@dataclass(frozen=True)
class Secret:
    """A secret is made of files, unless it is there."""

    on: ScriptCluster
    name: str
    namespace: str
    type: str
    files: tuple[tuple[str, str], ...]
    """Its keys, and the file that each comes from."""

    def shell(self, cli: str) -> str:
        """The chapter's `get || create`."""
        kubectl, where = self.on.kubectl(cli), f"--namespace={self.namespace}"
        create = [f"{kubectl} create secret generic {self.name} {where} --type={self.type}"]
        create += [f"--from-file={quoted(f'{key}={file}')}" for key, file in self.files]
        return f"{kubectl} get secret {self.name} {where} || " + " \\\n  ".join(create)


@dataclass(frozen=True)
class SaveKey:
    """A key of a secret is read into a variable, base64-encoded as it is there."""

    on: ScriptCluster
    secret: str
    namespace: str
    key: str
    variable: str

    def shell(self, cli: str) -> str:
        """`get` with a path."""
        path = self.key.replace(".", "\\.")
        read = f"get secret {self.secret} --namespace={self.namespace} --output=jsonpath='{{.data.{path}}}'"
        return f"{self.variable}=$({self.on.kubectl(cli)} {read})"


@dataclass(frozen=True)
class Merge:
    """Labels or annotations are set."""

    on: ScriptCluster
    kind: str
    name: str
    change: Object

    def shell(self, cli: str) -> str:
        """`label`, `annotate`; `patch` for anything else."""
        metadata, verbs = self.change.get("metadata", {}), {"labels": "label", "annotations": "annotate"}
        kubectl, target = self.on.kubectl(cli), f"{self.kind.lower()} {self.name}"
        if set(self.change) == {"metadata"} and set(metadata) <= set(verbs):
            return "\n".join(
                f"{kubectl} {verbs[field]} --overwrite {target} {quoted(f'{key}={value}')}"
                for field, values in metadata.items()
                for key, value in values.items()
            )
        return f"{kubectl} patch {target} --type=merge --patch {quoted(json.dumps(self.change))}"


@dataclass(frozen=True)
class Delete:
    """An object is deleted; its end is not waited for."""

    on: ScriptCluster
    kind: str
    name: str
    namespace: str | None

    def shell(self, cli: str) -> str:
        """The chapter's `delete`."""
        where = f" --namespace={self.namespace}" if self.namespace else ""
        target = f"{self.kind.lower()}/{self.name}"
        return f"{self.on.kubectl(cli)} delete {target}{where} --ignore-not-found --wait=false"


@dataclass(frozen=True)
class RunProgram:
    """A program is run; what it prints is applied where `into` says so."""

    command: tuple[str, ...]
    input: str = ""
    into: ScriptCluster | None = None

    def shell(self, cli: str) -> str:
        """The command, with the kubeconfig that the user's shell has."""
        words = self._words()
        command = " ".join(words) + (" <<EOF" if self.input else "")
        if self.into:
            # Custom resource definitions are too large for the annotation of a client-side apply.
            how = "apply --server-side --force-conflicts" if "manifest" in self.command else "apply"
            command += f" | {self.into.kubectl(cli)} {how} -f -"
        return heredoc(command, yaml.safe_dump(json.loads(self.input), sort_keys=False)) if self.input else command

    def _words(self) -> list[str]:
        words, given = [self.command[0].rsplit("/", maxsplit=1)[-1]], iter(self.command[1:])
        for word in given:
            if word == "--kubeconfig":
                next(given)
            elif word == "--server":
                # Where other clusters must use another address than the kubeconfig's: the variable is then set.
                server = next(given)
                words.append(f'{server[:-1]}:+--server="{server}"}}')
            else:
                words.append(quoted(word))
        return words


@dataclass(frozen=True)
class Approve:
    """The InstallPlan that a Subscription names is waited for, and approved."""

    on: ScriptCluster
    name: str
    namespace: str
    seconds: float

    def shell(self, cli: str) -> str:
        """`patch`, as OLM's documentation has it."""
        kubectl = f"{self.on.kubectl(cli)} --namespace={self.namespace}"
        subscription, plan = f"subscription/{self.name}", "jsonpath='{.status.installPlanRef.name}'"
        change = json.dumps({"spec": {"approved": True}})
        return (
            f"{kubectl} wait --for=condition=InstallPlanPending {subscription} --timeout={self.seconds:.0f}s\n"
            f'{kubectl} patch installplan "$({kubectl} get {subscription} -o {plan})" \\\n'
            f"  --type=merge --patch {quoted(change)}"
        )


@dataclass(frozen=True)
class Injected:
    """Pods of a namespace come back from a server-side dry run with a proxy."""

    on: ScriptCluster
    namespace: str
    labels: dict[str, str]
    seconds: float = 60

    def shell(self, _cli: str) -> str:
        """A loop: no object changes when a webhook begins to answer."""
        labels = "".join(f" {quoted(f'{key}: {json.dumps(value)}')}" for key, value in self.labels.items())
        return f'wait_until {self.seconds:.0f} injected "{self.on.context}" {self.namespace}{labels}'


@dataclass(frozen=True)
class Wait:
    """An object is waited for."""

    on: ScriptCluster
    kind: str
    name: str
    namespace: str | None
    seconds: float
    gone: bool = False
    """Until it is there no more."""
    saved: str = ""
    """The variable that is given a Service's address: ${DISCOVERY_ADDRESS_CLUSTER1}."""

    def shell(self, cli: str) -> str:
        """`wait`, `rollout status`, or a loop where neither will do."""
        where = f" --namespace={self.namespace}" if self.namespace else ""
        until, target = f" --timeout={self.seconds:.0f}s", f"{self.kind.lower()}/{self.name}"
        wait = f"{self.on.kubectl(cli)} wait{where}"
        if self.gone:
            return f"{wait} --for=delete {target}{until}"
        if self.saved:
            address = f'address "{self.on.context}" {self.namespace} {self.name}'
            return f"wait_until {self.seconds:.0f} {address}\n{self.saved[2:-1]}=$({address})"
        if self.kind in ("Deployment", "DaemonSet"):
            # istiod makes some of them, a moment after it was told to.
            return f"{wait} --for=create {target}{until}\n{self.on.kubectl(cli)} rollout status{where} {target}{until}"
        if self.kind == "MutatingWebhookConfiguration":
            return f'wait_until {self.seconds:.0f} has_ca "{self.on.context}" {self.name}'
        there = f"{wait} --for=create {target}{until}"
        ready = _READY.get(self.kind)
        return f"{there}\n{wait} --for={ready} {target}{until}" if ready else there


def joined(actions: Sequence[Action]) -> list[Action]:
    """Neighbouring objects that are applied to one cluster as one action."""
    found: list[Action] = []
    for action in actions:
        last = found[-1] if found else None
        if isinstance(action, Apply) and isinstance(last, Apply) and last.on == action.on:
            found[-1] = Apply(last.on, last.objects + action.objects)
        else:
            found.append(action)
    return found
