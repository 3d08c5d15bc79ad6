"""What happened: facts that the invariants look at, and a history that people read."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bucketscribe import layout, quality, records
from bucketscribe.model import Job, Message, ObjectRef, PageText, Redo, StoredObject
from tests.simulator import invariants
from tests.simulator.wire import LETTER

if TYPE_CHECKING:
    from tests.simulator.post import Letter
    from tests.simulator.world import World


@dataclass(kw_only=True, eq=False)
class Call:
    """A model call for the page whose words these are; `outcome` is None when nobody waited for it."""

    words: str
    letter: "Letter"
    outcome: str | None = None
    said: str = ""


@dataclass(kw_only=True, eq=False)
class Version:
    """A version of a document that people put into the inbox."""

    source: ObjectRef
    title: str
    pages: int
    gone_at: float | None = None


@dataclass(kw_only=True, eq=False)
class Publication:
    """A page task's message: by which door, and by which of its deliveries."""

    at: float
    task: dict[str, Any]
    door: str
    letter: "Letter"


@dataclass(kw_only=True, eq=False)
class Watch:
    """The facts of one run. `violations` are invariants found broken, by name, with a sentence each; a hasty
    watch ends the run at the first of them.
    """

    world: "World"
    is_hasty: bool = False
    versions: list[Version] = field(default_factory=list)
    calls: defaultdict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    editions: defaultdict[ObjectRef, int] = field(default_factory=lambda: defaultdict(int))
    wishes: dict[ObjectRef, Redo] = field(default_factory=dict)
    publications: defaultdict[tuple[ObjectRef, int], list[Publication]] = field(
        default_factory=lambda: defaultdict(list)
    )
    texts: set[tuple[str, str]] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    commits: list[tuple[float, str, int]] = field(default_factory=list)
    events: list[tuple[float, str, int]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[float, str, str, dict[str, Any] | None]] = field(default_factory=list)

    def note(self, who: str, what: str) -> None:
        self.lines.append((self.world.monotonic(), who, what, None))

    def logged(self, who: str, message: str, fields: dict[str, Any]) -> None:
        self.lines.append((self.world.monotonic(), who, message, fields))
        if message == "unknown error":
            self.violate("no_unknown_errors", f"{fields}")

    def violate(self, invariant: str, sentence: str) -> None:
        self.violations.append((invariant, sentence))
        self.world.loop.enough = self.is_hasty
        self.note("INVARIANT", f"{invariant}: {sentence}")

    def judge(self, invariant: Any, *facts: Any) -> None:
        for sentence in invariant(self.world, *facts):
            self.violate(invariant.__name__, sentence)

    def call(self, words: str) -> Call:
        call = Call(words=words, letter=LETTER.get())
        self.calls[words].append(call)
        return call

    def answered(self, call: Call, outcome: str, text: PageText | None = None) -> None:
        fault = quality.fault(text) if text else None
        call.outcome = fault.code if fault else outcome
        call.said = text.markdown if text else ""

    def acknowledged(self, letter: "Letter") -> None:
        self.judge(invariants.an_acknowledged_letter_left_its_result, letter)
        self.judge(invariants.the_last_page_finishes_its_document, letter)

    def published(self, source: ObjectRef, task: dict[str, Any], letter: "Letter") -> None:
        page = task["page"]
        fact = Publication(at=self.world.monotonic(), task=task, door=letter.door, letter=letter)
        self.publications[source, page].append(fact)
        self.judge(invariants.a_copy_of_a_parked_task_is_let_go, source, page, letter)

    def announced(self, message: Message) -> None:
        name, generation = message.attributes["name"], int(message.attributes["generation"])
        self.note("topic", f"finished: {name}#{generation % 1000} {message.attributes['status']}")
        self.judge(invariants.no_event_comes_before_its_commit, name, generation)
        self.events.append((self.world.monotonic(), name, generation))

    def fetched(self, source_name: str, generation: int) -> None:
        self.judge(invariants.a_job_stands_before_its_document_is_fetched, source_name, generation)

    def written(self, before: StoredObject | None, after: StoredObject) -> None:
        """Look at an object of the output bucket, just written."""
        name = after.info.name
        self.note("bucket", f"{name} is written")
        if name.startswith("jobs/"):
            self.jobs.add(name)
            self._wish(records.decode_job(after.data))
        elif name.startswith("pages/"):
            self.judge(invariants.only_a_better_page_replaces_one, before, after)
        elif name.startswith("documents/"):
            self._document(name.removeprefix("documents/"), before, after)

    def _wish(self, job: Job) -> None:
        if job.redo:
            self.editions[job.source] = job.redo.edition
            self.wishes[job.source] = job.redo

    def _document(self, name: str, before: StoredObject | None, after: StoredObject) -> None:
        metadata = after.info.metadata
        generation = int(metadata["bucketscribe-source-generation"])
        self.judge(invariants.no_older_version_replaces_a_newer_one, before, after)
        if after.info.content_type.startswith("text/"):
            self.texts.add((name.removesuffix(".md"), metadata["bucketscribe-reading"]))
            return
        stem = name.removesuffix(".json")
        self.commits.append((self.world.monotonic(), stem, generation))
        self.judge(invariants.no_record_comes_before_its_text, stem, metadata["bucketscribe-reading"])

    def version(self, name: str, generation: int) -> Version:
        return next(
            each for each in self.versions if (each.source.name, each.source.generation) == (name, generation)
        )

    def calls_for(self, version: Version, page: int) -> list[Call]:
        return self.calls.get(f"{version.title} {page}", [])

    def job_stands(self, source: ObjectRef) -> bool:
        return self.world.outbox.get(layout.job(source)) is not None

    def history(self) -> str:
        """Write it all out, a line an occurrence, with its virtual time."""
        return "\n".join(_line(*line) for line in self.lines)


def _line(at: float, who: str, what: str, fields: dict[str, Any] | None) -> str:
    days, seconds = divmod(at, 86_400)
    clock = f"{int(days)}d {int(seconds // 3600):02}:{int(seconds // 60) % 60:02}:{seconds % 60:06.3f}"
    more = "".join(f" {key}={value}" for key, value in (fields or {}).items() if value is not None)
    return f"{clock}  {who:<18} {what}{more}"
