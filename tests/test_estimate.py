"""`bucketscribe estimate`: what is counted is counted right, and the reckoning is the simulation's."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bucketscribe import storage
from infra.local import bucket_server
from infra.local.errors import CannotRun
from infra.operate import bill, capacity, estimating
from infra.operate.counting import Counted
from infra.operate.deployment import deployment
from infra.operate.forecast import forecast
from infra.operate.prices import OURS, read_prices
from tests.bench.flow import scenarios
from tests.bench.flow.scenarios import Scenario
from tests.bench.flow.simulation import simulate
from tests.fakes.bucket_server import serving_buckets
from tests.house import build_house
from tests.test_requests import at_random, live

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples" / "documents"
COMMAND = Path(sys.executable).with_name("bucketscribe")


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "estimate", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ---- the reckoning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "gpus"),
    [
        (scenarios.invoice(), 3),
        (scenarios.book(40), 3),
        (scenarios.book(300), 1),
        (scenarios.book(300), 3),
        (scenarios.flood(2000), 3),
        (scenarios.flood(3000), 10),
    ],
    ids=lambda each: each.name if isinstance(each, Scenario) else str(each),
)
def test_the_forecast_says_what_the_simulation_shows(scenario: Scenario, gpus: int):
    given = deployment(gpus)
    shown, _ = simulate(scenario, given)
    expected = forecast(scenario.pages, given)
    assert expected.seconds == pytest.approx(shown.seconds, rel=0.15)
    assert expected.gpu_seconds == pytest.approx(shown.gpu_seconds, rel=0.05)
    assert expected.worker_seconds == pytest.approx(shown.worker_seconds, rel=0.2)


def test_a_large_backlog_costs_what_its_gpu_time_costs_and_a_lone_page_mostly_idleness():
    given, prices = deployment(3), read_prices()
    for pages, share in ((1, 0.01), (100_000, 0.95)):
        expected = bill.reckon(1, pages, given, prices).forecast
        part = expected.reading_seconds / expected.gpu_seconds
        assert part < share if pages == 1 else part > share


def test_requests_to_storage_are_reckoned_as_they_are_counted(tmp_path: Path):
    house = build_house(tmp_path)
    asyncio.run(live(house, 100, at_random, 1))
    asked = house.inbox.requests + house.outbox.requests
    class_a = asked["write"] + asked["names"] + asked["infos"]
    class_b = asked["look"] + asked["read"] + asked["body"] + asked["download"]
    assert class_a == pytest.approx(100 * bill.PAGE_CLASS_A + bill.DOCUMENT_CLASS_A, abs=8)
    assert class_b == pytest.approx(100 * bill.PAGE_CLASS_B + bill.DOCUMENT_CLASS_B, abs=8)


def test_the_scripts_and_the_model_know_the_same_window_of_pubsub():
    told = subprocess.run([ROOT / "infra/gcp/numbers.sh"], capture_output=True, text=True, check=True).stdout
    assert f"MOST_PAGES_OUT={capacity.PUSH_WINDOW_MOST}" in told.splitlines()


def test_a_number_of_gpus_that_the_scripts_refuse_is_refused():
    with pytest.raises(CannotRun, match="GPUS"):
        deployment(0)


# ---- the operator's settings -------------------------------------------------------------------------------

OPERATORS = "PROJECT=my-project\nGPUS=2\nGPU_VCPU=4\n"


def test_the_operators_settings_are_reckoned_with_and_a_named_number_of_gpus_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = tmp_path / "bucketscribe.env"
    settings.write_text(OPERATORS)
    monkeypatch.setenv("ENV_FILE", str(settings))
    given = deployment()
    assert (given.gpus, given.gpu_vcpu) == (2, 4)
    assert "on 2 L4s" in run(SAMPLES / "table.pdf").stdout
    assert deployment(5).gpus == 5


def test_no_test_depends_on_the_settings_of_the_operator_who_runs_it(tmp_path: Path):
    """A copy of the scripts has an operator's file beside it, which only someone outside the tests sees."""
    for folder in ("infra/gcp", "gpu_service/profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "bucketscribe.env").write_text(OPERATORS)
    outside = {name: value for name, value in os.environ.items() if name != "ENV_FILE"}
    for environment, gpus in ((dict(os.environ), "GPUS=3"), (outside, "GPUS=2")):
        told = subprocess.run(
            [tmp_path / "infra/gcp/numbers.sh"], env=environment, capture_output=True, text=True, check=True
        )
        assert gpus in told.stdout.splitlines()


@pytest.mark.parametrize("settings", ["", "PROJECT=\nGPUS=4", "#PROJECT=my-project\nGPUS=4", "PROJECT=''\n"])
def test_nothing_that_is_reckoned_needs_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
):
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "bucketscribe.env"))
    (tmp_path / "bucketscribe.env").write_text(settings)
    assert deployment().gpus == (4 if "GPUS" in settings else 3)
    shutil.copy(ROOT / "bucketscribe.env.example", tmp_path / "bucketscribe.env")
    assert deployment().gpus == 3


@pytest.mark.parametrize("settings", ["GPUS=999999999999999999999", "BUCKETSCRIBE_CALL_RESERVE_SECONDS=9999"])
def test_settings_that_the_functions_would_refuse_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
):
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "bucketscribe.env"))
    (tmp_path / "bucketscribe.env").write_text(settings)
    with pytest.raises(CannotRun, match="the functions would refuse these settings"):
        deployment()


# ---- the price list ---------------------------------------------------------------------------------------


def test_another_price_list_is_taken_and_a_broken_one_named(tmp_path: Path):
    dear = tmp_path / "dear.toml"
    dear.write_text(OURS.read_text().replace("l4_second = 0.0001867", "l4_second = 0.1"))
    costs = [
        bill.reckon(1, 300, deployment(3), prices).items["GPU service"]
        for prices in (read_prices(), read_prices(dear))
    ]
    assert costs[1] > 100 * costs[0]
    dear.write_text("dated = 1")
    with pytest.raises(CannotRun, match="is no price list"):
        read_prices(dear)
    with pytest.raises(CannotRun, match="cannot be read"):
        read_prices(tmp_path / "none.toml")


@pytest.mark.parametrize("price", ["-0.1", "nan", "inf"])
def test_a_price_is_a_number_from_nothing_on(tmp_path: Path, price: str):
    listed = tmp_path / "strange.toml"
    listed.write_text(OURS.read_text().replace("l4_second = 0.0001867", f"l4_second = {price}"))
    with pytest.raises(CannotRun, match=r"is no price list.*gpu_service\.l4_second"):
        read_prices(listed)


# ---- counting ---------------------------------------------------------------------------------------------


def test_files_are_opened_and_those_that_cannot_be_read_are_named(tmp_path: Path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    done = run(SAMPLES / "table.pdf", tmp_path / "broken.pdf", "--json", "--gpus", "1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["documents"], told["opened"], told["pages"], told["pages_error"]) == (2, 2, 1, 0)
    assert told["unread"] == {"broken.pdf": "document_corrupt"}
    assert told["dollars"]["total"] == pytest.approx(sum(told["dollars"].values()) / 2, abs=1e-5)


def test_where_no_page_can_be_read_nothing_is_reckoned(tmp_path: Path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    done = run(tmp_path / "broken.pdf")
    assert done.returncode == 0, done.stderr
    assert "1 document, 0 pages; 1 cannot be read" in done.stdout
    assert "there is no page to read" in done.stdout
    assert "first page" not in done.stdout
    told = json.loads(run(tmp_path / "broken.pdf", "--json").stdout)
    reckoned = json.loads(run(SAMPLES / "table.pdf", "--json").stdout)
    assert list(told) == list(reckoned)
    assert {name for name in told if told[name] is None} == {
        *("first_page_seconds", "seconds", "gpu_seconds", "reading_seconds", "dollars", "dollars_a_month")
    }


def test_one_document_of_one_page_is_told_in_the_singular():
    told = run(SAMPLES / "table.pdf", "--gpus", "1").stdout
    assert "1 document, 1 page: all were opened" in told
    assert "on 1 L4 while" in told


SETTINGS = "BUCKETSCRIBE_DOCUMENT_MIB=1\nBUCKETSCRIBE_IGNORE=*.txt,~*\nBUCKETSCRIBE_DOCUMENT_PAGES=2\n"


def test_one_rule_says_of_files_and_of_objects_what_is_a_document_and_what_is_too_large(tmp_path: Path):
    (tmp_path / "bucketscribe.env").write_text(SETTINGS)
    files = tmp_path / "files"
    files.mkdir()
    (files / "large.pdf").write_bytes(b"%PDF-1.7\n" + bytes(1024 * 1024))
    (files / "notes.txt").write_text("not meant")
    shutil.copy(SAMPLES / "table.pdf", files / "table.pdf")
    with serving_buckets(tmp_path, "in") as port:
        cloud = {"STORAGE_EMULATOR_HOST": bucket_server.url(port), "GOOGLE_CLOUD_PROJECT": "test"}
        cloud |= {"ENV_FILE": str(tmp_path / "bucketscribe.env")}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cloud.items():
                patch.setenv(name, value)
            asyncio.run(_fill("in", {f"x/{path.name}": path.read_bytes() for path in files.iterdir()}))
        told = [json.loads(run(place, "--json", **cloud).stdout) for place in (files, "gs://in")]
    for each, name in zip(told, ("large.pdf", "x/large.pdf"), strict=True):
        assert (each["documents"], each["pages"], each["unread"]) == (2, 1, {name: "too_large"})


def test_where_no_name_is_a_documents_nothing_is_estimated(tmp_path: Path):
    (tmp_path / "bucketscribe.env").write_text("BUCKETSCRIBE_INCLUDE=*.tif\n")
    done = run(SAMPLES / "table.pdf", ENV_FILE=str(tmp_path / "bucketscribe.env"))
    assert done.returncode == 2
    assert "BUCKETSCRIBE_INCLUDE" in done.stderr


def test_people_are_told_what_was_counted_and_what_it_costs():
    done = run(SAMPLES)
    assert done.returncode == 0, done.stderr
    assert "7 documents, 16 pages: all were opened and counted" in done.stdout
    assert "on 3 L4s" in done.stdout
    assert "for 1,000 pages" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is nothing to estimate"),
        (("nope.pdf",), "nothing was counted, because of\n  nope.pdf: there is no such file"),
        (("--table", "nope.pdf"), "--table is for a first idea"),
        (("--table", "--json"), "--table is for a first idea"),
        (("--table", "--open", "5"), "--table is for a first idea"),
        (("--gpus", "999999999999999999999"), "are more than the 1,000 that can be reckoned with"),
        (("gs://",), "gs:// names no bucket"),
        (("gs://a", "b.pdf"), "name files, or one gs://BUCKET/PREFIX"),
        (("--gpus", "0"), "is no number from 1 on"),
    ],
)
def test_a_wrong_word_is_told(words: tuple[str, ...], said: str):
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_of_a_bucket_so_many_are_opened_and_the_others_guessed(tmp_path: Path):
    with serving_buckets(tmp_path, "in") as port:
        cloud = {"STORAGE_EMULATOR_HOST": bucket_server.url(port), "GOOGLE_CLOUD_PROJECT": "test"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cloud.items():
                patch.setenv(name, value)
            data = (SAMPLES / "table.pdf").read_bytes()
            names = ("x/1.pdf", "x/2.pdf", "x/3.pdf", "x/4.pdf", "y/5.pdf")
            asyncio.run(_fill("in", dict.fromkeys(names, data)))
        done = run("gs://in/x/", "--open", "2", **cloud)
        every = run("gs://in/x/", "--json", **cloud)
    assert "4 documents, 4 pages" in done.stdout
    assert "2 were opened and have 2, the others are guessed from their mean" in done.stdout
    told = json.loads(every.stdout)
    assert (told["documents"], told["opened"], told["pages"]) == (4, 4, 4)


async def _fill(name: str, objects: Mapping[str, bytes]) -> None:
    client = storage.make_client()
    bucket = storage.open_bucket(name, client=client)
    for each, data in objects.items():
        await bucket.write(each, data, content_type="application/pdf", if_generation=0)
    client.close()


def test_the_guess_says_how_far_off_it_may_be():
    alike = Counted(documents=100, pages=[3] * 10)
    assert (alike.expected_pages(), alike.error_pages()) == (300, 0)
    varied = Counted(documents=100, pages=[1, 5] * 5)
    assert varied.expected_pages() == 300
    assert 100 < varied.error_pages() < 200
    assert Counted(documents=10, pages=[1, 5] * 5).error_pages() == 0


def test_the_readme_of_the_cloud_has_the_price_list_and_its_date():
    prices, text = read_prices(), (ROOT / "infra" / "README.md").read_text()
    small, large = (
        1000 / capacity.PEAK_PAGES_PER_SECOND * bill.gpu_second(given, prices)
        for given in (replace(deployment(3), gpu_vcpu=4, gpu_memory_gib=16), deployment(3))
    )
    assert f"${small:.2f} / ${large:.2f}" in text
    assert f"{prices.region}, Google's price list of {prices.dated}" in text


def test_the_table_is_of_the_gpus_and_the_prices_that_were_named_or_else_the_operators(tmp_path: Path):
    (tmp_path / "bucketscribe.env").write_text(OPERATORS)
    (tmp_path / "dear.toml").write_text(OURS.read_text().replace('region = "', 'region = "dear '))
    told = run("--table", "--prices", tmp_path / "dear.toml", ENV_FILE=str(tmp_path / "bucketscribe.env"))
    assert "| dropped at once, 2 L4s |" in told.stdout
    assert ", dear " in told.stdout
    assert "| dropped at once, 1 L4 |" in run("--table", "--gpus", "1").stdout


def test_the_readme_holds_the_table_that_the_command_prints():
    assert estimating.table() in (ROOT / "README.md").read_text(), "paste `bucketscribe estimate --table`"
