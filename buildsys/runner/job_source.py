"""The repository of a job, fetched into the part of the job's folder that is the runner's own.

There no step can change what git reads, and so none has this host's git do anything. What was fetched is then moved to
where the job sees it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from buildsys.core.assignment import Source
from buildsys.core.git import Revision
from buildsys.errors import SourceError
from buildsys.runner.git import GitFetch
from buildsys.runner.removal import remove_tree


class JobSource:
    """Fetches a job's commit, and other revisions of its repository. `source` is None where it has none.

    What it returns is a folder that any user may change, to be moved before the next call.
    """

    def __init__(self, *, source: Source | None, private: Path, allow_local: bool) -> None:
        self._source = source
        self._near = private / "source"
        self._git = GitFetch(allow_local=allow_local)

    async def commit(self) -> Path:
        """The job's own commit, without its history. Raises `SourceError`."""
        fresh = await self._fresh()
        await self._git.checkout(self._known, fresh)
        return _opened(fresh)

    async def revision(self, revision: Revision) -> Path:
        """Another revision, or the same, again or with its history. Raises `SourceError`."""
        if revision == Revision(ref=self._known.commit):
            return await self.commit()
        fresh = await self._fresh()
        await self._git.checkout_revision(self._known, revision, fresh)
        return _opened(fresh)

    @property
    def _known(self) -> Source:
        if self._source is None:
            raise SourceError("there is no repository here to fetch it from")
        return self._source

    async def _fresh(self) -> Path:
        await asyncio.to_thread(remove_tree, self._near)
        self._near.mkdir(mode=0o700)
        return self._near / "tree"


def _opened(folder: Path) -> Path:
    folder.chmod(0o777)
    return folder
