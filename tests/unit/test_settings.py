"""Settings: what is read, what is refused, and in which words."""

import dataclasses
from pathlib import Path

import pytest

from penstock.kernel.errors import SettingInvalid, SettingUnknown
from penstock.settings import Settings, describe


def test_without_variables_the_defaults_hold() -> None:
    settings = Settings.from_env({"HOME": "/somewhere", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.database_url is None
    assert settings.data_dir.name == "penstock"


def test_each_kind_of_value_is_read() -> None:
    settings = Settings.from_env(
        {
            "PENSTOCK_DATABASE_URL": "postgresql://db/penstock",
            "PENSTOCK_DATA_DIR": "~/penstock-data",
            "PENSTOCK_LEASE_SECONDS": "20",
            "PENSTOCK_BATCH_LINGER_MS": " 2.5 ",
            "PENSTOCK_CLAIM_BATCH": "10",
        }
    )
    assert settings.database_url == "postgresql://db/penstock"
    assert settings.data_dir == Path.home() / "penstock-data"
    assert (settings.lease_seconds, settings.batch_linger_ms, settings.claim_batch) == (20.0, 2.5, 10)
    assert isinstance(settings.lease_seconds, float)


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env({"PENSTOCK_DATABASE_URL": "", "PENSTOCK_TENANT": "  "}) == Settings()


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PENSTOCK_LEASE_SECOND", "PENSTOCK_LEASE_SECONDS"),
        ("PENSTOCK_DATABASEURL", "PENSTOCK_DATABASE_URL"),
        ("PENSTOCK_data_dir", "PENSTOCK_DATA_DIR"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_offered(variable: str, nearest: str) -> None:
    with pytest.raises(SettingUnknown) as caught:
        Settings.from_env({variable: "1"})
    assert variable in caught.value.what
    assert nearest in caught.value.advice
    assert caught.value.code == "setting_unknown"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_CLAIM_BATCH", "many"),
        ("PENSTOCK_CLAIM_BATCH", "1.5"),
        ("PENSTOCK_CLAIM_BATCH", "0"),
        ("PENSTOCK_CLAIM_BATCH", "1001"),
        ("PENSTOCK_LEASE_SECONDS", "nan"),
        ("PENSTOCK_LEASE_SECONDS", "inf"),
        ("PENSTOCK_LEASE_SECONDS", "-1"),
        ("PENSTOCK_TENANT", "t" * 65),
    ],
)
def test_a_bad_value_is_refused_with_variable_and_advice(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_env({variable: value})
    assert variable in caught.value.what
    assert caught.value.advice
    assert caught.value.code == "setting_invalid"


def test_bounds_are_inclusive() -> None:
    assert Settings(claim_batch=1).claim_batch == 1
    assert Settings(claim_batch=1000).claim_batch == 1000


def test_values_from_code_are_checked_too() -> None:
    with pytest.raises(SettingInvalid):
        Settings(claim_batch=True)
    with pytest.raises(SettingInvalid):
        Settings(tenant=None)  # type: ignore[arg-type]
    with pytest.raises(SettingInvalid):
        Settings(worker_concurrency=2.5)  # type: ignore[arg-type]
    assert Settings(data_dir="/data").data_dir == Path("/data")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pair",
    [
        {"lease_seconds": 5, "loop_block_max_seconds": 6},
        {"lease_seconds": 1, "loop_block_max_seconds": 1, "poll_seconds": 2},
        {"batch_max_bytes": 64 * 1024, "event_max_bytes": 64 * 1024 + 1},
        {"history_max_bytes": 1024 * 1024, "event_max_bytes": 1024 * 1024 + 1},
        {"input_max_bytes": 2048, "payload_max_bytes": 2047},
    ],
)
def test_settings_that_contradict_each_other_are_refused(pair: dict[str, int]) -> None:
    with pytest.raises(SettingInvalid, match="is larger than"):
        Settings(**pair)  # type: ignore[arg-type]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().claim_batch = 3  # type: ignore[misc]


def test_the_database_url_is_not_shown() -> None:
    assert "hunter2" not in repr(Settings(database_url="postgresql://u:hunter2@db/x"))


def test_every_setting_is_described_in_one_sentence_and_bounded() -> None:
    rows = list(describe())
    assert len(rows) == len(dataclasses.fields(Settings))
    for row in rows:
        assert row.text.endswith("."), row
        assert row.text[:-1].count(". ") == 0, row
    for entry in dataclasses.fields(Settings):
        if isinstance(getattr(Settings(), entry.name), int | float):
            assert entry.metadata["low"] <= getattr(Settings(), entry.name) <= entry.metadata["high"]
