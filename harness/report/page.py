"""The HTML report is one file that opens from disk, fetches nothing and runs no script.

A page is sections of texts, figures, tables and picture grids; this file turns it into HTML (jinja2, all escaped). What
goes on it is gathered in gather.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.report.html import to_html
from harness.report.result_table import Table

if TYPE_CHECKING:
    from harness.report.pictures import Grid

TEMPLATE = "page.html.j2"


class FailureReport(NamedTuple):
    """A step that failed, its message and traceback."""

    label: str
    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. `figures` are SVG figures of figures.py, trusted as they are; all else is escaped."""

    anchor: str
    title: str
    lead: str = ""
    """One sentence, set in bold above all else."""
    texts: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    """Texts that stand beside the figures where there is room."""
    figures: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    grids: tuple["Grid", ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    failures: tuple[FailureReport, ...] = ()
    folded: bool = False
    """Whether a reader opens it; its heading is always there."""

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to show."""
        said = self.lead or self.texts or self.aside
        return not (said or self.figures or self.tables or self.grids or self.facts or self.failures)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report."""

    title: str
    question: str
    profile: str
    caption: str
    comparable: bool
    warning: str = ""
    """Said above everything else."""
    sections: tuple[Section, ...]
    footer: str = ""


def render_page(page: Page) -> str:
    """Return the report as one HTML document; empty sections are left out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    sections = [
        {
            "anchor": section.anchor,
            "title": section.title,
            "lead": section.lead,
            "texts": section.texts,
            "aside": section.aside,
            "folded": section.folded,
            "figures": [Markup(figure) for figure in section.figures],
            "tables": [{"html": Markup(to_html(table)), "provenance": _provenance(table)} for table in section.tables],
            "grids": section.grids,
            "facts": section.facts,
            "failures": section.failures,
        }
        for section in page.sections
        if not section.empty
    ]
    return environment.get_template(TEMPLATE).render(page=page, sections=sections)


def _provenance(table: Table) -> list[str]:
    """Return what stands in the hover of a row, for those who don't hover."""
    return [f"{line.cells[0].text}: {line.provenance}" for line in table.lines if line.provenance]
