# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a map in PostgreSQL is addressed, connected to, recognised and locked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MapError
from .store import FORMAT_VERSION

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

FORM = 'postgresql://USER@HOST:PORT/DATABASE#MAP'
HOST = r'(?:[\w.%-]+|\[[\da-fA-F:.]+\])?(?::\d+)?'
ADDRESS = re.compile(
    rf'(?P<uri>postgresql://(?:[^:/?#@]+:?@)?{HOST}(?:,{HOST})*/(?P<database>[^/?#@]+)'
    r'(?:\?[^#@]*)?)#(?P<name>[A-Za-z_][\w-]{0,62})', re.ASCII)
TIMEOUT_S = 10
"""How long to wait for a server, unless the address says otherwise (``connect_timeout``)."""
LOCK_WAIT = '2s'
"""Time for the server to notice that a writer before was killed."""


class Address(NamedTuple):
    """Where a map lies. Neither part holds a password, so that both can be shown."""

    uri: str
    database: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Split an address.

        :raises MapError: if it is none, or holds a password; it is then not shown.
        """
        match = ADDRESS.fullmatch(text)
        if match is None or 'password' in match['uri'].partition('?')[2].lower():
            raise MapError(f'a map in PostgreSQL is addressed as {FORM}, without a password '
                           '(that belongs in PGPASSWORD or ~/.pgpass); MAP is a letter, then at '
                           'most 62 letters, digits, _ and -')
        return cls(match['uri'], match['database'], match['name'])

    @property
    def text(self) -> str:
        """The address as it was given."""
        return f'{self.uri}#{self.name}'

    @property
    def lock_key(self) -> int:
        """The number of the map's advisory lock in its database."""
        digest = hashlib.sha256(f'r2former_ros:{self.name}'.encode()).digest()
        return int.from_bytes(digest[:8], 'big', signed=True)


def connected(where: Address) -> Connection:
    """
    Connect; each statement is a transaction of its own where no other is begun.

    :raises MapError: if psycopg is not installed, or the server not reached.
    """
    try:
        import psycopg
    except ImportError as error:
        raise MapError(f'{where.text}: maps in PostgreSQL need psycopg ({error}): '
                       "pip install 'psycopg[binary]', or r2former_ros[postgres]") from error
    options: dict[str, Any] = {'connect_timeout': TIMEOUT_S, 'application_name': 'r2former_ros'}
    try:
        options.update(psycopg.conninfo.conninfo_to_dict(where.uri))
        return psycopg.connect(autocommit=True, **options)
    except psycopg.Error as error:
        raise MapError(f'{where.text}: cannot connect to the server ({_line(error)})') from error


def require_map(where: Address, connection: Connection) -> None:
    """
    Look for the map, and for its mark.

    :raises MapError: if it is missing, no map, or of another format.
    """
    if not has_schema(where, connection):
        raise MapError(f'{where.text}: no such map in database {where.database}; r2former map '
                       'build makes one')
    query = 'SELECT obj_description(%s::regnamespace)'
    row = connection.execute(query, (f'"{where.name}"',)).fetchone()
    found = row[0] if row else None
    if found is None or not found.startswith(mark('')):
        raise MapError(f'{where.text}: is no r2former map, but another schema of this name')
    if found != mark():
        raise MapError(f'{where.text}: {found}, but this version reads {FORMAT_VERSION}; update '
                       'r2former_ros, or build the map again')


def mark(version: int | str = FORMAT_VERSION) -> str:
    """Return the comment on a map's schema."""
    return f'r2former map, format {version}'


def has_schema(where: Address, connection: Connection) -> bool:
    """Say whether the name is taken, by a map or by something else."""
    query = 'SELECT 1 FROM pg_namespace WHERE nspname = %s'
    return connection.execute(query, (where.name,)).fetchone() is not None


def enter(where: Address, connection: Connection) -> None:
    """
    Make the map's tables, and the type vector, known by their plain names.

    :raises MapError: if the database has no pgvector.
    """
    row = connection.execute(
        'SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace '
        "WHERE extname = 'vector'").fetchone()
    if row is None:
        raise MapError(f'{where.text}: database {where.database} has no pgvector; install it on '
                       'the server and run there, as superuser: CREATE EXTENSION vector')
    query = "SELECT set_config('search_path', format('%%I, %%I', %s::text, %s::text), false)"
    connection.execute(query, (where.name, row[0]))


def lock(where: Address, connection: Connection) -> None:
    """
    Take the right to write. The server is to notice within a minute that our machine has gone.

    :raises MapError: if another writer has it.
    """
    import psycopg

    for name, value in (('idle', '30'), ('interval', '10'), ('count', '3')):
        connection.execute(f'SET tcp_keepalives_{name} = {value}')
    connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
    try:
        connection.execute('SELECT pg_advisory_lock(%s)', (where.lock_key,))
    except psycopg.errors.LockNotAvailable:
        raise MapError(f'{where.text}: another process is writing to it; one writer at a time') \
            from None
    connection.execute('RESET lock_timeout')


@contextmanager
def translated(where: Address) -> Iterator[None]:
    """Turn psycopg's errors into ours, naming the map and a remedy."""
    import psycopg

    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise MapError(f'{where.text}: cannot be written ({_line(error)}); is the disk full? '
                       'Places added before are safe') from error
    except psycopg.Error as error:
        raise MapError(f'{where.text}: cannot be read or written ({_line(error)})') from error


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())
