"""Every setting, once: its default, its unit, its meaning, and how settings must fit together.

Read from the environment when a door opens for the first time: field `pages_at_gpu` is the variable
BUCKETSCRIBE_PAGES_AT_GPU. What is missing or wrong is named all at once. `python -m bucketscribe.settings`
prints the README's table.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from typing import Any, Self
from urllib.parse import urlsplit

from bucketscribe.errors import SettingsError
from bucketscribe.model import Encoding, Profile, Retention

PREFIX = "BUCKETSCRIBE_"

# Beside render processes and cache an instance needs room for Python, images in flight and an assembly.
HEADROOM_MIB = 1024

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="lightonocr-2-1b",
            model="lightonai/LightOnOCR-2-1B",
            revision="c97bd377f04481830395218fa8951df9deaba756",
            temperature=0.2,
            top_p=0.9,
            max_tokens=4096,
            longest_edge_px=1540,
        ),
        Profile(
            name="lightonocr-3-1b",
            model="lightonai/LightOnOCR-3-1B",
            revision="eadb22b11fd458626dfdaded5b506c0475424b4f",
            temperature=0.2,
            top_p=0.9,
            max_tokens=4096,
            longest_edge_px=1540,
        ),
    )
}


def setting(meaning: str, *, unit: str = "", default: Any = MISSING) -> Any:
    """Declare a field; without a default the variable must be set."""
    return field(default=default, metadata={"meaning": meaning, "unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one instance works with. Raises SettingsError when values do not fit together."""

    project: str = setting("Google Cloud project that holds the topics")
    input_bucket: str = setting("bucket that documents are dropped into")
    output_bucket: str = setting("bucket that the Markdown is written to; never the input bucket")
    ocr_url: str = setting("origin of the LightOnOCR service; https, or plain http on the loopback")
    express_topic: str = setting("topic of the pages of short documents", default="page-tasks-express")
    bulk_topic: str = setting("topic of the pages of all others", default="page-tasks-bulk")
    finished_topic: str = setting("topic of the finished events", default="documents-finished")
    profile: str = setting("model profile of new documents", unit="name", default="lightonocr-2-1b")
    include: tuple[str, ...] = setting(
        "object names taken in; others are ignored", unit="patterns, comma-separated", default=("*",)
    )
    ignore: tuple[str, ...] = setting(
        "object names ignored all the same: upload tools' temporary parts",
        unit="patterns, comma-separated",
        default=("gcloud/tmp/parallel_composite_uploads/*",),
    )
    retention: Retention = setting(
        "text of a deleted source: keep, or follow (then deleted events must reach on_upload too)",
        default=Retention.KEEP,
    )
    document_mib: int = setting("largest document", unit="MiB", default=512)
    document_pages: int = setting("most pages in a document", unit="pages", default=5000)
    image_pixels: int = setting("largest image, alone or in a TIFF", unit="px", default=50_000_000)
    express_pages: int = setting("longest document that goes express", unit="pages", default=20)
    image_encoding: Encoding = setting(
        "how page images are sent: auto (gray PNG or colour JPEG), png, jpeg", default=Encoding.AUTO
    )
    render_workers: int = setting("render processes in an instance", unit="processes", default=2)
    render_seconds: float = setting("time limit of one render", unit="s", default=20.0)
    render_mib: int = setting("address space of one render process", unit="MiB", default=2048)
    cache_mib: int = setting("local copies of documents", unit="MiB", default=2048)
    memory_mib: int = setting("the instance's memory, which all this must fit", unit="MiB", default=8192)
    ack_deadline_seconds: float = setting("push subscriptions' ack deadline", unit="s", default=600.0)
    page_seconds: float = setting("budget of one delivery of a page", unit="s", default=540.0)
    call_reserve_seconds: float = setting(
        "no model call starts with less of the budget left", unit="s", default=300.0
    )
    pages_at_gpu: int = setting("model calls at once from this instance", unit="pages", default=96)
    pages_waiting: int = setting("pages at once inside this instance", unit="pages", default=500)
    model_calls: int = setting("model calls for one page, over all its deliveries", unit="calls", default=2)
    model_timeouts: int = setting("model calls of one page that may time out", unit="calls", default=2)
    parked_days: float = setting("how long an infrastructure fault is waited out", unit="days", default=7.0)

    def __post_init__(self) -> None:
        wrong = _broken_rules({each.name: getattr(self, each.name) for each in fields(self)})
        if wrong:
            raise SettingsError("these settings do not fit together: " + "; ".join(wrong))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read all settings; raise SettingsError naming everything that is missing or wrong."""
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for each in fields(cls):
            text = environment.get(PREFIX + each.name.upper())
            if text is not None:
                _read(each, text, values, wrong)
            elif each.default is MISSING:
                wrong.append(f"{PREFIX}{each.name.upper()} is not set ({each.metadata['meaning']})")
            else:
                values[each.name] = each.default
        wrong += _broken_rules(values)
        if wrong:
            raise SettingsError("the environment is not right: " + "; ".join(wrong))
        return cls(**values)

    @property
    def model_profile(self) -> Profile:
        return PROFILES[self.profile]


def _read(each: "Field[Any]", text: str, values: dict[str, Any], wrong: list[str]) -> None:
    """Parse by the declared type, or note in `wrong` what is the matter."""
    parse, expected = _PARSERS[each.type]
    try:
        values[each.name] = parse(text.strip())
    except ValueError:
        wrong.append(f"{PREFIX}{each.name.upper()} is {text!r}, which is no {expected}")


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "whole number"),
    float: (float, "number"),
    Encoding: (Encoding, "encoding (auto, png or jpeg)"),
    Retention: (Retention, "retention (keep or follow)"),
    tuple[str, ...]: (_patterns, "list of patterns"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What must hold between the settings named, whose values `holds` is called with."""

    names: tuple[str, ...]
    holds: Callable[..., bool]
    text: str


def _broken_rules(values: Mapping[str, Any]) -> list[str]:
    """Say which rules are broken, of those whose settings could all be read."""
    return [
        rule.text
        for rule in _RULES
        if all(name in values for name in rule.names)
        and not rule.holds(*(values[name] for name in rule.names))
    ]


def _rule(text: str, names: str, holds: Callable[..., bool]) -> _Rule:
    return _Rule(names=tuple(names.split()), holds=holds, text=text)


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    more = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
    return named and parts.scheme in ("http", "https") and not any(more)


_RULES: tuple[_Rule, ...] = (
    *(
        _rule(f"{each.name} must be a number above 0", each.name, lambda value: 0 < value < inf)
        for each in fields(Settings)
        if each.type in (int, float)
    ),
    *(
        _rule(f"{each.name} must not be empty", each.name, bool)
        for each in fields(Settings)
        if each.type in (str, tuple[str, ...]) and each.name != "ignore"
    ),
    _rule(
        "input_bucket and output_bucket must differ, or every result would be read as a document",
        "input_bucket output_bucket",
        lambda source, target: source != target,
    ),
    _rule(f"profile must be one of {', '.join(PROFILES)}", "profile", lambda name: name in PROFILES),
    _rule("ocr_url must be an origin such as https://HOST, without a path", "ocr_url", _is_origin),
    _rule(
        "page_seconds must stay below ack_deadline_seconds, or Pub/Sub sends a page again while it is read",
        "page_seconds ack_deadline_seconds",
        lambda page, deadline: page < deadline,
    ),
    _rule(
        "call_reserve_seconds must stay below page_seconds, or no model call ever starts",
        "call_reserve_seconds page_seconds",
        lambda reserve, page: reserve < page,
    ),
    _rule(
        "model_timeouts must not exceed model_calls, of which they are a part",
        "model_timeouts model_calls",
        lambda timeouts, calls: timeouts <= calls,
    ),
    _rule(
        f"render_workers x render_mib + cache_mib + {HEADROOM_MIB} MiB must fit into memory_mib",
        "render_workers render_mib cache_mib memory_mib",
        lambda workers, each, cache, memory: workers * each + cache + HEADROOM_MIB <= memory,
    ),
    _rule(
        "document_mib must fit into cache_mib",
        "document_mib cache_mib",
        lambda document, cache: document <= cache,
    ),
    _rule(
        "document_pages must stay below 100000: names have five digits",
        "document_pages",
        lambda pages: pages < 100_000,  # noqa: PLR2004
    ),
    _rule(
        "pages_at_gpu must not exceed pages_waiting",
        "pages_at_gpu pages_waiting",
        lambda at_gpu, waiting: at_gpu <= waiting,
    ),
)


def table() -> str:
    """Render every setting as the README's Markdown table."""
    lines = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for each in fields(Settings):
        default = "required" if each.default is MISSING else f"`{_shown(each.default)}`"
        lines.append(
            f"| `{PREFIX}{each.name.upper()}` | {default} | {each.metadata['unit']} "
            f"| {each.metadata['meaning']} |"
        )
    return "\n".join(lines)


def _shown(default: Any) -> str:
    return (
        ",".join(default)
        if isinstance(default, tuple)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


if __name__ == "__main__":
    print(table())  # noqa: T201 - the module's command prints
