"""The broker's journal on disk: what was taken survives its SIGKILL, and so do the figures of the summary.

Nothing is synced: it is the process that dies here, not the machine.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from infra.local.journal import Received

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, published TEXT, data BLOB, attributes TEXT);
CREATE TABLE IF NOT EXISTS owed (
  subscription TEXT, id TEXT, attempts INTEGER, PRIMARY KEY (subscription, id)
);
CREATE TABLE IF NOT EXISTS counted (word TEXT PRIMARY KEY, number INTEGER);
"""
_ORPHANS = "DELETE FROM messages WHERE id = ? AND NOT EXISTS (SELECT 1 FROM owed WHERE owed.id = messages.id)"


class SqliteJournal:
    """`infra.local.journal.Journal` in one file, which a second process may read while the broker writes."""

    def __init__(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def taken(self, message: Received, subscriptions: Sequence[str]) -> None:
        if not subscriptions:
            return
        row = (
            message.message_id,
            message.published_at.isoformat(),
            message.data,
            json.dumps(dict(message.attributes)),
        )
        owed = [(subscription, message.message_id) for subscription in subscriptions]
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
            self._database.executemany("INSERT INTO owed VALUES (?, ?, 0)", owed)

    def tried(self, subscription: str, message: Received) -> None:
        self._database.execute(
            "UPDATE owed SET attempts = attempts + 1 WHERE subscription = ? AND id = ?",
            (subscription, message.message_id),
        )
        self.count("deliveries")

    def settled(self, subscription: str, message: Received) -> None:
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute(
                "DELETE FROM owed WHERE subscription = ? AND id = ?", (subscription, message.message_id)
            )
            self._database.execute(_ORPHANS, (message.message_id,))

    def left(self, subscription: str) -> Iterable[tuple[Received, int]]:
        rows = self._database.execute(
            "SELECT id, published, data, attributes, attempts FROM owed JOIN messages USING (id) "
            "WHERE subscription = ? ORDER BY id",
            (subscription,),
        ).fetchall()
        for message_id, published, data, attributes, attempts in rows:
            yield (
                Received(
                    message_id=message_id,
                    published_at=datetime.fromisoformat(published),
                    data=data,
                    attributes=json.loads(attributes),
                ),
                attempts,
            )

    def count(self, word: str, number: int = 1) -> None:
        """Add to a figure of the summary."""
        self._database.execute(
            "INSERT INTO counted VALUES (?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
            (word, number),
        )

    def counted(self) -> Counter[str]:
        return Counter(dict(self._database.execute("SELECT word, number FROM counted")))

    def owed(self) -> Counter[str]:
        """Count what is not settled, by subscription."""
        return Counter(dict(self._database.execute("SELECT subscription, count(*) FROM owed GROUP BY 1")))
