"""A job that stopped moves again: what the sweep does every ten minutes, safe at any time beside all else.

A job that stands still is waiting far more often than it is lost: behind a long queue, or through an outage,
where copies of its tasks help nobody. So it is resumed late and later every time, only so many copies are out
at once, and once its tasks are out it is resumed three times at most. What then still stands is left to the
parked tasks' clock, with an error in the log at every sweep; when that has run out, or the last resume's
pause after it, its missing pages end failed: every document ends.

The job says that it is resumed before anything is published: of two sweeps at once one comes too late.
Documents are opened one at a time, those resumed least first: one that takes the instance down does so every
four hours for a week at worst, and takes no other's turn with it.

Documents are fetched and opened here as in `fan_out`, and finished as everywhere: the door's memory is sized
as on_upload's, with 1 GiB beside the documents. Long documents go one at a time: finishing one of 10,000
pages holds some 30 MiB, and its requests would crowd out all others.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from bucketscribe import completion, crew, fan_out, finish, give_up, jobs, ledger, patience, strays
from bucketscribe.errors import AttemptsExhausted, BucketscribeError, CloudError, WriteConflict
from bucketscribe.fan_out import FannedOut, FanOut
from bucketscribe.finish import End
from bucketscribe.give_up import GiveUp
from bucketscribe.jobs import ListedJob, OpenJob
from bucketscribe.logs import Severity, log
from bucketscribe.model import Job, JobState, Lane, ObjectRef
from bucketscribe.warm_up import WarmUp

T = TypeVar("T")

# Below the function's 540 s by what the last job begun may take: fetched, opened, 10,000 tasks published, or
# 10,000 pages put together. What is left is the next sweep's.
SECONDS = 300.0
JOBS_AT_ONCE = 8
# Longer documents are judged, and so finished, one at a time.
SHORT_PAGES = 200
# Pages that are given up at once, in each of those jobs.
PAGES_AT_ONCE = 16

# What Cloud Scheduler lets pass from one sweep to the next; and the part of a circle by which stops spread
# most evenly over it, however many there are.
INTERVAL_SECONDS = 600.0
GOLDEN = (5**0.5 - 1) / 2


class Swept(StrEnum):
    """What became of a job in one sweep. `held`: too many copies are out; `overtaken`: somebody else was
    first; `left`: no time.
    """

    MOVING = "moving"
    RESUMED = "resumed"
    ENDED = "ended"
    HELD = "held"
    STUCK = "stuck"
    OVERTAKEN = "overtaken"
    BROKEN = "broken"
    LEFT = "left"


_OUTCOMES = {
    FannedOut.PUBLISHED: Swept.RESUMED,
    FannedOut.ALREADY: Swept.OVERTAKEN,
    FannedOut.FAILED: Swept.ENDED,
    FannedOut.SUPERSEDED: Swept.ENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """What resuming needs: what fanning out and giving up need, of the same house."""

    fan_out: FanOut
    give_up: GiveUp


async def resume(house: Resume) -> Counter[Swept]:
    """Look at every job and move those that stopped, and delete notes that are left; count the jobs by what
    became of them.

    One job's trouble is logged and stops no other. Raises CloudError when the jobs cannot be listed, and
    errors that are not ours, when all else is done.
    """
    sweep = _Sweep(house)
    started = house.fan_out.finisher.clock.monotonic()
    await sweep.run(started + SECONDS)
    seconds = round(house.fan_out.finisher.clock.monotonic() - started, 3)
    counts = {outcome.value: number for outcome, number in sweep.counts.items()}
    severity = Severity.WARNING if sweep.counts[Swept.LEFT] else Severity.INFO
    more = {"notes_deleted": sweep.notes_deleted} if sweep.notes_deleted else {}
    log(severity, "jobs swept", jobs=sweep.counts.total(), seconds=seconds, **counts, **more)
    return sweep.counts


class _Sweep:
    """One sweep: what it has counted, and the copies that are out."""

    def __init__(self, house: Resume) -> None:
        self._house = house
        self._finisher = house.fan_out.finisher
        self._bucket = house.fan_out.finisher.output_bucket
        self._opened: list[OpenJob] = []
        self._copies = patience.Copies()
        self._warm_up = WarmUp(house.fan_out.reader)
        self.counts: Counter[Swept] = Counter()
        self.notes_deleted = 0

    async def run(self, deadline: float) -> None:
        """Read the jobs, then move them in turn; reading has half the time.

        Of more jobs than can be read in it, copies that are out are counted among those that were read.
        """
        listed = self._turned(await jobs.listing(self._finisher.input_bucket.name, self._bucket))
        now = self._finisher.clock.monotonic()
        await self._each(listed, self._read, now + (deadline - now) / 2)
        for opened in self._opened:
            self._copies.count(opened.job, self._lane(opened.job), self._now())
        lines = _lines(sorted(self._opened, key=lambda opened: patience.turn(opened.job)))
        try:
            async with self._warm_up:
                await crew.do_all(
                    lines, lambda line: self._each(line.jobs, self._move, deadline, line.at_once), len(lines)
                )
        finally:
            in_flight = {each.source for each in listed}
            self.notes_deleted = await strays.clear(in_flight, self._finisher, deadline)

    def _turned(self, listed: Sequence[ListedJob]) -> list[ListedJob]:
        """Begin elsewhere in every sweep, so that those left for lack of time are not left every time."""
        sweeps = self._now().timestamp() / INTERVAL_SECONDS
        start = int(sweeps * GOLDEN % 1 * len(listed))
        return [*listed[start:], *listed[:start]]

    async def _each(
        self,
        items: Sequence[T],
        deed: Callable[[T], Awaitable[Swept | None]],
        deadline: float,
        at_once: int = JOBS_AT_ONCE,
    ) -> None:
        async def count(item: T) -> None:
            late = self._finisher.clock.monotonic() > deadline
            outcome = Swept.LEFT if late else await deed(item)
            if outcome:
                self.counts[outcome] += 1

        await crew.do_all(items, count, at_once)

    async def _read(self, listed: ListedJob) -> Swept | None:
        async def read() -> Swept | None:
            opened = await jobs.read_listed(listed, self._bucket)
            if opened is None:
                return Swept.OVERTAKEN
            self._opened.append(opened)
            return None

        return await _guarded(listed.source, read)

    async def _move(self, opened: OpenJob) -> Swept | None:
        return await _guarded(opened.source, lambda: self._judge(opened))

    async def _judge(self, opened: OpenJob) -> Swept:
        """Tell a job that stands still from one that moves: cheaply, then by its pages, if it has any."""
        job = opened.job
        still = self._now() - patience.stood_since(job)
        if job.state is JobState.REDO and not job.resumed_at:
            return await self._take_up(opened)
        if still < patience.QUIET or (still < patience.pause(job) and await self._is_missing_any(job)):
            return Swept.MOVING
        if job.pages is None:
            return await self._restart(opened)
        found = await ledger.entries(self._bucket, job.source)
        missing = ledger.outstanding(job, found)
        moved = self._now() - patience.moved_at(job, found, overdue=self._is_overdue(job))
        if moved < (patience.pause(job) if missing else patience.QUIET):
            return Swept.MOVING
        return await (self._continue(opened, missing) if missing else self._finish(opened))

    async def _take_up(self, opened: OpenJob) -> Swept:
        """Do at once what somebody has asked for: a redo."""
        if opened.job.pages is None:
            return await self._restart(opened)
        missing = ledger.outstanding(opened.job, await ledger.entries(self._bucket, opened.source))
        return await (self._continue(opened, missing) if missing else self._finish(opened))

    async def _is_missing_any(self, job: Job) -> bool:
        """Ask in one request, mostly."""
        if job.pages is None:
            return True
        if job.redo:
            return bool(ledger.outstanding(job, await ledger.entries(self._bucket, job.source)))
        return await completion.is_missing_any(
            job.source, job.pages, None, self._bucket, self._finisher.missing
        )

    async def _restart(self, opened: OpenJob) -> Swept:
        """Have the event's work done for a document whose pages were never counted."""
        house = self._house.fan_out
        if patience.may_resume(opened.job, overdue=self._is_overdue(opened.job)):
            marked = await self._mark(opened)
            return _OUTCOMES[await fan_out.take_up(marked, house, self._warm_up)]
        error = AttemptsExhausted(
            "every try to open the document broke off, and the logs of on_upload and sweep say why; "
            "upload it again"
        )
        return _OUTCOMES[await fan_out.fail(opened, error, house)]

    async def _continue(self, opened: OpenJob, missing: Sequence[int]) -> Swept:
        """Publish the missing pages' tasks, for the first time or again; or give these pages up."""
        job = opened.job
        overdue = self._is_overdue(job)
        if patience.may_resume(job, overdue=overdue):
            if not self._copies.has_room(job, self._lane(job), overdue=overdue):
                return Swept.HELD
            marked = await self._mark(opened)
            return _OUTCOMES[await fan_out.publish_again(marked, missing, self._house.fan_out)]
        if not overdue:
            return self._stuck(job, len(missing))
        if await finish.erase_if_forgotten(job.source, self._finisher):
            return Swept.ENDED
        await crew.do_all(missing, lambda page: self._give_up(job, page), PAGES_AT_ONCE)
        await finish.finish(job.source, self._finisher)
        return Swept.ENDED

    async def _finish(self, opened: OpenJob) -> Swept:
        if len(opened.job.resumed_at) < patience.RESUMES:
            await self._mark(opened)
        end = await finish.finish(opened.source, self._finisher)
        return Swept.MOVING if end is End.WAITING else Swept.ENDED

    def _lane(self, job: Job) -> Lane:
        return fan_out.lane_of(job, self._house.fan_out.settings)

    def _is_overdue(self, job: Job) -> bool:
        return give_up.is_overdue(job, self._house.give_up)

    async def _mark(self, opened: OpenJob) -> OpenJob:
        """Write into the job that it is resumed. Raises WriteConflict when it has changed since."""
        job = replace(opened.job, resumed_at=(*opened.job.resumed_at, self._now()))
        marked = await jobs.write(job, opened.generation, self._bucket)
        resumes, state = len(job.resumed_at), job.state.value
        severity = Severity.WARNING if resumes <= patience.RESUMES else Severity.ERROR
        log(severity, "job resumed", source=str(job.source), resumes=resumes, state=state)
        return marked

    async def _give_up(self, job: Job, page: int) -> None:
        task = fan_out.task_of(job, page, self._house.fan_out.settings, self._now())
        await give_up.end_overdue(task, job, self._house.give_up)

    def _stuck(self, job: Job, missing: int) -> Swept:
        log(
            Severity.ERROR,
            "job stands still after all its resumes: see why nothing comes of its tasks",
            source=str(job.source),
            state=job.state.value,
            pages=job.pages,
            missing=missing,
            received=job.received_at.isoformat(),
            trace=job.upload.trace or None,
        )
        return Swept.STUCK

    def _now(self) -> datetime:
        return self._finisher.clock.now()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """Jobs that are moved in their order, so many at once."""

    jobs: list[OpenJob]
    at_once: int


def _lines(in_turn: Sequence[OpenJob]) -> list[_Line]:
    """Set documents to be opened, long ones and short ones in lines of their own, beside each other."""
    unopened = [opened for opened in in_turn if opened.job.pages is None]
    planned = [opened for opened in in_turn if opened.job.pages is not None]
    long = [opened for opened in planned if (opened.job.pages or 0) > SHORT_PAGES]
    short = [opened for opened in planned if (opened.job.pages or 0) <= SHORT_PAGES]
    return [
        _Line(jobs=unopened, at_once=1),
        _Line(jobs=long, at_once=1),
        _Line(jobs=short, at_once=JOBS_AT_ONCE),
    ]


async def _guarded(source: ObjectRef, deed: Callable[[], Awaitable[Swept | None]]) -> Swept | None:
    """Do one job's part; its trouble is its own."""
    try:
        return await deed()
    except WriteConflict:
        return Swept.OVERTAKEN
    except BucketscribeError as error:
        severity = Severity.WARNING if isinstance(error, CloudError) else Severity.ERROR
        log(severity, "job not swept", source=str(source), code=error.code, reason=str(error))
        return Swept.BROKEN
