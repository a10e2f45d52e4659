#!/usr/bin/env bash
# Tests everything, on every store and with every authorization server. The servers that the tests start for
# themselves are installed where they are missing: those of a distribution with apt, the others by npm and pip into
# the target directory, as the lists in tests/servers say. One that cannot be had is a failure. What is given is
# passed on to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

has_redis() { command -v redis-server >/dev/null; }
has_postgres() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }

# A Node.js that is too old for oidc-provider is reported when that is installed.
has_node() { command -v node >/dev/null && command -v npm >/dev/null; }
has_python() { command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

missing() {
    has_redis || echo redis-server
    has_postgres || echo postgresql
    has_pgbouncer || echo pgbouncer
    command -v openssl >/dev/null || echo openssl
    has_node || echo nodejs npm
    has_python || echo python3 python3-venv
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

servers=${CARGO_TARGET_DIR:-target}/servers

# The list that was installed is copied at the end, so that half an installation does not count as one. The tests
# compare it too (tests/servers/judge/installed.rs).
is_installed() { cmp -s "$1" "$2/installed"; }

install_oidc_provider() {
    local from=tests/servers/oidc-provider into=$servers/oidc-provider
    is_installed "$from/package-lock.json" "$into" && return
    rm -rf "$into" && mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into"
    npm ci --prefix "$into" --engine-strict --ignore-scripts --no-audit --no-fund ||
        fail "oidc-provider cannot be installed by npm; it needs Node.js 20 or later"
    cp "$from/package-lock.json" "$into/installed"
}

install_django_oauth_toolkit() {
    local from=tests/servers/django-oauth-toolkit into=$servers/django-oauth-toolkit
    is_installed "$from/requirements.txt" "$into" && return
    rm -rf "$into" && mkdir -p "$servers"
    python3 -m venv "$into" || fail "python3 cannot make a virtual environment in $into"
    "$into/bin/pip" install --quiet --disable-pip-version-check --requirement "$from/requirements.txt" ||
        fail "django-oauth-toolkit cannot be installed by pip"
    cp "$from/requirements.txt" "$into/installed"
}

install_oidc_provider
install_django_oauth_toolkit

EVERTOKEN_SERVICES=required exec cargo test --all-features "$@"
