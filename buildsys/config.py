"""Everything that can be set, in one table: the fields of `Config`.

The command's options, the environment variables and the reference page all come from it (`Config.fields()`), so none
of them can forget a setting. An option wins over its variable, and that over the default; an empty variable counts as
not set. What is a secret has no option: arguments can be read by everyone on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

import msgspec

from buildsys import settings
from buildsys.errors import SetupError
from buildsys.settings import Setting

Role = Literal["api", "orchestrator", "runner"]
DriverName = Literal["auto", "docker", "process"]
LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

ROLES: frozenset[Role] = frozenset(get_args(Role))
HIDDEN = frozenset({"token", "database_url"})  # never shown: they are a secret, or may hold one


class InvalidConfig(SetupError):
    """A setting that cannot be used; the message starts with the option or variable it came from."""

    code = "invalid_config"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as people meet it. `option` is None for a secret; `default` is what holds when it is not given."""

    name: str
    env: str
    option: str | None
    expected: str
    default: str
    help: str
    flag: bool


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process. Times are in seconds, sizes in bytes."""

    data_dir: Annotated[
        Path,
        Setting(
            "Where this installation keeps its data.",
            settings.path,
            default="$XDG_DATA_HOME/buildsys, else ~/.local/share/buildsys",
        ),
    ]
    secret_key_file: Annotated[
        Path | None, Setting("The 32 bytes that seal secrets, kept outside of the data folder.", settings.path)
    ] = None
    database_url: Annotated[
        str | None,
        Setting(
            "A Postgres (15 or newer) of your own; with a password in it, rather set the variable.", settings.database
        ),
    ] = None
    listen: Annotated[str, Setting("Where the API answers.", settings.address)] = "127.0.0.1:8080"
    public_url: Annotated[
        str,
        Setting("How people and forges reach the API; links start with it.", settings.url, default="http://LISTEN"),
    ] = ""
    roles: Annotated[frozenset[Role], Setting("What this process does.", settings.words(*get_args(Role)))] = ROLES
    driver: Annotated[
        DriverName,
        Setting(
            "What isolates builds. `process` isolates little; `auto` takes it where no Docker engine answers.",
            settings.word(*get_args(DriverName)),
        ),
    ] = "docker"
    docker_host: Annotated[
        str | None,
        Setting("The Docker engine, as in DOCKER_HOST.", settings.docker, default="DOCKER_HOST, else the usual socket"),
    ] = None
    server_url: Annotated[str | None, Setting("The API that a runner apart from it works for.", settings.url)] = None
    token: Annotated[str | None, Setting("The token a runner apart shows that API.", settings.text, secret=True)] = None
    token_file: Annotated[Path | None, Setting("A file with that token.", settings.path)] = None
    slots: Annotated[int, Setting("Jobs this runner runs at a time.", settings.count, default="the number of CPUs")] = (
        msgspec.field(default_factory=settings.cpus)
    )
    labels: Annotated[
        frozenset[str], Setting("What `runs-on` may ask of this runner, beside its driver.", settings.names)
    ] = frozenset()
    memory: Annotated[int, Setting("What the steps of a job may use of it together.", settings.size)] = 4 << 30
    cpus: Annotated[float, Setting("CPUs that a job may use.", settings.amount)] = 2.0
    pids: Annotated[int, Setting("Processes and threads that a job may have.", settings.count)] = 4096
    node_address: Annotated[
        str | None, Setting("The URL at which other nodes reach this one.", settings.url, default="public-url")
    ] = None
    max_running: Annotated[
        int, Setting("Builds that run at a time, on all runners.", settings.count, default="twice the CPUs, at least 4")
    ] = msgspec.field(default_factory=lambda: max(4, 2 * settings.cpus()))
    account_max_running: Annotated[
        int | None, Setting("Builds of one account that run at a time; all projects are one account's.", settings.count)
    ] = None
    start_concurrency: Annotated[int, Setting("Builds that are started at the same moment.", settings.count)] = 6
    time_limit: Annotated[float, Setting("How long a build may run.", settings.seconds)] = 1200.0
    startup_limit: Annotated[float, Setting("How long a job's container may take to start.", settings.seconds)] = 120.0
    runner_lost_after: Annotated[
        float, Setting("Silence after which a runner's jobs are given up.", settings.seconds)
    ] = 120.0
    grace: Annotated[float, Setting("What a canceled step gets between TERM and KILL.", settings.seconds)] = 10.0
    log_limit: Annotated[int, Setting("What the steps of a build may print; the rest is not kept.", settings.size)] = (
        1 << 30
    )
    blobs: Annotated[
        str | None,
        Setting(
            "Where logs are archived, the same for all nodes.",
            settings.blobs,
            default="a folder in the data folder, or none with --database-url",
        ),
    ] = None
    archive_after: Annotated[
        float, Setting("How long a stopped build's log stays in the database.", settings.seconds)
    ] = 600.0
    keep_logs_for: Annotated[float | None, Setting("Delete archived logs that are older.", settings.seconds)] = None
    keep_logs: Annotated[int | None, Setting("Keep so many archived logs of a project.", settings.count)] = None
    keep_log_bytes: Annotated[
        int | None, Setting("Keep archived logs of so many bytes of a project.", settings.size)
    ] = None
    default_image: Annotated[
        str, Setting("The image of jobs that name none and whose labels have none.", settings.text)
    ] = "buildpack-deps:noble"
    images: Annotated[dict[str, str], Setting("The images that stand for `runs-on` labels.", settings.pairs)] = (
        msgspec.field(default_factory=dict)
    )
    allow_local_repositories: Annotated[
        bool, Setting("Let administrators add projects from paths on this machine.", settings.switch)
    ] = False
    log_format: Annotated[
        LogFormat, Setting("How we log: `auto` is `console` on a terminal.", settings.word(*get_args(LogFormat)))
    ] = "auto"
    log_level: Annotated[LogLevel, Setting("What we log.", settings.word(*get_args(LogLevel)))] = "info"

    def __post_init__(self) -> None:
        if not self.public_url and self.port:
            anywhere = self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
            address = f"127.0.0.1:{self.port}" if anywhere else self.listen
            msgspec.structs.force_setattr(self, "public_url", f"http://{address}")

    def __repr__(self) -> str:
        """Every setting, the values of the HIDDEN ones left out."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        shown = (f"{name}={'...' if name in HIDDEN and value else repr(value)}" for name, value in values.items())
        return f"Config({', '.join(shown)})"

    @property
    def host(self) -> str:
        """The host part of `listen`, an IPv6 address without its brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @classmethod
    def load(cls, overrides: Mapping[str, object], environ: Mapping[str, str]) -> Self:
        """Settings from options (by field name, None for not given), then the environment, then the defaults.

        Raises InvalidConfig for the first one that is wrong, and for a runner that knows no API to work for.
        """
        values: dict[str, Any] = {"data_dir": settings.data_home(environ) / "buildsys"}
        for field in cls.fields():
            given = overrides.get(field.name)
            source, text = (field.option, settings.written(given)) if given is not None else (field.env, None)
            if text is None and not (text := environ.get(field.env, "")):
                continue
            try:
                values[field.name] = _SETTINGS[field.name].kind.parse(text)
            except ValueError:
                shown = "what it holds" if field.name in HIDDEN else repr(text)
                raise InvalidConfig(f"{source}: expected {field.expected}, not {shown}") from None
        if values.get("token") is None and "token_file" in values:
            values["token"] = _token(values["token_file"])
        config = cls(**values)
        if "api" not in config.roles and "runner" in config.roles and not (config.server_url and config.token):
            raise InvalidConfig(
                "A runner without the role api needs --server or BUILDSYS_SERVER_URL, and --token-file or "
                "BUILDSYS_TOKEN."
            )
        return config

    @classmethod
    def fields(cls) -> tuple[Field, ...]:
        """Every setting, in the order of this page."""
        defaults = {field.name: field.default for field in msgspec.structs.fields(cls)}
        return tuple(
            Field(
                name=name,
                env=f"BUILDSYS_{name.upper()}",
                option=None if setting.secret else f"--{name.replace('_', '-')}",
                expected=setting.kind.expected,
                default=setting.default or settings.written(defaults[name]),
                help=setting.help,
                flag=setting.kind is settings.switch,
            )
            for name, setting in _SETTINGS.items()
        )


def _token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise InvalidConfig(f"--token-file: {path} cannot be read: {error.strerror}") from error


_SETTINGS: dict[str, Setting] = {
    name: next(mark for mark in get_args(hint) if isinstance(mark, Setting))
    for name, hint in get_type_hints(Config, include_extras=True).items()
    if get_origin(hint) is Annotated
}
