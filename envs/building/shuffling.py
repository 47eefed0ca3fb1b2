"""Any number of records in a seeded order, in flat memory: they wait in a temporary SQLite table."""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")


def shuffled(items: Iterable[Item], seed: str) -> Iterator[Item]:
    """The items in an order that depends on `seed` and their number alone.

    All are read before the first comes out, so that damage anywhere in a file is found at once.
    """
    with closing(
        sqlite3.connect("", isolation_level=None)
    ) as table:  # "": a database of its own, on disk past its cache
        table.execute("CREATE TABLE items (place BLOB PRIMARY KEY, item BLOB) WITHOUT ROWID")
        table.execute("BEGIN")
        table.executemany(
            "INSERT INTO items VALUES (?, ?)",
            (
                (hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=16).digest(), pickle.dumps(item))
                for number, item in enumerate(items)
            ),
        )
        table.execute("COMMIT")
        for (packed,) in table.execute("SELECT item FROM items ORDER BY place"):
            yield pickle.loads(packed)
