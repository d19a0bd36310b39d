#!/usr/bin/env bash
# Opens Dagster's user interface on this machine only, on the same instance that `plimsoll report` writes to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PORT=${PORT:-3000}
PLIMSOLL_HOME=$(realpath -m "${PLIMSOLL_HOME:-var}")
DAGSTER_HOME=$(realpath -m "${DAGSTER_HOME:-$PLIMSOLL_HOME/dagster}")
export PLIMSOLL_HOME DAGSTER_HOME
export PLIMSOLL_CONFIG=${CONFIG:-config/embedded.toml}
[[ -z ${CANDLES:-} ]] || export PLIMSOLL_CANDLES=$CANDLES
# `dagster dev` advises another command line tool that the project does not need.
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore::FutureWarning}

mkdir -p "$DAGSTER_HOME"
[[ -f $DAGSTER_HOME/dagster.yaml ]] || cp deploy/dagster.yaml "$DAGSTER_HOME/dagster.yaml"
cat <<TEXT
Dagster with $PLIMSOLL_CONFIG opens at http://127.0.0.1:$PORT  (ready when it says "Serving"; Ctrl-C stops it)
It has no login and answers this machine only: anyone who can reach the port can start runs. From elsewhere, use
  ssh -L $PORT:127.0.0.1:$PORT this-machine
TEXT
exec .venv/bin/dagster dev -m dagster_project.definitions -h 127.0.0.1 -p "$PORT"
