"""Command line options, and which topologies are run: fixtures/command_line.py, which the packaged command needs, too."""

pytest_plugins = ["fixtures.command_line", "fixtures.observation", "fixtures.verdicts"]
