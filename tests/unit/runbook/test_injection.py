"""Values in the notebook: which cell holds them, where it stands, and which cell is left out for it."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pskernel.directives import read_directives
from pskernel.runbook.injection import assignments, inject
from pskernel.runbook.literals import LiteralError
from pskernel.runbook.notebook import runs
from pskernel.runbook.parameters import read_parameters

BLOCK = "param([Parameter(Mandatory)][string]$Name, [hashtable]$Map, [int]$Count = 3) # last"


def notebook(source: str, *tags: str) -> Any:
    cells = [
        new_markdown_cell("x"),
        new_code_cell(source, metadata={"tags": ["parameters", *tags]}),
        new_code_cell("$Name"),
    ]
    return new_notebook(cells=cells)


def injected(book: Any, **values: Any) -> Any:
    parameters = read_parameters(book)
    assert parameters is not None
    inject(book, parameters, values)
    nbformat.validate(book)
    return book


def test_assignments_stand_behind_the_defaults() -> None:
    book = injected(notebook("$Name = 'a'\n$Count = 3"), Count=5, Name="it's")

    assert "# Parameters\ntry {\n$Name = 'it''s'\n$Count = 5\n} catch { throw }" == book.cells[2].source
    assert ["injected-parameters"] == book.cells[2].metadata["tags"]
    assert [True, True, True] == list(map(runs, book.cells[1:]))


def test_an_earlier_cell_is_replaced_wherever_it_is() -> None:
    book = notebook("$Name = 'a'")
    book.cells.insert(0, new_code_cell("$Name = 'old'", metadata={"tags": ["injected-parameters"]}))

    injected(book, Name="b")
    injected(book, Name="c")

    assert ["x", "$Name = 'a'", "# Parameters\ntry {\n$Name = 'c'\n} catch { throw }", "$Name"] == [
        c.source for c in book.cells
    ]


def test_the_same_values_make_the_same_notebook() -> None:
    one, two = (injected(notebook("$Name = 'a'"), Name="b") for _ in range(2))

    assert one.cells[2] == two.cells[2]


def test_a_notebook_of_an_older_format_stays_valid() -> None:
    book = notebook("$Name = 'a'")
    book.nbformat_minor = 4
    for cell in book.cells:
        del cell["id"]

    assert "id" not in injected(book, Name="b").cells[2]


def test_a_block_is_called_and_its_own_cell_left_out() -> None:
    book = notebook(f"# about\n#% timeout 60\n#%% no directive\n{BLOCK}")
    book.cells[1].outputs = [nbformat.v4.new_output("stream", text="old")]

    injected(book, Name="a\nb", Map={"k": 1})

    before, source = book.cells[1:3]
    assert (
        f"#% timeout 60\n# Parameters\ntry {{\n. {{\n{before.source}\n}} -Name:((-join ('a', [char]10, 'b')))"
        " -Map:(@{ 'k' = 1 })\n} catch { throw }"
    ) == source.source
    assert 60 == read_directives(source.source).timeout
    assert (["parameters", "skip-execution"], []) == (before.metadata["tags"], before.outputs)
    assert not runs(before)
    assert ["parameters", "skip-execution"] == injected(book, Name="c").cells[1].metadata["tags"]


def test_a_block_that_wants_nothing_runs_as_it_is() -> None:
    book = notebook("param([int]$Count = 3)")

    assert 3 == len(injected(book).cells)
    assert runs(book.cells[1])


def test_a_block_that_waits_for_a_secret_is_called_without_values() -> None:
    book = injected(notebook("param([Parameter(Mandatory)][pscredential]$Login)"))

    assert (
        "# Parameters\ntry {\n. {\nparam([Parameter(Mandatory)][pscredential]$Login)\n}\n} catch { throw }"
        == book.cells[2].source
    )


def test_without_values_an_earlier_cell_stays() -> None:
    book = injected(injected(notebook("$Name = 'a'"), Name="b"))

    assert "'b'" in book.cells[2].source


def test_assignments_alone_check_the_names() -> None:
    assert "# p\ntry {\n$a = @()\n} catch { throw }" == assignments({"a": []}, "p")
    for name in ("Host", "a; exit", "a b"):
        with pytest.raises(LiteralError):
            assignments({name: 1})
