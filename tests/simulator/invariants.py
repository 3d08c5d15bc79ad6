"""What must be true: at every moment (judged as the facts come in), and when all is at rest (`AT_REST`).

Each yields a sentence for every breach; its docstring is the rule.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jsonschema

from bucketscribe import layout, markdown, patience, records
from bucketscribe.model import Job, JobState, ObjectRef, StoredObject
from tests.house import build_house
from tests.simulator.instances import envelope
from tests.simulator.machines import Shelf
from tests.simulator.plan import DAY
from tests.simulator.post import JUNK

if TYPE_CHECKING:
    from tests.simulator.post import Letter
    from tests.simulator.watch import Version
    from tests.simulator.world import World

Breaches = Iterator[str]

_RENDER = frozenset({"page_render_failed", "page_render_crashed", "page_render_timeout"})


# At every moment.


def the_last_page_finishes_its_document(world: "World", letter: "Letter") -> Breaches:
    """Who acknowledges the last page has finished the document, or somebody else is at it."""
    stored = world.outbox.get(layout.job(letter.source))
    if letter.door != "on_page_task" or not stored:
        return
    job = records.decode_job(stored.data)
    ended = job.pages and all(_has_ended(world, job, page) for page in range(1, job.pages + 1))
    if ended and not world.post.is_at_work(letter) and not world.is_superseded(letter.source):
        yield f"{letter} is acknowledged, all pages have ended, and nobody finishes the document"


def _has_ended(world: "World", job: Job, page: int) -> bool:
    stored = world.outbox.get(layout.page(job.source, page))
    return stored is not None and records.page_record(stored.info.metadata).edition >= job.edition_of(page)


def an_acknowledged_letter_left_its_result(world: "World", letter: "Letter") -> Breaches:
    """Nothing is acknowledged before its result is durable: a job or an answer, a page, a task sent again by
    this letter, or later than the one that it carries.
    """
    source = letter.source
    if letter.kind == JUNK and not world.outbox.get(layout.rejected(_sha256_of(letter))):
        yield f"{letter} is acknowledged, and is not kept under rejected/"
    if world.is_superseded(source) or world.is_forgotten(source.name):
        return
    if letter.door == "on_upload":
        stands = world.record_generation(source.name) >= source.generation
        if letter.kind == "finalized" and not stands and not world.watch.job_stands(source):
            yield f"{letter} is acknowledged, and neither its job nor its record stands"
        elif letter.kind == "finalized" and not stands and not _tasks_are_out(world, letter):
            yield f"{letter} is acknowledged, and not all its tasks are published"
    elif world.watch.job_stands(source) and not world.outbox.get(layout.page(source, letter.page)):
        sent = world.watch.publications[source, letter.page]
        again = any(each.letter is letter or _is_later(each.task, letter.task) for each in sent)
        if letter.door == "on_page_task" or not again:
            yield f"{letter} is acknowledged, and its page has not ended"


def _sha256_of(junk: "Letter") -> str:
    body = repr(junk.content.get_data()).encode() if junk.door == "on_upload" else envelope(junk)
    return hashlib.sha256(body).hexdigest()


def _tasks_are_out(world: "World", letter: "Letter") -> bool:
    """Tell whether a job that says so has all its tasks published; what says less, the sweep resumes."""
    stored = world.outbox.get(layout.job(letter.source))
    job = records.decode_job(stored.data) if stored else None
    if job is None or job.state is not JobState.PUBLISHED:
        return True
    sent = world.watch.publications
    return all((job.source, page) in sent for page in range(1, (job.pages or 0) + 1))


def a_copy_of_a_parked_task_is_let_go(
    world: "World", source: ObjectRef, page: int, letter: "Letter"
) -> Breaches:
    """A dead letter that was sent before its page's last parking is not parked once more, where that is over
    and its note still stands: whoever closes a document, or erases it, takes the notes away.
    """
    note = world.outbox.get(layout.note(source, page))
    if letter.door != "on_dead_letter" or not note or note.info.updated_at > world.moment(letter.started):
        return
    for each in world.watch.publications[source, page]:
        over = each.letter.acknowledged and (each.letter.ended or 0.0) < letter.started
        same = each.task["edition"] == letter.task["edition"]
        if each.door == "on_dead_letter" and over and same and _is_later(each.task, letter.task):
            yield f"{letter} is parked, and a task of {each.task['sent_at']} was parked before"


def _is_later(task: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether a page's task takes another one's place; times are written in a form that sorts."""
    return (task["edition"], task["sent_at"]) > (other["edition"], other["sent_at"])


def only_a_better_page_replaces_one(
    _world: "World", before: StoredObject | None, after: StoredObject
) -> Breaches:
    """A page that has ended is replaced only by a higher edition or a better-ranked ending."""
    if before:
        old, new = (records.page_record(each.info.metadata) for each in (before, after))
        if (new.edition, -new.rank) <= (old.edition, -old.rank):
            yield f"{after.info.name}: {old.status.value} was replaced by {new.status.value}"


def no_older_version_replaces_a_newer_one(
    _world: "World", before: StoredObject | None, after: StoredObject
) -> Breaches:
    """What stands under documents/ only ever goes to a later generation."""
    old, new = (records.published_generation(each.info if each else None) for each in (before, after))
    if new < old:
        yield f"{after.info.name}: generation {new} was written over {old}"


def no_record_comes_before_its_text(world: "World", name: str, reading: str) -> Breaches:
    """The record is the commit: its text was written before it."""
    if (name, reading) not in world.watch.texts:
        yield f"the record of {name} is written, and its text never was"


def no_event_comes_before_its_commit(world: "World", name: str, generation: int) -> Breaches:
    """Whoever hears that a document is finished finds its record."""
    if not any((done, made) == (name, generation) for _, done, made in world.watch.commits):
        yield f"{name}#{generation} was announced before its record was written"


def a_job_stands_before_its_document_is_fetched(world: "World", name: str, generation: int) -> Breaches:
    """A document is accounted for from its first second."""
    if f"jobs/{name}/{generation}.json" not in world.watch.jobs:
        yield f"{name}#{generation} is fetched, and its job was never written"


# When all is at rest.


def the_books_add_up(world: "World") -> Breaches:
    """Every record keeps to the schema, the accounting rule, its spans and hashes, and was made of the pages
    that stand now; the inbox is untouched.
    """
    house = build_house(Shelf("books"))
    house.inbox, house.outbox = world.inbox, world.outbox
    try:
        house.check_books()
        house.assert_published_as_it_stands()
    except (AssertionError, jsonschema.ValidationError) as error:
        yield str(error)[:300]


def every_document_has_an_answer(world: "World") -> Breaches:
    """Whatever was dropped has a record in the end, unless it was deleted and is to be forgotten."""
    for version in world.newest():
        if not world.is_forgotten(version.source.name) and not world.record(version.source.name):
            yield f"{version.source} has no record"


def the_newest_version_stands(world: "World") -> Breaches:
    """Of several versions the newest one's answer stands in the end, whatever the order of finishing."""
    for version in world.newest():
        found = world.record_generation(version.source.name)
        if found and found != version.source.generation and not world.is_forgotten(version.source.name):
            yield f"{version.source}: generation {found} stands"


def text_and_record_are_of_one_version(world: "World") -> Breaches:
    """The two published objects say the same of their source, their text and their status."""
    for version in world.newest():
        name = version.source.name
        text, record = (world.outbox.get(f"documents/{name}.{kind}") for kind in ("md", "json"))
        keys = ("bucketscribe-source-generation", "bucketscribe-reading", "bucketscribe-status")
        said = [[each.info.metadata.get(key) for key in keys] if each else None for each in (text, record)]
        if said[0] != said[1]:
            yield f"{name}: the text says {said[0]}, the record {said[1]}"


def a_forgotten_source_leaves_nothing(world: "World") -> Breaches:
    """With retention `follow` nothing of a deleted document stays: no text, no record, no page."""
    for version in world.watch.versions:
        name = version.source.name
        if world.is_forgotten(name):
            prefixes = (f"documents/{name}.md", f"documents/{name}.json", layout.pages_prefix(version.source))
            for each in world.outbox.listing:
                if each.startswith(prefixes):
                    yield f"{each} has outlived its source"


def every_commit_is_announced(world: "World") -> Breaches:
    """After every commit somebody is told of it, or of a later one."""
    for at, name, generation in world.watch.commits:
        told = any(
            then >= at and (other, version) >= (name, generation) and other == name
            for then, other, version in world.watch.events
        )
        if not told and not world.is_forgotten(name):
            yield f"{name}#{generation} was committed and never announced"


def no_page_fails_without_a_fault_of_its_own(world: "World") -> Breaches:
    """An infrastructure's fault fails a page only when it has lasted for parked_days."""
    for version in world.newest():
        record = world.record(version.source.name)
        if record and int(record["source"]["generation"]) == version.source.generation:
            for error in record["errors"]:
                if not _has_cause(world, version, record, error):
                    yield f"{version.source} page {error['page']}: {error['code']} has no cause"


def _has_cause(world: "World", version: "Version", record: dict[str, Any], error: dict[str, Any]) -> bool:
    code, words = error["code"], f"{version.title} {error['page']}"
    if code == "source_gone":
        return version.gone_at is not None
    if code == "attempts_exhausted":
        return _is_overdue(world, record)
    if error["page"] is None:
        return code == world.document_fate(version.title).cannot_open or (
            code == "empty_object" and version.pages == 0
        )
    if code in _RENDER:
        fate = world.page_fate(words)
        return fate.undrawable is not None and fate.undrawable.code == code
    outcomes = Counter(call.outcome for call in world.watch.calls_for(version, error["page"]))
    settings = world.plan.settings
    if code == "model_timeout" and outcomes.total() < settings.model_calls:
        return outcomes[code] >= settings.model_timeouts or _is_overdue(world, record)
    return outcomes[code] > 0


def _is_overdue(world: "World", record: dict[str, Any]) -> bool:
    times = [datetime.fromisoformat(record["timings"][key]) for key in ("received", "finished")]
    return times[1] - times[0] >= timedelta(days=world.plan.settings.parked_days)


def what_is_read_was_said_of_that_page(world: "World") -> Breaches:
    """A page that ended well has words that the model said of this page of this version, and no others."""
    for version in world.newest():
        record, text = (
            world.record(version.source.name),
            world.outbox.get(f"documents/{version.source.name}.md"),
        )
        if not record or not text or not record["pages"]:
            continue
        for page, body in zip(record["pages"], markdown.split(text.data.decode()), strict=True):
            said = [markdown.clean(call.said) for call in world.watch.calls_for(version, page["page"])]
            if page["status"] == "ok" and body not in said:
                yield f"{version.source} page {page['page']} reads {body[:60]!r}"


def a_page_is_asked_for_no_more_often_than_set(world: "World") -> Breaches:
    """A page costs model_calls over all its deliveries, those aside that could not tell the others of theirs:
    killed ones, ones whose page or note could not be written, ones at another instance at the same time, ones
    whose results were erased with their source. Every redo allows as many more.
    """
    editions = {version.title: world.watch.editions[version.source] for version in world.watch.versions}
    erased = {version.title for version in world.watch.versions if world.is_erased(version)}
    for words, calls in world.watch.calls.items():
        title = words.rpartition(" ")[0]
        if title in erased:
            continue
        limit = world.plan.settings.model_calls * (1 + editions[title])
        by_try = Counter(call.letter for call in calls)
        told = sum(number for letter, number in by_try.items() if _can_tell(letter, by_try))
        most = max(by_try.values())
        if max(told, most) > limit:
            yield f"{words} was asked for {told} times, {most} times in one delivery; the limit is {limit}"


def _can_tell(letter: "Letter", others: Counter["Letter"]) -> bool:
    if letter.forgets or letter.instance.dead or letter.ended is None:
        return False
    return not any(
        other.instance is not letter.instance
        and other.started <= letter.ended
        and letter.started <= (other.ended or letter.ended)
        for other in others
        if other is not letter
    )


def copies_are_few(world: "World") -> Breaches:
    """A delivery publishes a page's task once at the most, and all sweeps together three times, in pauses;
    every redo begins that anew, at once.
    """
    for (source, page), publications in world.watch.publications.items():
        if any(number > 1 for number in Counter(each.letter for each in publications).values()):
            yield f"{source} page {page} was published twice in one delivery"
        swept = [each.at for each in publications if each.door == "sweep"]
        pauses = [later - earlier for earlier, later in pairwise(swept)]
        redos = world.watch.editions[source]
        if len(swept) > patience.RESUMES + redos * (patience.RESUMES + 1):
            yield f"{source} page {page} was resumed {len(swept)} times"
        if not redos and any(pause < patience.QUIET.total_seconds() for pause in pauses):
            yield f"{source} page {page} was resumed again after {min(pauses):.0f} s"


def a_redo_is_done(world: "World") -> Breaches:
    """The pages that were wished for stand in the wish's edition in the end, as far as there are pages."""
    for version in world.newest():
        wish, record = world.watch.wishes.get(version.source), world.record(version.source.name)
        if wish and record and int(record["source"]["generation"]) == version.source.generation:
            for page in record["pages"]:
                if (wish.pages is None or page["page"] in wish.pages) and page["edition"] < wish.edition:
                    yield f"{version.source} page {page['page']} is not of edition {wish.edition}"


def nothing_stays_in_flight(world: "World") -> Breaches:
    """No job and no note is left; no instance holds a task, a place, a flight or a local copy."""
    for name in world.outbox.listing:
        if name.startswith(("jobs/", "notes/")):
            yield f"{name} is left"
    for service in world.services.values():
        for instance in service.living():
            for what in instance.leftovers():
                yield f"{instance.label} still holds {what}"


def everything_ends(world: "World") -> Breaches:
    """All comes to rest within bounded time after the faults stop."""
    if not world.at_rest:
        left = [str(letter) for letter in world.post.out.values()]
        days = world.plan.deadline / DAY
        yield f"not at rest after {days:.1f} days: {left or world.outbox.listing}"


AT_REST: tuple[Callable[["World"], Breaches], ...] = (
    everything_ends,
    the_books_add_up,
    every_document_has_an_answer,
    the_newest_version_stands,
    text_and_record_are_of_one_version,
    a_forgotten_source_leaves_nothing,
    every_commit_is_announced,
    no_page_fails_without_a_fault_of_its_own,
    what_is_read_was_said_of_that_page,
    a_page_is_asked_for_no_more_often_than_set,
    copies_are_few,
    a_redo_is_done,
    nothing_stays_in_flight,
)
