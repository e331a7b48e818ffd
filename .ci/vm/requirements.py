"""Print the project's requirements and those of its tests, one a word, for `pip install --target`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
wanted = ("dnslib", "hypothesis", "json", "pytest")
tests = [name for name in project["optional-dependencies"]["dev"] if name.startswith(wanted)]
for requirement in [*project["dependencies"], *tests]:
    print(requirement.replace(" ", ""))
