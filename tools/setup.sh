#!/usr/bin/env bash
# Brings this machine to the point where Plimsoll runs: a Python 3.11 or 3.12, the system libraries that draw PDFs,
# and .venv with exactly the packages of requirements.lock. Safe to run at any time; quick when nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/.plimsoll-setup
PACKAGES=(libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0)
LIBRARIES=(libpango-1.0.so.0 libpangoft2-1.0.so.0 libharfbuzz-subset.so.0)
# The tests of this script put an empty folder in the place of the root of the file system.
SYSTEM=${PLIMSOLL_SETUP_SYSTEM:-}

# A shell's own Python settings must not leak into the environment that the lock describes.
unset PYTHONHOME PYTHONPATH PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
export PYTHONDONTWRITEBYTECODE=

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { printf 'setup: %s\n' "$@" >&2; exit 1; }

LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

# Runs a command silently; its whole output appears only when it fails.
quietly() {
    local what=$1
    shift
    if ! "$@" >"$LOG" 2>&1 </dev/null; then
        cat "$LOG" >&2
        stop "$what failed; the output above says why. Run the same make command again once that is mended."
    fi
}

find_python() {
    local seen=() name version
    for name in "${PYTHON:-}" python3 python3.11 python3.12; do
        [[ -n $name ]] || continue
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in
            3.11 | 3.12) printf '%s' "$name"; return ;;
        esac
        seen+=("$name is $version")
    done
    local found="no python3 was found"
    ((${#seen[@]} == 0)) || found=$(printf '%s; ' "${seen[@]}")
    stop "Python 3.11 or 3.12 is needed: ${found%; }." \
        "Install one (Debian 12: apt-get install -y python3 python3-venv), or name one: make report PYTHON=/path/to/python3.11"
}

libraries_are_found() {
    "$1" - "${LIBRARIES[@]}" <<'PY'
import ctypes
import sys

for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        sys.exit(1)
PY
}

# Debian packages: what is missing in words, what other systems need instead, then the packages.
install_packages() {
    local what=$1 elsewhere=$2
    shift 2
    local as_root=() command="apt-get install -y --no-install-recommends $*"
    if [[ $(id -u) -ne 0 ]]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            stop "$what missing, and installing needs root. Run: sudo $command"
        fi
    fi
    command -v apt-get >/dev/null ||
        stop "$what missing and there is no apt-get here;" \
            "install $elsewhere with this system's package manager. On Debian: $command"
    [[ " $* " != *" postgresql "* ]] || want_no_cluster "${as_root[@]}"
    say "installing Debian packages: $*"
    quietly "apt-get update" "${as_root[@]}" apt-get update -q
    quietly "$command" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

install_libraries() {
    install_packages "system libraries that draw PDFs are" "Pango 1.44 or newer and HarfBuzz (${LIBRARIES[*]})" \
        "${PACKAGES[@]}"
    libraries_are_found "$1" || stop "the system libraries are installed but cannot be loaded; run: ldconfig"
}

# Debian's package makes a database cluster and starts it at every boot; the tests make servers of their own. Whoever
# has settled that for this machine keeps it.
want_no_cluster() {
    local settled=$SYSTEM/etc/postgresql-common/createcluster.conf
    [[ ! -e $settled ]] || return 0
    quietly "writing $settled" "$@" bash -c 'mkdir -p "${1%/*}" && echo "create_main_cluster = false" >"$1"' - "$settled"
}

# Only the tests open a browser, start a database server and verify units: `tools/setup.sh tests`.
find_tools_of_tests() {
    [[ $WANTED == tests ]] || return 0
    local missing=()
    command -v chromium >/dev/null || missing+=(chromium)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    compgen -G "$SYSTEM/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
    ((${#missing[@]} == 0)) ||
        install_packages "programs that the tests start are" "Chromium, systemd-analyze and a PostgreSQL server" \
            "${missing[@]}"
}
WANTED=${1:-}
[[ -z $WANTED || $WANTED == tests ]] || stop "unknown word $WANTED; run: tools/setup.sh, or tools/setup.sh tests"

# Two makes at once must not build the same environment twice; the second waits for the first.
exec 9<tools/setup.sh
if ! flock -n 9; then
    say "another set-up is running here; waiting for it"
    flock 9
fi

lock_key=$(sha256sum <requirements.lock | cut -d' ' -f1)
project_key=$({ cat pyproject.toml tools/setup.sh; pwd; } | sha256sum | cut -d' ' -f1)
had_lock='' had_project=''
if [[ -f $STAMP ]]; then
    { read -r had_lock && read -r had_project; } <"$STAMP" || true
fi
if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    had_lock='' had_project=''
fi

if [[ $had_lock == "$lock_key" && $had_project == "$project_key" ]]; then
    libraries_are_found "$VENV/bin/python" || install_libraries "$VENV/bin/python"
    find_tools_of_tests
    exit 0
fi

python=$(find_python)
libraries_are_found "$python" || install_libraries "$python"
find_tools_of_tests
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments; run: apt-get install -y python3-venv (as root)"

started=$SECONDS
if [[ $had_lock != "$lock_key" ]]; then
    if [[ -d $VENV && ! -f $STAMP ]]; then
        say "$VENV is unfinished or was not made here; making it again"
    fi
    rm -f "$STAMP"
    say "installing Python packages from requirements.lock (a minute or two, once)"
    quietly "making $VENV" "$python" -m venv --clear "$VENV"
    quietly "installing requirements.lock" "$VENV/bin/python" -m pip install --quiet --require-hashes -r requirements.lock
fi
rm -f "$STAMP"
quietly "installing the project" "$VENV/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
printf '%s\n%s\n' "$lock_key" "$project_key" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
say "ready after $((SECONDS - started)) s"
