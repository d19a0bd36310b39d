"""Upgrades of the store: rows are kept, a kill in the middle leaves what was there, and every version has its step."""

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

import sql
from dagster_project import warehouse as warehouse_module
from dagster_project.warehouse import Warehouse


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(path=str(tmp_path / "store" / "plimsoll.duckdb"), lock_wait_seconds=0.2)


def _taken_back(version: int) -> str:
    """Statements that take back the tables and columns which the step to ``version`` added."""
    step = sql.migrations()[version]
    tables = [f"drop table {name};" for name in re.findall(r"^create table (\w+)", step, re.M)]
    columns = re.findall(r"^alter table (\w+) add column (\w+)", step, re.M)
    assert tables or columns
    dropped = [f"alter table {table} drop column {name};" for table, name in columns]
    return "\n".join([*tables, *dropped, f"update schema_version set version = {version - 1};"])


VERSION_5 = _taken_back(6)
VERSION_4 = """
drop table bar_verdict;
drop table feed_span;
drop table feed_score;
alter table price drop column venue_count;
alter table price drop column feed_status;
alter table price drop column dispersion_bp;
alter table price drop column stress_low_usd;
alter table price drop column venue_low_usd;
insert into price by name select
    date '2022-05-31' as date, 'AAA' as symbol, 'test' as source, 1.5 as low_usd, 2.5 as close_usd, 1 as bar_number,
    0 as gap_sessions, false as is_return_valid, true as is_known_at_assumed, 'h' as price_hash;
update schema_version set version = 4;
"""
VERSION_3 = """
drop table candle_hour;
drop table candle_hour_quarantine;
update schema_version set version = 3;
"""
VERSION_2 = """
alter table outbox drop column attempts;
alter table outbox drop column next_attempt_at;
alter table outbox drop column changed_at;
alter table outbox drop column last_reply;
update schema_version set version = 2;
"""
VERSION_1 = """
alter table volatility_fit drop column gamma;
alter table volatility_fit drop column lam;
alter table volatility_fit drop column limits;
alter table volatility_fit drop column optimum_gap;
alter table volatility_fit drop column other_sigma_ratio;
drop table fit_reference;
update schema_version set version = 1;
"""
"""Each takes back what the version after it added."""
MAIL_2 = """
insert into outbox by name select
    date '2022-05-31' as as_of, 'committee' as audience, 'one@example.org' as recipient, 1 as revision,
    '<a@example.org>' as message_id, 's' as subject, 'pending' as state, 'outbox/a.eml' as eml_path,
    'abc' as eml_sha256, 'd' as decision_id
"""
FIT_1 = """
insert into volatility_fit by name select
    date '2022-05-31' as fit_end, 'AAA' as symbol, 'garch_t' as model, '1.0.0' as methodology, 'abc' as config_hash,
    1 as revision, date '2021-05-31' as window_start, 300 as return_count, 'garch_t' as rung, 0.1 as mu_percent,
    0.2 as omega_percent2, 0.05 as alpha, 0.9 as beta, 5.5 as nu, 0.95 as persistence, false as is_igarch,
    13.5 as half_life_days, -500.25 as loglikelihood, 0.4 as ljung_box_p, '' as gate_note, 'h1' as input_hash
"""


def as_version_1(store: Warehouse) -> None:
    with store.session():
        pass
    with duckdb.connect(store.path) as connection:
        connection.execute(VERSION_5)
        connection.execute(VERSION_4)
        connection.execute(VERSION_3)
        connection.execute(VERSION_2)
        connection.execute(VERSION_1)
        connection.execute(FIT_1)


def as_version_2(store: Warehouse) -> None:
    with store.session():
        pass
    with duckdb.connect(store.path) as connection:
        connection.execute(VERSION_5)
        connection.execute(VERSION_4)
        connection.execute(VERSION_3)
        connection.execute(VERSION_2)
        connection.execute(MAIL_2)


def test_a_store_of_the_first_version_is_brought_up_and_keeps_its_rows(store: Warehouse) -> None:
    as_version_1(store)
    with store.session() as session:
        row = session.everything("volatility_fit").iloc[0]
        assert len(session.everything("fit_reference")) == 0
        price = session.everything("price").iloc[0]
    assert (price["close_usd"], price["venue_count"], price["feed_status"]) == (2.5, 1, "single source")
    assert (price["venue_low_usd"], price["stress_low_usd"]) == (1.5, 1.5)
    assert (row["symbol"], row["alpha"], row["beta"], row["loglikelihood"]) == ("AAA", 0.05, 0.9, -500.25)
    assert (row["gamma"], row["limits"]) == (0.0, "") and np.isnan(row["lam"]) and np.isnan(row["optimum_gap"])
    with store.session() as session:
        assert len(session.everything("volatility_fit")) == 1
        comments = session._connection.execute(
            "select comment from duckdb_columns() where table_name = 'volatility_fit' and column_name = 'limits'"
        ).fetchall()
    assert comments[0][0].startswith("constraints that the optimum lies on")


def test_mails_of_the_second_version_are_files_that_no_server_gets(store: Warehouse) -> None:
    as_version_2(store)
    with store.session() as session:
        row = session.everything("outbox").iloc[0]
    assert (row["recipient"], row["message_id"]) == ("one@example.org", "<a@example.org>")
    assert (row["state"], row["attempts"], row["last_reply"]) == ("filed", 0, "")
    assert str(row["changed_at"].date()) == "2022-06-01"


@pytest.mark.parametrize("step", ["migration 2", "migration 3", "migration 4", "migration 5", "migration 6"])
def test_a_kill_in_the_middle_of_an_upgrade_leaves_the_old_store(store: Warehouse, step: str) -> None:
    as_version_1(store)
    code = f"from dagster_project.warehouse import Warehouse\nwith Warehouse(path={store.path!r}).session(): pass"
    environment = {**os.environ, "PLIMSOLL_CRASH_AT": step}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    with duckdb.connect(store.path) as connection:
        assert connection.execute("select version from schema_version").fetchall() == [(1,)]
        assert connection.execute("select count(*) from volatility_fit").fetchall() == [(1,)]
    with store.session() as session:
        assert len(session.everything("volatility_fit")) == 1


def test_every_version_has_its_step() -> None:
    assert list(sql.migrations()) == list(range(2, warehouse_module.SCHEMA_VERSION + 1))
