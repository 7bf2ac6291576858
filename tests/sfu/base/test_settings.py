"""Settings are declared once; every way to give one is read, and a refusal says which, what and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.base import settings
from sfu.base.settings import ByteSize, Config, Listen, Setting, SettingsError, Source, declared, load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that holds the settings of this test alone."""
    monkeypatch.setattr(settings, "_registry", {})


def limit() -> Setting[int]:
    return Setting("sessions.limit", int, 100, minimum=1, maximum=1000, help="Sessions that one node holds")


def write(path: Path, text: str) -> Path:
    file = path / "orchard.toml"
    file.write_text(text)
    return file


def test_a_value_is_the_default_until_something_is_said() -> None:
    setting = limit()
    config = load({}, {})
    assert config[setting] == 100
    assert config.source(setting) is Source.DEFAULT


def test_a_flag_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    setting = limit()
    file = write(tmp_path, "[sessions]\nlimit = 1\n")
    environment = {"ORCHARD_SESSIONS_LIMIT": "2"}
    configs = (
        load({}, {}, file),
        load({}, environment, file),
        load({"sessions.limit": "3"}, environment, file),
    )
    assert [(config[setting], config.source(setting)) for config in configs] == [
        (1, Source.FILE),
        (2, Source.ENVIRONMENT),
        (3, Source.FLAG),
    ]


def test_names_of_flag_and_variable_follow_from_the_name_or_the_alias() -> None:
    plain = Setting("http.body_limit", int, 1, help="")
    short = Setting("http.listen", Listen, Listen("", 80), alias="http", help="")
    assert (plain.flag, plain.environment) == ("--http-body-limit", "ORCHARD_HTTP_BODY_LIMIT")
    assert (short.flag, short.environment) == ("--http", "ORCHARD_HTTP")


def test_all_declared_settings_are_listed_by_name() -> None:
    Setting("b.two", int, 1, help="")
    Setting("a.one", int, 1, help="")
    assert [setting.name for setting in declared()] == ["a.one", "b.two"]


@pytest.mark.parametrize("name", ["limit", "Sessions.limit", "a.b.c", "a.b-c", ""])
def test_a_name_has_a_section_and_a_key(name: str) -> None:
    with pytest.raises(ValueError, match=r"want section\.name"):
        Setting(name, int, 1, help="")


def test_a_setting_is_declared_once() -> None:
    limit()
    with pytest.raises(ValueError, match=r"'sessions\.limit' has the name"):
        limit()
    with pytest.raises(ValueError, match=r"'other\.limit' has the name or the flag of 'sessions\.limit'"):
        Setting("other.limit", int, 1, alias="sessions-limit", help="")


KINDS: list[tuple[Any, str, Any]] = [
    (int, "7", 7),
    (int, "-7", -7),
    (float, "0.5", 0.5),
    (float, "3", 3.0),
    (bool, "true", True),
    (bool, "Off", False),
    (str, "any thing", "any thing"),
    (tuple[str, ...], "a, b,c", ("a", "b", "c")),
    (tuple[str, ...], "", ()),
    (ByteSize, "65536", 65536),
    (ByteSize, "64KiB", 65536),
    (ByteSize, "1 MiB", 1 << 20),
    (Listen, "192.0.2.1:80", Listen("192.0.2.1", 80)),
    (Listen, "[2001:db8::1]:80", Listen("2001:db8::1", 80)),
    (Listen, "[::]:0", Listen("::", 0)),
    (Listen, ":8080", Listen("", 8080)),
    (Listen, "8080", Listen("", 8080)),
    (Listen, "localhost:8080", Listen("127.0.0.1", 8080)),
]


@pytest.mark.parametrize(("kind", "text", "value"), KINDS)
def test_text_is_read_as_the_kind_says(kind: Any, text: str, value: Any) -> None:
    setting = Setting("a.b", kind, None, help="")
    assert load({"a.b": text}, {})[setting] == value
    assert load({}, {"ORCHARD_A_B": text})[setting] == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, ""),
        (int, "1.5"),
        (int, "many"),
        (float, "nan"),
        (float, "inf"),
        (float, "fast"),
        (bool, "perhaps"),
        (ByteSize, "-1"),
        (ByteSize, "1 MB"),
        (Listen, "host.example:80"),
        (Listen, "1.2.3.4"),
        (Listen, "1.2.3.4:"),
        (Listen, "1.2.3.4:65536"),
        (Listen, "2001:db8::1:80"),
        (Listen, "[1.2.3.4]:80"),
        (Listen, "1.2.3.4:+8"),
    ],
)
def test_text_of_another_kind_is_refused_with_what_is_wanted(kind: Any, text: str) -> None:
    setting = Setting("a.b", kind, None, help="")
    with pytest.raises(SettingsError) as caught:
        load({"a.b": text}, {})
    assert str(caught.value) == f'--a-b: "{text}" can\'t be taken; give {setting.wants}'


@pytest.mark.parametrize("value", ["0", "1001"])
def test_a_value_out_of_range_is_refused_with_the_range(value: str) -> None:
    limit()
    with pytest.raises(SettingsError) as caught:
        load({}, {"ORCHARD_SESSIONS_LIMIT": value})
    assert str(caught.value) == (
        f'ORCHARD_SESSIONS_LIMIT: "{value}" can\'t be taken; give a whole number from 1 to 1000'
    )


def test_what_is_wanted_names_unit_and_range() -> None:
    assert Setting("a.a", float, 1.0, unit="s", minimum=0.5, help="").wants == "a number of s from 0.5"
    assert Setting("a.b", int, 1, unit="ms", maximum=9, help="").wants == "a whole number of ms up to 9"


def test_a_choice_is_one_of_the_choices() -> None:
    Setting("log.level", str, "info", choices=("debug", "info"), help="")
    with pytest.raises(
        SettingsError, match=r'^--log-level: "loud" can\'t be taken; give one of debug, info$'
    ):
        load({"log.level": "loud"}, {})


def test_a_repeated_flag_makes_a_list_and_keeps_commas() -> None:
    setting = Setting("media.advertise", tuple[str, ...], (), help="")
    assert load({"media.advertise": ["192.0.2.1", "a,b"]}, {})[setting] == ("192.0.2.1", "a,b")


def test_a_file_gives_values_in_its_own_types(tmp_path: Path) -> None:
    number, text, names, size, place, truth, fraction = (
        Setting("a.number", int, 0, help=""),
        Setting("a.text", str, "", help=""),
        Setting("a.names", tuple[str, ...], (), help=""),
        Setting("a.size", ByteSize, ByteSize(0), help=""),
        Setting("b.place", Listen, Listen("", 1), help=""),
        Setting("b.truth", bool, False, help=""),
        Setting("b.fraction", float, 0.0, help=""),
    )
    file = write(
        tmp_path,
        """
        [a]
        number = 5
        text = "five"
        names = ["x", "y"]
        size = "1 KiB"
        [b]
        place = "127.0.0.1:80"
        truth = true
        fraction = 2
        """,
    )
    config = load({}, {}, file)
    assert (config[number], config[text], config[names], config[size]) == (5, "five", ("x", "y"), 1024)
    assert (config[place], config[truth], config[fraction]) == (Listen("127.0.0.1", 80), True, 2.0)


def test_a_list_of_one_may_be_a_text_in_a_file(tmp_path: Path) -> None:
    names = Setting("x.names", tuple[str, ...], (), help="")
    for text, value in (("x", ("x",)), ("x, y", ("x", "y")), ("", ())):
        assert load({}, {}, write(tmp_path, f'[x]\nnames = "{text}"\n'))[names] == value


@pytest.mark.parametrize("value", ['"5"', "5.0", "true", "[5]", "{ a = 5 }"])
def test_a_file_may_not_give_another_type(tmp_path: Path, value: str) -> None:
    limit()
    file = write(tmp_path, f"[sessions]\nlimit = {value}\n")
    with pytest.raises(SettingsError, match=r"orchard\.toml: \[sessions\] limit: .* give a whole number"):
        load({}, {}, file)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[sessions]\nlimti = 5\n",
            r"\[sessions\] limti: no setting has this name; did you mean sessions\.limit\?",
        ),
        ("[x]\ny = 5\n", r"\[x\] y: no setting has this name; `orchard config` lists them all"),
        ("limit = 5\n", r"limit: settings stand in sections"),
        ("[sessions\n", "not a TOML file"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, error: str) -> None:
    limit()
    with pytest.raises(SettingsError, match=error):
        load({}, {}, write(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: can't be read: No such file"):
        load({}, {}, tmp_path / "none.toml")


def test_a_variable_that_no_setting_has_is_refused() -> None:
    limit()
    with pytest.raises(SettingsError, match=r"ORCHARD_SESSION_LIMIT: .*did you mean ORCHARD_SESSIONS_LIMIT"):
        load({}, {"ORCHARD_SESSION_LIMIT": "5", "PATH": "/bin"})


def test_the_value_of_a_secret_is_never_shown() -> None:
    def never(_value: tuple[str, ...]) -> str | None:
        return "want ID:SECRET"

    setting = Setting("node.app", tuple[str, ...], (), secret=True, check=never, help="")
    assert setting.show(("a:hunter2",)) == "(hidden)"
    with pytest.raises(SettingsError) as caught:
        load({"node.app": ["a:hunter2"]}, {})
    assert str(caught.value) == "--node-app: (hidden): want ID:SECRET"


def test_values_are_shown_as_people_write_them() -> None:
    assert Setting("a.a", bool, True, help="").show(True) == "true"
    assert Setting("a.b", ByteSize, ByteSize(0), help="").show(ByteSize(1 << 20)) == "1 MiB"
    assert Setting("a.c", ByteSize, ByteSize(0), help="").show(ByteSize(1000)) == "1000"
    assert Setting("a.d", Listen, Listen("", 1), help="").show(Listen("::", 80)) == "[::]:80"
    assert Setting("a.e", tuple[str, ...], (), help="").show(("a", "b")) == "a, b"


def test_a_config_can_be_made_by_hand() -> None:
    setting = limit()
    assert Config({setting: 5})[setting] == 5
    assert Config()[setting] == 100


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        listen = Listen.parse(text)
    except ValueError:
        return
    assert Listen.parse(str(listen)) == listen


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_is_read_back_as_it_is_shown(size: int) -> None:
    assert ByteSize.parse(str(ByteSize(size))) == size


def test_another_process_reads_the_values_that_are_no_defaults() -> None:
    settings: list[Setting[Any]] = [
        Setting("b.a", bool, False, help=""),
        Setting("b.b", float, 1.0, help=""),
        Setting("b.c", ByteSize, ByteSize(0), help=""),
        Setting("b.d", Listen, Listen("", 1), help=""),
        Setting("b.e", tuple[str, ...], (), help=""),
        Setting("b.f", str, "", help="", secret=True),
    ]
    values = (True, 2.5, ByteSize(1 << 20), Listen("::1", 80), ("a,b", "c"), "s")
    config = Config(dict(zip(settings, values, strict=True)))
    restored = Config.restored(json.loads(json.dumps(config.kept())))
    assert tuple(restored[setting] for setting in settings) == values
    assert Config().kept() == {}
