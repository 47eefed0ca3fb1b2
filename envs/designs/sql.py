"""The memory design `sql`: tables that the policy makes and fills by SQL.

Every row is an item, `row_0007: people | name: Ann | job: baker`, whose number is the row's `id`; the tables' columns
are always shown. The items are the memory; an SQLite database in memory is made of them where a statement is to be
carried out. A statement may create a table, insert, update and delete, and no more: what else it would do is refused by
the database's own authorizer, and bounded in steps, length and rows.

After ChatDB (Hu et al., arXiv 2306.03901). Left out: SELECT by the model and its chain of several statements, of which
each sees what the last has found; types and constraints: every value is a text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from memrl.envs.designs import rows
from memrl.envs.designs.base import CORE, HeldDesign
from memrl.envs.designs.design import MemoryItem
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

SQL = ToolSchema(
    name="memory_sql",
    description=(
        "Carry out one statement: CREATE TABLE name (column, ...), INSERT INTO, UPDATE or DELETE FROM. Every table has "
        "a column id, which is the number of a row as shown."
    ),
    parameters={"statement": {"type": "string", "description": "One statement in SQLite's SQL."}},
    required=("statement",),
)
MOST_ROWS = 64
"""Rows that a statement may change."""
MOST_TABLES = 16


def statement(text: str) -> ToolCall:
    """Return the call that carries a statement out."""
    return ToolCall(name=SQL.name, arguments={"statement": text})


class SqlMemory(HeldDesign):
    """Rows of tables under one token budget."""

    name = "sql"
    tools: Sequence[ToolSchema] = (SQL,)
    example: tuple[str, Sequence[ToolCall]] = (
        "Marie Curie was born in Warsaw. The weather was fine. She works in Paris.",
        (
            statement("CREATE TABLE people (name, told)"),
            statement("INSERT INTO people VALUES (NULL, 'Marie Curie', 'born in Warsaw')"),
        ),
    )
    parted = True
    prefixes: ClassVar = {"row": "row"}

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._database: sqlite3.Connection | None = None
        self._made_of: tuple[Any, int] | None = None
        """The items that the database was made of, and how often something of them had been undone."""

    @property
    def tables(self) -> dict[str, list[str]]:
        """The columns of each table, `id` not among them."""
        told = (table[:-1].partition("(") for table in self.core.split("; ") if table)
        return {name: columns.split(", ") for name, _, columns in told}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        told = arguments["statement"]
        if len(told) > rows.LONGEST:
            return _refused(ResultCode.TOO_LONG, f"a statement has {rows.LONGEST} characters at most")
        first = told.split(" ", 1)[0].lower()
        if first == "create":
            return self._create(told)
        if first not in ("insert", "update", "delete", "replace"):
            return _refused(ResultCode.BAD_ARGUMENTS, "only CREATE TABLE, INSERT, UPDATE and DELETE are carried out")
        database = self._open()
        with self.held.open_journal() as journal:
            try:
                database.execute("BEGIN")
                with rows.guarded(database, set(self.tables)):
                    database.execute(told)
                result = self._take_over(database, time)
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
                code = ResultCode.TOO_LONG if "interrupted" in str(error) else ResultCode.BAD_ARGUMENTS
                result = _refused(code, str(error)[:200])
            if result.ok:
                database.execute("COMMIT")
            else:
                journal.undo()
                with suppress(sqlite3.Error):  # an error may have rolled it back
                    database.execute("ROLLBACK")
                self._made_of = self.held, self.held.undone
        return result

    def _create(self, told: str) -> ToolResult:
        found = rows.new_table(told)
        if found is None:
            return _refused(ResultCode.BAD_ARGUMENTS, "write CREATE TABLE name (column, ...), without constraints")
        name, columns = found
        if name.startswith(("sqlite_", rows.LOG)) or len({*columns, "id"}) <= len(columns):
            return _refused(ResultCode.BAD_ARGUMENTS, "a name is taken; every table has a column id already")
        if name in self.tables:
            return _refused(ResultCode.DUPLICATE, f"there is a table {name} already")
        if len(self.tables) == MOST_TABLES or len(columns) > rows.MOST_COLUMNS:
            return _refused(ResultCode.OVER_BUDGET, f"{MOST_TABLES} tables of {rows.MOST_COLUMNS} columns at most")
        tables = [*filter(None, [self.core]), f"{name}({', '.join(columns)})"]
        result = self.write_core(SQL.name, "; ".join(tables))
        if result.ok:
            self._database = None
        return result

    def _take_over(self, database: sqlite3.Connection, time: str | None) -> ToolResult:
        """Write the rows that a statement has changed into the items."""
        changed = rows.changed_rows(database, MOST_ROWS + 1)
        if len(changed) > MOST_ROWS:
            return _refused(ResultCode.TOO_LONG, f"a statement may change {MOST_ROWS} rows")
        result, fresh, told = _refused(ResultCode.UNKNOWN_ID, "no row is changed"), [], []
        for table, number in changed:
            old = self._row(table, number)
            values = database.execute(f'SELECT * FROM "{table}" WHERE id = ?', [number]).fetchone()
            if values is None:
                result = result if old is None else self.delete(SQL.name, old)
            elif old is None:
                fresh.append((table, number, values))
            elif (content := rows.line(table, self.tables[table], values)) != old.content:
                result = self.update(SQL.name, old, content)
                told.append(result.content or "")
                if not result.ok:
                    return result
        for place, (table, number, _) in enumerate(fresh):  # out of the way of the numbers that are given now
            rows.renumber(database, table, number, -1 - place)
        for place, (table, _, values) in enumerate(fresh):
            result = self.insert(SQL.name, "row", rows.line(table, self.tables[table], values), time)
            if not result.ok:
                return result
            told.append(result.content or "")
            rows.renumber(database, table, -1 - place, self.held.counters["row"])
        rows.changed_rows(database, 0)
        return result.model_copy(update={"content": " ".join(told)}) if told and result.ok else result

    def _row(self, table: str, number: int) -> MemoryItem | None:
        item = self.held.get(f"row_{number:04d}")
        return item if item is not None and table_of(item) == table else None

    def _open(self) -> sqlite3.Connection:
        """Return the database of what is held, made anew where the items were restored or something was undone."""
        if self._database is None or self._made_of != (self.held, self.held.undone):
            held = ((rows.number_of(item), *rows.parts(item.content)) for item in self.items)
            self._database = rows.open_rows(self.tables, held)
            self._made_of = self.held, self.held.undone
        return self._database

    def told(self, item: MemoryItem) -> str:
        """Return the values of a row; the names of tables tell nothing."""
        return " ".join(rows.parts(item.content)[1].values())

    def named_items(self, call: ToolCall) -> dict[str, str]:
        """Return the ids of the rows that a statement names by their numbers, by where these stand."""
        return {place: f"row_{number:04d}" for place, number in rows.named(call.arguments.get("statement")).items()}

    def renamed(self, call: ToolCall, items: Mapping[str, str]) -> ToolCall:
        """Return a statement with the numbers of other rows in the places of those that it names; with 0, which is no
        row's, for an empty id."""
        told = rows.renamed(call.arguments["statement"], {place: int(item[4:] or 0) for place, item in items.items()})
        return call.model_copy(update={"arguments": {**call.arguments, "statement": told}})

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the statements that keep a sentence, or a row as it is shown, in the table of facts or of events."""
        if not fold(sentence):
            return [statement("")]
        if instead_of is not None and instead_of.id != CORE:
            table = table_of(instead_of)
            told = rows.told(sentence, table, self.tables.get(table, ()), self._column(table))
            return [statement(f'UPDATE "{table}" SET {told} {rows.where(instead_of)}')]
        table = "events" if event else "facts"
        made = [] if table in self.tables else [statement(f"CREATE TABLE {table} (sentence)")]
        return [*made, statement(f"INSERT INTO {table} ({self._column(table)}) VALUES ({rows.quoted(sentence)})")]

    def _column(self, table: str) -> str:
        columns = self.tables.get(table, ["sentence"])
        return f'"{"sentence" if "sentence" in columns else columns[0]}"'

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        """Return the statement that deletes a row; tables stay."""
        return [] if item.id == CORE else [statement(f'DELETE FROM "{table_of(item)}" {rows.where(item)}')]


def table_of(item: MemoryItem) -> str:
    """Return the table of a row."""
    return rows.parts(item.content)[0]


def _refused(code: ResultCode, message: str) -> ToolResult:
    return ToolResult(name=SQL.name, code=code, message=message)
