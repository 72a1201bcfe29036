"""This renderer writes a table as CSV and JSON, for people who go on computing. Both read back as the same Table.

Numbers stand in the printed unit at full precision; mean, spread, interval, count and rank have columns of their own.
The CSV's last column, `table`, holds on its first line what belongs to the table as a whole (title, caption, columns),
as JSON.
"""

import csv
import io
import json
from typing import Any

from harness.core.config import parse, parse_json
from harness.core.errors import HarnessError
from harness.core.numbers import number
from harness.report.cells import Cell, CellInterval, difference_text, score_text
from harness.report.columns import Column
from harness.report.result_table import Line, Table

FORMAT = 1
META = ("title", "caption", "columns", "notes", "groups", "marks", "intervals", "signatures")


def to_json(table: Table) -> str:
    """Return the whole table, cells with text, value, rank and status."""
    body = {"format": FORMAT, **table.model_dump(mode="json")}
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, path: str = "table") -> Table:
    """Return the table that `to_json` wrote."""
    try:
        body = parse_json(text)
    except ValueError as error:
        raise HarnessError(f"{path}: not JSON: {error}") from None
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
        raise HarnessError(f"{path}: not a table of format {FORMAT}")
    return parse(Table, body, path)


def to_csv(table: Table) -> str:
    """Return one line per row; `<metric>_std`, `_low`, `_high`, `_n`, `_rank` and `_status` stand beside a score,
    `_paper` beside a difference.
    """
    out = io.StringIO()
    heads = ["group", "section", "row", *(head for entry in table.columns for head in _heads(entry))]
    writer = csv.DictWriter(out, [*heads, "notes", "provenance", "profile", "comparable", "table"], lineterminator="\n")
    writer.writeheader()
    meta = json.dumps(
        {key: value for key, value in table.model_dump(mode="json").items() if key in META}, ensure_ascii=False
    )
    for index, line in enumerate(table.lines):
        record: dict[str, Any] = {"group": line.group, "section": line.section, "row": line.name}
        for entry, cell in zip(table.columns, line.cells, strict=True):
            record |= _fields(entry, cell)
        record |= {"notes": " ".join(line.notes), "provenance": line.provenance, "profile": table.profile}
        record |= {"comparable": str(table.comparable).lower(), "table": "" if index else meta}
        writer.writerow(record)
    return out.getvalue()


def from_csv(text: str, path: str = "table") -> Table:
    """Return the table that `to_csv` wrote."""
    records = list(csv.DictReader(io.StringIO(text)))
    try:
        meta = parse_json(records[0]["table"])
        columns = tuple(parse(Column, entry, path) for entry in meta["columns"])
        comparable = records[0]["comparable"] == "true"
        how = {"comparable": comparable, "with_interval": bool(meta["intervals"])}
        lines = [_read_line(record, columns, **how) for record in records]
        body = {**meta, "profile": records[0]["profile"], "comparable": comparable}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{path}: not a table written as CSV: {error!r}") from None
    return parse(Table, {**body, "lines": [line.model_dump(mode="json") for line in lines]}, path)


def _heads(entry: Column) -> list[str]:
    if entry.kind == "score":
        return [entry.key, *(f"{entry.key}_{part}" for part in ("std", "low", "high", "n", "rank", "status"))]
    return [entry.key, f"{_metric(entry)}_paper"] if entry.kind == "difference" else [entry.key]


def _metric(entry: Column) -> str:
    return entry.key.removesuffix("_difference")


def _fields(entry: Column, cell: Cell) -> dict[str, Any]:
    if entry.kind == "score":
        ends = (cell.interval.low, cell.interval.high) if cell.interval else (None, None)
        values = (cell.value, cell.std, *ends, cell.n, cell.rank, cell.status)
    else:
        values = (cell.value, cell.reference)
    return {head: "" if value is None else value for head, value in zip(_heads(entry), values, strict=False)}


def _read_line(record: dict[str, str], columns: tuple[Column, ...], *, comparable: bool, with_interval: bool) -> Line:
    cells = [_read_cell(record, entry, comparable=comparable, with_interval=with_interval) for entry in columns]
    fields = {name: record[name] for name in ("group", "section", "provenance")}
    return Line.model_validate(
        {**fields, "name": record["row"], "cells": tuple(cells), "notes": tuple(record["notes"].split())}
    )


def _read_cell(record: dict[str, str], entry: Column, *, comparable: bool, with_interval: bool) -> Cell:
    value = record[entry.key]
    if entry.kind == "text":
        return Cell(value=value, text=value or "–", status="ok" if value else "undefined")
    if entry.kind == "count":
        count = float(value) if "." in value or "e" in value else int(value) if value else None
        return Cell(status="blank") if count is None else Cell(value=count, n=1, text=number(count, entry.decimals))
    if entry.kind == "difference":
        reference = _float(record[f"{_metric(entry)}_paper"])
        if not value:
            return Cell(status="blank", reference=reference)
        text = difference_text(float(value), reference, entry, comparable=comparable)
        return Cell(value=float(value), n=1, text=text, reference=reference)
    status, std = record[f"{entry.key}_status"], _float(record[f"{entry.key}_std"])
    if status != "ok":
        return Cell.model_validate({"text": "–" if status == "undefined" else status, "status": status})
    low, high = _float(record[f"{entry.key}_low"]), _float(record[f"{entry.key}_high"])
    interval = None if low is None or high is None else CellInterval(low=low, high=high)
    rank = record[f"{entry.key}_rank"]
    return Cell(
        value=float(value),
        std=std,
        interval=interval,
        n=int(record[f"{entry.key}_n"]),
        text=score_text(float(value), entry, std=std, interval=interval if with_interval else None),
        rank=int(rank) if rank else None,
    )


def _float(text: str) -> float | None:
    return float(text) if text else None
