"""The `permissions` of a workflow or a job: decoded, so that a misspelt one shows; there is no token that has them."""

from __future__ import annotations

from buildsys.core.template_reading import TemplateReader
from buildsys.core.yaml_reading import Field, kind
from buildsys.core.yaml_source import Scalar

_LEVELS = ("read", "write", "none")
_SCOPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("actions", "artifact-metadata", "attestations", "checks", "contents", "deployments", "discussions"),
            *("issues", "packages", "pages", "pull-requests", "repository-projects", "security-events", "statuses"),
        ),
        _LEVELS,
    ),
    **dict.fromkeys(("copilot-requests", "id-token"), ("write", "none")),
    **dict.fromkeys(("models", "vulnerability-alerts"), ("read", "none")),
}
"""What each scope can be given. Source: `permissions` in GitHub's workflow syntax reference and schema."""


def read_permissions(reader: TemplateReader, field: Field) -> dict[str, str]:
    """Each scope's level; `read-all` and `write-all` are that level, or what it includes, for every scope."""
    if isinstance(field.value, Scalar):
        level = field.value.text.removesuffix("-all")
        if field.value.text not in ("read-all", "write-all"):
            expected = "expected read-all, write-all or a mapping of permissions"
            reader.error(field.value, field.path, f"{expected}, found {kind(field.value)}")
        included = {"read": ("read", "none"), "write": ("write", "read", "none")}.get(level, ("none",))
        return {scope: next(level for level in included if level in levels) for scope, levels in _SCOPES.items()}
    found = {}
    for scope in reader.fields(field.value, field.path, known=_SCOPES).values():
        level = reader.text(scope, expected="a level")
        if level and level not in _SCOPES[scope.name]:
            expected = f"expected {', '.join(_SCOPES[scope.name][:-1])} or none, found {level[:60]!r}"
            reader.error(scope.value, scope.path, expected)
        found[scope.name] = level
    return found
