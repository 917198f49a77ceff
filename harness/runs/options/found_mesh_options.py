"""The options of a mesh that is there: whose traffic is judged, and against which rate of errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from harness.base.errors import UserError
from harness.model import odds
from harness.model.service import OwnClient, OwnService
from harness.runs.options import values
from harness.runs.options.option import Given, Option

SAMPLE_IMAGES = ("helloworld", "sleep", "echo")
_SERVICE = re.compile(
    rf"(?P<name>{values.NAME})\.(?P<namespace>{values.NAME}):(?P<port>\d{{1,5}})(?P<path>/[^\s\"'\\]*)?"
)
_PAGE = "existing-clusters.md"


def service(option: str, given: Given) -> OwnService | None:
    """NAME.NAMESPACE:PORT[/PATH]; None without one."""
    if not (value := values.text(option, given)):
        return None
    found = _SERVICE.fullmatch(value)
    if not found or not 0 < int(found["port"]) < 65536:  # noqa: PLR2004 - the largest port
        raise UserError(
            f"--{option}={value} can't be read.",
            "it has the form NAME.NAMESPACE:PORT or NAME.NAMESPACE:PORT/PATH",
            f"correct --{option}, for instance --{option}=reviews.bookinfo:9080/health",
        )
    return OwnService(
        name=found["name"], namespace=found["namespace"], port=int(found["port"]), path=found["path"] or "/"
    )


def client(option: str, given: Given) -> OwnClient | None:
    """NAMESPACE/KEY=VALUE[,KEY=VALUE]; None without one."""
    if not (value := values.text(option, given)):
        return None
    namespace, _, selector = value.partition("/")
    pairs = [part.partition("=") for part in selector.split(",")]
    if not re.fullmatch(values.NAME, namespace) or not all(key and equals and label for key, equals, label in pairs):
        raise UserError(
            f"--{option}={value} can't be read.",
            "it has the form NAMESPACE/KEY=VALUE, with more labels after commas",
            f"correct --{option}, for instance --{option}=shop/app=frontend",
        )
    return OwnClient(namespace=namespace, labels={key: label for key, _, label in pairs})


def error_rate(option: str, given: Given) -> float:
    """A share of 0 to less than 1."""
    rate = values.real(0)(option, given)
    if rate >= 1:
        raise UserError(f"--{option}={rate:g} can't be used.", "it must be less than 1", f"correct --{option}")
    return rate


def sample_images(option: str, given: Given) -> Mapping[str, str]:
    """Image by name."""
    found = values.pairs("=")(option, given)
    values.require_known(option, found, SAMPLE_IMAGES)
    return found


@dataclass(frozen=True)
class FoundMeshOptions:
    """With --verify-only."""

    deploy_sample: Annotated[
        bool,
        Option(
            "deploy the sample into a namespace of its own, make the experiments there, and remove it again",
            values.flag,
            flag=True,
            page=_PAGE,
        ),
    ]
    sample_images: Annotated[
        Mapping[str, str],
        Option(
            "with --deploy-sample: another image for helloworld, sleep or echo; {version} in it is filled in",
            sample_images,
            name="sample-image",
            values="NAME=IMAGE",
            repeatable=True,
            page=_PAGE,
        ),
    ]
    service: Annotated[
        OwnService | None,
        Option(
            "send the requests to this service in place of the sample's",
            service,
            values="NAME.NAMESPACE:PORT[/PATH]",
            page=_PAGE,
        ),
    ]
    client: Annotated[
        OwnClient | None,
        Option("send the requests from pods with these labels", client, values="NAMESPACE/KEY=VALUE", page=_PAGE),
    ]
    error_rate: Annotated[
        float,
        Option(
            "share of requests that may fail without anything being wrong between the clusters",
            error_rate,
            default=f"{odds.ERROR_RATE:g}",
            values="RATE",
            page=_PAGE,
        ),
    ]
