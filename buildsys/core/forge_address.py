"""Where a repository is among those of its forge, and where the forge answers.

Source: `repository`, `server_url`, `api_url` and `graphql_url` of the `github` context in GitHub's contexts reference;
what is not on github.com has the addresses of a GitHub Enterprise Server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

GITHUB = "https://github.com"

_PATH = r"(?P<path>[^/].*?)(?:\.git)?/*"
_WEB = re.compile(rf"(?P<server>https?://)(?:[^/@]*@)?(?P<host>[^/@]+)/+{_PATH}")
_SSH = re.compile(rf"(?:(?:ssh|git)://(?:[^/@]*@)?(?P<host>[^/:@]+)(?::\d+)?/+){_PATH}")
_SCP = re.compile(rf"(?:[^/@:]+@)?(?P<host>[^/:@]+):(?!//)/*{_PATH}")


class ForgeAddress(msgspec.Struct, frozen=True, kw_only=True):
    """`repository` is `OWNER/NAME`; `server` the forge's URL without a `/` at its end, empty where it is not known."""

    server: str
    repository: str


def address_of(url: str, *, name: str) -> ForgeAddress:
    """What a repository's URL says; of one that is on no forge, such as a folder, that it is called `name`."""
    found = _WEB.fullmatch(url) or _SSH.fullmatch(url) or _SCP.fullmatch(url)
    if found is None:
        return ForgeAddress(server="", repository=name)
    scheme = found.groupdict().get("server", "https://")
    return ForgeAddress(server=f"{scheme}{found['host']}", repository=found["path"])


def address_in(payload: Mapping[str, Any], usual: ForgeAddress) -> ForgeAddress:
    """What an event's payload says of its repository; what it does not say is as `usual`."""
    repository = payload.get("repository")
    said = repository if isinstance(repository, Mapping) else {}
    name, page = (value if isinstance(value := said.get(key), str) else "" for key in ("full_name", "html_url"))
    is_page = name and page.startswith(("https://", "http://")) and page.endswith(f"/{name}")
    server = page.removesuffix(f"/{name}") if is_page else usual.server
    return ForgeAddress(server=server, repository=name or usual.repository)


def api_url(server: str) -> str:
    """Where a forge's REST API answers."""
    return "https://api.github.com" if server == GITHUB else f"{server}/api/v3"


def graphql_url(server: str) -> str:
    """Where a forge's GraphQL API answers."""
    return "https://api.github.com/graphql" if server == GITHUB else f"{server}/api/graphql"
