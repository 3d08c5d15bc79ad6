"""`python -m tests.bench.flow [FILE.json]`: print the tables; write the figures where told."""

# ruff: noqa: T201 - tables for people

import json
import sys
from pathlib import Path

from tests.bench.flow import run, table

result = run()
print(table(result))
for name in sys.argv[1:]:
    Path(name).write_text(json.dumps(result, indent=1) + "\n")
