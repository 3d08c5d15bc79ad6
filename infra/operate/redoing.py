"""One run of `bucketscribe redo`: the functions' own deed writes the wish; the sweep does the rest."""

import sys

from bucketscribe import storage
from bucketscribe.clock import SystemClock
from bucketscribe.errors import RedoRefused, StorageUnavailable, UnreadableJob
from bucketscribe.jobs import OpenJob
from bucketscribe.model import Profile
from bucketscribe.redo import Wish, redo
from bucketscribe.settings import PROFILES
from infra.local.display import printable
from infra.local.errors import CannotRun
from infra.operate.report import amount
from infra.operate.shelf import SCHEME, make_client


async def ask_again(
    source: str, output: str, *, pages: frozenset[int] | None, poor: bool, profile: str | None
) -> None:
    """Write the wish and say so. Raises CannotRun when it is refused."""
    bucket, _, name = source.removeprefix(SCHEME).partition("/")
    target = output.removeprefix(SCHEME).strip("/")
    if not (source.startswith(SCHEME) and bucket and name):
        raise CannotRun(f"{source} is no document: gs://BUCKET/NAME in the input bucket")
    if not output.startswith(SCHEME) or not target or "/" in target:
        raise CannotRun(f"{output} is no bucket: --out gs://BUCKET")
    if target == bucket:
        raise CannotRun(f"{output} is the input bucket, and nothing is ever written there")
    wish = Wish(pages=pages, poor=poor, profile=_profile(profile))
    client = make_client()
    inputs, outputs = (storage.open_bucket(each, client=client) for each in (bucket, target))
    try:
        opened = await redo(name, wish, inputs, outputs, SystemClock())
    except (RedoRefused, StorageUnavailable, UnreadableJob) as error:
        raise CannotRun(printable(str(error))) from error
    finally:
        client.close()
    sys.stdout.write(_told(opened))


def _profile(name: str | None) -> Profile | None:
    if name is not None and name not in PROFILES:
        raise CannotRun(f"there is no profile {name}; there are {', '.join(PROFILES)}")
    return PROFILES[name] if name else None


def _told(opened: OpenJob) -> str:
    job, wished = opened.job, opened.job.redo
    which = "all pages" if wished is None or wished.pages is None else amount(len(wished.pages), "pages")
    edition = wished.edition if wished else 0
    return (
        f"{printable(str(job.source))}: {which} will be read again, as edition {edition}, with "
        f"{job.profile.name}; the next sweep takes it up\n"
    )
