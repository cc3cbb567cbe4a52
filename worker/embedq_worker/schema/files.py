"""Find and read the numbered SQL files of the schema, wherever this program is installed."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from embedq_worker.errors import SchemaError

NO_TRANSACTION = "-- embedq: no-transaction"
"""First line of a file whose statements run one by one, outside a transaction."""

_NAME = re.compile(r"(?P<version>\d{3})_(?P<name>\w+)\.up\.sql")
_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$\w*\$).*?(?P=tag) | (?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def label_of(version: int, name: str) -> str:
    """A migration's file name without the extension: ``006_indexes``."""
    return f"{version:03}_{name}"


class MigrationId(NamedTuple):
    """What identifies a migration, without its SQL.

    Attributes:
        checksum: Checksum of the SQL that applies it, the same for all line endings.
    """

    version: int
    name: str
    checksum: str

    @property
    def label(self) -> str:
        """See `label_of`."""
        return label_of(self.version, self.name)


class Migration(NamedTuple):
    """One version of the schema.

    Attributes:
        version: Its number; migrations run in this order.
        name: What it adds, from the file name.
        up: SQL that applies it.
        down: SQL that rolls it back.
    """

    version: int
    name: str
    up: str
    down: str

    @property
    def id(self) -> MigrationId:
        """What identifies it."""
        return MigrationId(self.version, self.name, hashlib.sha256(self.up.encode()).hexdigest()[:32])

    @property
    def label(self) -> str:
        """See `label_of`."""
        return label_of(self.version, self.name)


@cache  # a console checks every 15 s that the schema matches its program; it does not keep the SQL for that
def known_migrations() -> tuple[MigrationId, ...]:
    """All migrations of this program, in order.

    Raises:
        SchemaError: See `load_migrations`.
    """
    return tuple(migration.id for migration in load_migrations())


def load_migrations() -> tuple[Migration, ...]:
    """Read all migrations, in order.

    Raises:
        SchemaError: The files are missing or incomplete, so the installation is damaged.
    """
    folder = _folder()
    found = []
    for path in sorted(folder.glob("*.up.sql")):
        match = _NAME.fullmatch(path.name)
        down = path.with_name(path.name.removesuffix(".up.sql") + ".down.sql")
        if match is None or not down.is_file():
            raise SchemaError(f"{path} is not a migration with a .down.sql file", "reinstall embedq")
        found.append(
            Migration(int(match["version"]), match["name"], path.read_text("utf-8"), down.read_text("utf-8"))
        )
    versions = [migration.version for migration in found]
    if not found or len(set(versions)) < len(versions):
        raise SchemaError(f"{folder} does not have one file per version", "reinstall embedq")
    return tuple(found)


def load_roles() -> str:
    """Read the SQL that creates the group roles and grants them their privileges; it is idempotent.

    Raises:
        SchemaError: The file is missing, so the installation is damaged.
    """
    path = _folder() / "roles.sql"
    if not path.is_file():
        raise SchemaError(f"{path} is missing", "reinstall embedq")
    return path.read_text("utf-8")


def runs_in_transaction(sql: str) -> bool:
    """Whether a file runs as a whole in one transaction."""
    return not sql.startswith(NO_TRANSACTION)


def statements_of(sql: str) -> list[str]:
    """Split SQL into statements; semicolons in comments, strings and dollar quotes do not end one."""
    statements, start = [], 0
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            statements.append(sql[start : token.start()])
            start = token.end()
    statements.append(sql[start:])
    return [text.strip() for text in statements if _COMMENT.sub("", text).strip()]


def _folder() -> Path:
    """The folder of the SQL files: inside the package if installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sql", package.parents[1] / "sql"):
        if folder.is_dir():
            return folder
    raise SchemaError(f"the SQL files of embedq are missing from {package}", "reinstall embedq")
