"""Report of models: what the store says of champion, challengers and their disagreement on a day.

What lives here: reading. What does not: running the models (``assets.challengers``), words (``reports.view.models``).
"""

from datetime import date

import pandas as pd

import plimsoll
from assets import challengers
from dagster_project.challengers_config import IN_USE
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from reports.view import ModelInputs


def model_inputs(session: Session, settings: Settings, day: date, budgets: pd.DataFrame) -> ModelInputs:
    """Read what the report shows of models.

    Parameters
    ----------
    session, settings, day
        Store, profile and day.
    budgets
        Threshold rows of the newest target of each set.
    """
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    is_on = settings.challengers.is_on
    names = ("model_contests", "model_states", "conformal_levels", "feature_importances")
    contests, states, levels, importances = (session.query(name, last=day, **identity) for name in names)
    ratios = session.query("challenger_ratios", last=day, in_use=IN_USE, **identity)
    newest = budgets[["symbol", "as_of"]].drop_duplicates()
    return ModelInputs(
        is_on=is_on,
        in_use=IN_USE,
        contest=_newest(contests, "quarter_on"),
        importances=_newest(importances, "quarter_on"),
        states=states[challengers.SHOWN_STATE],
        levels=levels[levels["as_of"] > pd.Timestamp(day) - pd.DateOffset(years=1)],
        ratios=ratios.merge(newest, on=["symbol", "as_of"]) if is_on else ratios.head(0),
        budgets=budgets[["symbol", "product", "side", "lambda_total", "lambda_model"]],
    )


def _newest(rows: pd.DataFrame, day: str) -> pd.DataFrame:
    newest: pd.DataFrame = rows[rows[day] == rows[day].max()].reset_index(drop=True)
    return newest
