"""Every setting is read once, and everything wrong with them is said at once."""

from dataclasses import MISSING, fields

import pytest

from bucketscribe import settings
from bucketscribe.errors import SettingsError
from bucketscribe.model import Encoding
from bucketscribe.settings import PREFIX, PROFILES, Settings

REQUIRED = {"project": "p", "input_bucket": "in", "output_bucket": "out", "ocr_url": "https://ocr.example"}
NUMBERS = [each.name for each in fields(Settings) if each.type in (int, float)]
TEXTS = [
    each.name for each in fields(Settings) if each.type in (str, tuple[str, ...]) and each.name != "ignore"
]

# One breach of every rule between settings, and the words that name it.
BREACHES = [
    ({"output_bucket": "in"}, "input_bucket and output_bucket must differ"),
    ({"profile": "gpt"}, "profile must be one of"),
    ({"page_seconds": 600.0}, "page_seconds must stay below ack_deadline_seconds"),
    ({"call_reserve_seconds": 540.0}, "call_reserve_seconds must stay below page_seconds"),
    ({"render_workers": 3}, "must fit into memory_mib"),
    ({"document_mib": 2049}, "document_mib must fit into cache_mib"),
    ({"document_pages": 100_000}, "document_pages must stay below 100000"),
    ({"model_timeouts": 3}, "model_timeouts must not exceed model_calls"),
    ({"pages_at_gpu": 501}, "pages_at_gpu must not exceed pages_waiting"),
    ({"ocr_url": "ocr.example"}, "ocr_url must be an origin"),
]


def environment(**values: object) -> dict[str, str]:
    return {PREFIX + name.upper(): str(value) for name, value in {**REQUIRED, **values}.items()}


def test_defaults_fit_together():
    found = Settings.from_environment(environment())
    assert found == Settings(**REQUIRED)
    assert found.model_profile.model == "lightonai/LightOnOCR-2-1B"


def test_an_empty_environment_is_told_all_that_it_lacks():
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({})
    lacking = [each.name for each in fields(Settings) if each.default is MISSING]
    assert lacking == list(REQUIRED)
    for name in lacking:
        assert f"{PREFIX}{name.upper()} is not set" in str(caught.value)


def test_missing_unreadable_and_clashing_settings_are_named_in_one_error():
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(
            {
                "BUCKETSCRIBE_INPUT_BUCKET": "same",
                "BUCKETSCRIBE_OUTPUT_BUCKET": "same",
                "BUCKETSCRIBE_OCR_URL": "nowhere",
                "BUCKETSCRIBE_CACHE_MIB": "much",
                "BUCKETSCRIBE_IMAGE_ENCODING": "gif",
                "BUCKETSCRIBE_PAGE_SECONDS": "9999",
                "BUCKETSCRIBE_RENDER_SECONDS": "-1",
            }
        )
    for words in (
        "BUCKETSCRIBE_PROJECT is not set",
        "must differ",
        "ocr_url",
        "BUCKETSCRIBE_CACHE_MIB is 'much'",
        "BUCKETSCRIBE_IMAGE_ENCODING is 'gif'",
        "page_seconds must stay below",
        "render_seconds must be a number above 0",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(("change", "words"), BREACHES)
def test_settings_that_do_not_fit_together_are_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        Settings(**REQUIRED | change)
    with pytest.raises(SettingsError, match=words):
        Settings.from_environment(environment(**change))


def test_every_rule_is_broken_by_some_test():
    broken = {words for _, words in BREACHES}
    between = [rule.text for rule in settings._RULES if not rule.text.endswith(("above 0", "not be empty"))]
    assert len(between) == len(BREACHES)
    assert all(any(words in text for words in broken) for text in between)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "-inf", "", "1,5", "0x10", "9" * 5000])
def test_a_number_out_of_all_range_is_refused_by_name(name, number):
    with pytest.raises(SettingsError, match=name if number in {"0", "-1"} else f"(?i){name}"):
        Settings.from_environment(environment(**{name: number}))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_refused_by_name(name, text):
    with pytest.raises(SettingsError, match=f"{name} must not be empty"):
        Settings.from_environment(environment(**{name: text}))


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "http:///x",
        "ftp://ocr.example",
        "//ocr.example",
        "https://ocr.example/v1",
        "https://ocr.example?x=1",
        "https://ocr.example#x",
        "https://me:secret@ocr.example",
        "https://ocr.example:99999",
        "https://[::1",
        "https://o:x",
    ],
)
def test_what_is_no_origin_is_no_address_of_the_model(url):
    with pytest.raises(SettingsError, match="ocr_url must be an origin"):
        Settings(**REQUIRED | {"ocr_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "https://ocr.example",
        "https://OCR.example/",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://localhost",
    ],
)
def test_an_origin_is_taken(url):
    assert Settings(**REQUIRED | {"ocr_url": url}).ocr_url == url


def test_each_kind_of_setting_is_read_by_its_type():
    found = Settings.from_environment(
        environment(
            render_seconds="7.5",
            document_pages=" 10000 ",
            image_encoding="png",
            include="scans/*, *.pdf,",
            ignore="",
        )
    )
    assert found.render_seconds == 7.5
    assert found.document_pages == 10_000
    assert found.image_encoding is Encoding.PNG
    assert found.include == ("scans/*", "*.pdf")
    assert found.ignore == ()


def test_variables_of_others_are_no_matter():
    assert Settings.from_environment(environment() | {"BUCKETSCRIBE_UNHEARD_OF": "1", "PATH": "x"})


def test_the_table_has_a_row_for_every_setting():
    rows = settings.table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [PREFIX + each.name.upper() for each in fields(Settings)]
    for row, each in zip(rows, fields(Settings), strict=True):
        assert row.count("|") == 5
        assert each.metadata["meaning"]
        assert ("required" in row) == (each.default is MISSING)


def test_every_profile_stands_under_its_own_name_with_a_pinned_revision():
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert len(profile.revision) == 40
