"""What could not be understood or named, kept under rejected/ by its hash: nothing goes without a trace."""

import base64
import contextlib
import hashlib
import json

from bucketscribe import layout, records
from bucketscribe.errors import BucketscribeError, WriteConflict
from bucketscribe.ports import Bucket, Clock

# Enough to see what it was; a push body can have 10 MB.
KEPT_BYTES = 64 * 1024


async def keep(bucket: Bucket, clock: Clock, body: bytes, error: BucketscribeError) -> str:
    """Keep a message and what was wrong with it; return its SHA-256 in hex. Keeping it twice keeps one."""
    sha256 = hashlib.sha256(body).hexdigest()
    entry = {
        "schema": "bucketscribe.rejected/1",
        "code": error.code,
        "message": str(error),
        "received": clock.now().isoformat(),
        "size": len(body),
        "body_base64": base64.b64encode(body[:KEPT_BYTES]).decode(),
    }
    with contextlib.suppress(WriteConflict):
        await bucket.write(
            layout.rejected(sha256),
            json.dumps(entry, indent=1).encode() + b"\n",
            content_type=records.JSON,
            if_generation=0,
        )
    return sha256
