"""The working tree of a folder as a commit that runners can fetch: tracked and untracked files, as they are now.

Nothing is written to the folder or its repository. Index and new objects are in a repository of our own, which borrows
the objects that are there already. Files that git ignores are left out, as a push would; so are other repositories in
the folder, but for submodules, which stay what they are. A tree without changes is its own last commit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from buildsys.core.forge_address import ForgeAddress, address_of
from buildsys.errors import Invalid, SourceError

AUTHOR = ("buildsys run", "buildsys@localhost")
"""Who makes the commits that stand for changed trees; when, is the epoch: the same tree is the same commit."""

NO = 1
"""How git ends where what is asked for is not there; with 128 where something is wrong."""

NO_REPOSITORY = "not a git repository"
"""What it says of any other folder."""


class WorkingTree(msgspec.Struct, frozen=True, kw_only=True):
    """A folder as `commit` of the repository `url`, where it is the head of `branch`.

    `head` is the commit that it was made from, None where there is none; `message` and `author` are that one's.
    `address` is that of the remote `origin`, as far as it says one.
    `left_out` are the repositories in the folder.
    """

    root: Path
    url: str
    commit: str
    branch: str
    head: str | None
    message: str
    author: str
    email: str
    default_branch: str
    address: ForgeAddress
    left_out: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether it differs from its last commit, or has none."""
        return self.commit != self.head


def root_of(folder: Path) -> Path:
    """The top of the git repository that the folder is in, or else the folder.

    Raises `SourceError` without git, and `Invalid` where git does not want to read the repository, as one of another
    owner.
    """
    said = _Git(folder).ask("rev-parse", "--show-toplevel")
    return Path(said) if said else folder


def read_working_tree(root: Path, own: Path) -> WorkingTree:
    """The tree of `root`, a repository's top or any other folder; `own` is a new folder for what must be written.

    Raises `SourceError` with what git says, also where there are no files.
    """
    user = _Git(root)
    store = own / "repository"
    kind = user.ask("rev-parse", "--show-object-format") or "sha1"
    user.run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(store))
    theirs = user.ask("rev-parse", "--absolute-git-dir") if (root / ".git").exists() else ""
    if theirs:
        _borrow(user, store, own / "index")
    git = user.writing(store=store, index=own / "index", git_dir=theirs or str(store))
    left_out = _add_files(git)
    head = (user.ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}") if theirs else "") or None
    tree = git.run("write-tree")
    if not git.ask("ls-tree", "--name-only", tree):
        raise SourceError(f"there are no files to build in {root}")
    is_same = head is not None and git.run("rev-parse", f"{head}^{{tree}}") == tree
    commit = head if head and is_same else _commit(git, tree, head)
    branch = (user.ask("symbolic-ref", "--quiet", "--short", "HEAD") if theirs else "") or "main"
    _Git(store).run("--git-dir", str(store), "update-ref", f"refs/heads/{branch}", commit)
    address = address_of(user.ask("config", "--get", "remote.origin.url") if theirs else "", name=f"local/{root.name}")
    known = user.ask("log", "-1", "--format=%an%n%ae%n%B", head).split("\n", 2) if head else []
    name, email, message = [*known, "", "", ""][:3]
    default = user.ask("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD") if theirs else ""
    return WorkingTree(
        root=root,
        url=store.as_uri(),
        commit=commit,
        branch=branch,
        head=head,
        message=message.strip(),
        author=name,
        email=email,
        default_branch=default.removeprefix("origin/") or "main",
        address=address,
        left_out=left_out,
    )


def _borrow(user: _Git, store: Path, index: Path) -> None:
    """Have the objects of the user's repository in ours, and a copy of its index, which knows what is unchanged."""
    common = Path(user.run("rev-parse", "--path-format=absolute", "--git-common-dir"))
    (store / "objects" / "info" / "alternates").write_text(f"{common / 'objects'}\n")
    if (common / "shallow").exists():
        shutil.copyfile(common / "shallow", store / "shallow")
    theirs = Path(user.run("rev-parse", "--path-format=absolute", "--git-path", "index"))
    if theirs.exists():
        shutil.copy2(theirs, index)  # with its time: what changed since then git looks into, whatever its size says


def _add_files(git: _Git) -> tuple[str, ...]:
    """Put all files into the index; returns the folders left out, which are repositories."""
    listed = git.raw("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    names = [name for name in listed.split(b"\0") if name]
    files = [name for name in names if not name.endswith(b"/")]
    given = b"".join(name + b"\0" for name in files)
    git.raw("update-index", "--add", "--remove", "--ignore-skip-worktree-entries", "-z", "--stdin", given=given)
    return tuple(os.fsdecode(name) for name in names if name.endswith(b"/"))


def _commit(git: _Git, tree: str, head: str | None) -> str:
    return git.run("commit-tree", tree, *(("-p", head) if head else ()), "-m", "The working tree, with its changes")


class _Git:
    """The user's own git in a folder, with their settings; nothing of it writes there."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        # A hook, such as pre-push, has variables set that would lead elsewhere.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or "CONFIG" in key}
        self._environ = environ or clean | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}

    def writing(self, *, store: Path, index: Path, git_dir: str) -> _Git:
        """The same, with index and new objects in places of our own."""
        name, email = AUTHOR
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _signed(name, email)}
        places = {
            "GIT_DIR": git_dir,
            "GIT_WORK_TREE": str(self._folder),
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(store / "objects"),
        }
        return _Git(self._folder, {**self._environ, **who, **places})

    def ask(self, *arguments: str) -> str:
        """What it prints, empty where it says no, or that there is no repository; all else is `Invalid`."""
        ended = self._call(arguments, b"")
        if ended.returncode == 0:
            return ended.stdout.decode(errors="surrogateescape").strip()
        said = ended.stderr.decode(errors="replace").strip()
        if ended.returncode != NO and NO_REPOSITORY not in said:
            raise Invalid(f"the repository of {self._folder} cannot be read: {said or 'git failed'}")
        return ""

    def run(self, *arguments: str) -> str:
        """What it prints; a failure is a `SourceError`."""
        return self.raw(*arguments).decode(errors="surrogateescape").strip()

    def raw(self, *arguments: str, given: bytes = b"") -> bytes:
        ended = self._call(arguments, given)
        if ended.returncode != 0:
            said = ended.stderr.decode(errors="replace").strip()
            raise SourceError(f"the working tree of {self._folder} cannot be read: {said or 'git failed'}")
        return ended.stdout

    def _call(self, arguments: tuple[str, ...], given: bytes) -> subprocess.CompletedProcess[bytes]:
        options = ("core.splitIndex=false", "core.fsmonitor=false", "core.looseCompression=0", "commit.gpgSign=false")
        words = ["git", *(word for option in options for word in ("-c", option)), *arguments]
        try:
            return subprocess.run(words, cwd=self._folder, env=self._environ, input=given, capture_output=True)
        except FileNotFoundError:
            raise SourceError("git is not installed on this machine") from None


def _signed(name: str, email: str) -> tuple[tuple[str, str], ...]:
    return (("NAME", name), ("EMAIL", email), ("DATE", "@0 +0000"))
