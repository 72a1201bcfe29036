"""This module names rows: it puts the fields of a row together, for every table, figure and picture."""

from harness.results.rows import Row


def version(row: Row) -> str:
    """Return the column "Version": generator, recipe, mix and labels, each where the suite says something of it."""
    labels = "shuffled labels" if row.labels == "shuffled" else ""
    return ", ".join(filter(None, (row.generator_label, row.recipe_label, row.mix, labels)))


def short_name(row: Row) -> str:
    """Return a name for legends and the heads of pictures: version (else method) and backbone."""
    return ", ".join(filter(None, (version(row) or row.method, row.backbone)))
