"""docs/options.md, from the declarations."""

from harness.runs.options.option import Option, declared_in
from harness.runs.options.sections import SECTIONS

HEAD = """# Options

`pytest --help` lists them, too, after pytest's own. Each option has an environment variable, named in its row; the
option wins over its variable. The variable of a flag is set by `1`, `true` or `yes`. The variable of an option that may
be repeated holds one value; where the values are files, it separates several as `KUBECONFIG` does.

Write `--name=VALUE`, with the equals sign: pytest looks for its configuration before it knows these options, and takes
an existing path after a space for tests.
"""
OTHERS = """
## Other variables

| variable | what it does |
|---|---|
| `KUBECONFIG` | kubeconfig of `--contexts`, where `--kubeconfig` is not given |
| `PYTEST_ADDOPTS` | more arguments for pytest, before those of the command line |
| `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` | proxy for API servers, registries and packages |
| `EASTWEST_DEBIAN_MIRROR` | Debian mirror for images that are built from packages |
| `EASTWEST_SOAK_RUNS`, `EASTWEST_SOAK_EXPERIMENTS` | `make soak`: runs of each mesh, and how many with experiments |

The same page in this form: `python -m harness.runs.options`.
"""


def page() -> str:
    """The page, in Markdown."""
    return HEAD + "".join(map(_section, SECTIONS)) + OTHERS


def _section(section: type) -> str:
    options = declared_in(section)
    rows = "".join(map(_row, options))
    return f"\n## {options[0].section}\n\n| option | default | what it does | variable |\n|---|---|---|---|\n{rows}"


def _row(option: Option) -> str:
    value = "" if option.flag else f"[={option.values}]" if option.bare else f"={option.values}"
    default = f"`{option.default}`" if option.default else ""
    more = f" ([{option.page}]({option.page}))" if option.page else ""
    often = "; may be repeated" if option.repeatable else ""
    return f"| `--{option.name}{value}` | {default} | {option.help}{often}{more} | `{option.variable}` |\n"
