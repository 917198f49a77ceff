"""Command line options, and which topologies are run."""

import pytest
from xdist.remote import Producer

from fixtures.reporting import listen, unknown
from fixtures.scheduling import TopologyScheduling
from fixtures.session import plugins, session_of, set_up, terminate_as_interrupt
from harness.base.errors import UserError
from harness.judge import requirement
from harness.runs.options import SECTIONS
from harness.runs.options.option import declared_in

pytest_plugins = ["fixtures.observation", "fixtures.verdicts"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer every option that harness/runs/options declares, in its section."""
    for section in SECTIONS:
        for option in declared_in(section):
            group = parser.getgroup(f"eastwest: {option.section.lower()}")
            group.addoption(f"--{option.name}", **option.arguments)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything else is done, and have the session reported on."""
    terminate_as_interrupt(config)
    try:
        set_up(config)
        for plugin in plugins(config):
            config.pluginmanager.import_plugin(plugin)
        listen(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """End here where nothing is to be judged."""
    try:
        options = set_up(config).options
        if options.plan or options.preflight or options.observe_only:
            from fixtures import unjudged  # noqa: PLC0415 - most sessions need none of it

            return unjudged.run(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    except KeyboardInterrupt:
        return pytest.ExitCode.INTERRUPTED
    except Exception as failed:  # noqa: BLE001 - status 1, pytest's own for a traceback, says that a MUST failed
        return unknown(failed)
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> TopologyScheduling:
    """With -n, let topologies be judged side by side, each by one process."""
    return TopologyScheduling(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every requirement is judged once in every topology of the run."""
    if requirement.of(metafunc.function):
        sources = session_of(metafunc.config).sources
        metafunc.parametrize(
            "observation",
            [pytest.param(source, id=source.name) for source in sources],
            indirect=True,
            scope="session",
        )
