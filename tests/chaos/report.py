"""The story of a run in a few lines, for people."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos import account, faults
from tests.chaos.options import Options
from tests.chaos.story import Story

_SHOWN = 40


def lines(options: Options, story: Story) -> Iterator[str]:
    """Say what was done and what came of it; "nothing was lost" only if that was proven."""
    verdict = story.verdict
    yield ""
    yield _dropped(story)
    yield f"ended       documents: {_counts(verdict.documents)}; pages: {_counts(verdict.pages)}"
    yield f"codes       {_counts(verdict.codes)}"
    yield f"redone      the failed pages of {len(story.redone)} documents"
    yield f"kills       {story.kills.total()}: {_counts(story.kills)}"
    yield _messages(story)
    yield from _answers(Counter(story.given.total))
    yield f"seconds     {story.seconds:.0f}"
    yield f"verify      {story.verified}"
    yield from (f"WRONG       {sentence}" for sentence in verdict.wrong[:_SHOWN])
    if len(verdict.wrong) > _SHOWN:
        yield f"            and {len(verdict.wrong) - _SHOWN} more"
    if verdict.wrong:
        yield f"{len(verdict.wrong)} things are wrong (seed {options.seed})."
    else:
        yield "Nothing was lost: every newest version has its record, and every page ended as it may."


def _dropped(story: Story) -> str:
    versions = sum(len(each.versions) for each in story.drawn)
    deleted = sum(each.is_deleted for each in story.drawn)
    pages = sum(len(each.newest.pages) for each in story.drawn)
    return (
        f"documents   {len(story.drawn)} in {versions} versions, {deleted} of them deleted again, "
        f"{pages} pages in the newest ones"
    )


def _messages(story: Story) -> str:
    counted = story.counted
    refused = sum(number for word, number in counted.items() if word.startswith("refused"))
    return (
        f"messages    {counted['deliveries']} deliveries, {refused} of them refused, broken off or in vain; "
        f"{counted['copies']} copies besides; {len(story.events)} finished events"
    )


def _answers(given: Counter[str]) -> Iterator[str]:
    through, gone = given.pop(account.THROUGH, 0), given.pop(account.GONE, 0)
    failed = given.total()
    share = failed / max(1, failed + through)
    yield f"answers     {through} came through, {failed} failed ({share:.0%}): {_counts(given)}"
    yield f"            {gone} more had nobody left to hear them: the asking function was killed"
    unseen = faults.FAULTS.keys() - given.keys()
    if unseen:
        yield f"            not drawn: {', '.join(sorted(unseen))}"


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{number} {word}" for word, number in counted.most_common()) or "none"
