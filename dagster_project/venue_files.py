"""Venue files: the profiles of ``config/venues.toml`` as typed, immutable models.

What lives here: reading, validating and hashing profiles, and which of them a market takes where it names none. What
does not: what a profile means (``plimsoll.venues``), values in force (``in_force_files``).
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from plimsoll import venues
from plimsoll.venues import VenueProfile

BUNDLED = Path(__file__).resolve().parents[1] / "config" / "venues.toml"
SIZE_CAP = 1_000_000
ID = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
KEY = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
DEFAULT_VENUE = {"lending": "aave_v3", "perpetual": "binance_usdm"}
"""Venue of a market that names none."""

Whole = Annotated[int, Field(ge=0, le=10**12, strict=True)]


class VenueError(ValueError):
    """Profiles cannot be used; the message names the file and the key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterTable(_Table):
    """One parameter; the fields are those of `plimsoll.venues.Parameter`."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    tightening: Literal["down", "up"]
    unit: Literal["bps", "times", "units"] = "bps"
    grid: Annotated[int, Field(ge=1, strict=True)] = 1
    allowed: tuple[Whole, ...] = ()
    lowest: Whole = 0
    highest: Whole = venues.BPS
    largest_step: Annotated[int, Field(ge=1, strict=True)] | None = None
    largest_step_share_bps: Annotated[int, Field(ge=1, strict=True)] | None = None
    delay_days: Annotated[int, Field(ge=0, le=365, strict=True)] = 0
    is_immutable: bool = False
    may_be_zero: bool = True
    is_optional: bool = False

    def parameter(self, key: str) -> venues.Parameter:
        """Return the core's parameter."""
        fields = self.model_dump(exclude={"tightening"})
        return venues.Parameter(key=key, tightening_is_down=self.tightening == "down", **fields)


class ProductTable(_Table):
    """What a venue allows for one product."""

    parameters: Annotated[dict[str, ParameterTable], Field(min_length=1)]
    rules: tuple[str, ...] = ()
    derivations: tuple[str, ...] = ()


class VenueTable(_Table):
    """One venue."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    expiry_hours: Annotated[float, Field(gt=0, le=24 * 365)] | None = None
    lending: ProductTable | None = None
    perpetual: ProductTable | None = None

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.lending is None and self.perpetual is None:
            raise ValueError("needs a [lending] or a [perpetual] table")
        return self


class Venues(RootModel[dict[str, VenueTable]]):
    """Every profile of a file."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, table in self.root.items():
            if not ID.match(name):
                raise ValueError(f"{name!r} is not lower case letters, digits or '_' (at most 32)")
            for product in ("lending", "perpetual"):
                for key in getattr(table, product).parameters if getattr(table, product) else ():
                    if not KEY.match(key):
                        raise ValueError(f"{name}.{product}: {key!r} is not lower case letters, digits or '_'")
                if getattr(table, product) is not None:
                    self.profile(name, product)
        return self

    def profile(self, venue: str | None, product: str) -> VenueProfile:
        """Return the profile of a venue for a product; None takes the product's default.

        Raises
        ------
        VenueError
            Names the venues that have the product.
        """
        name = venue or DEFAULT_VENUE[product]
        table = getattr(self.root.get(name), product, None)
        if table is None:
            known = ", ".join(sorted(one for one, has in self.root.items() if getattr(has, product) is not None))
            what = "does not offer" if name in self.root else "is unknown; venues of"
            raise VenueError(f"venue {name!r} {what} {product}: choose one of {known}")
        try:
            return VenueProfile(
                id=name,
                name=self.root[name].name,
                product=product,
                parameters=tuple(one.parameter(key) for key, one in table.parameters.items()),
                rules=table.rules,
                derivations=table.derivations,
                expiry_hours=self.root[name].expiry_hours,
            )
        except ValueError as error:
            raise VenueError(f"{name}.{product}: {error}") from error

    def digest(self, used: Iterable[tuple[str | None, str]]) -> str:
        """Return a hash of some profiles, given as venue and product: they move what may be published.

        Returns
        -------
        str
            Sixteen hexadecimal digits, whatever the order.
        """
        plain = {}
        for venue, product in used:
            profile = self.profile(venue, product)
            table = getattr(self.root[profile.id], product)
            plain[f"{profile.id}.{product}"] = [table.model_dump(mode="json"), profile.expiry_hours]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(path: Path = BUNDLED) -> Venues:
    """Read profiles from TOML.

    Parameters
    ----------
    path
        File to read, at most one megabyte.

    Raises
    ------
    VenueError
        Names the file and every key at fault.
    """
    if not path.is_file():
        raise VenueError(f"{path}: no such file of venues; the bundled one is config/venues.toml")
    raw = path.read_bytes()
    if len(raw) > SIZE_CAP:
        raise VenueError(f"{path}: larger than {SIZE_CAP} bytes; these are no profiles")
    try:
        return Venues.model_validate(tomllib.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise VenueError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise VenueError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        rows = [
            f"  {'.'.join(str(key) for key in one['loc']) or '(top)'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        ]
        raise VenueError(f"{path}: {len(rows)} key(s) at fault\n" + "\n".join(rows)) from error


@cache
def bundled() -> Venues:
    """Return the profiles of ``config/venues.toml``, read once."""
    return load()


@cache
def bundled_profile(venue: str, product: str) -> VenueProfile:
    """Return a bundled profile, made once."""
    return bundled().profile(venue, product)


@cache
def bundled_digest(used: frozenset[tuple[str, str]]) -> str:
    """Return `Venues.digest` of some bundled profiles, made once."""
    return bundled().digest(used)
