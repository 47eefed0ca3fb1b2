"""The SQLite database of the memory design `sql`: made of rows, and let at by one statement at a time.

What a statement may do is decided by SQLite's authorizer when it is prepared, not by looks at its text; how long it may
take is counted in steps of SQLite's machine, not in seconds, so that the same statements always make the same memory.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from memrl.envs.designs.base import SIGN, one_part
from memrl.envs.designs.design import MemoryItem

LONGEST = 2000
"""Characters of a statement, and of a value."""
MOST_COLUMNS = 12
"""Columns of a table, beside `id`."""
LOG = "changed_rows"
"""A table of our own, into which triggers of our own write which rows a statement has changed."""
_STEPS, _MOST_STEPS = 1000, 2000
"""Steps of SQLite's machine after which it asks whether to go on, and how often it is told to."""
_FUNCTIONS = frozenset(
    (
        "coalesce",
        "count",
        "ifnull",
        "instr",
        "length",
        "like",
        "lower",
        "max",
        "min",
        "nullif",
        "substr",
        "trim",
        "upper",
    )
)
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 2 * LONGEST,
    sqlite3.SQLITE_LIMIT_COLUMN: 4 * MOST_COLUMNS,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 8,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 2,
}

# What is quoted is passed over; no two parts that can match the same character stand side by side.
_NAMED = re.compile(
    r"""'[^']*'|"[^"]*"|\bid\b\s*(?:=\s*|in\s*\(\s*)(?P<numbers>\d{1,9}(?:\s*,\s*\d{1,9})*)\b""", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")
_NAME = r"[a-z_][a-z0-9_]{0,30}"
_COLUMN = rf"{_NAME}(?: [a-z]+)?"
_CREATE = re.compile(
    rf"create table (?:if not exists )?({_NAME}) ?\( ?({_COLUMN}(?: ?, ?{_COLUMN})*) ?\) ?;?", re.IGNORECASE
)


def new_table(statement: str) -> tuple[str, list[str]] | None:
    """Return the name and the columns of the table that a statement makes; None where it is no such statement. Types of
    columns mean nothing."""
    found = _CREATE.fullmatch(statement)
    return found and (found[1].lower(), [column.split()[0] for column in found[2].lower().split(",")])


def numbers(statement: str) -> list[tuple[int, int]]:
    """Return where the numbers of rows stand in a statement, as `id = 7` and `id IN (7, 8)` name them; not in what it
    quotes."""
    found: list[tuple[int, int]] = []
    for named in _NAMED.finditer(statement):
        if named["numbers"] is not None:
            start = named.start("numbers")
            found += [(start + each.start(), start + each.end()) for each in _NUMBER.finditer(named["numbers"])]
    return found


def line(table: str, columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return a row as one line, columns without a value left out.

    Args:
        values: as the database gives them, the id first.

    Raises:
        ValueError: one of them is no text of one line.
    """
    pairs = [(column, value) for column, value in zip(columns, values[1:], strict=True) if value is not None]
    for _, value in pairs:
        if not isinstance(value, str) or len(value) > LONGEST or one_part(value) != value:
            raise ValueError(f"a value must be one line of text, of {LONGEST} characters at most")
    return SIGN.join([table, *(f"{column}: {value}" for column, value in pairs)])


def parts(row: str) -> tuple[str, dict[str, str]]:
    """Return the table of a row and its values by column."""
    table, *pairs = row.split(SIGN)
    return table, {column: value for column, _, value in (pair.partition(": ") for pair in pairs)}


def told(sentence: str, table: str, columns: Sequence[str], column: str) -> str:
    """Return what an UPDATE sets for a sentence: a column, or for a row as it is shown its columns."""
    shown, values = parts(sentence)
    if shown != table or not values or not set(values) <= set(columns):
        return f"{column} = {quoted(sentence)}"
    return ", ".join(f'"{column}" = {quoted(value)}' for column, value in values.items())


def quoted(told: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + told.replace("'", "''") + "'"


def open_rows(
    tables: Mapping[str, Sequence[str]], rows: Iterable[tuple[int, str, Mapping[str, str]]]
) -> sqlite3.Connection:
    """Return a database in memory that holds rows, and from now on logs which of them are changed.

    Args:
        tables: the columns of each, `id` not among them.
        rows: id, table and values by column of each.
    """
    # Nothing that was prepared for us is there to be used by a statement of the same text.
    database = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0, check_same_thread=False)
    for limit, value in _LIMITS.items():
        database.setlimit(limit, value)
    database.execute(f"CREATE TEMP TABLE {LOG} (place, number)")
    for table, columns in tables.items():
        told = ", ".join(f'"{column}" TEXT' for column in columns)
        database.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, {told})')
    database.execute("BEGIN")
    for number, table, values in rows:
        row = [number, *map(values.get, tables[table])]
        database.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', row)
    database.execute("COMMIT")
    for table in tables:
        for event, which in (("INSERT", "new"), ("UPDATE", "old"), ("UPDATE", "new"), ("DELETE", "old")):
            database.execute(
                f'CREATE TEMP TRIGGER {LOG}_{table}_{event}_{which} AFTER {event} ON main."{table}" BEGIN '
                f"INSERT INTO {LOG} VALUES ('{table}', {which}.id); END"
            )
    return database


def changed_rows(database: sqlite3.Connection, most: int) -> list[tuple[str, int]]:
    """Return table and id of the rows that were changed since this was last asked, of so many at most."""
    changed = database.execute(f"SELECT DISTINCT place, number FROM {LOG} LIMIT ?", [most]).fetchall()
    database.execute(f"DELETE FROM {LOG}")
    return changed


def renumber(database: sqlite3.Connection, table: str, number: int, now: int) -> None:
    """Give a row another id."""
    database.execute(f'UPDATE "{table}" SET id = ? WHERE id = ?', [now, number])


@contextmanager
def guarded(database: sqlite3.Connection, tables: set[str]) -> Iterator[None]:
    """Let a statement write into these tables and do nothing else, in so many steps, until the context is left."""
    steps = iter(range(_MOST_STEPS))

    def allowed(action: int, one: str | None, other: str | None, _: str | None, trigger: str | None) -> int:
        ours = trigger is not None and trigger.startswith(LOG)
        fine = {
            sqlite3.SQLITE_SELECT: True,
            sqlite3.SQLITE_READ: ours or one in tables,
            sqlite3.SQLITE_INSERT: one in tables or (ours and one == LOG),
            sqlite3.SQLITE_UPDATE: one in tables and other != "id",
            sqlite3.SQLITE_DELETE: one in tables,
            sqlite3.SQLITE_FUNCTION: other in _FUNCTIONS,
        }
        return sqlite3.SQLITE_OK if fine.get(action, False) else sqlite3.SQLITE_DENY

    database.set_authorizer(allowed)
    database.set_progress_handler(lambda: next(steps, None) is None, _STEPS)
    try:
        yield
    finally:
        database.set_authorizer(None)
        database.set_progress_handler(None, 0)


def named(told: Any) -> dict[str, int]:
    """Return the numbers of rows that a statement names, by where they stand; none in what is no statement."""
    if not isinstance(told, str) or len(told) > LONGEST:
        return {}
    return {f"{start}:{end}": int(told[start:end]) for start, end in numbers(told)}


def renamed(told: str, others: Mapping[str, int]) -> str:
    """Return a statement with other numbers in the places that `named` has told."""
    for place, number in sorted(others.items(), key=lambda pair: int(pair[0].partition(":")[0]), reverse=True):
        start, _, end = place.partition(":")
        told = f"{told[: int(start)]}{number}{told[int(end) :]}"
    return told


def number_of(item: MemoryItem) -> int:
    """Return the number of a row, by its id."""
    return int(item.id.partition("_")[2])


def where(item: MemoryItem) -> str:
    """Return the clause that finds a row."""
    return f"WHERE id = {number_of(item)}"
