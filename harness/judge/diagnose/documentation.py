"""The page of all causes, made from their declarations. Pure."""

from textwrap import fill

from harness.judge.diagnose import STEP_FAILED, UNEXPLAINED
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Detector, detectors

WIDTH = 120
HEAD = """# Causes

<!-- Made by `python -m harness.judge.diagnose > docs/causes.md`; change the docstrings there instead. -->

A report names causes before requirements: the first broken object whose own needs are whole, and under it every
requirement that fails or can't be judged because of it. Each cause names the object, the field, what was expected and
what was found, and the command that repairs it. On a mesh that the suite did not install no command changes anything:
there it shows the object, and the report says what to change and where that is declared (Helm release, operator,
GitOps). Ids are stable; a report links here.

Causes are found along a graph of what depends on what, in the order of the sections below: each is a layer, and what is
broken in it can break that layer and later ones. Where it says *seen by its
effect*, the cause is named only if nothing is broken that it needs; others are read from an object somebody has set and
stand by themselves, so that two independent faults give two causes.
"""

TAIL = f"""
## Otherwise

<a id="{STEP_FAILED}"></a>

### {STEP_FAILED}

A step of the procedure did not reach its goal, and nothing that was observed says why. The step's own last words are
the evidence.

<a id="{UNEXPLAINED}"></a>

### {UNEXPLAINED}

A requirement fails and no cause above explains it. What it found is repeated, so that nothing that failed is without a
cause. Please report such a case, with its observation: a cause is missing here.
"""


def page() -> str:
    """The whole page, Markdown."""
    known = detectors()
    sections = []
    for layer in Layer:
        if mine := [detector for detector in known if detector.layer is layer]:
            sections += [f"\n## {layer.value[0].upper()}{layer.value[1:]}\n", *map(_entry, mine)]
    return HEAD + "".join(sections) + TAIL


def _entry(detector: Detector) -> str:
    notes = [f"Proven by {', '.join(sorted(detector.proves))}." if detector.proves else ""]
    breaks = f"Can break everything from {detector.breaks} onward."
    notes += ["Has no symptom of its own." if detector.breaks is None else breaks]
    notes += ["Seen by its effect." if detector.effect else ""]
    notes += [f"Only with --data-plane={detector.plane}." if detector.plane else ""]
    notes += ["Named only where no other cause explains the same." if detector.fallback else ""]
    text = fill(f"**{detector.title}.** {' '.join(detector.explanation.split())}", WIDTH, break_on_hyphens=False)
    told = fill(f"*{' '.join(filter(None, notes))}*", WIDTH, break_on_hyphens=False)
    return f'\n<a id="{detector.id}"></a>\n\n### {detector.id}\n\n{text}\n\n{told}\n'
