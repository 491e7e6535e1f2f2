"""Which secrets a workflow names, found without running anything: a job gets these and no others."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from buildsys.core.built_in import lacking_workflow
from buildsys.core.called_workflows import interface_of, path_of
from buildsys.core.definition import Call, CallInterface, Container, Environment, Job, Step, Uses, Workflow
from buildsys.core.expression_references import needed_of
from buildsys.core.expression_tokens import OPEN
from buildsys.core.expressions import ExpressionError, Node, names_of, parse_condition, parse_template
from buildsys.core.plan_values import PlanError
from buildsys.core.secret_names import GITHUB_TOKEN

ONLY_NAMED = "a job gets only the secrets it names: write secrets.NAME"


class SecretNames(msgspec.Struct, frozen=True, kw_only=True):
    """Names of secrets, in upper case since they have no case; an optional one is empty where it was never set.

    Optional is one that is only asked about, as in `secrets.NAME || 'default'` and `secrets.NAME != ''`.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    def __or__(self, other: SecretNames) -> SecretNames:
        required = self.required | other.required
        return SecretNames(required=required, optional=(self.optional | other.optional) - required)


def secrets_of_job(job: Job, workflow: Workflow) -> SecretNames:
    """What a job names as it sees them: its steps, its containers, its outputs, its own and its workflow's `env`.

    Raises `PlanError` where an expression takes `secrets` as a whole or computes a name.
    """
    return _named(_texts_of(job, workflow), [step.condition for step in job.steps], f"jobs.{job.id}")


def secrets_of_call(call: Call, interface: CallInterface, seen: SecretNames, key: str) -> SecretNames:
    """The caller's secrets that stand behind those which a called workflow has `seen`.

    Passed by name they are what the passed texts name. Inherited they keep their names, and are optional where the
    called workflow says that they are not required.
    """
    optional = {GITHUB_TOKEN} & (seen.required | seen.optional)
    if call.secrets is None:
        declared = {name.upper(): required for name, required in interface.secrets.items()}
        inherited = {name for name in seen.required if declared.get(name, True)}
        return SecretNames(required=frozenset(inherited - optional), optional=seen.optional | seen.required - inherited)
    passed = (text for name, text in call.secrets.items() if name.upper() in seen.required | seen.optional)
    return _named(passed, (), f"{key}.secrets") | SecretNames(optional=frozenset(optional))


def secrets_of_build(workflow: Workflow, called: Mapping[str, Workflow]) -> SecretNames:
    """All that the jobs of a workflow name, and those of what it calls; `called` are by path and call in no circle."""

    @functools.cache
    def of_called(path: str) -> SecretNames:
        return of_workflow(called[path])

    def of_workflow(workflow: Workflow) -> SecretNames:
        names = SecretNames()
        for job in workflow.jobs.values():
            if job.call is None:
                names |= secrets_of_job(job, workflow)
            elif lacking_workflow(job.call.uses) is None:
                path = path_of(job.call)
                names |= secrets_of_call(job.call, interface_of(called[path]), of_called(path), f"jobs.{job.id}")
        return names

    return of_workflow(workflow)


def _named(texts: Iterable[str], conditions: Iterable[str], key: str) -> SecretNames:
    nodes = list(_parsed(texts, conditions, key))
    names = names_of("secrets", nodes)
    needed = names_of("secrets", (part for node in nodes for part in needed_of(node)))
    if names is None or needed is None:
        raise PlanError(f"{key}: {ONLY_NAMED}")
    required = frozenset(name.upper() for name in needed) - {GITHUB_TOKEN}
    return SecretNames(required=required, optional=frozenset(name.upper() for name in names) - required)


def _parsed(texts: Iterable[str], conditions: Iterable[str], key: str) -> Iterator[Node]:
    try:
        yield from (parse_template(text) for text in texts if OPEN in text and _may_name(text))
        yield from (parse_condition(text) for text in conditions if _may_name(text))
    except ExpressionError as error:
        raise PlanError(f"{key}: {error}") from None


def _may_name(text: str) -> bool:
    """Whether a text may speak of secrets: to look is quicker than to parse."""
    return "secrets" in text.lower()


def _texts_of(job: Job, workflow: Workflow) -> Iterator[str]:
    yield from _variables(workflow.env)
    yield from _variables(job.env)
    yield from job.outputs.values()
    for defaults in (workflow.defaults, job.defaults):
        yield from filter(None, (defaults.shell, defaults.working_directory))
    for container in (job.container, *job.services.values()):
        if container is not None:
            yield from _container(container)
    for step in job.steps:
        yield from _step(step)


def _step(step: Step) -> Iterator[str]:
    yield from _variables(step.env)
    yield from (text for text in (step.name, step.continue_on_error, step.timeout_minutes) if isinstance(text, str))
    if isinstance(step.action, Uses):
        yield from step.action.inputs.values()
    else:
        yield from filter(None, (step.action.run, step.action.shell, step.action.working_directory))


def _container(container: Container) -> Iterator[str]:
    yield from _variables(container.env)
    if container.credentials is not None:
        yield from (container.credentials.username, container.credentials.password)


def _variables(environment: Environment) -> Iterable[str]:
    return (environment,) if isinstance(environment, str) else environment.values()
