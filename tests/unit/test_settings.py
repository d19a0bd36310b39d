"""Settings: bundled profiles load, each bad key is refused by name, and the hash moves with every number."""

import copy
import json
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dagster_project import settings as settings_module
from dagster_project.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "config" / "embedded.toml"
CRYPTO = ROOT / "config" / "crypto.toml"
SILENT = {
    ("profile", "title"),
    ("profile", "about"),
    ("profile", "is_schedule_on"),
    ("source", "path"),
    ("mail", "sender"),
    ("mail", "committee"),
    ("mail", "forum"),
    ("mail", "desk"),
    ("mail", "operators"),
    ("mail", "allowed_domains"),
    ("mail", "report_link"),
    ("monitoring", "acknowledged"),
    ("operations", "backups"),
    ("operations", "run_history_days"),
    ("operations", "report_due_hour_utc"),
    ("compute", "kind"),
    ("compute", "workers"),
}
"""Keys that move no number: who reads it, how it is called, when and where it runs, where the file lies."""


def embedded() -> dict[str, Any]:
    return tomllib.loads(EMBEDDED.read_text(encoding="utf-8"))


def leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


LENDING = ("markets", "SPX", "lending", "in_force")
PERPETUAL = ("markets", "SPX", "perpetual", "in_force")
LT: int = embedded()["markets"]["SPX"]["lending"]["in_force"]["lt_bps"]
MM: int = embedded()["markets"]["SPX"]["perpetual"]["in_force"]["mm_bps"]


def put(table: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(table)
    home = changed
    for key in path[:-1]:
        home = home[key]
    home[path[-1]] = value
    return changed


def toml(table: dict[str, Any]) -> str:
    """Write nested tables as TOML; enough for these configurations."""

    def scalar(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, list):
            return "[" + ", ".join(scalar(one) for one in value) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{key}" = {scalar(one)}' for key, one in value.items()) + "}"
        return value.isoformat() if isinstance(value, date) else repr(value)

    lines: list[str] = []

    def walk(part: dict[str, Any], path: list[str]) -> None:
        if path:
            lines.append("[" + ".".join(f'"{key}"' for key in path) + "]")
        lines.extend(f'"{key}" = {scalar(value)}' for key, value in part.items() if not isinstance(value, dict))
        for key, value in part.items():
            if isinstance(value, dict):
                walk(value, [*path, key])

    walk(table, [])
    return "\n".join(lines) + "\n"


def load_changed(folder: Path, path: tuple[str, ...], value: Any) -> Settings:
    target = folder / "changed.toml"
    target.write_text(toml(put(embedded(), path, value)), encoding="utf-8")
    return settings_module.load(target)


def other(value: Any) -> Any:
    """Another value of the same kind that stays within every bound."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.99 if value else 0.001
    if isinstance(value, date):
        return value.replace(day=value.day - 1)
    if isinstance(value, list):
        return [*value[:-1], value[-1] * 1.01]
    return value + "x"


SPECIAL: dict[str, Any] = {
    "budget.smoothing": "blend",
    "budget.stress_weight": 0.5,
    "budget.buffer_share": 0.5,
    "kind": "candles",
    "compute.kind": "processes",
    "compute.workers": 3,
    "volatility.refit": "weekly",
    "model": None,  # only one model exists
    "calendar": "daily",
    "market_class": "other",
    "perpetual_depth": 1.5,
    "tail_probability_bps": 50,
    "committee": ["someone@example.org"],
    "forum": ["forum@example.org"],
    "desk": ["desk@example.org"],
    "operators": ["night@example.org"],
    "acknowledged": [],
    "allowed_domains": ["example.org"],
    "report_link": "https://risk.example.org/",
}


def changes() -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for path, value in leaves(embedded()):
        changed = SPECIAL.get(".".join(path), SPECIAL[path[-1]] if path[-1] in SPECIAL else other(value))
        if changed is not None:
            found.append((path, changed))
    return found


@pytest.mark.parametrize("path", [EMBEDDED, CRYPTO], ids=["embedded", "crypto"])
def test_bundled_profile_loads(path: Path) -> None:
    loaded = settings_module.load(path)
    assert loaded.profile.name == path.stem
    assert len(loaded.config_hash) == 16
    assert int(loaded.config_hash, 16) >= 0


@pytest.mark.parametrize("path", [EMBEDDED, CRYPTO], ids=["embedded", "crypto"])
def test_bundled_profile_writes_out_every_knob(path: Path) -> None:
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    for table, model in (
        ("volatility", settings_module.VolatilityKnobs),
        ("overshoot", settings_module.OvershootKnobs),
        ("budget", settings_module.BudgetKnobs),
        ("operations", settings_module.OperationsKnobs),
        ("mail", settings_module.Recipients),
    ):
        assert set(written[table]) == set(model.model_fields), table


def test_crypto_covers_its_markets() -> None:
    loaded = settings_module.load(CRYPTO)
    assert set(loaded.markets) == {"BTC", "ETH", "SOL", "LINK", "AAVE", "BNB", "DOGE", "BCH", "ETC", "PAXG"}
    assert not loaded.profile.is_demo
    assert all(m.perpetual is not None and m.perpetual.in_force is not None for m in loaded.markets.values())
    assert {s for s, m in loaded.markets.items() if m.lending is not None} == {"BTC", "ETH", "LINK", "AAVE"}
    ether = loaded.markets["ETH"].lending
    assert ether is not None
    assert ether.in_force is not None
    assert (ether.in_force.ltv_bps, ether.in_force.lt_bps, ether.in_force.bonus_bps) == (8050, 8300, 500)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((*LENDING, "ltv_bps"), LT + 50, f"ltv_bps {LT + 50} must lie below lt_bps {LT}"),
        ((*LENDING, "ltv_bps"), LT, f"ltv_bps {LT} must lie below lt_bps {LT}"),
        ((*LENDING, "bonus_bps"), 10_000 * 10_000 // LT - 10_000 + 1, "LT x (1 + bonus) exceeds 1"),
        ((*PERPETUAL, "im_bps"), MM, f"im_bps {MM} must lie above mm_bps {MM}"),
        (("mail", "committee"), ["a@example.org", "A@example.org"], "names an address twice"),
        (("mail", "committee"), ["a@example.org\nBcc: b@example.org"], "is not an address"),
        (("mail", "committee"), ["nobody"], "'nobody' is not an address"),
        (("mail", "committee"), [], "between 1 and 200"),
        (("mail", "desk"), ["nobody"], "'nobody' is not an address"),
        (("mail", "forum"), ["a@example.org", "A@example.org"], "names an address twice"),
        (("mail", "sender"), "nobody", "'nobody' is not an address"),
        (("mail", "committee"), ["alice@example.org)bob@example.org"], "is not an address"),
        (("mail", "committee"), ["a@x.org, evil@y.org"], "is not an address"),
        (("mail", "committee"), ["a..b@example.org"], "is not an address"),
        (("mail", "operators"), ["nobody"], "'nobody' is not an address"),
        (("mail", "committee"), [f"one{n}@example.org" for n in range(201)], "between 1 and 200"),
        (("mail", "allowed_domains"), ["elsewhere.org"], "not in allowed_domains elsewhere.org"),
        (("mail", "allowed_domains"), ["@example.org"], "is not a domain"),
        (("mail", "report_link"), "http://risk.example.org/", "begins with https://"),
        (("smtp",), {"host": "mail.example.org", "tls": "none"}, "smtp.tls"),
        (("smtp",), {"host": "evil host"}, "is not the name of a host"),
        (("smtp",), {"host": "mail.example.org", "username": "u"}, "exactly one of password_env and password_file"),
        (("smtp",), {"host": "mail.example.org", "password_env": "P"}, "which need a username"),
        (("smtp",), {"host": "mail.example.org", "password": "hunter2"}, "smtp.password"),
        (("operations", "backups"), 0, "operations.backups"),
        (("monitoring", "acknowledged"), [{"series": "overshoot_24h", "side": "long"}], "monitoring.acknowledged.0.by"),
        (("monitoring", "acknowledgd"), [], "monitoring.acknowledgd"),
        (("budget", "es_budgett"), 0.1, "budget.es_budgett"),
        (("budget", "es_budget"), -0.1, "budget.es_budget"),
        (("budget", "participation"), 1.0, "budget.participation"),
        (("volatility", "window"), 300, "minimum_any <= minimum_own_fit <= window"),
        (("volatility", "model"), "magic", "volatility.model"),
        (("volatility", "ewma_lambda"), "0.94x", "volatility.ewma_lambda"),
        (("volatility", "refit"), "hourly", "volatility.refit"),
        (("compute", "kind"), "dask", "needs address of the scheduler"),
        (("compute", "address"), "tcp://10.0.0.5:8786", "address is only for kind dask, not threads"),
        (("compute", "workers"), -1, "compute.workers"),
        (("overshoot", "depths"), [1.0, 0.5], "strictly increasing"),
        (("overshoot", "depths"), [0.5, 2.0], "perpetual_depth 1.0 is not one of depths"),
        (("overshoot", "eta"), 0.6, "overshoot.eta"),
        (("profile", "name"), "../evil", "profile.name"),
        (("source", "name"), "Arch Data", "source.name"),
        (("source", "kind"), "telepathy", "source.kind"),
        (("markets", "SPX", "market_class"), "minor", "markets.SPX.market_class"),
        (
            ("markets", "SPX", "perpetual", "tail_probability_bps"),
            42,
            "markets.SPX.perpetual.tail_probability_bps",
        ),
        (("markets",), {}, "names no market"),
        (("markets", "s&p"), {"name": "x", "calendar": "daily", "perpetual": {"notional_usd": 1.0}}, "'s&p'"),
        (("markets", "SPX"), {"name": "x", "calendar": "daily"}, "needs a [lending] or a [perpetual] table"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_bad_key_is_refused_by_name(tmp_path: Path, path: tuple[str, ...], value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_changed(tmp_path, path, value)
    message = str(caught.value)
    assert str(tmp_path / "changed.toml") in message
    assert said in message
    assert ".".join(path[:2]) in message or path[0] in message


def test_bonus_may_use_up_the_whole_collateral(tmp_path: Path) -> None:
    load_changed(tmp_path, (*LENDING, "bonus_bps"), 10_000 * 10_000 // LT - 10_000)


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    table = put(put(embedded(), ("budget", "es_budget"), 5.0), ("mail", "sender"), "nobody")
    (tmp_path / "two.toml").write_text(toml(table), encoding="utf-8")
    with pytest.raises(SettingsError, match="2 key") as caught:
        settings_module.load(tmp_path / "two.toml")
    assert "budget.es_budget" in str(caught.value)
    assert "mail.sender" in str(caught.value)


def test_missing_file_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: no such configuration file.*config/"):
        settings_module.load(tmp_path / "none.toml")


def test_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such configuration file"):
        settings_module.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[profile\nname = 1", "not valid TOML"),
        (b"\xff\xfe[profile]", "not UTF-8 at byte 0"),
        (b"# " + b"x" * 1_000_001, "larger than 1000000 bytes"),
        (b"", "profile"),
        (b"[profile]\n[profile]\n", "not valid TOML"),
    ],
    ids=["syntax", "encoding", "size", "empty", "twice"],
)
def test_unreadable_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings_module.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_settings_are_frozen() -> None:
    loaded = settings_module.load(EMBEDDED)
    with pytest.raises(ValueError, match="frozen"):
        loaded.budget.es_budget = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(("path", "value"), changes(), ids=lambda v: ".".join(v) if isinstance(v, tuple) else "to")
def test_config_hash_moves_with_numbers_only(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    before = settings_module.load(EMBEDDED).config_hash
    after = load_changed(tmp_path, path, value).config_hash
    assert (after == before) == (path in SILENT), f"{'.'.join(path)}: {before} became {after}"


def test_config_hash_is_of_content_not_of_layout(tmp_path: Path) -> None:
    table = embedded()
    backwards = {key: table[key] for key in reversed(list(table))}
    (tmp_path / "backwards.toml").write_text(toml(backwards), encoding="utf-8")
    assert settings_module.load(tmp_path / "backwards.toml").config_hash == settings_module.load(EMBEDDED).config_hash


def test_candles_path_moves_no_number() -> None:
    loaded = settings_module.load(CRYPTO)
    moved = loaded.with_candles(Path("elsewhere.parquet"))
    assert moved.source.path == Path("elsewhere.parquet")
    assert moved.config_hash == loaded.config_hash


def test_default_day_is_yesterday_or_the_profiles_last() -> None:
    assert settings_module.load(EMBEDDED).as_of_default(date(2026, 1, 5)) == date(2018, 12, 31)
    assert settings_module.load(EMBEDDED).as_of_default(date(2010, 3, 1)) == date(2010, 2, 28)
    assert settings_module.load(CRYPTO).as_of_default(date(2024, 3, 1)) == date(2024, 2, 29)


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings_module.load(EMBEDDED)
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "moved"))
    assert settings_module.profile_folder(loaded) == (tmp_path / "moved" / "embedded").resolve()
    monkeypatch.delenv("PLIMSOLL_HOME")
    monkeypatch.chdir(tmp_path)
    assert settings_module.profile_folder(loaded) == (tmp_path / "var" / "embedded").resolve()
