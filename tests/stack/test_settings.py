"""What a wrong environment is told, and whose word counts."""

from __future__ import annotations

import pytest

from chassis.settings import Settings, SettingsInvalid, variables

CUSTOMER = "postgresql://customer_app:secret@127.0.0.1:5432/customer"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TRADEWIND_HTTP_PORT", "eighty", "must be a port number from 1 to 65535; 'eighty' is not."),
        ("TRADEWIND_HTTP_PORT", "0", "must be a port number"),
        ("TRADEWIND_GRPC_PORT", "65536", "must be a port number"),
        ("TRADEWIND_HOST", "two words", "must be a host name"),
        ("TRADEWIND_LISTEN", "9000", "must be host:port"),
        ("TRADEWIND_LISTEN_CUSTOMER", "127.0.0.1:99999", "must be host:port"),
        ("TRADEWIND_LOG_LEVEL", "chatty", "must be one of DEBUG, INFO, WARNING, ERROR"),
        ("TRADEWIND_TRACE_RATIO", "1.5", "must be a number from 0 to 1"),
        ("TRADEWIND_TRACE_RATIO", "half", "must be a number from 0 to 1"),
        ("TRADEWIND_POOL", "0", "must be a whole number from 1 to 1000"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be a URL such as http://"),
        ("TRADEWIND_STREAM_REPLICAS", "2", "must be 1, 3 or 5"),
        ("DATABASE_URL", "mysql://u:p@h/x", "must be a URL such as postgresql://"),
        ("NATS_URL", "localhost:4222", "must be a URL such as nats://"),
        ("TRADEWIND_ADDRESS_CONTRACT", "contract", "must be host:port"),
        ("TRADEWIND_ADDRESS_CONTRACT", "127.0.0.1:1,contract", "must be host:port"),
        ("TRADEWIND_ADDRESS_CONTRACT", "127.0.0.1:1,contract:2", "each by its IP address, all of one family"),
        ("TRADEWIND_ADDRESS_CONTRACT", "127.0.0.1:1,[::1]:2", "each by its IP address, all of one family"),
        ("TRADEWIND_DRAIN", "soon", "must be seconds from 0 to 60"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_would_be_right(name, value, sentence):
    with pytest.raises(SettingsInvalid) as refused:
        Settings.from_env("customer", env={name: value})
    assert str(refused.value).startswith(name)
    assert sentence in str(refused.value)


def test_a_secret_is_not_repeated_in_the_refusal():
    with pytest.raises(SettingsInvalid) as refused:
        Settings.from_env("customer", env={"DATABASE_URL": "mysql://u:hunter2@h/x"})
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_not_shown_when_settings_are_printed():
    assert "secret" not in repr(Settings.from_env("customer", env={"DATABASE_URL": CUSTOMER}))


def test_the_service_s_own_variable_wins_over_the_shared_one():
    env = {"DATABASE_URL": "postgresql://h/shared", "DATABASE_URL_CUSTOMER": CUSTOMER}
    assert Settings.from_env("customer", env=env).database_url == CUSTOMER
    assert Settings.from_env("contract", env=env).database_url == "postgresql://h/shared"


def test_a_database_called_otherwise_than_its_process_is_found():
    env = {"DATABASE_URL_ACCESS": CUSTOMER, "TRADEWIND_LISTEN_GATEWAY": "127.0.0.1:9999"}
    settings = Settings.from_env("gateway", database="access", env=env)
    assert (settings.database_url, settings.listen) == (CUSTOMER, "127.0.0.1:9999")


def test_what_is_needed_and_not_set_is_named():
    with pytest.raises(SettingsInvalid, match="DATABASE_URL_CUSTOMER or DATABASE_URL is not set"):
        Settings.from_env("customer", env={}).require("database_url")
    with pytest.raises(SettingsInvalid, match="TRADEWIND_ADDRESS_CONTRACT is not set"):
        Settings.from_env("customer", env={}).peer("contract")


def test_a_secret_may_stand_in_a_file(tmp_path):
    (tmp_path / "url").write_text(f"{CUSTOMER}\n")
    env = {"DATABASE_URL": "postgresql://h/shared", "DATABASE_URL_CUSTOMER_FILE": str(tmp_path / "url")}
    assert Settings.from_env("customer", env=env).database_url == CUSTOMER
    with pytest.raises(
        SettingsInvalid, match=r"NATS_URL_FILE names /none, which cannot be read: No such file"
    ):
        Settings.from_env("customer", env={"NATS_URL_FILE": "/none"})
    (tmp_path / "url").write_text("mysql://u:hunter2@h/x")
    with pytest.raises(SettingsInvalid, match="DATABASE_URL_CUSTOMER_FILE must be a URL") as refused:
        Settings.from_env("customer", env=env)
    assert "hunter2" not in str(refused.value)


def test_nothing_set_gives_the_documented_defaults():
    settings = Settings.from_env("customer", env={})
    for name, known in variables().items():
        if name != "keys":
            assert getattr(settings, name) == known.parse(known.default), name
    assert settings.keys == settings.home / "keys"


def test_every_variable_says_what_it_is_for():
    for known in variables().values():
        assert known.sentence.endswith("."), known.env
