#!/usr/bin/env bash
# Tests everything, on every store. The servers that the tests start for themselves are installed where they
# are missing; one that cannot be had is a failure. What is given is passed on to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

has_redis() { command -v redis-server >/dev/null; }
has_postgres() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }

missing() {
    has_redis || echo redis-server
    has_postgres || echo postgresql
    has_pgbouncer || echo pgbouncer
    command -v openssl >/dev/null || echo openssl
}

fail() {
    printf 'tests/all.sh: %s\n' "$*" >&2
    exit 1
}

install() {
    command -v apt-get >/dev/null || fail "there is no apt-get here: install $* first"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "to install $*, run this as root, or install sudo"
        as_root=(sudo)
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q)
    "${apt[@]}" update || fail "apt-get update failed, so $* cannot be installed"
    "${apt[@]}" install -y --no-install-recommends "$@" || fail "$* cannot be installed"
}

packages=$(missing)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086
    install $packages
    packages=$(missing)
    [ -z "$packages" ] || fail "installed, and not found:" $packages
fi

EVERTOKEN_SERVICES=required exec cargo test --all-features "$@"
