"""The command line as a module: ``python -m dagster_project.cli``.

What lives here: the call. What does not: anything else.
"""

from dagster_project.cli import main

main()
