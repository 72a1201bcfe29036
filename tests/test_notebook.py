"""The notebook of docs/ runs from its first cell to its last, and what it shows was printed by these cells."""

import nbformat
import pytest
from notebook import NOTEBOOK, executed


def test_every_cell_was_executed_in_order_and_none_failed():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) >= 5 and not [one for one in outputs if one.output_type == "error"]
    assert "/tmp" not in str(outputs) and "/work" not in str(outputs), "paths of a machine"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_the_same_rows(tmp_path):
    def shown(notebook):
        found = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
        return [sorted(output.output_type for output in outputs) for outputs in found]

    assert shown(executed(tmp_path)) == shown(nbformat.read(NOTEBOOK, as_version=4))
