"""Everything that buildsys raises on purpose.

    BuildsysError                 what happened, a stable code, an HTTP status
    ├── NotFound                  404  no such thing, or none that the caller may see
    ├── Conflict                  409  the thing's state does not allow it
    ├── Invalid                   422  the caller's input is wrong; says which part
    │   └── WorkflowError              the workflow file is wrong; says file, line and column
    ├── Unauthorized              401  no valid credentials
    ├── Forbidden                 403  valid credentials, but not for this
    ├── SourceError               502  the repository could not be read
    │   └── NoSuchCommit          422  it could, and has no such branch or commit
    ├── DriverError               502  the engine refused or failed
    │   ├── ImageUnusable              the image is missing or cannot run steps
    │   ├── ContainerRefused           the job asks of its containers what cannot be had here
    │   │   ├── ImageNotBuilt          the project's own files make no image
    │   │   └── ServiceFailed          a service of the job does not start or is not healthy
    │   └── ContainerAlive             something of a removed container could not be proven gone
    ├── Unavailable               503  a part of the system is away; try again
    └── SetupError                500  the installation is wrong; says the way out

A step that exits 1 is a result, not an error: nothing here speaks of it.
"""

from __future__ import annotations

from typing import ClassVar


class BuildsysError(Exception):
    """An error with a message for people, a `code` for programs and an HTTP `status`."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500


class NotFound(BuildsysError):
    code = "not_found"
    status = 404


class Conflict(BuildsysError):
    code = "conflict"
    status = 409


class Invalid(BuildsysError):
    code = "invalid"
    status = 422


class WorkflowError(Invalid):
    """A workflow file that cannot be used. `errors` is all that is wrong with it, in the file's order.

    Each begins with `file:line:column:`; the message is the first, and says how many more there are.
    """

    code = "invalid_workflow"

    def __init__(self, *errors: str) -> None:
        first, *more = errors
        super().__init__(f"{first} (and {len(more)} more)" if more else first)
        self.errors = errors


class Unauthorized(BuildsysError):
    code = "unauthorized"
    status = 401


class Forbidden(BuildsysError):
    code = "forbidden"
    status = 403


class SourceError(BuildsysError):
    """The repository, the branch or the commit could not be read; never contains a credential."""

    code = "source_error"
    status = 502


class NoSuchCommit(SourceError):
    """The repository has no such branch or commit, as far as it shows."""

    code = "no_such_commit"
    status = 422


class DriverError(BuildsysError):
    code = "driver_error"
    status = 502


class ImageUnusable(DriverError):
    code = "image_unusable"


class ContainerRefused(DriverError):
    """The job's own doing, not ours: it fails."""

    code = "container_refused"


class ImageNotBuilt(ContainerRefused):
    code = "image_not_built"


class ServiceFailed(ContainerRefused):
    code = "service_failed"


class ContainerAlive(DriverError):
    code = "container_alive"


class Unavailable(BuildsysError):
    code = "unavailable"
    status = 503


class SetupError(BuildsysError):
    """The installation cannot run as it is; the message names the thing and the way out."""

    code = "setup_error"


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others in its TaskGroup stop."""
    error = errors.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
