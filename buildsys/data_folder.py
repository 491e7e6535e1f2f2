"""The folder that holds all of an installation that is not in its database.

    lock           held, with its pid, by the one process that uses the folder
    format         the number of this layout
    installation   the id by which containers and objects of ours are told from those of other installations
    secret.key     the 32 bytes that seal the secrets in the database
    admin.token    the token of the first administrator
    postgres/  blobs/  ...   one folder a part, made by `part()`

Everything in it is open to its owner alone. A file appears whole or not at all.
"""

from __future__ import annotations

import re
import secrets
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from buildsys.errors import SetupError
from buildsys.private_files import FileLock, FolderError, private_folder, read_private, write_private

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


class DataFolder:
    """`with DataFolder(path) as folder:` makes what is missing, checks what is there, and holds the lock.

    Raises DataFolderInUse at once when another process holds it; a process that was killed holds nothing. With
    `secret_key_file` the key is read from there, where the operator put it, and none is made.
    """

    installation: str
    secret_key: bytes
    admin_token: str

    def __init__(self, path: Path, *, secret_key_file: Path | None = None) -> None:
        self.path = path.absolute()
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

    def part(self, name: str) -> Path:
        """The folder of one part of the system inside this one, made on first use."""
        return private_folder(self.path / name)

    def _open(self) -> None:
        self._check_format()
        self.installation = self._installation()
        self.secret_key = self._secret_key()
        self.admin_token = self._token("admin.token")

    def _check_format(self) -> None:
        path = self.path / "format"
        try:
            found = int(self._content("format", b"%d\n" % FORMAT))
        except ValueError:
            raise DataFileDamaged(path, "a number") from None
        if found > FORMAT:
            raise DataFolderTooNew(self.path, found)

    def _installation(self) -> str:
        try:
            return str(uuid.UUID(self._content("installation", f"{uuid.uuid4()}\n".encode()).decode().strip()))
        except ValueError:
            raise DataFileDamaged(self.path / "installation", "a UUID") from None

    def _secret_key(self) -> bytes:
        path = self._secret_key_file or self.path / "secret.key"
        if self._secret_key_file is None:
            key = self._content("secret.key", secrets.token_bytes(KEY_BYTES))
        elif path.exists():
            key = read_private(path)
        else:
            raise SecretKeyMissing(path)
        if len(key) != KEY_BYTES:
            raise DataFileDamaged(path, f"{KEY_BYTES} bytes")
        return key

    def _token(self, name: str) -> str:
        try:
            token = self._content(name, f"bst_{secrets.token_urlsafe(32)}\n".encode()).decode("ascii").strip()
        except UnicodeDecodeError:
            token = ""
        if len(token) < 32:
            raise DataFileDamaged(self.path / name, "a token of at least 32 characters")
        return token

    def _content(self, name: str, initial: bytes) -> bytes:
        """What the file holds, which is `initial` where there was none."""
        path = self.path / name
        if not path.exists():
            write_private(path, initial)
        return read_private(path)


def holder_of(path: Path) -> int | None:
    """The pid of the process that uses the data folder at `path` now, None when nobody does."""
    return FileLock(path / "lock").holder()


def _refuse_foreign(path: Path) -> None:
    """A folder of ours has a format file; what may be in it before is the lock, and what a new file system brings."""
    early = re.compile(r"lock|lost\+found|\.format\..*")
    if not (path / "format").exists() and not all(early.fullmatch(entry.name) for entry in path.iterdir()):
        raise DataFolderForeign(path)
