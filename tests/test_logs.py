"""One line an outcome, whatever strangers named their documents."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketscribe.logs import Severity, log

HOSTILE = 'a"\n{"severity":"ERROR"}\r\u2028\x00\ud800🦉'


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.characters(codec=None) | st.sampled_from('\ud800\u2028\r\n"🦉')).map("".join))
def test_a_strangers_name_stays_inside_its_field(capsys, name):
    log(Severity.INFO, "object ignored", source=name)
    out = capsys.readouterr().out
    assert out.isascii()
    assert len(out.splitlines()) == 1
    assert json.loads(out) == {"severity": "INFO", "message": "object ignored", "source": name}


def test_what_is_not_known_is_left_out(capsys):
    log(Severity.WARNING, "page ended", page=7, code=None, calls=0, trace="")
    line = json.loads(capsys.readouterr().out)
    assert line == {"severity": "WARNING", "message": "page ended", "page": 7, "calls": 0, "trace": ""}


def test_seconds_by_stage_stand_as_numbers(capsys):
    log(Severity.INFO, "page ended", seconds={"wait": 0.4, "ocr": 1.7})
    assert json.loads(capsys.readouterr().out)["seconds"] == {"wait": 0.4, "ocr": 1.7}


def test_nothing_goes_to_standard_error(capsys):
    log(Severity.ERROR, "cannot start", reason=HOSTILE)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.endswith("\n")


def test_severities_are_those_cloud_logging_knows():
    assert {each.value for each in Severity} <= {"INFO", "WARNING", "ERROR"}
