"""An event, and whether a workflow wants it; and what a build says of its event in its environment."""

from __future__ import annotations

from uuid import UUID

from buildsys.core.forge import Push
from buildsys.core.glob import Glob
from buildsys.core.workflow import Workflow
from buildsys.core.workflow_events import PUSH


def match(workflow: Workflow, push: Push) -> str | None:
    """None if the workflow wants the push, else why it does not, such as `branch 'x' matches none of: main`."""
    wanted = workflow.on.push
    if wanted is None:
        return f"it runs on {', '.join(workflow.on.names)}, not on {PUSH}"
    branch = repr(push.branch)
    if wanted.branches is not None:
        last = _last_match(wanted.branches, push.branch)
        if last is None:
            return f"branch {branch} matches none of: {', '.join(wanted.branches)}"
        return f"branch {branch} is excluded by {last}" if last.startswith("!") else None
    if wanted.branches_ignore is not None:
        last = _last_match(wanted.branches_ignore, push.branch)
        return f"branch {branch} is ignored by {last}" if last is not None and not last.startswith("!") else None
    return "it wants tags only" if wanted.tags else None


def default_env(
    *, build_id: UUID | str, build_number: int, project: str, commit: str, branch: str, event: str
) -> dict[str, str]:
    """The variables of every step that say which build it is part of.

    `GITHUB_ACTIONS` is not among them: programs that see it print commands that only GitHub's own runner understands.
    """
    return {
        "CI": "true",
        "BUILDSYS": "true",
        "BUILDSYS_BUILD_ID": str(build_id),
        "BUILDSYS_BUILD_NUMBER": str(build_number),
        "BUILDSYS_PROJECT": project,
        "BUILDSYS_COMMIT": commit,
        "BUILDSYS_BRANCH": branch,
        "BUILD_ID": str(build_id),
        "PROJECT_KEY": project,
        "BRANCH_TO_BUILD": branch,
        "GITHUB_SHA": commit,
        "GITHUB_REF": f"refs/heads/{branch}",
        "GITHUB_REF_NAME": branch,
        "GITHUB_EVENT_NAME": event,
        "GITHUB_REPOSITORY": project,
    }


def _last_match(patterns: tuple[str, ...], branch: str) -> str | None:
    """The last of the patterns that fits, with its `!`."""
    fitting = (pattern for pattern in reversed(patterns) if Glob.parse(pattern.removeprefix("!")).matches(branch))
    return next(fitting, None)
