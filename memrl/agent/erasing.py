"""The ways out of a memory file for good: of the oldest history, of an item with all that was said of it, of a user.

Invariant: a text is removed with the last row that refers to it, and never before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

from memrl.agent.layout import mark
from memrl.agent.once import forget_replies

_TEXTS_OF = """
SELECT text FROM items WHERE user = :user AND id = :item
UNION SELECT before FROM changes WHERE user = :user AND item = :item AND before IS NOT NULL
UNION SELECT after FROM changes WHERE user = :user AND item = :item AND after IS NOT NULL
"""
_METADATA_OF = """
SELECT metadata FROM items WHERE user = :user AND id = :item AND metadata IS NOT NULL
UNION SELECT before_metadata FROM changes WHERE user = :user AND item = :item AND before_metadata IS NOT NULL
UNION SELECT after_metadata FROM changes WHERE user = :user AND item = :item AND after_metadata IS NOT NULL
"""
_GONE_TWINS = """
SELECT DISTINCT item FROM changes WHERE user = :user AND (before = :text OR after = :text)
AND item NOT IN (SELECT id FROM items WHERE user = :user)
"""
_EARLIER = """
SELECT number, version, before, after, before_metadata, after_metadata FROM changes
WHERE user = :user AND (before = :text OR after = :text)
AND item NOT IN (SELECT id FROM items WHERE user = :user AND text = :text)
"""
_REASONS = """
SELECT version FROM versions JOIN texts ON number = why WHERE versions.user = :user AND instr(text, :said)
"""
_DROP_LOOSE = """
DELETE FROM texts WHERE number IN (SELECT number FROM temp.loose) AND number NOT IN (
    SELECT text FROM items WHERE user = :user
    UNION ALL SELECT before FROM changes WHERE user = :user AND before IS NOT NULL
    UNION ALL SELECT after FROM changes WHERE user = :user AND after IS NOT NULL
    UNION ALL SELECT metadata FROM items WHERE user = :user AND metadata IS NOT NULL
    UNION ALL SELECT before_metadata FROM changes WHERE user = :user AND before_metadata IS NOT NULL
    UNION ALL SELECT after_metadata FROM changes WHERE user = :user AND after_metadata IS NOT NULL
    UNION ALL SELECT why FROM versions WHERE user = :user AND why IS NOT NULL)
"""
_AT_ONCE = 8
"""An eighth of the history is forgotten at once, 16 versions at most: each time costs a look at all of it."""


def forget(database: sqlite3.Connection, user: str, keep: int) -> None:
    """Forget the oldest versions of a user's history, so that at most `keep` are left."""
    (count,) = database.execute("SELECT count(*) FROM versions WHERE user = ?", (user,)).fetchone()
    if count <= keep:
        return
    oldest = "SELECT version FROM versions WHERE user = ? ORDER BY version LIMIT ?"
    gone = database.execute(oldest, (user, count - keep + min(16, keep // _AT_ONCE))).fetchall()
    old = "user = ? AND version <= ?"
    given = (user, gone[-1][0])
    loose: set[int] = set()
    of_changes = [(column, "changes") for column in ("before", "after", "before_metadata", "after_metadata")]
    for column, table in (*of_changes, ("why", "versions")):
        found = database.execute(f"SELECT {column} FROM {table} WHERE {old} AND {column} IS NOT NULL", given)
        loose |= {number for (number,) in found}
    for table in ("changes", "versions", "part_changes"):
        database.execute(f"DELETE FROM {table} WHERE {old}", given)
    _drop(database, user, loose)


def erase_item(database: sqlite3.Connection, user: str, item_id: str, told: Callable[[str], str]) -> int | None:
    """Remove an item, its history, the history of items that are gone and said the same, what others say no longer
    of the same, reasons that spell out what it said, and what was answered to requests; mark the file as not clean.

    Args:
        told: the sentence in the text of an item, which the design may have written more to.

    Returns:
        How many items and changes were removed; None where nothing is known of the item.
    """
    said = {text for (text,) in database.execute(_TEXTS_OF, {"user": user, "item": item_id})}
    if not said:
        return None
    texts = database.execute("SELECT number, text FROM texts WHERE user = ?", (user,)).fetchall()
    phrases = {phrase for number, text in texts if number in said for phrase in (text, told(text)) if phrase}
    own = [number for number, text in texts if told(text) in phrases]
    items, versions = {item_id}, set()
    for text in own:
        items |= {name for (name,) in database.execute(_GONE_TWINS, {"user": user, "text": text})}
    for phrase in phrases:
        versions |= {version for (version,) in database.execute(_REASONS, {"user": user, "said": phrase})}
    removed = 0
    for item in items:
        for which in (_TEXTS_OF, _METADATA_OF):
            said |= {text for (text,) in database.execute(which, {"user": user, "item": item})}
        touched = database.execute("SELECT version FROM changes WHERE user = ? AND item = ?", (user, item))
        versions |= {version for (version,) in touched}
        removed += database.execute("DELETE FROM changes WHERE user = ? AND item = ?", (user, item)).rowcount
        removed += database.execute("DELETE FROM items WHERE user = ? AND id = ?", (user, item)).rowcount
    for text in own:
        for number, version, *texts in database.execute(_EARLIER, {"user": user, "text": text}).fetchall():
            said |= {each for each in texts if each is not None}
            versions.add(version)
            removed += database.execute("DELETE FROM changes WHERE number = ?", (number,)).rowcount
    for version in versions:
        given = {"user": user, "version": version}
        which = "user = :user AND version = :version"
        said |= {why for (why,) in database.execute(f"SELECT why FROM versions WHERE {which}", given) if why}
        database.execute(f"UPDATE versions SET why = NULL WHERE {which}", given)
        empty = f"NOT EXISTS (SELECT 1 FROM changes WHERE {which})"
        database.execute(f"DELETE FROM versions WHERE {which} AND {empty}", given)
    _drop(database, user, said)
    forget_replies(database, user)
    mark(database)
    return removed


def texts_of(database: sqlite3.Connection, user: str, item_id: str) -> list[str]:
    """Return what an item says, and what it has said in the history that is kept."""
    which = f"SELECT text FROM texts WHERE number IN ({_TEXTS_OF})"
    return [text for (text,) in database.execute(which, {"user": user, "item": item_id})]


def erase_user(database: sqlite3.Connection, user: str) -> int | None:
    """Remove all of a user; mark the file as not clean.

    Returns:
        How many items and changes were removed; None where there is no such user.
    """
    if database.execute("SELECT 1 FROM users WHERE user = ?", (user,)).fetchone() is None:
        return None
    removed = 0
    for table in ("items", "changes", "versions", "texts", "replies", "parts", "part_changes", "users"):
        count = database.execute(f"DELETE FROM {table} WHERE user = ?", (user,)).rowcount
        removed += count if table in ("items", "changes") else 0
    mark(database)
    return removed


def _drop(database: sqlite3.Connection, user: str, texts: Iterable[int]) -> None:
    """Remove those of a user's texts that nothing refers to any more."""
    database.execute("CREATE TEMP TABLE IF NOT EXISTS loose (number INTEGER PRIMARY KEY)")
    database.execute("DELETE FROM temp.loose")
    database.executemany("INSERT INTO temp.loose VALUES (?)", [(number,) for number in texts])
    database.execute(_DROP_LOOSE, {"user": user})
