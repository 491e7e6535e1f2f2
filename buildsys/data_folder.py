"""The folder that holds all of an installation that is not in its database.

    lock           held, with its pid, by the one process that uses the folder
    format         the number of this layout
    installation   the id by which containers and objects of ours are told from those of other installations
    secret.key     the 32 bytes that seal the secrets in the database
    admin.token    the token of an administrator; a new one is made at the start where it was removed
    postgres/  blobs/  ...   one folder a part, made by `part()`

Everything in it is open to its owner alone. A file appears whole or not at all.
"""

from __future__ import annotations

import os
import re
import secrets
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from buildsys.errors import SetupError
from buildsys.private_files import (
    FileLock,
    FolderError,
    check_own_folder,
    private_folder,
    read_private,
    write_private,
)

FORMAT = 1
KEY_BYTES = 32  # AES-256


class DataFolderInUse(SetupError):
    code = "data_folder_in_use"

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(
            f"{path} is in use by process {pid}: stop that one (kill {pid}), or give this one a --data-dir of its own."
        )
        self.path = path
        self.pid = pid


class DataFolderTooNew(SetupError):
    code = "data_folder_too_new"

    def __init__(self, path: Path, found: int) -> None:
        super().__init__(
            f"{path} has format {found} and this release knows {FORMAT}: start the newer release that wrote it, or "
            "restore the backup from before the upgrade."
        )


class DataFolderForeign(FolderError):
    code = "data_folder_foreign"

    def __init__(self, path: Path) -> None:
        super().__init__(path, f"{path} is neither empty nor made by buildsys: give an empty or new --data-dir.")


class DataFileDamaged(FolderError):
    code = "data_file_damaged"

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(path, f"{path} is damaged, {expected} was expected: restore it from a backup.")


class SecretKeyMissing(FolderError):
    code = "secret_key_missing"

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"There is no secret key at {path}, where BUILDSYS_SECRET_KEY_FILE points: put back the one that sealed "
            f"the secrets, or make one for a new installation: umask 077; head -c {KEY_BYTES} /dev/urandom > {path}",
        )


class SecretKeyLost(FolderError):
    code = "secret_key_lost"

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"{path} is gone, and a new one would not open what it sealed: put it back from a backup, name where it is "
            "with --secret-key-file, or begin anew with another --data-dir.",
        )


class DataFolder:
    """`with DataFolder(path) as folder:` makes what is missing, checks what is there, and holds the lock.

    Raises DataFolderInUse at once when another process holds it; a process that was killed holds nothing. With
    `secret_key_file` the key is read from there, where the operator put it, and none is made. None is made either in a
    folder that has been used: `SecretKeyLost`. `has_new_token` says that the administrator's token was made just now.
    """

    installation: str
    secret_key: bytes
    admin_token: str

    def __init__(self, path: Path, *, secret_key_file: Path | None = None) -> None:
        self.path = path.absolute()
        self.has_new_token = False
        self._secret_key_file = secret_key_file
        self._lock = FileLock(self.path / "lock")

    def __enter__(self) -> Self:
        private_folder(self.path)
        _refuse_foreign(self.path)
        if not self._lock.acquire():
            raise DataFolderInUse(self.path, self._lock.holder() or 0)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def inspect(self) -> None:
        """Raise what a start would say of what is there now. Nothing is made, and the lock left alone."""
        has_been_used = False
        if os.path.lexists(self.path):
            check_own_folder(self.path)
            _refuse_foreign(self.path)
            self._check_format()
            has_been_used = self._has_been_used
        if has_been_used or self._secret_key_file is not None:
            self._read_secret_key()
        if has_been_used:
            self._read_installation()
            if (self.path / "admin.token").exists():
                self._read_token()

    def part(self, name: str) -> Path:
        """The folder of one part of the system inside this one, made on first use."""
        return private_folder(self.path / name)

    def _open(self) -> None:
        """Make what is missing and read it all. `installation` is made last: with it, the folder has been used."""
        self._check_format()
        self._ensure("format", b"%d\n" % FORMAT)
        if not self._has_been_used and self._secret_key_file is None:
            self._ensure("secret.key", secrets.token_bytes(KEY_BYTES))
        self.secret_key = self._read_secret_key()
        self.has_new_token = self._ensure("admin.token", f"bst_{secrets.token_urlsafe(32)}\n".encode())
        self.admin_token = self._read_token()
        self._ensure("installation", f"{uuid.uuid4()}\n".encode())
        self.installation = self._read_installation()

    @property
    def _has_been_used(self) -> bool:
        return (self.path / "installation").exists()

    def _ensure(self, name: str, content: bytes) -> bool:
        """Write the file where there is none; whether there was none."""
        path = self.path / name
        if path.exists():
            return False
        write_private(path, content)
        return True

    def _check_format(self) -> None:
        path = self.path / "format"
        try:
            found = int(read_private(path))
        except FileNotFoundError:
            return
        except ValueError:
            raise DataFileDamaged(path, "a number") from None
        if found > FORMAT:
            raise DataFolderTooNew(self.path, found)

    def _read_secret_key(self) -> bytes:
        path = self._secret_key_file or self.path / "secret.key"
        try:
            key = read_private(path)
        except FileNotFoundError:
            raise SecretKeyMissing(path) if self._secret_key_file else SecretKeyLost(path) from None
        if len(key) != KEY_BYTES:
            raise DataFileDamaged(path, f"{KEY_BYTES} bytes")
        return key

    def _read_token(self) -> str:
        path = self.path / "admin.token"
        try:
            token = read_private(path).decode("ascii").strip()
        except UnicodeDecodeError:
            token = ""
        if len(token) < 32:
            raise DataFileDamaged(path, "a token of at least 32 characters")
        return token

    def _read_installation(self) -> str:
        path = self.path / "installation"
        try:
            return str(uuid.UUID(read_private(path).decode().strip()))
        except ValueError:
            raise DataFileDamaged(path, "a UUID") from None


def holder_of(path: Path) -> int | None:
    """The pid of the process that uses the data folder at `path` now, None when nobody does."""
    return FileLock(path / "lock").holder()


def _refuse_foreign(path: Path) -> None:
    """A folder of ours has a format file; what may be in it before is the lock, and what a new file system brings."""
    early = re.compile(r"lock|lost\+found|\.format\..*")
    if not (path / "format").exists() and not all(early.fullmatch(entry.name) for entry in path.iterdir()):
        raise DataFolderForeign(path)
