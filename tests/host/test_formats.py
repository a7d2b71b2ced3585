"""The documented formats are the declared ones."""

from solidbms.formats import formats
from solidbms.schema import ROOT


def test_formats_document_is_what_the_declarations_say():
    """Run `python -m solidbms.formats > docs/formats.md` after a change."""
    assert (ROOT / "docs" / "formats.md").read_text(encoding="utf-8") == formats()

