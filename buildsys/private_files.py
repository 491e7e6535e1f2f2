"""Files and folders that only their owner may read, and a lock that dies with its holder.

SetupError
├── FolderFull            no space, or no quota, left
├── FolderReadOnly        the file system takes no writes
├── FolderNotPermitted    it belongs to someone else, or may not be entered
├── NotAFolder            a file stands where a folder is needed
└── FileExposed           others than the owner may read it
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from buildsys.errors import SetupError


class FolderError(SetupError):
    """A path cannot be used; `path` is the one."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class FolderFull(FolderError):
    code = "folder_full"

    def __init__(self, path: Path) -> None:
        super().__init__(path, f"No space is left for {path}: free some, or choose another disk with --data-dir.")


class FolderReadOnly(FolderError):
    code = "folder_read_only"

    def __init__(self, path: Path) -> None:
        super().__init__(path, f"{path} is on a read-only file system: choose another folder with --data-dir.")


class FolderNotPermitted(FolderError):
    code = "folder_not_permitted"


class NotAFolder(FolderError):
    code = "not_a_folder"

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, f"{path} needs folders all the way, and one of them is a file: choose another --data-dir."
        )


class FileExposed(FolderError):
    code = "file_exposed"

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(
            path,
            f"{path} holds a secret and has mode {mode:04o}, which lets others read or change it: chmod 600 it, "
            "and replace the secret if others use this machine.",
        )


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about `path` into the named ones above; others pass."""
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                raise FolderFull(path) from error
            case errno.EROFS:
                raise FolderReadOnly(path) from error
            case errno.ENOTDIR | errno.EEXIST:
                raise NotAFolder(path) from error
            case errno.EACCES | errno.EPERM:
                message = f"User {os.geteuid()} may not use {path}: chown it, or choose another folder with --data-dir."
                raise FolderNotPermitted(path, message) from error
            case _:
                raise


def private_folder(path: Path) -> Path:
    """Make the folder, and its parents, unless it is there; prove that it is ours and close it to everyone else.

    Raises FolderNotPermitted for a symbolic link and for a folder of another user, whatever its mode.
    """
    with named_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if check_own_folder(path).st_mode & 0o077:
            path.chmod(0o700)
    return path


def check_own_folder(path: Path) -> os.stat_result:
    """What the file system says of a folder of ours; raises FolderNotPermitted and NotAFolder for anything else."""
    with named_errors(path):
        found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise FolderNotPermitted(path, f"{path} is a symbolic link, which others could turn: give the real folder.")
    if not stat.S_ISDIR(found.st_mode):
        raise NotAFolder(path)
    if found.st_uid != os.geteuid():
        raise FolderNotPermitted(
            path,
            f"{path} belongs to user {found.st_uid}, and this is user {os.geteuid()}: chown it, run as its owner, "
            "or choose another folder with --data-dir.",
        )
    return found


def write_private(path: Path, content: bytes) -> None:
    """Put the file there whole or not at all, mode 0600, on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with named_errors(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """The content of a secret file; FileExposed where others may read it or the group may write it."""
    with named_errors(path), path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o037:
            raise FileExposed(path, mode)
        return file.read()


def sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLock:
    """An exclusive `flock` on a file that holds its holder's pid.

    The kernel lets go of it when the holder dies, however it dies: a held lock means a living process, and the pid in
    it is never stale.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock and write our pid into the file; False when another holds it.

        One that only looks, as `holder` does, has it for an instant: that is waited out, for 50 ms at most.
        """
        with named_errors(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if not _locked(descriptor):
                    os.close(descriptor)
                    return False
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except OSError:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The pid of the living process that holds it, None when nobody does, 0 while the holder is writing its pid."""
        try:
            with named_errors(self.path):
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotAFolder):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(descriptor, 20, 0).strip() or 0)
        else:
            return None
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)
        else:
            return True
    return False
