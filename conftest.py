"""Command line options, and which topologies are run; the installed command loads the same plugins."""

pytest_plugins = ["fixtures.command_line", "fixtures.observation", "fixtures.verdicts"]
