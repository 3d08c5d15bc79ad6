"""Names in the output bucket: nobody's object passes for another's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe import layout
from bucketscribe.model import ObjectRef

PROPERTY = settings(derandomize=True, deadline=None)

generations = st.integers(1, 10**20 - 1)
numbers = st.integers(1, 99_999)

# Names made of what our own names are made of, so that they come as close to them as they can.
pieces = st.sampled_from(
    [
        "a",
        "a.pdf",
        "1",
        "7",
        "00001",
        "00001.md",
        "00001.json",
        ".md",
        ".json",
        "pages",
        "documents",
        "jobs",
        "notes",
    ]
)
names = st.one_of(st.lists(pieces, min_size=1, max_size=6).map("/".join), st.text(min_size=1, max_size=20))
sources = st.builds(
    ObjectRef, bucket=st.just("in"), name=names, generation=st.one_of(st.sampled_from([1, 7]), generations)
)


def source(name="a.pdf", generation=7):
    return ObjectRef(bucket="in", name=name, generation=generation)


def versioned_names(ref, number):
    """What belongs to one version of a source; documents/ belongs to all of them."""
    return {layout.page(ref, number), layout.note(ref, number), layout.job(ref)}


@PROPERTY
@given(sources, numbers)
def test_a_pages_name_tells_its_number(ref, number):
    assert layout.page_of(ref, layout.page(ref, number)) == number


@PROPERTY
@given(sources, sources, numbers, numbers)
def test_two_versions_never_share_an_object(one, other, number, another):
    if one != other:
        assert not versioned_names(one, number) & versioned_names(other, another)


@PROPERTY
@given(names, names)
def test_two_names_never_share_a_document(one, other):
    if one != other:
        made = [{layout.document_text(name), layout.document_record(name)} for name in (one, other)]
        assert not made[0] & made[1]


@PROPERTY
@given(sources, sources, numbers)
def test_a_page_belongs_to_one_version_alone(one, other, number):
    if one != other:
        assert layout.page_of(one, layout.page(other, number)) is None


@PROPERTY
@given(sources, st.one_of(names, numbers.map(lambda number: f"{number:05d}.md")))
def test_what_page_does_not_make_is_no_page(ref, tail):
    name = layout.pages_prefix(ref) + tail
    number = layout.page_of(ref, name)
    assert number is None or layout.page(ref, number) == name


@pytest.mark.parametrize(
    "tail",
    [
        "00000.md",
        "000001.md",
        "0001.md",
        "00001.md.md",
        "00001.md\n",
        "00001.md/",
        "/00001.md",
        "00001.MD",
        "00001xmd",
        "a/7/00001.md",
        "-0001.md",
        "+0001.md",
        "٠٠٠٠١.md",
        "００００１.md",
        " 00001.md",
        "00001-1.md",
        "",
    ],
)
def test_a_lookalike_is_no_page(tail):
    assert layout.page_of(source(), layout.pages_prefix(source()) + tail) is None


def test_a_page_of_a_document_inside_the_prefix_is_not_ours():
    inner = source(name="a.pdf/7", generation=8)
    assert layout.page(inner, 1).startswith(layout.pages_prefix(source()))
    assert layout.page_of(source(), layout.page(inner, 1)) is None
    assert layout.page_of(source(), "pages/b/pages/a.pdf/7/00001.md") is None


@PROPERTY
@given(sources)
def test_a_jobs_name_tells_its_source(ref):
    assert layout.job_of(ref.bucket, layout.job(ref)) == ref


@PROPERTY
@given(names)
def test_what_job_does_not_make_is_no_job(tail):
    ref = layout.job_of("in", f"jobs/{tail}")
    assert ref is None or layout.job(ref) == f"jobs/{tail}"


@pytest.mark.parametrize(
    "name",
    [
        "jobs/",
        "jobs/7.json",
        "jobs//7.json",
        "jobs/a.pdf/7.json\n",
        "jobs/a.pdf/07.json",
        "jobs/a.pdf/0.json",
        "jobs/a.pdf/-7.json",
        "jobs/a.pdf/٧.json",
        "jobs/a.pdf/7.JSON",
        "jobs/a.pdf/7",
        "jobs/a.pdf/100000000000000000000.json",
        f"jobs/{'a' * (layout.LONGEST_SOURCE_NAME_BYTES + 1)}/7.json",
        "notes/a.pdf/7.json",
        "xjobs/a.pdf/7.json",
    ],
)
def test_a_lookalike_is_no_job(name):
    assert layout.job_of("in", name) is None


@pytest.mark.parametrize("letter", ["a", "é", "文", "🦉"])
def test_the_longest_names_fit_cloud_storage(letter):
    name = letter * (layout.LONGEST_SOURCE_NAME_BYTES // len(letter.encode()))
    ref = source(name=name, generation=10**20 - 1)
    made = versioned_names(ref, 99_999) | {layout.document_text(name), layout.document_record(name)}
    made.add(f"figures/{name}/{ref.generation}/99999-999.png")
    assert max(len(each.encode()) for each in made) <= 1024


def test_names_are_those_of_the_contract():
    ref = source("x/a.pdf", 17)
    assert layout.document_text("x/a.pdf") == "documents/x/a.pdf.md"
    assert layout.document_record("x/a.pdf") == "documents/x/a.pdf.json"
    assert layout.page(ref, 1) == "pages/x/a.pdf/17/00001.md"
    assert layout.job(ref) == "jobs/x/a.pdf/17.json"
    assert layout.note(ref, 7) == "notes/x/a.pdf/17/00007.json"
    assert layout.rejected("ab") == "rejected/ab.json"


@PROPERTY
@given(sources, numbers, numbers)
def test_page_names_sort_as_their_numbers_do(ref, one, other):
    assert (layout.page(ref, one) < layout.page(ref, other)) == (one < other)
