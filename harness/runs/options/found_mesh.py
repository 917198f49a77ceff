"""The options of a mesh that is there: whose traffic is judged, and against which rate of errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from harness.base.errors import UserError
from harness.model import odds
from harness.runs.options import values
from harness.runs.options.option import Given, Option

SAMPLE_IMAGES = ("helloworld", "sleep", "echo")
_PAGE = "existing-clusters.md"


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
