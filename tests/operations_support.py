"""Helpers of the tests about operations: a profile in a folder of its own, its command line, and what it left."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pandas as pd
from faults_support import Commands, Night, Told
from tests_support import dump

from benchmarks._mail_server import PASSWORD
from benchmarks._small import CONFIG
from dagster_project import settings as settings_module
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

NOW = "2022-07-01T00:30:00"
READERS = 'committee = ["one@example.org", "two@example.org"]'
OPERATOR = "night@example.org"
IGNORED = ("vintage",)


class Place:
    """A profile, its command line in processes of their own, and what it left."""

    def __init__(self, folder: Path, plimsoll: Commands, candles: Path, *, more: str = "") -> None:
        self.folder, self._plimsoll, self._candles = folder, plimsoll, candles
        self.profile = folder / "var" / "small"
        self.config = folder / "small.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(more=more)
        self.environment = {
            "PLIMSOLL_HOME": str(folder / "var"),
            "DAGSTER_HOME": str(folder / "dagster"),
            "PLIMSOLL_NOW": NOW,
            "PLIMSOLL_SMTP_PASSWORD": PASSWORD,
            "PLIMSOLL_LOCK_WAIT_SECONDS": "20",
        }

    def configure(self, *changes: tuple[str, str], more: str = "") -> None:
        """Write the configuration, with an operator, some lines changed and some tables added."""
        text = CONFIG.format(path=self._candles)
        for old, new in ((READERS, f'{READERS}\noperators = ["{OPERATOR}"]'), *changes):
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text + more)

    def __call__(
        self, *words: str, environment: Mapping[str, str] | None = None, is_ordinary: bool = False, code: str = ""
    ) -> Told:
        """Run a command line on this profile; never a traceback."""
        told = self._plimsoll(
            *words,
            *(() if code else ("--config", str(self.config))),
            environment={**self.environment, **(environment or {})},
            is_ordinary=is_ordinary,
            code=code,
        )
        assert "Traceback" not in told.out + told.err, told.err
        return told

    @property
    def settings(self) -> Settings:
        """The configuration as it is now."""
        return settings_module.load(self.config)

    @property
    def warehouse(self) -> Warehouse:
        """The store; nothing is opened."""
        return Warehouse(path=str(self.profile / "plimsoll.duckdb"))

    def mails(self, day: str | None = None) -> pd.DataFrame:
        """The outbox, of one day or all."""
        with self.warehouse.session() as session:
            rows = session.query("outbox")
        return rows if day is None else rows[rows["as_of"] == pd.Timestamp(day)].reset_index(drop=True)

    def reports(self, day: str) -> pd.DataFrame:
        """Every revision of a day's report."""
        with self.warehouse.session() as session:
            return session.query("reports", as_of=pd.Timestamp(day).date())

    def alerts(self) -> list[str]:
        """Names of the alerts, whether they wait or were sent."""
        return sorted(path.name for path in (self.profile / "alerts").rglob("*.eml"))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table, without what names a run or tells how early a row was known."""
        return {
            name: rows.drop(columns=[column for column in IGNORED if column in rows])
            for name, rows in dump(self.settings, self.warehouse).items()
        }


def copied(night: Night, folder: Path, plimsoll: Commands, *, more: str = "", source: Path | None = None) -> Place:
    """Lay a copy of what a night left into a folder of its own; candles come from the source's folder."""
    for part in ("var", "dagster"):
        shutil.copytree(night.folder / part, folder / part)
    if "[smtp]" in more:
        # As if there had been a server on that night, which nobody had asked yet.
        profile = folder / "var" / "small"
        with duckdb.connect(str(profile / "plimsoll.duckdb")) as connection:
            connection.execute("update outbox set state = 'pending' where state = 'filed'")
        journal = profile / "outbox" / "journal.jsonl"
        lines = [line for line in journal.read_text().splitlines() if '"filed"' not in line]
        journal.write_text("".join(f"{line}\n" for line in lines))
    return Place(folder, plimsoll, (source or night.folder) / "candles.parquet", more=more)
