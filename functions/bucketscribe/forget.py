"""A deleted source takes its text with it, where the operator has chosen so.

Cloud Storage tells of an overwritten version as of a deleted one; there nothing goes, because its text stands
until the new version's takes its place.
"""

from enum import StrEnum

from bucketscribe import finish
from bucketscribe.finish import Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.model import ObjectRef, Retention


class Forgotten(StrEnum):
    """What became of a deleted event."""

    KEPT = "kept"
    REPLACED = "replaced"
    ERASED = "erased"


async def forget(source: ObjectRef, finisher: Finisher) -> Forgotten:
    """Erase what was made of a deleted version.

    Raises JunkMessage for another bucket's event, CloudError when another try may help.
    """
    finisher.refuse_strangers(source)
    if finisher.retention is Retention.KEEP:
        log(Severity.INFO, "source deleted, its text stays", source=str(source))
        return Forgotten.KEPT
    if await finisher.input_bucket.look(source.name):
        return Forgotten.REPLACED
    await finish.erase(source, finisher)
    return Forgotten.ERASED
