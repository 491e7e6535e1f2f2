"""How we call git on a repository that we do not trust: what is checked, the environment, the credential.

Every git process of ours gets its whole configuration from `environment`: nothing of the host's or the user's own
configuration counts, no hook runs, no transport but the named ones is used, no password is ever asked of a person. The
credential comes through a pipe, and only for the repository's own scheme and host: a redirect elsewhere gets nothing.
So it is in no URL, argument, environment, file or message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from urllib.parse import urlsplit

import msgspec

from buildsys.core.assignment import Credential, Source
from buildsys.errors import SourceError


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be fetched of a repository: a branch, a tag, a complete ref, or a commit by its full name.

    `depth` commits of its history; 0 is all of it, and all branches and tags of the repository with theirs.
    """

    ref: str
    depth: int = 1
    tags: bool = False


REMOTE_SCHEMES = ("http", "https", "ssh", "git")
INHERITED = (
    *("PATH", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"(?!-)(?!.*(?:\.\.|@\{|//|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![./])")
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!-)[^\x00-\x20\x7f]+")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:]+")


def check_source(source: Source, *, allow_local: bool = False) -> None:
    """Refuse a source that git must not see: raises `SourceError` that names the part and the reason.

    Local repositories (`/path` and `file://`) read the runner's own disk, so they are the administrator's to allow.
    """
    check_url(source.url, allow_local=allow_local)
    check_commit(source.commit)
    if source.ref is not None:
        check_ref(source.ref)
    if source.credential is not None:
        credential_lines(source.credential)


def check_url(url: str, *, allow_local: bool = False) -> None:
    """Accept http, https, ssh and git URLs and `user@host:path`; raise `SourceError`, without the URL, for others.

    Only ssh URLs may name a user. Elsewhere a user name may be a token, and URLs are shown, stored and logged.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise SourceError("the repository's URL contains a space or a control character")
    if url.startswith(("/", "file://")):
        if allow_local:
            return
        raise SourceError("local repositories are not allowed here; an administrator may allow them for this runner")
    if _SCP_LIKE.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        host, user, secret, _ = parts.hostname, parts.username, parts.password, parts.port
    except ValueError:  # whose text may repeat a part of a password
        raise SourceError("the repository's URL is malformed: it has no valid host and port") from None
    if parts.scheme not in REMOTE_SCHEMES or "::" in url.partition("//")[0]:
        raise SourceError(f"the repository's URL must begin with one of {', '.join(REMOTE_SCHEMES)}")
    if secret is not None or (user is not None and parts.scheme != "ssh"):
        raise SourceError(
            "the repository's URL contains a user name, token or password; leave it out and store it as the project's "
            "credential: --username NAME --password-stdin"
        )
    if host is None or not _HOST.fullmatch(host) or (user or "").startswith("-"):
        raise SourceError("the repository's URL has no valid host")


def check_commit(commit: str) -> None:
    """A commit is its full hexadecimal name, SHA-1 or SHA-256, in lower case."""
    if not is_commit(commit):
        raise SourceError(f"not a commit: {commit[:80]!r}")


def is_commit(ref: str) -> bool:
    return _COMMIT.fullmatch(ref) is not None


def check_ref(ref: str) -> None:
    """A branch, tag or full ref by the rules of `git check-ref-format`, and never something git reads as an option."""
    if not _REF.fullmatch(ref) or any(part.startswith(".") for part in ref.split("/")) or ref.startswith("/"):
        raise SourceError(f"not a branch or tag: {ref[:80]!r}")


def environment(
    *,
    inherited: Mapping[str, str],
    home: PurePath,
    url: str,
    allow_local: bool = False,
    credential_fd: int | None = None,
) -> dict[str, str]:
    """The complete environment of a git process; of `inherited` only `INHERITED` is taken.

    `credential_fd` is the reading end of a pipe that the process inherits and that holds `credential_lines`.
    """
    settings = {
        "core.hooksPath": "/dev/null",
        "transfer.fsckObjects": "true",
        "submodule.recurse": "false",
        "advice.detachedHead": "false",
        "gc.auto": "0",
        "credential.helper": "",
    }
    if credential_fd is not None:
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        settings[f"credential.{site}.helper"] = f'!f() {{ test "$1" != get || cat /dev/fd/{credential_fd}; }}; f'
    variables = {name: inherited[name] for name in INHERITED if name in inherited}
    variables |= {
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": ":".join((*REMOTE_SCHEMES, *(("file",) if allow_local else ()))),
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def credential_lines(credential: Credential) -> bytes:
    """The credential in the words of git's credential protocol, see gitcredentials(7)."""
    if any(character in credential.username + credential.password for character in "\n\r\0"):
        raise SourceError("the repository's credential contains a line break or a NUL")
    return f"username={credential.username}\npassword={credential.password}\n".encode()


def redact(text: str, credential: Credential | None) -> str:
    """`text` without the password and without user names in URLs."""
    if credential is not None and credential.password:
        text = text.replace(credential.password, "***")
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
