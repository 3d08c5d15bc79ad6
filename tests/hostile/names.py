"""Names that somebody may give to an object, to see what happens."""

from bucketscribe.layout import LONGEST_SOURCE_NAME_BYTES

LONGEST = "ü" * (LONGEST_SOURCE_NAME_BYTES // 2) + "x" * (LONGEST_SOURCE_NAME_BYTES % 2)

# Names that any bucket holds and the laptop's does not, and why.
BEYOND_THE_LAPTOP: dict[str, str] = {
    "new\nline.pdf": "its file lister refuses line breaks",
    "carriage\rreturn.pdf": "likewise",
    "../up.pdf": "its bucket server would write outside of the bucket's folder",
    "x/../../../etc/passwd": "likewise",
    "..": "likewise",
    "./here.pdf": "a file system knows only one name for a place",
    "x//y.pdf": "likewise",
    "/leading.pdf": "likewise",
    "trailing.pdf/": "a file system takes it for a folder",
    "/": "likewise",
    LONGEST: "file systems end at 255 bytes",
}

# One file each. Slashes come with folders: the laptop names files that share a name by their folders.
PLAIN: tuple[str, ...] = (
    "_",
    "a_b__c.pdf",
    " leading and trailing ",
    "100%.pdf",
    "%2e%2e%2fup.pdf",
    "%00.pdf",
    "tab\there.pdf",
    "bell\x07 and escape\x1b[31m.pdf",
    "delete\x7f.pdf",
    "🦉🏳️‍🌈.pdf",
    "e\u0301.pdf",  # beside the next one: to a bucket these are two names
    "\u00e9.pdf",
    "\u202egnp.pdf",
    "\ufeffmark.pdf",
    "a?b=c#d&e;f.pdf",
    "quote'\"`.pdf",
    "back\\slash.pdf",
    "<script>alert(1)</script>.pdf".replace("/", "\\"),
    "*.pdf",
    "[a-z].pdf",
    "$(id).pdf",
    "-rf",
    "~",
    "x.md",
    "x.json",
    "x",
    "00001.md",
    "1.json",
    "CON",
    "n" * 229,
)

# Things that look like our own.
LOOKALIKES: tuple[str, ...] = (
    "documents/x",
    "documents/x.md",
    "documents/x.json",
    "jobs/x/1.json",
    "jobs/jobs/x/1.json/1.json",
    "notes/x/1/00001.json",
    "pages/a.pdf/1/00001.md",
    "figures/a.pdf/1/00001-1.png",
    "rejected/" + "0" * 64 + ".json",
    "a.pdf",
    "a.pdf/1",
    "a.pdf/1/00001.md",
    "a.pdf.md",
    "a.pdf.json",
)

NAMES: tuple[str, ...] = (*PLAIN, *LOOKALIKES, *BEYOND_THE_LAPTOP)
