"""Accounts and projects."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID, uuid4

import msgspec

from actors import Database
from buildsys.core.assignment import Credential
from buildsys.core.project import Project, ProjectSettings
from buildsys.errors import Conflict, NotFound
from buildsys.store.cipher import Cipher
from buildsys.store.queries import QUERIES

DEFAULT_ACCOUNT = "default"


class Projects:
    """Projects by name. Their secrets are encrypted in the database and plain in what is returned."""

    def __init__(self, *, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    async def create(self, name: str, settings: ProjectSettings) -> Project:
        """Make a project with a webhook secret of its own. Raises `Conflict` where the name is taken."""
        account = await self._database.one(QUERIES["account_ensure"], id=uuid4(), name=DEFAULT_ACCOUNT)
        assert account is not None
        id = uuid4()
        row = await self._database.one(
            QUERIES["project_insert"],
            id=id,
            account=account["id"],
            name=name,
            repository=settings.repository,
            image=settings.image,
            build_command=settings.build_command,
            deploy_command=settings.deploy_command,
            max_running=settings.max_running,
            trusted=settings.trusted,
            webhook_secret=self._cipher.encrypt(secrets.token_hex(32).encode(), owner=id),
            credential=self._seal(settings.credential, id),
        )
        if row is None:
            raise Conflict(f"there is a project named {name!r} already")
        return self._project(row)

    async def update(self, name: str, settings: ProjectSettings) -> Project:
        """Replace a project's settings. Raises `NotFound`."""
        project = await self.get(name)
        row = await self._database.one(
            QUERIES["project_update"],
            name=name,
            repository=settings.repository,
            image=settings.image,
            build_command=settings.build_command,
            deploy_command=settings.deploy_command,
            max_running=settings.max_running,
            trusted=settings.trusted,
            credential=self._seal(settings.credential, project.id),
        )
        if row is None:
            raise NotFound(f"there is no project named {name!r}")
        return self._project(row)

    async def get(self, name: str) -> Project:
        """Raises `NotFound`."""
        row = await self._database.one(QUERIES["project_get"], name=name)
        if row is None:
            raise NotFound(f"there is no project named {name!r}")
        return self._project(row)

    async def by_id(self, id: UUID) -> Project:
        """Raises `NotFound`."""
        row = await self._database.one(QUERIES["project_by_id"], id=id)
        if row is None:
            raise NotFound(f"there is no project {id}")
        return self._project(row)

    async def list(self, *, after: str = "", size: int = 100) -> list[tuple[Project, dict[str, Any] | None]]:
        """Projects by name behind `after`, each with its latest build in short."""
        rows = await self._database.many(QUERIES["project_list"], after=after, size=size)
        return [(self._project(row), _latest(row)) for row in rows]

    async def delete(self, name: str) -> None:
        """Remove a project with its history. Raises `NotFound`, and `Conflict` while a build is on its way."""
        if await self._database.one(QUERIES["project_delete"], name=name) is None:
            await self.get(name)
            raise Conflict(f"project {name!r} still has builds on their way; cancel them or wait for their end")

    async def limit_account(self, max_running: int | None) -> None:
        """Set how many builds of the account may run at once; None is no limit of its own."""
        await self._database.execute(
            QUERIES["account_limit"], id=uuid4(), name=DEFAULT_ACCOUNT, max_running=max_running
        )

    def _seal(self, credential: Credential | None, owner: UUID) -> bytes | None:
        return None if credential is None else self._cipher.encrypt(msgspec.json.encode(credential), owner=owner)

    def _project(self, row: Any) -> Project:
        sealed = row["credential"]
        return Project(
            id=row["id"],
            account=row["account"],
            name=row["name"],
            settings=ProjectSettings(
                repository=row["repository"],
                image=row["image"],
                build_command=row["build_command"],
                deploy_command=row["deploy_command"],
                max_running=row["max_running"],
                trusted=row["trusted"],
                credential=sealed
                and msgspec.json.decode(self._cipher.decrypt(sealed, owner=row["id"]), type=Credential),
            ),
            webhook_secret=self._cipher.decrypt(row["webhook_secret"], owner=row["id"]).decode(),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def _latest(row: Any) -> dict[str, Any] | None:
    if row["build"] is None:
        return None
    return {
        "id": row["build"],
        "number": row["number"],
        "state": row["state"],
        "outcome": row["outcome"],
        "queued_at": row["queued_at"],
    }
