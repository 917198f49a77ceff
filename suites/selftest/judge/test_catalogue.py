"""Generated documents are those of the present code."""

from pathlib import Path

from harness.judge.catalogue import page
from suites.catalogue import catalogue, resilience

DOCS = Path(__file__).parents[3] / "docs"


def test_requirements_page_is_current() -> None:
    assert (DOCS / "requirements.md").read_text() == page([*catalogue().values(), *resilience().values()]), (
        "run: python -m suites.catalogue > docs/requirements.md"
    )


def test_function_names_follow_the_ids() -> None:
    for requirement in [*catalogue().values(), *resilience().values()]:
        expected = "test_" + requirement.id.lower().replace("-", "_")
        assert getattr(requirement.check, "__name__", "") == expected
