"""Plimsoll's quantitative core.

What lives here: formulas as pure functions, arrays and frames in, frozen dataclasses out.
What does not: clocks, files, networks, databases, orchestration, templates.
"""

METHODOLOGY = "1.3.0"
"""Version of the method; it moves whenever a number that is published can move."""
