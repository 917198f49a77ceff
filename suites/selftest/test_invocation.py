"""How a session was called: what its report says to make it again."""

import pytest

from fixtures.invocation import command, given
from harness.runs.options import OPTIONS

NOTHING = dict.fromkeys(option.name for option in OPTIONS)


@pytest.mark.parametrize(
    ("options", "environment", "wanted"),
    [
        ({}, {}, "pytest -q"),
        ({}, {"EASTWEST_TOPOLOGY": "all", "HOME": "/home/me"}, "EASTWEST_TOPOLOGY=all pytest -q"),
        ({"topology": "all"}, {"EASTWEST_TOPOLOGY": "primary-remote"}, "pytest -q"),
        ({}, {"EASTWEST_SKIP_REQUIREMENT": "A:b c"}, "EASTWEST_SKIP_REQUIREMENT='A:b c' pytest -q"),
        ({}, {"PYTEST_ADDOPTS": "-x"}, "PYTEST_ADDOPTS=-x pytest -q"),
        ({}, {"KUBECONFIG": "/k"}, "pytest -q"),
        ({"contexts": "a,b"}, {"KUBECONFIG": "/k"}, "KUBECONFIG=/k pytest -q"),
        ({"contexts": "a,b", "kubeconfig": ["/other"]}, {"KUBECONFIG": "/k"}, "pytest -q"),
        (
            {},
            {"EASTWEST_REGISTRY_MIRROR": "https://me:s3cret@mirror"},
            "EASTWEST_REGISTRY_MIRROR='https://[redacted]@mirror' pytest -q",
        ),
    ],
)
def test_the_command_names_the_variables_that_counted(
    options: dict[str, object], environment: dict[str, str], wanted: str
) -> None:
    assert command(["-q"], NOTHING | options, environment) == wanted


def test_options_are_those_that_were_given_one_way_or_the_other() -> None:
    found = given(NOTHING | {"level": "MUST", "kubeconfig": ["a", "b"], "keep": True}, {"EASTWEST_LEVEL": "SHOULD"})
    assert found == {"level": "MUST", "kubeconfig": "a, b", "keep": "True"}
    assert given(NOTHING, {"EASTWEST_LEVEL": "SHOULD"}) == {"level": "SHOULD"}
