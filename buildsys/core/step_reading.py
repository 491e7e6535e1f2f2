"""The steps of a job or of a composite action."""

from __future__ import annotations

import re

from buildsys.core.built_in import CHECKOUT, DOCKER, SHELLS, lacking_action, lacking_shell
from buildsys.core.definition import Script, Step, Template, Uses
from buildsys.core.expression_shapes import STEP as STEP_SHAPE
from buildsys.core.expression_shapes import Shape
from buildsys.core.expression_tokens import OPEN
from buildsys.core.findings import Rule
from buildsys.core.injection import DIRECTORY, SCRIPT, SHELL
from buildsys.core.template_reading import TemplateReader, properties
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Sequence

MAX_MINUTES = 7200
"""Five days: the longest that GitHub lets a job run, by its usage limits for self-hosted runners."""

ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
ID_RULE = "is at most 100 letters, digits, - and _, begins with a letter or _, and not with __, which is reserved"

_SCRIPT_SHELL = "zx"
"""What `script` is for, as in serverless-cd, unless the step says another `shell`."""

_STEP = ("id", "name", "if", "env", "continue-on-error")
_SCRIPT = ("run", "script", "shell", "working-directory")
_USES = ("uses", "with")
_LATER = ("background", "wait", "wait-all", "cancel")

_LOCAL = re.compile(r"[.$](?:/(?!\.\.?(?:/|$))[^/\s@]+)*/?")
_REMOTE = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+(?:/[^@\s]+)?@[^@\s]+")

_CHECKOUT_INPUTS = (
    *("clean", "fetch-depth", "fetch-tags", "filter", "github-server-url", "lfs", "path", "persist-credentials"),
    *("ref", "repository", "set-safe-directory", "show-progress", "sparse-checkout", "sparse-checkout-cone-mode"),
    *("ssh-key", "ssh-known-hosts", "ssh-strict", "ssh-user", "submodules", "token"),
)


def read_steps(reader: TemplateReader, field: Field, *, within: str) -> tuple[Step, ...]:
    """Read the steps; `within` is the key of their places, `jobs.<job_id>.steps` or `runs.steps`.

    Each step's expressions know the steps before it, and those of the scope around them know all.
    """
    items = reader.items(field, expected="a list of steps")
    if isinstance(field.value, Sequence) and not items:
        reader.error(field.value, field.path, "expected at least one step")
    around = reader.scope
    lines: dict[str, int] = {}
    known: dict[str, Shape] = {}
    steps = []
    for item in items:
        reader.scope = around.new_child({"steps": properties(known)})
        step = _StepReader(reader, item, within).read(lines)
        if step.id is not None:
            known[step.id] = STEP_SHAPE
        steps.append(step)
    reader.scope = around
    around["steps"] = properties(known)
    return tuple(steps)


def read_shell(reader: TemplateReader, field: Field, *, place: str | None) -> Template:
    """A shell by its name, or a command with `{0}` where the script's file goes; without a `place`, no expression."""
    if place is None:
        shell = reader.text(field, expected="a shell")
    else:
        shell = reader.template(field, place=place, becomes=SHELL)
    if OPEN in shell or not shell:
        return shell
    choice = f"{', '.join(SHELLS)} or a command with {{0}}"
    if lacking := lacking_shell(shell):
        reader.error(field.value, field.path, lacking, rule=Rule.NOT_BUILT_IN)
    elif shell not in SHELLS and "{0}" not in shell:
        hint = reader.suggestion(shell, SHELLS)
        reader.error(field.value, field.path, f"unknown shell {shell[:60]!r}; expected {choice}{hint}")
    return shell


def read_id(reader: TemplateReader, field: Field, *, lines: dict[str, int]) -> str:
    """A step's id. `lines` are those of the ids before it, in lower case: they are unique without regard to case."""
    id = reader.text(field, expected="an id")
    if id and (not ID.fullmatch(id) or id.startswith("__")):
        reader.error(field.value, field.path, f"a step's id {ID_RULE}")
    elif id.lower() in lines:
        first = lines[id.lower()]
        reader.error(field.value, field.path, f"the id {id!r} stands here again; the first is on line {first}")
    else:
        lines[id.lower()] = field.value.line
    return id


class _StepReader:
    def __init__(self, reader: TemplateReader, step: Field, within: str) -> None:
        self._reader = reader
        self._step = step
        self._within = within
        self._of_action = within == "runs.steps"
        minutes = () if self._of_action else ("timeout-minutes",)
        self._fields = reader.fields(step.value, step.path, known=(*_STEP, *_SCRIPT, *_USES, *minutes), later=_LATER)

    def read(self, lines: dict[str, int]) -> Step:
        reader, fields = self._reader, self._fields
        env = reader.variables(fields.get("env"), place=self._place("env"))
        action = self._action()
        return Step(
            action=action,
            id=(read_id(reader, fields["id"], lines=lines) or None) if "id" in fields else None,
            name=reader.optional(fields, "name", place=self._place("name")),
            condition=reader.condition(fields.get("if"), place=self._place("if")),
            env=env,
            continue_on_error=reader.switch(fields.get("continue-on-error"), place=self._place("continue-on-error")),
            timeout_minutes=reader.amount(
                fields.get("timeout-minutes"), place=self._place("timeout-minutes"), above=0, to=MAX_MINUTES
            ),
        )

    def _place(self, key: str) -> str:
        return f"{self._within}.{key}"

    def _action(self) -> Script | Uses:
        wanted = [name for name in ("run", "script", "uses") if name in self._fields]
        written = {key.text for key, _ in self._step.value.entries} if isinstance(self._step.value, Mapping) else set()
        if isinstance(self._step.value, Mapping) and not wanted and written.isdisjoint(_LATER):
            self._reader.error(self._step.value, self._step.path, "missing 'run' or 'uses'")
        for extra in wanted[1:]:
            field = self._fields[extra]
            self._reader.error(field.key, field.path, f"a step has either {wanted[0]!r} or {extra!r}")
        return self._uses() if wanted[:1] == ["uses"] else self._script(wanted[0] if wanted else None)

    def _script(self, key: str | None) -> Script:
        reader, fields = self._reader, self._fields
        if key and "with" in fields:
            reader.error(fields["with"].key, fields["with"].path, "'with' belongs to a step that uses an action")
        if key == "run" and self._of_action and "shell" not in fields:
            reader.error(self._step.value, self._step.path, "missing 'shell', which a composite action's scripts need")
        run = ""
        if key:
            run = reader.template(fields[key], place=self._place("run"), expected="a script", becomes=SCRIPT)
        return Script(
            run=run,
            shell=read_shell(reader, fields["shell"], place=self._place("shell") if self._of_action else None)
            if "shell" in fields
            else _SCRIPT_SHELL
            if key == "script"
            else None,
            working_directory=reader.optional(
                fields,
                "working-directory",
                place=self._place("working-directory"),
                expected="a directory",
                becomes=DIRECTORY,
            ),
        )

    def _uses(self) -> Uses:
        reader, fields = self._reader, self._fields
        for name in ("shell", "working-directory"):
            if name in fields:
                reader.error(fields[name].key, fields[name].path, f"{name!r} belongs to a step with a script")
        written = reader.text(fields["uses"], expected="an action")
        uses = self._action_of(fields["uses"], written) if written else ""
        inputs = {}
        if "with" in fields:
            given = fields["with"]
            inputs = reader.mapped(given, place=self._place("with"), expected="a mapping of inputs")
            if uses.startswith(f"{CHECKOUT}@"):
                self._check_inputs(given)
        return Uses(uses=uses, inputs=inputs)

    def _action_of(self, field: Field, uses: str) -> str:
        """The action as it is known here: `$/PATH` is a folder of the workspace, and no case matters in OWNER/NAME."""
        reader = self._reader
        if uses.startswith(("./", "$/")):
            if _LOCAL.fullmatch(uses):
                reader.note_use(field, self._fields)
            else:
                reader.error(field.value, field.path, "expected a folder of this repository, such as ./actions/greet")
            return f".{uses[1:]}"
        if not uses.startswith(DOCKER) and not _REMOTE.fullmatch(uses):
            hint = "; write the version behind it, OWNER/NAME@REF" if "@" not in uses and "/" in uses else ""
            expected = "expected ./PATH or OWNER/NAME[/PATH]@REF"
            reader.error(field.value, field.path, f"{expected}, found {uses[:100]!r}{hint}")
        elif lacking := lacking_action(uses):
            reader.error(field.value, field.path, lacking, rule=Rule.NOT_BUILT_IN)
        else:
            return CHECKOUT + uses[len(CHECKOUT) :]
        return uses

    def _check_inputs(self, given: Field) -> None:
        names = [key for key, _ in given.value.entries] if isinstance(given.value, Mapping) else []
        for key in names:
            if key.text.lower() not in _CHECKOUT_INPUTS:
                hint = self._reader.suggestion(key.text, _CHECKOUT_INPUTS)
                message = f"{CHECKOUT} takes no such input{hint}"
                self._reader.error(key, f"{given.path}.{key.text}", message, rule=Rule.USE)
