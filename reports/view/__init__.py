"""The view: every number of a report once, formatted once, for PDF, JSON and mail alike.

What lives here: ``inputs`` says what a report is made from, ``pages`` its market pages, ``decision`` its first page, and
``build`` puts them together. What does not: looks (``templates``), drawing (``charts``), numbers (the stages before).
"""

from reports.view.build import ReportView, build, with_fewer_decisions
from reports.view.inputs import MarketInput, ModelInputs, ReportInputs

__all__ = ["MarketInput", "ModelInputs", "ReportInputs", "ReportView", "build", "with_fewer_decisions"]
