"""What every session that tests start needs: imported and read once, by the process that they are forked from."""

import importlib

from harness.judge.diagnose.registry import detectors
from reports.html.page import templates
from suites.catalogue import every_requirement
from suites.selftest.support.recordings import recorded

OWN = ("fixtures.command_line", "fixtures.lab", "fixtures.reporting", "fixtures.unjudged")

for name in ("pytest", "allure_pytest.plugin", "xdist.plugin", *OWN):
    importlib.import_module(name)
every_requirement()
detectors()
recorded("primary-remote-multi-network")
for template in templates().list_templates(extensions=["j2"]):
    templates().get_template(template)
