"""What every session that tests start needs: imported and read once, by the process that they are forked from."""

import importlib

from reports.html.page import templates
from suites.catalogue import every_requirement
from suites.selftest.support.recordings import recorded

for name in ("pytest", "allure_pytest.plugin", "fixtures.lab", "fixtures.reporting", "fixtures.unjudged"):
    importlib.import_module(name)
every_requirement()
recorded("primary-remote-multi-network")
for template in templates().list_templates(extensions=["j2"]):
    templates().get_template(template)
