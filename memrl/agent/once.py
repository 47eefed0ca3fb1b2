"""Requests that bear a key: each is carried out once, and whoever asks again is answered as the first time.

Invariant: a reply is written in the transaction of what it tells of, so that after a crash there are both or neither.
Keys stand in the file as digests, and replies no longer than KEPT_SECONDS after the user's next request with a key.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time as clock
from dataclasses import dataclass
from typing import Any

from memrl.envs.tools import clean_text
from memrl.errors import DataError, Erased, KeyReused, TooLong

KEPT_SECONDS = 24 * 3600.0
MOST_KEPT = 1000
"""Replies of one user."""
LONGEST_KEY = 256


@dataclass(frozen=True)
class Once:
    """A request that is carried out once: the digests of its key and of what it asks."""

    key: bytes
    request: bytes

    def part(self, number: int, text: str) -> Once:
        """Return the request for a piece of the work: its number and text. The first one has the key itself."""
        key = self.key if number == 1 else _digest([self.key.hex(), number])
        return Once(key, _digest([self.request.hex(), text]))


def once(key: str | None, *request: Any) -> Once | None:
    """Return the request that a key names; None: there is no key.

    Args:
        request: all that it asks, as JSON can hold it.

    Raises:
        DataError: the key is empty.
        TooLong: it has more than LONGEST_KEY characters.
    """
    if key is None:
        return None
    if not key.strip():
        raise DataError("the key is empty. Give any text that no other request has, or none.")
    if len(key) > LONGEST_KEY:
        raise TooLong(f"the key has {len(key)} characters; {LONGEST_KEY} are allowed. Shorten it.")
    return Once(_digest(clean_text(key)), _digest(request))


def reply_to(database: sqlite3.Connection, user: str, asked: Once) -> str | None:
    """Return what was answered to a request; None: it was not carried out, or long ago.

    Raises:
        KeyReused: the key was given with another request.
        Erased: something of the user was erased since, and the reply with it.
    """
    row = database.execute(
        "SELECT request, reply FROM replies WHERE user = ? AND key = ? AND at > ?",
        (user, asked.key, clock.time() - KEPT_SECONDS),
    ).fetchone()
    if row is None:
        return None
    request, reply = row
    if reply is None:
        raise Erased("the request with this key was carried out, and something of the user was erased since.")
    if request != asked.request:
        raise KeyReused("this key was given with another request already. Give each request a key of its own.")
    return str(reply)


def keep_reply(database: sqlite3.Connection, user: str, asked: Once, reply: str) -> None:
    """Write what is answered, in the transaction that is open, and drop what is old or too much."""
    now = clock.time()
    database.execute("DELETE FROM replies WHERE user = ? AND at <= ?", (user, now - KEPT_SECONDS))
    database.execute(
        "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", (user, asked.key, asked.request, now, reply)
    )
    most = "SELECT key FROM replies WHERE user = ? ORDER BY at DESC LIMIT -1 OFFSET ?"
    database.execute(f"DELETE FROM replies WHERE user = ? AND key IN ({most})", (user, user, MOST_KEPT))


def forget_replies(database: sqlite3.Connection, user: str) -> None:
    """Empty a user's replies: they spell out what was written. Their keys stay, so that no retry writes it again."""
    database.execute("UPDATE replies SET reply = NULL, request = NULL WHERE user = ?", (user,))


def _digest(what: Any) -> bytes:
    try:
        told = json.dumps(what, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        raise DataError("a request with a key must be what JSON can hold, its metadata too.") from None
    return hashlib.blake2b(told.encode(), digest_size=16).digest()
