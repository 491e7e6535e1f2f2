"""What is known of a forge from the URL of a repository, or from what the forge sends."""

from __future__ import annotations

from typing import Any

import pytest

from buildsys.core.forge_address import ForgeAddress, address_in, address_of, api_url, graphql_url

USUAL = ForgeAddress(server="https://usual.example", repository="usual/name")


@pytest.mark.parametrize(
    ("url", "server", "repository"),
    [
        ("https://github.com/acme/web.git", "https://github.com", "acme/web"),
        ("https://github.com/acme/web", "https://github.com", "acme/web"),
        ("http://127.0.0.1:3000/acme/web.git/", "http://127.0.0.1:3000", "acme/web"),
        ("https://ann@forge.example/group/part/web.git", "https://forge.example", "group/part/web"),
        ("git@github.com:acme/web.git", "https://github.com", "acme/web"),
        ("forge.example:acme/web", "https://forge.example", "acme/web"),
        ("ssh://git@forge.example:2222/acme/web.git", "https://forge.example", "acme/web"),
        ("git://forge.example/acme/web", "https://forge.example", "acme/web"),
        ("file:///srv/git/web.git", "", "shop"),
        ("/srv/git/web.git", "", "shop"),
        ("", "", "shop"),
    ],
)
def test_of_a_url(url: str, server: str, repository: str) -> None:
    assert address_of(url, name="shop") == ForgeAddress(server=server, repository=repository)


@pytest.mark.parametrize(
    ("said", "server", "repository"),
    [
        ({"full_name": "a/b", "html_url": "https://ghe.example/sub/a/b"}, "https://ghe.example/sub", "a/b"),
        ({"full_name": "a/b", "html_url": "javascript:x/a/b"}, USUAL.server, "a/b"),
        ({"full_name": "a/b", "html_url": "https://ghe.example/c/d"}, USUAL.server, "a/b"),
        ({"full_name": "a/b"}, USUAL.server, "a/b"),
        ({"full_name": 1, "html_url": ["https://x"]}, USUAL.server, USUAL.repository),
        (None, USUAL.server, USUAL.repository),
        ("a/b", USUAL.server, USUAL.repository),
    ],
)
def test_in_a_payload(said: Any, server: str, repository: str) -> None:
    assert address_in({"repository": said}, USUAL) == ForgeAddress(server=server, repository=repository)


def test_where_the_apis_answer() -> None:
    assert (api_url("https://github.com"), graphql_url("https://github.com")) == (
        "https://api.github.com",
        "https://api.github.com/graphql",
    )
    assert (api_url("https://f.example"), graphql_url("https://f.example")) == (
        "https://f.example/api/v3",
        "https://f.example/api/graphql",
    )
