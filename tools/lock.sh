#!/usr/bin/env bash
# Resolves pyproject.toml into requirements.lock: every platform, every hash, no index address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=$(command -v uv || true)
if [[ -z $uv ]]; then
    # uv resolves but is no dependency of the project, so it gets an environment of its own.
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    "${PYTHON:-python3}" -m venv "$folder"
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check install uv
    uv=$folder/bin/uv
fi
"$uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --extra dev --no-annotate --no-header \
    --no-strip-extras --python-version 3.11 "$@" pyproject.toml -o requirements.lock
printf 'requirements.lock: %s packages\n' "$(grep -c '==' requirements.lock)"
