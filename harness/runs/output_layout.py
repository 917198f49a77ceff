"""What lies where in the output directory: the same in every run."""

from pathlib import Path

REPORT_JSON = "report.json"
REPORT_YAML = "report.yaml"
REPORT_HTML = "report.html"
SUMMARY = "summary.md"
BADGE = "badge.svg"
JUNIT = "junit.xml"
ALLURE = "allure"
OBSERVATIONS = "observations"
LOG = "log.txt"
DETECTION_JSON = "detection.json"
DETECTION_MARKDOWN = "detection.md"
FAULTS_HTML = "faults.html"
FAULTS = "faults"
"""Observations of broken meshes, by topology and fault."""
VARIANTS_JSON = "variants.json"
VARIANTS = "variants"
"""Observations of valid meshes, by topology and variant."""


def kept(output: Path, worker: str = "") -> Path:
    """Where it is written how what --keep left in place is reached; one file for each of xdist's workers."""
    return output / (f"kept-{worker}.md" if worker else "kept.md")


def observation(output: Path, name: str) -> Path:
    """Where the observation of the topology of that name lies."""
    return output / OBSERVATIONS / f"{name}.json"
