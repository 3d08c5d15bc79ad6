"""What keeps the laptop cloud from starting or going on, in words for the person at the terminal."""

from bucketscribe.errors import BucketscribeError


class CannotRun(BucketscribeError):
    """Nothing more can be done; the message says what to do next. The command ends with exit code 2."""

    code = "cannot_run"
