"""One run of `bucketscribe verify`: places opened, the walk made, the report given, an exit code."""

import os
from datetime import UTC, datetime, timedelta

from bucketscribe.errors import SettingsError, StorageUnavailable
from bucketscribe.settings import PREFIX, Settings
from infra.local.errors import CannotRun
from infra.operate.report import Report
from infra.operate.shelf import SCHEME, open_shelf, open_sources
from infra.operate.verify import DOCUMENTS, Sources, Verification

# Settings that say which objects are documents; all others do not concern a verification.
_PATTERNS = ("INCLUDE", "IGNORE")


async def verify(output: str, source: str | None, *, as_json: bool, job_days: float) -> int:
    """Verify an output place; return the exit code.

    Raises CannotRun when it cannot be read, and when nothing is there of what was named; a whole bucket may
    be empty.
    """
    shelf, prefix = open_shelf(output)
    if prefix and not prefix.startswith(DOCUMENTS):
        raise CannotRun(f"{output}: what is verified lies below {DOCUMENTS}")
    verification = Verification(
        shelf=shelf,
        prefix=prefix,
        now=datetime.now(UTC),
        old_after=timedelta(days=job_days),
        sources=_sources(source) if source else None,
    )
    report = Report(as_json=as_json)
    try:
        async for finding in verification.run():
            report.take(finding)
    except StorageUnavailable as error:
        raise CannotRun(str(error)) from error
    is_named = prefix or not output.startswith(SCHEME)
    if is_named and not verification.counted and not report.problems:
        raise CannotRun(_nothing(output, prefix))
    report.close(verification.counted)
    return int(report.problems > 0)


def _nothing(output: str, prefix: str) -> str:
    """Say what an operator who finds nothing should look at: any folder may be named, or a name misspelt."""
    if prefix:
        return (
            f"{output}: nothing was verified, as no document is called so or begins so, and none in flight; "
            f"look at the names below {DOCUMENTS}"
        )
    return f"{output}: nothing was verified, as no document is in it; name the folder that holds {DOCUMENTS}"


def _sources(place: str) -> Sources:
    bucket = place.removeprefix(SCHEME).strip("/")
    return Sources(shelf=open_sources(place), bucket=bucket, settings=_settings())


def _settings() -> Settings:
    """Read from the environment which objects are taken in, as the functions do."""
    named = {PREFIX + name: os.environ[PREFIX + name] for name in _PATTERNS if PREFIX + name in os.environ}
    unasked = {"PROJECT": "-", "INPUT_BUCKET": "in", "OUTPUT_BUCKET": "out", "OCR_URL": "http://127.0.0.1"}
    try:
        return Settings.from_environment({PREFIX + name: value for name, value in unasked.items()} | named)
    except SettingsError as error:
        raise CannotRun(str(error)) from error
