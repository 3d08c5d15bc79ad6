"""One JSON line per outcome on standard output, as Cloud Logging reads it.

A line says what happened to which page, never what stood on it: no page text, no token, no signed URL.
Names come from strangers; they are encoded, never formatted into a message.
"""

import json
import sys
from enum import StrEnum


class Severity(StrEnum):
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def log(severity: Severity, message: str, /, **fields: object) -> None:
    """Write one line; `message` is a constant of ours, everything variable is a field."""
    line: dict[str, object] = {"severity": severity.value, "message": message}
    line |= {key: value for key, value in fields.items() if value is not None}
    sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()
