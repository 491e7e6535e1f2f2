"""What a build is given of its project, when it starts and when a runner takes a job: the repository and secrets."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec

from buildsys.core.assignment import Assignment, Source
from buildsys.core.planned import PlannedJob
from buildsys.core.planning import BuildPlan
from buildsys.errors import BuildsysError
from buildsys.store.projects import Projects
from buildsys.store.secrets import Secrets


class SecretMissing(BuildsysError):
    """A build names secrets that are not set."""

    code = "secret_missing"
    status = 422

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(
            "; ".join(f"secret {name} is missing: set it with 'buildsys secret set {name}'" for name in names)
        )


class Provisions:
    """Reads projects and secrets."""

    def __init__(self, *, projects: Projects, secrets: Secrets) -> None:
        self._projects = projects
        self._secrets = secrets

    async def check(self, project: UUID, plan: BuildPlan) -> None:
        """Raise `SecretMissing` where the build names what is not set, unless it is to have no secrets at all."""
        if plan.secretless or not plan.secrets.required:
            return
        if missing := await self._secrets.missing(project, sorted(plan.secrets.required)):
            raise SecretMissing(missing)

    async def provide(self, assignment: Assignment, project: UUID, plan: BuildPlan, *, commit: str) -> Assignment:
        """The assignment with where its commit comes from, and with the secrets that its job names.

        A project that is trusted no more has no trusted job either, whatever was planned.
        Without a commit there is nothing to fetch: the job runs in an empty workspace. Raises `NotFound`,
        `SecretMissing`, and `SetupError` for what does not open.
        """
        settings = (await self._projects.by_id(project)).settings
        values = {} if plan.secretless else await self._values(project, assignment.job)
        ref = plan.contexts["github"]["ref"]
        source = Source(url=settings.repository, commit=commit, ref=ref, credential=settings.credential)
        job = assignment.job
        return msgspec.structs.replace(
            assignment,
            job=msgspec.structs.replace(job, trusted=job.trusted and settings.trusted),
            source=source if commit else None,
            secrets=() if settings.credential is None else (settings.credential.password,),
            named_secrets=values,
        )

    async def _values(self, project: UUID, job: PlannedJob) -> dict[str, str]:
        values = await self._secrets.named(project, job.secrets) if job.secrets else {}
        if missing := [name for name in job.secrets if name not in values and name not in job.optional_secrets]:
            raise SecretMissing(missing)
        return values
