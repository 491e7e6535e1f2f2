"""Every setting comes from option, variable or default, in this order; a wrong one is named and explained."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from buildsys.config import Config, InvalidConfig

GOOD = {
    "data_dir": ("/srv/ci", Path("/srv/ci")),
    "secret_key_file": ("/run/key", Path("/run/key")),
    "database_url": ("postgresql://ci:pw@db/ci", "postgresql://ci:pw@db/ci"),
    "listen": ("[::1]:9000", "[::1]:9000"),
    "public_url": ("https://ci.example.org/", "https://ci.example.org"),
    "roles": ("api, orchestrator", frozenset({"api", "orchestrator"})),
    "driver": ("process", "process"),
    "docker_host": ("unix:///run/docker.sock", "unix:///run/docker.sock"),
    "server_url": ("http://ci:8080", "http://ci:8080"),
    "token": ("abc", "abc"),
    "token_file": ("/run/token", Path("/run/token")),
    "slots": ("3", 3),
    "labels": ("big,gpu", frozenset({"big", "gpu"})),
    "memory": ("512MiB", 512 << 20),
    "cpus": ("1.5", 1.5),
    "pids": ("64", 64),
    "node_address": ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
    "max_running": ("9", 9),
    "account_max_running": ("7", 7),
    "start_concurrency": ("2", 2),
    "time_limit": ("2h", 7200.0),
    "startup_limit": ("90s", 90.0),
    "runner_lost_after": ("1.5m", 90.0),
    "grace": ("0.5", 0.5),
    "log_limit": ("64KiB", 65536),
    "blobs": ("s3://logs/ci?region=eu-west-1", "s3://logs/ci?region=eu-west-1"),
    "archive_after": ("5m", 300.0),
    "keep_logs_for": ("90d", 7776000.0),
    "keep_logs": ("500", 500),
    "keep_log_bytes": ("10GiB", 10 << 30),
    "default_image": ("alpine:3", "alpine:3"),
    "images": (
        "ubuntu-latest=ubuntu:24.04, tiny=reg:5000/a=b",
        {"ubuntu-latest": "ubuntu:24.04", "tiny": "reg:5000/a=b"},
    ),
    "allow_local_repositories": ("yes", True),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
}

BAD = {
    "database_url": ["mysql://u:hush@db/x", "db"],
    "listen": ["8080", ":8080", "host:http", "host:70000", "::1:80"],
    "public_url": ["ci.example.org", "ftp://x", "http://"],
    "roles": [",", "api,builder"],
    "driver": ["podman"],
    "docker_host": ["/var/run/docker.sock", "tcp://10.0.0.1:2375"],
    "cpus": ["0", "-1", "nan", "inf", "two"],
    "slots": ["0", "-1", "many", "1.5"],
    "time_limit": ["0", "-3", "nan", "inf", "20 parsecs", "1e3"],
    "log_limit": ["0", "1MB", "x"],
    "blobs": ["logs", "http://minio/logs"],
    "keep_logs": ["0", "all"],
    "images": ["ubuntu", "a=", "=b"],
    "allow_local_repositories": ["maybe"],
    "log_level": ["LOUD"],
}


def test_the_table_has_every_field() -> None:
    names = [field.name for field in Config.fields()]
    assert names == list(Config.__struct_fields__)
    assert set(names) == set(GOOD)


@pytest.mark.parametrize("name", GOOD)
def test_a_setting_from_the_environment_and_from_the_command_line(name: str) -> None:
    text, value = GOOD[name]
    variable = f"BUILDSYS_{name.upper()}"
    rest = {"BUILDSYS_SERVER_URL": "http://a", "BUILDSYS_TOKEN": "t"}
    assert getattr(Config.load({}, rest | {variable: text}), name) == value
    assert getattr(Config.load({name: text}, rest | {variable: "would be refused, were it read"}), name) == value
    assert getattr(Config.load({name: value}, rest), name) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_wrong_setting_is_named_with_what_was_expected(name: str, text: str) -> None:
    field = next(field for field in Config.fields() if field.name == name)
    ways: list[tuple[str | None, dict[str, str], dict[str, str]]] = [
        (field.env, {}, {field.env: text}),
        (field.option, {name: text}, {}),
    ]
    for source, overrides, environ in ways:
        with pytest.raises(InvalidConfig) as raised:
            Config.load(overrides, environ)
        assert str(raised.value).startswith(f"{source}: expected {field.expected}, not ")
        assert "hush" not in str(raised.value)


def test_the_defaults() -> None:
    config = Config.load({"slots": None}, {"HOME": "/home/ada", "BUILDSYS_LISTEN": ""})
    assert config.data_dir == Path("/home/ada/.local/share/buildsys")
    assert Config.load({}, {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}).data_dir == Path("/data/buildsys")
    assert Config.load({}, {"HOME": "/home/ada", "XDG_DATA_HOME": "data"}).data_dir == config.data_dir
    assert (config.listen, config.public_url) == ("127.0.0.1:8080", "http://127.0.0.1:8080")
    assert config.roles == {"api", "orchestrator", "runner"}
    assert config.driver == "docker"
    assert config.slots >= 1
    assert config.max_running >= 4
    assert (config.time_limit, config.startup_limit, config.runner_lost_after) == (1200.0, 120.0, 120.0)
    assert not config.allow_local_repositories


def test_the_table_tells_the_defaults() -> None:
    told = {field.name: field.default for field in Config.fields()}
    assert told["listen"] == "127.0.0.1:8080"
    assert told["time_limit"] == "1200"
    assert told["allow_local_repositories"] == "false"
    assert told["slots"] == "the number of CPUs"
    assert told["database_url"] == told["images"] == ""


@pytest.mark.parametrize(
    ("listen", "host", "port", "public_url"),
    [
        ("10.0.0.1:80", "10.0.0.1", 80, "http://10.0.0.1:80"),
        ("[::1]:81", "::1", 81, "http://[::1]:81"),
        ("0.0.0.0:82", "0.0.0.0", 82, "http://127.0.0.1:82"),
        ("127.0.0.1:0", "127.0.0.1", 0, ""),
    ],
)
def test_the_address_and_the_links_made_from_it(listen: str, host: str, port: int, public_url: str) -> None:
    config = Config(data_dir=Path("/srv"), listen=listen)
    assert (config.host, config.port, config.public_url) == (host, port, public_url)


def test_a_runner_apart_needs_to_know_its_api(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"needs --server .*--token-file"):
        Config.load({"roles": "runner", "server_url": "http://ci"}, {})
    (tmp_path / "token").write_text("abc\n")
    config = Config.load({"roles": "runner", "server_url": "http://ci", "token_file": tmp_path / "token"}, {})
    assert config.token == "abc"
    with pytest.raises(InvalidConfig, match=r"--token-file: .*missing cannot be read"):
        Config.load({"token_file": tmp_path / "missing"}, {})


def test_a_secret_has_no_option_and_is_never_shown() -> None:
    assert next(field for field in Config.fields() if field.name == "token").option is None
    config = Config.load({}, {"BUILDSYS_TOKEN": "hush", "BUILDSYS_DATABASE_URL": "postgresql://ci:hush@db/ci"})
    assert config.token == "hush"
    assert "hush" not in repr(config)
    assert "hush" not in f"{config}"


def test_it_cannot_be_changed() -> None:
    config = Config(data_dir=Path("/srv"))
    with pytest.raises(AttributeError):
        config.slots = 9  # type: ignore[misc]
    assert msgspec.structs.replace(config, slots=9).slots == 9
