"""Every bomb, and how it must end. `python -m tests.hostile.bombs FOLDER` writes them all.

They are made here, byte by byte the same in every run; none is larger than two megabytes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import papers
from tests.hostile import image_bombs, pdf_bombs

# Where a bomb's fuse burns: memory or time runs out first, as the machine has more of one or the other.
EXPLODES = "page_render_crashed|page_render_timeout|page_render_failed"

NEGATIVE_BOX = b"[-2147483648 -2147483648 2147483647 2147483647]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bomb:
    """A document and its end: `end` is the document's code when it cannot be opened, else what its pages
    end with, first to last: `ok`, `blank`, or a code, alternatives parted by `|`. A single end stands for
    all pages, however many. `slow` ones burn until a limit stops them.
    """

    name: str
    make: Callable[[], bytes]
    end: tuple[str, ...]
    slow: bool = False


def bomb(name: str, make: Callable[[], bytes], *end: str, slow: bool = False) -> Bomb:
    return Bomb(name=name, make=make, end=end, slow=slow)


# Each burns time or memory until it is stopped.
EXPLOSIVES: tuple[Bomb, ...] = (
    bomb("form-dag.pdf", pdf_bombs.form_dag, EXPLODES, slow=True),
    bomb("form-dag-flat.pdf", pdf_bombs.flat_form_dag, EXPLODES, slow=True),
    bomb("form-fields.pdf", papers.hanging_pdf, EXPLODES, slow=True),
    bomb("graphics-states.pdf", papers.memory_bomb_pdf, EXPLODES, slow=True),
    bomb("lines.pdf", pdf_bombs.line_flood, EXPLODES, slow=True),
    bomb("words.pdf", pdf_bombs.text_flood, EXPLODES, slow=True),
    bomb("annotations.pdf", pdf_bombs.annotation_flood, EXPLODES, slow=True),
    bomb("shading.pdf", pdf_bombs.shading, EXPLODES, slow=True),
    bomb("patterns.pdf", pdf_bombs.pattern_flood, EXPLODES, slow=True),
    bomb("soft-masks.pdf", pdf_bombs.soft_mask_dag, EXPLODES, slow=True),
    bomb("jbig2-again.pdf", pdf_bombs.jbig2_symbols, EXPLODES, slow=True),
    bomb("content.pdf", pdf_bombs.content_bomb, EXPLODES, slow=True),
    bomb("object-stream.pdf", pdf_bombs.object_stream_bomb, EXPLODES, slow=True),
    bomb("scans.jpg", image_bombs.jpeg_progressive, EXPLODES, slow=True),
    bomb("long-text.pdf", partial(pdf_bombs.long_text, 150_000), EXPLODES),
    bomb("labels-cycle.pdf", partial(pdf_bombs.label_tree, b"5 0 R"), EXPLODES),
    bomb("labels-dag.pdf", partial(pdf_bombs.label_tree, b"6 0 R 6 0 R"), EXPLODES),
)

# PDFs that lie, loop or are no such thing, and fonts, boxes and pictures out of all measure.
LIARS: tuple[Bomb, ...] = (
    bomb("form-cycle.pdf", pdf_bombs.form_cycle, "ok"),
    bomb("glyph-cycle.pdf", pdf_bombs.glyph_cycle, "ok"),
    bomb("garbage-fonts.pdf", pdf_bombs.garbage_fonts, "ok"),
    bomb("box-huge.pdf", partial(pdf_bombs.boxed, b"[0 0 1e12 1e12]"), "ok"),
    bomb("box-beyond-float.pdf", partial(pdf_bombs.boxed, b"[0 0 " + b"9" * 400 + b" 1]"), "ok"),
    bomb("box-zero.pdf", partial(pdf_bombs.boxed, b"[0 0 0 0]"), "ok"),
    bomb("box-none.pdf", partial(pdf_bombs.boxed, b"null"), "ok"),
    bomb("box-thin.pdf", partial(pdf_bombs.boxed, b"[0 0 1000000 0.001]"), "ok"),
    bomb("box-backwards.pdf", partial(pdf_bombs.boxed, b"[200 200 0 0]"), "ok"),
    bomb("box-negative.pdf", partial(pdf_bombs.boxed, NEGATIVE_BOX), "blank"),
    bomb("count-900000.pdf", papers.lying_pdf, "blank"),
    bomb("count-negative.pdf", partial(papers.lying_pdf, -1), "blank"),
    bomb("count-beyond-int.pdf", partial(papers.lying_pdf, 2**31), "blank"),
    bomb("count-5.pdf", partial(papers.lying_pdf, 5), "blank", *["page_render_failed"] * 4),
    bomb("tree-dag.pdf", pdf_bombs.page_tree_dag, "document_without_pages|too_many_pages"),
    bomb("tree-dag-small.pdf", partial(pdf_bombs.page_tree_dag, 3), "blank"),
    bomb("tree-cycle.pdf", pdf_bombs.page_tree_cycle, "page_render_failed"),
    bomb("tree-cycle-large.pdf", partial(pdf_bombs.page_tree_cycle, 5000), "document_corrupt"),
    bomb("tree-chain.pdf", pdf_bombs.page_tree_chain, "page_render_failed"),
    bomb("flate-image.pdf", pdf_bombs.flate_image, "page_render_failed"),
    bomb("jbig2.pdf", pdf_bombs.jbig2_image, "page_render_failed|page_render_timeout"),
    bomb("fax.pdf", pdf_bombs.fax_image, "page_render_failed|page_render_timeout", slow=True),
    bomb("predictor.pdf", pdf_bombs.predictor_image, "page_render_failed"),
    bomb("filters.pdf", pdf_bombs.filter_chain, "blank"),
    bomb("object-stream-cycle.pdf", pdf_bombs.object_stream_cycle, "page_render_failed"),
    bomb("nesting.pdf", pdf_bombs.deep_nesting, "blank"),
    bomb("previous-loop.pdf", pdf_bombs.previous_loop, "ok"),
    bomb("reference-loop.pdf", pdf_bombs.reference_loop, "ok"),
    bomb("cross-reference.pdf", pdf_bombs.huge_cross_reference, "ok"),
    bomb("broken-page.pdf", papers.broken_page_pdf, "blank", "page_render_failed"),
    bomb("pageless.pdf", papers.pageless_pdf, "document_without_pages"),
    bomb("corrupt.pdf", papers.corrupt_pdf, "document_corrupt"),
    bomb("empty.pdf", bytes, "empty_object"),
    bomb("words.txt", partial(bytes, b"no document at all"), "unsupported_type"),
    bomb("encrypted.pdf", partial(papers.encrypted_pdf, "secret"), "document_encrypted"),
    bomb("encrypted-empty-password.pdf", partial(papers.encrypted_pdf, ""), "ok"),
    bomb("encrypted-by-nobody.pdf", pdf_bombs.unknown_encryption, "document_encrypted"),
)

# Images: giants that must not be decoded, and files that never end.
IMAGES: tuple[Bomb, ...] = (
    bomb("giant.png", partial(image_bombs.png, 60_000, 60_000, rows=1000), "too_large"),
    bomb("giant.webp", partial(image_bombs.webp, 16_383, 16_383), "too_large"),
    bomb("giant.bmp", image_bombs.bmp_giant, "too_large"),
    bomb("giant.jpg", image_bombs.jpeg_giant, "too_large"),
    bomb("giant.j2k", image_bombs.jpeg2000_giant, "too_large"),
    bomb("giant-screen.gif", image_bombs.gif_screen, "too_large"),
    bomb("giant-frame.gif", image_bombs.gif_extents, "too_large"),
    bomb("lying.png", partial(image_bombs.png, 2**31 - 1, 2**31 - 1, rows=1), "too_large"),
    bomb("zero.png", partial(image_bombs.png, 0, 0), "document_corrupt"),
    bomb("comment.png", image_bombs.png_text, "document_corrupt"),
    bomb("surplus.png", image_bombs.png_surplus, "blank"),
    bomb("thin.png", partial(image_bombs.png, 50_000_000, 1), "blank"),
    bomb("animated.png", image_bombs.apng, "blank"),
    bomb("frames.gif", image_bombs.gif_frames, "ok"),
    bomb("exif-loop.jpg", image_bombs.exif_loop, "ok"),
    bomb("frames-6000.tif", partial(image_bombs.tiff, *[image_bombs.frame()] * 6000), "too_many_pages"),
    bomb("loop.tif", partial(image_bombs.tiff, *[image_bombs.frame()] * 2, loop_to=0), "ok"),
    bomb("loop-itself.tif", partial(image_bombs.tiff, image_bombs.frame(), loop_to=0), "ok"),
    bomb("giant-frame.tif", image_bombs.tiff_deflate, "ok", "page_render_failed", "ok"),
    bomb("strips.tif", image_bombs.tiff_strips, "document_corrupt"),
    bomb("zero.tif", partial(image_bombs.tiff, image_bombs.frame(0)), "document_corrupt"),
    bomb("truncated.jpg", image_bombs.jpeg_truncated, "page_render_failed|ok"),
)

BOMBS: tuple[Bomb, ...] = EXPLOSIVES + LIARS + IMAGES


def write(folder: Path) -> None:
    """Write every bomb into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in BOMBS:
        (folder / each.name).write_bytes(each.make())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.hostile.bombs FOLDER")
    write(Path(sys.argv[1]))
