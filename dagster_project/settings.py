"""Settings: the knobs of ``config/*.toml`` as one typed, immutable model.

What lives here: reading, validating and hashing a configuration, and where a profile's files lie.
What does not: where candles come from (``sources``), what a market is used for (``markets``), formulas (``plimsoll``),
defaults that depend on data, connections.
"""

import hashlib
import json
import os
import re
import tomllib
from datetime import date, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from dagster_project import venue_files
from dagster_project.acknowledgements import Monitoring
from dagster_project.challengers_config import Challengers
from dagster_project.in_force_files import InForceTable
from dagster_project.markets import SYMBOL, Bps, Fraction, Market
from dagster_project.order_books import OrderBooks
from dagster_project.publishing import PublicationKnobs
from dagster_project.sources import VARIABLE, Source
from dagster_project.sources import Strict as _Strict

PROFILE = re.compile(r"^[a-z0-9][a-z0-9_-]{0,31}$")
ADDRESS = re.compile(r"^[^@\s,;<>()\[\]\\\"]{1,64}@[A-Za-z0-9.-]{1,190}$")
DOMAIN = re.compile(r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")
HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,189}|[0-9a-fA-F:]{1,39})$")
LINK = re.compile(r"^https://[A-Za-z0-9.-]+(:\d{1,5})?/([A-Za-z0-9._~/-]*/)?$")
SCHEDULER = re.compile(r"^(tcp|tls)://[A-Za-z0-9.\[\]:-]{1,190}:\d{1,5}$")
IN_ADDRESS = re.compile(r"[^/\s:@'\"]+:[^/\s@'\"]+(?=@)")
CONFIG_SIZE_CAP = 1_000_000


class SettingsError(ValueError):
    """A configuration cannot be used; the message names the file and the key."""


class Profile(_Strict):
    """Who this run is for and which days it covers."""

    name: str
    title: str
    about: str
    first_partition: date
    last_partition: date | None = None
    is_schedule_on: bool = False
    is_demo: bool = False

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not PROFILE.match(value):
            raise ValueError(f"{value!r} is not lower case letters, digits, '-' or '_' (at most 32)")
        return value


class VolatilityKnobs(_Strict):
    """The default volatility model (docs/methodology, M-1 to M-6)."""

    model: Literal["garch_t"] = "garch_t"
    window: Annotated[int, Field(ge=250, le=5000)] = 1500
    minimum_own_fit: Annotated[int, Field(ge=250)] = 500
    minimum_any: Annotated[int, Field(ge=30)] = 90
    ewma_lambda: Fraction = 0.94
    long_run_years: Annotated[int, Field(ge=1, le=50)] = 10
    sigma_floor_daily: Annotated[float, Field(ge=0, lt=0.2)] = 0.01
    shrinkage_observations: Annotated[int, Field(ge=1)] = 180
    refit: Literal["daily", "weekly"] = "daily"

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.minimum_any <= self.minimum_own_fit <= self.window:
            raise ValueError("needs minimum_any <= minimum_own_fit <= window")
        return self


class ComputeKnobs(_Strict):
    """Where fits are made; no number depends on it."""

    kind: Literal["threads", "processes", "dask"] = "threads"
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    address: str = ""

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.kind == "dask" and not SCHEDULER.match(self.address):
            raise ValueError(
                f"kind dask needs address of the scheduler, e.g. tcp://10.0.0.5:8786, not {self.address!r}"
            )
        if self.kind != "dask" and self.address:
            raise ValueError(f"address is only for kind dask, not {self.kind}")
        return self


class OvershootKnobs(_Strict):
    """The quantile after a trigger (M-7 and M-8)."""

    depths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    perpetual_depth: float = 1.0
    minimum_triggers: Annotated[int, Field(ge=20)] = 100
    minimum_dates: Annotated[int, Field(ge=20)] = 100
    shrinkage_tail_events: Annotated[float, Field(gt=0)] = 10.0
    half_life_triggers: Annotated[float, Field(gt=0)] = 300.0
    eta: Annotated[float, Field(gt=0, le=0.5)] = 0.30
    eta_deep: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    buffer_probability: Fraction = 0.05
    buffer_days_perpetual: Annotated[int, Field(ge=1, le=30)] = 1
    buffer_days_lending: Annotated[int, Field(ge=1, le=30)] = 7

    @model_validator(mode="after")
    def _depths(self) -> Self:
        if list(self.depths) != sorted(set(self.depths)) or min(self.depths) <= 0:
            raise ValueError("depths must be positive and strictly increasing")
        if self.perpetual_depth not in self.depths:
            raise ValueError(f"perpetual_depth {self.perpetual_depth} is not one of depths {self.depths}")
        return self


class BudgetKnobs(_Strict):
    """What may be lost, and the grid that parameters stand on (M-10 and after)."""

    es_budget: Annotated[float, Field(gt=0, lt=0.1)] = 0.0002
    smoothing: Literal["floor", "blend", "buffer", "none"] = "floor"
    stress_weight: Annotated[float, Field(ge=0.25, le=1)] = 0.25
    buffer_share: Annotated[float, Field(ge=0.25, le=2)] = 0.25
    replenish_days: Annotated[int, Field(ge=1, le=1000)] = 60
    model_gate: bool = True
    participation: Fraction = 0.05
    impact_coefficient: Annotated[float, Field(gt=0, le=5)] = 1.0
    protocol_share: Annotated[float, Field(ge=0, lt=1)] = 0.10
    minimum_oracle_deviation: Annotated[float, Field(ge=0, lt=0.2)] = 0.0025
    minimum_horizon_hours: Annotated[float, Field(gt=0)] = 5 / 60
    lt_grid_bps: Annotated[int, Field(ge=1, le=500)] = 50
    bonus_grid_bps: Annotated[int, Field(ge=1, le=500)] = 25
    margin_grid_bps: Annotated[int, Field(ge=1, le=500)] = 5
    loosening_hold_bps: Bps = 200
    loosening_hold_margin_share: Fraction = 0.25
    hysteresis_down_steps: Annotated[int, Field(ge=0, le=20)] = 1
    hysteresis_up_steps: Annotated[int, Field(ge=0, le=20)] = 2
    cap_bps_by_class: dict[str, Bps] = Field(default={"major": 8800, "large": 8000, "other": 7000, "stable": 9000})


class Recipients(_Strict):
    """Who gets which mail; the server is in ``[smtp]``."""

    sender: str
    committee: tuple[str, ...]
    forum: tuple[str, ...] = ()
    desk: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    report_link: str = ""

    @field_validator("sender")
    @classmethod
    def _sender(cls, value: str) -> str:
        return _address(value)

    @field_validator("committee", "forum", "desk", "operators")
    @classmethod
    def _lists(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        fewest = 1 if info.field_name == "committee" else 0
        if not fewest <= len(value) <= 200:
            raise ValueError(f"needs between {fewest} and 200 addresses")
        for one in value:
            _address(one)
        if len({one.casefold() for one in value}) != len(value):
            raise ValueError("names an address twice")
        return value

    @field_validator("allowed_domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not DOMAIN.match(one):
                raise ValueError(f"{one!r} is not a domain in lower case, e.g. example.org")
        return value

    @field_validator("report_link")
    @classmethod
    def _link(cls, value: str) -> str:
        if value and not LINK.match(value):
            raise ValueError(f"{value!r} is not an address that begins with https:// and ends with /")
        return value

    @model_validator(mode="after")
    def _reach(self) -> Self:
        everybody = (*self.committee, *self.forum, *self.desk, *self.operators)
        outside = [one for one in everybody if one.rpartition("@")[2].lower() not in self.allowed_domains]
        if self.allowed_domains and outside:
            raise ValueError(f"{', '.join(outside)}: not in allowed_domains {', '.join(self.allowed_domains)}")
        return self

    def audiences(self) -> dict[str, tuple[str, ...]]:
        """Return the recipients of each audience that has any, the committee first."""
        found = {"committee": self.committee, "forum": self.forum, "desk": self.desk}
        return {name: addresses for name, addresses in found.items() if addresses}


def _address(text: str) -> str:
    """Refuse what is no single plain address: lists, comments, names and tricks with quotes."""
    fault = f"{text!r} is not an address"
    if not ADDRESS.match(text):
        raise ValueError(fault)
    try:
        same = str(Address(addr_spec=text)) == text
    except (ValueError, MessageError, IndexError):
        same = False
    if not same:
        raise ValueError(fault)
    return text


class Smtp(_Strict):
    """The server that takes the mail; without it mails stay files."""

    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "implicit"] = "starttls"
    username: str = ""
    password_env: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0
    maximum_bytes: Annotated[int, Field(ge=100_000, le=200_000_000)] = 20_000_000

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not HOST.match(value):
            raise ValueError(f"{value!r} is not the name of a host")
        return value

    @model_validator(mode="after")
    def _login(self) -> Self:
        named = bool(self.password_env) + (self.password_file is not None)
        if named > 1 or bool(self.username) != bool(named):
            raise ValueError(
                "username needs exactly one of password_env and password_file, which need a username; the password "
                "itself never stands in a configuration"
            )
        if self.password_env and not VARIABLE.match(self.password_env):
            raise ValueError("password_env is not the name of an environment variable")
        return self

    def password(self) -> str:
        """Read the password from where it is kept.

        Raises
        ------
        SettingsError
            Names the variable or the file that has none.
        """
        if self.password_env:
            secret = os.environ.get(self.password_env, "")
            if not secret:
                raise SettingsError(f"smtp.password_env: the environment variable {self.password_env} is not set")
            return secret
        if self.password_file is None:
            return ""
        try:
            secret = self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"smtp.password_file: {self.password_file} cannot be read") from error
        if not secret:
            raise SettingsError(f"smtp.password_file: {self.password_file} is empty")
        return secret


class OperationsKnobs(_Strict):
    """What is kept, and for how long."""

    backups: Annotated[int, Field(ge=1, le=365)] = 7
    run_history_days: Annotated[int, Field(ge=1, le=3650)] = 90
    report_due_hour_utc: Annotated[int, Field(ge=1, le=23)] = 2


class Settings(_Strict):
    """A whole configuration."""

    profile: Profile
    source: Source
    mail: Recipients
    smtp: Smtp | None = None
    volatility: VolatilityKnobs = VolatilityKnobs()
    overshoot: OvershootKnobs = OvershootKnobs()
    budget: BudgetKnobs = BudgetKnobs()
    compute: ComputeKnobs = ComputeKnobs()
    operations: OperationsKnobs = OperationsKnobs()
    monitoring: Monitoring = Monitoring()
    challengers: Challengers = Challengers()
    order_books: OrderBooks | None = Field(default=None, exclude_if=lambda value: value is None)
    in_force: InForceTable | None = None
    publication: PublicationKnobs = PublicationKnobs()
    markets: dict[str, Market]

    @field_validator("markets")
    @classmethod
    def _symbols(cls, value: dict[str, Market]) -> dict[str, Market]:
        if not value:
            raise ValueError("names no market")
        for symbol in value:
            if not SYMBOL.match(symbol):
                raise ValueError(f"{symbol!r} is not a market id (A-Z, 0-9, '.', '_', '-', at most 20)")
        return value

    @model_validator(mode="after")
    def _fed(self) -> Self:
        if self.order_books is not None:
            self.order_books.refuse_unknown(self.markets)
        for symbol, product, venue in self.venues():
            try:
                venue_files.bundled_profile(venue, product)
            except venue_files.VenueError as error:
                raise ValueError(f"markets.{symbol}.{product}.{error}") from error
        self.publication.refuse_unknown(
            {(symbol, product): venue_files.bundled_profile(venue, product) for symbol, product, venue in self.venues()}
        )
        if self.source.kind == "exchange":
            served = {market for venue in self.source.venues.values() for market in venue.symbols}
            for what, names in (
                ("no venue has", self.markets.keys() - served),
                ("unknown", served - self.markets.keys()),
            ):
                if names:
                    raise ValueError(f"source.venues: {what} market(s) {', '.join(sorted(names))}")
        return self

    def venues(self) -> list[tuple[str, str, str]]:
        """List market, product and venue of every use."""
        return [
            (symbol, product, use.venue)
            for symbol, market in self.markets.items()
            for product, use in (("perpetual", market.perpetual), ("lending", market.lending))
            if use is not None
        ]

    @property
    def config_hash(self) -> str:
        """Hash of everything that moves numbers; recipients, titles, paths and machines stay out.

        What venues allow is part of it. Signatures and values in force from a file are not: they change from day to day
        and stand in the hash of each row that is made of them.

        Returns
        -------
        str
            Sixteen hexadecimal digits.
        """
        content = self.model_dump(
            mode="json",
            exclude={
                "mail": True,
                "smtp": True,
                "operations": True,
                "monitoring": True,
                "compute": True,
                "profile": {"title", "about", "is_schedule_on"},
                "source": True,
                "in_force": True,
                "publication": {"signed"},
            },
        )
        content["venues"] = venue_files.bundled_digest(
            frozenset((venue, product) for _, product, venue in self.venues())
        )
        content["source"] = self.source.of_numbers()
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_of_default(self, today: date) -> date:
        """Last day that can be reported: yesterday in UTC, or the profile's last partition."""
        last = today - timedelta(days=1)
        return min(last, self.profile.last_partition) if self.profile.last_partition else last

    def with_candles(self, path: Path) -> "Settings":
        """Return the same settings reading candles from ``path``."""
        files = {"kind": "candles", "path": path, "venues": {}, "history_first_day": None}
        return self.model_copy(update={"source": self.source.model_copy(update=files)})


def load(path: Path) -> Settings:
    """Read a TOML configuration.

    Parameters
    ----------
    path
        File to read, at most one megabyte.

    Returns
    -------
    Settings
        Validated and frozen.

    Raises
    ------
    SettingsError
        Names the file and every key at fault.
    """
    if not path.is_file():
        raise SettingsError(f"{path}: no such configuration file; the bundled ones lie in config/")
    raw = path.read_bytes()
    if len(raw) > CONFIG_SIZE_CAP:
        raise SettingsError(f"{path}: larger than {CONFIG_SIZE_CAP} bytes; this is no configuration")
    try:
        return Settings.model_validate(tomllib.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        rows = [f"  {'.'.join(str(k) for k in e['loc']) or '(top)'}: {_plain(e['msg'])}" for e in error.errors()]
        raise SettingsError(f"{path}: {len(rows)} key(s) at fault\n" + "\n".join(rows)) from error


def _plain(message: str) -> str:
    """Say what is wrong, without a password that was put into an address by mistake."""
    return IN_ADDRESS.sub("[hidden]", message.removeprefix("Value error, "))


def home() -> Path:
    """Return the folder of all profiles: ``PLIMSOLL_HOME``, or ``var`` below the current folder."""
    return Path(os.environ.get("PLIMSOLL_HOME") or "var").resolve()


def profile_folder(settings: Settings) -> Path:
    """Return the folder of one profile: its database, raw files, reports and outbox."""
    return home() / settings.profile.name
