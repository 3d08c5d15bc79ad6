"""Asking the model for one page until an answer may stand, within the calls that the page has."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from bucketscribe import layout, records
from bucketscribe.asking import Asking
from bucketscribe.budget import Budget
from bucketscribe.errors import (
    AuthDenied,
    LightOnOCRError,
    ModelBusy,
    ModelRejected,
    ModelTimeout,
    OutOfTime,
)
from bucketscribe.model import ObjectRef, PageFault, PageImage, PageNote, PageText
from bucketscribe.settings import PROFILES
from tests.fakes.renderer import INK, SPECK
from tests.fakes.scribe import answer
from tests.house import House, asynchronous, build_house, story

SOURCE = ObjectRef(bucket="in", name="a.pdf", generation=7)
PROFILE = PROFILES["lightonocr-2-1b"]
CUT_SHORT = answer("| a | b", finish_reason="length")
LOOPING = answer("of the of the", finish_reason="repetition")
EMPTY = answer(" \n")
BLANK_TALK = answer("There is no content in the provided image.")


def image(ink: float = INK) -> PageImage:
    return PageImage(data=b"a.pdf 1", media_type="image/png", width=1092, height=1540, ink=ink)


def asking(house: House) -> Asking:
    return Asking(SOURCE, 1, bucket=house.outbox, settings=house.settings)


def budget(house: House) -> Budget:
    return Budget(house.clock, seconds=540.0, reserve_seconds=300.0)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a delivery found: a text that may stand, or the last answer's fault, after so many calls."""

    text: PageText | None
    fault: PageFault | None
    calls: int


async def one_delivery(house: House, ink: float = INK) -> Found:
    """Recall, ask, and remember whatever leaves as an error, as the deed does."""
    page = asking(house)
    await page.recall()
    try:
        answer = await page.ask(image(ink), house.scribe, PROFILE, budget(house))
    except (OutOfTime, LightOnOCRError):
        await page.remember()
        raise
    return Found(text=None if answer.fault else answer.text, fault=answer.fault, calls=page.calls)


def note(house: House) -> PageNote | None:
    stored = house.outbox.get(layout.note(SOURCE, 1))
    return records.decode_note(stored.data) if stored else None


@story
async def test_a_good_answer_costs_one_call_and_no_note(house: House) -> None:
    found = await one_delivery(house)
    assert (found.text and found.text.markdown, found.fault, found.calls) == ("a.pdf 1", None, 1)
    assert note(house) is None
    assert house.outbox.requests == {"read": 1}


@pytest.mark.parametrize("bad", [LOOPING, EMPTY, BLANK_TALK])
@story
async def test_an_answer_that_is_no_good_is_asked_for_once_more(house: House, bad: PageText) -> None:
    house.scribe.will_say(1, bad)
    found = await one_delivery(house)
    assert found.text
    assert found.calls == 2


@pytest.mark.parametrize(
    ("bad", "code"), [(LOOPING, "model_loop"), (EMPTY, "model_empty"), (BLANK_TALK, "blank_talk")]
)
@story
async def test_after_the_last_call_the_fault_stands(house: House, bad: PageText, code: str) -> None:
    house.scribe.will_say(1, bad, bad, bad)
    found = await one_delivery(house)
    assert found.text is None
    assert found.fault
    assert found.fault.code == code
    assert found.calls == 2


@pytest.mark.parametrize(
    ("final", "code"), [(CUT_SHORT, "model_truncated"), (ModelRejected("HTTP 400"), "model_rejected")]
)
@story
async def test_what_a_plain_try_would_only_repeat_is_not_tried_again(
    house: House, final: PageText | LightOnOCRError, code: str
) -> None:
    house.scribe.will_say(1, final)
    found = await one_delivery(house)
    assert found.fault
    assert (found.fault.code, found.calls) == (code, 1)


@pytest.mark.parametrize("nothing", [EMPTY, BLANK_TALK])
@story
async def test_a_faint_page_that_reads_as_nothing_is_not_asked_for_again(
    house: House, nothing: PageText
) -> None:
    house.scribe.will_say(1, nothing)
    found = await one_delivery(house, SPECK)
    assert found.fault
    assert found.calls == 1


@story
async def test_a_loop_on_a_faint_page_is_still_asked_for_once_more(house: House) -> None:
    house.scribe.will_say(1, LOOPING)
    found = await one_delivery(house, SPECK)
    assert found.text
    assert found.calls == 2


@pytest.mark.parametrize("trouble", [ModelBusy("429"), AuthDenied("403")])
@story
async def test_the_services_trouble_costs_the_page_nothing(house: House, trouble: LightOnOCRError) -> None:
    house.scribe.will_say(1, *[trouble] * 5)
    for _ in range(5):
        with pytest.raises(type(trouble)):
            await one_delivery(house)
    assert note(house) is None
    assert (await one_delivery(house)).calls == 1


@story
async def test_a_timeout_is_remembered_and_the_second_one_ends_the_page(house: House) -> None:
    house.scribe.will_say(1, ModelTimeout("late"), ModelTimeout("late again"))
    with pytest.raises(ModelTimeout):
        await one_delivery(house)
    kept = note(house)
    assert kept
    assert (kept.calls, kept.timeouts, kept.fault and kept.fault.code) == (1, 1, "model_timeout")
    found = await one_delivery(house)
    assert found.fault
    assert (found.fault.code, found.fault.message, found.calls) == ("model_timeout", "late again", 2)


@story
async def test_a_loop_and_then_a_timeout_use_up_a_pages_two_calls(house: House) -> None:
    house.scribe.will_say(1, LOOPING, ModelTimeout("late"))
    found = await one_delivery(house)
    assert found.fault
    assert (found.fault.code, found.calls) == ("model_timeout", 2)
    assert len(house.scribe.asked) == 2


@story
async def test_no_call_begins_within_the_reserve_and_what_was_used_is_remembered(house: House) -> None:
    house.scribe.will_say(1, LOOPING)
    house.scribe.seconds[1] = 241.0
    with pytest.raises(OutOfTime):
        await one_delivery(house)
    assert len(house.scribe.asked) == 1
    kept = note(house)
    assert kept
    assert (kept.calls, kept.timeouts) == (1, 0)
    assert (await one_delivery(house)).calls == 2


@story
async def test_a_call_may_take_all_that_is_left(house: House) -> None:
    page = asking(house)
    limits = budget(house)
    house.clock.advance(40.0)
    await page.ask(image(), house.scribe, PROFILE, limits)
    assert house.scribe.given_seconds == [500.0]


@story
async def test_two_who_remember_at_once_leave_one_note_of_all_that_was_used(house: House) -> None:
    pages = [asking(house), asking(house)]
    house.scribe.will_say(1, ModelTimeout("late"), ModelTimeout("late"))
    for page in pages:
        with pytest.raises(ModelTimeout):
            await page.ask(image(), house.scribe, PROFILE, budget(house))
    for page in pages:
        await page.remember()
    kept = note(house)
    assert kept
    assert (kept.calls, kept.timeouts) == (2, 2)


@story
async def test_a_parked_page_that_begins_anew_is_not_given_its_calls_again(house: House) -> None:
    """A parked task is a new message: its first delivery does not look for a note, but finds one when it
    leaves its own.
    """
    house.scribe.always = ModelTimeout("late")
    with pytest.raises(ModelTimeout):
        await one_delivery(house)
    anew = asking(house)
    with pytest.raises(ModelTimeout):
        await anew.ask(image(), house.scribe, PROFILE, budget(house))
    await anew.remember()
    found = await one_delivery(house)
    assert found.calls == 2
    assert len(house.scribe.asked) == 2


@asynchronous
async def test_timeouts_have_a_limit_of_their_own(tmp_path: Path) -> None:
    house = build_house(tmp_path, model_calls=4, model_timeouts=2)
    house.scribe.always = ModelTimeout("late")
    with pytest.raises(ModelTimeout):
        await one_delivery(house)
    found = await one_delivery(house)
    assert found.fault
    assert (found.fault.code, found.calls) == ("model_timeout", 2)
    assert (await one_delivery(house)).calls == 2


@asynchronous
async def test_the_calls_are_a_setting(tmp_path: Path) -> None:
    house = build_house(tmp_path, model_calls=4)
    house.scribe.will_say(1, LOOPING, LOOPING, LOOPING)
    assert (await one_delivery(house)).calls == 4


@story
async def test_a_copy_that_has_not_looked_at_the_note_looks_before_it_asks_again(house: House) -> None:
    """A parked or resumed task is a first delivery once more, and another one has used up calls."""
    note = PageNote(page=1, calls=house.settings.model_calls - 1)
    house.outbox.put(layout.note(SOURCE, 1), records.encode_note(note))
    house.scribe.always = LOOPING
    page = asking(house)
    found = await page.ask(image(), house.scribe, PROFILE, budget(house))
    assert found.fault
    assert len(house.scribe.asked) == 1
    assert page.calls == house.settings.model_calls
