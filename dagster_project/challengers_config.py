"""Challengers, as configured: which models are compared, how far back, and who approved a new champion.

What lives here: the table ``[challengers]``. What does not: the models and the rule (``plimsoll.challengers``), running
them (``assets.challengers``).
"""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator, model_validator

from dagster_project.sources import Strict

if TYPE_CHECKING:
    from plimsoll.challengers.promotion import Approval

IN_USE = "garch_fhs"
"""Model whose volatility the budget is made from."""
MODELS = (
    IN_USE,
    "garch_evt",
    "ewma_fhs",
    "historical",
    "egarch_fhs",
    "caviar_sav",
    "caviar_as",
    "caviar_ig",
    "caviar_adaptive",
    "quantile_boosting",
)
"""Every model there is, by name: a configuration is read without loading them."""


class Promotion(Strict):
    """An approval of another champion."""

    model: str
    on: date
    approved_by: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        return _known(value)

    @field_validator("approved_by")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() or len(name) > 100 for name in value):
            raise ValueError("approved_by needs names of at most a hundred letters")
        return value


class Challengers(Strict):
    """Models beside the one in use."""

    is_on: bool = True
    models: tuple[str, ...] = tuple(name for name in MODELS if name != IN_USE)
    history_years: Annotated[int, Field(ge=1, le=20)] = 3
    contest_years: Annotated[int, Field(ge=1, le=20)] = 2
    promotion: tuple[Promotion, ...] = ()

    @field_validator("models")
    @classmethod
    def _models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if IN_USE in value:
            raise ValueError(f"{IN_USE} is the model in use and always among those compared; leave it out")
        if not value or len(set(value)) != len(value):
            raise ValueError("names no model, or one twice; is_on = false compares none")
        return tuple(_known(name) for name in value)

    @model_validator(mode="after")
    def _years(self) -> Self:
        if self.contest_years > self.history_years:
            raise ValueError("contest_years is longer than history_years: there would be no forecast to score")
        strangers = sorted({one.model for one in self.promotion} - {IN_USE, *self.models})
        if strangers:
            raise ValueError(f"promotion of {', '.join(strangers)}: not among models")
        return self

    @property
    def approvals(self) -> "tuple[Approval, ...]":
        """Approvals in the core's words."""
        from plimsoll.challengers.promotion import Approval

        return tuple(Approval(one.model, one.on, one.approved_by) for one in self.promotion)


def _known(name: str) -> str:
    if name not in MODELS:
        raise ValueError(f"{name!r} is unknown; models are {', '.join(MODELS)}")
    return name
