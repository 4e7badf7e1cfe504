#!/bin/sh
# Set up what a make target needs, from nothing:  sh scripts/setup.sh demo|test|lint
#
#   demo  the program and what it depends on
#   test  the same, napari with its Qt windows, the test tools and a virtual display
#   lint  the program and the code checkers
#
# Everything Python goes into .venv, at the versions in constraints.txt. A second call does nothing
# until pyproject.toml or constraints.txt change. System packages are installed by root on Debian
# and Ubuntu only; anybody else is told what is missing.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-demo}
case $purpose in
    demo) requirements="-e ." ;;
    test) requirements="-e .[all] --group test" ;;
    lint) requirements="-e . --group lint" ;;
    *) echo "usage: sh scripts/setup.sh demo|test|lint" >&2; exit 2 ;;
esac

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] %s\n' "$*" >&2; exit 1; }

# ---- system packages ---------------------------------------------------------------------------

is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    say "Installing with apt: $*"
    export DEBIAN_FRONTEND=noninteractive
    [ -n "${apt_updated:-}" ] || apt-get -qq update
    apt_updated=yes
    apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

# ---- Python ------------------------------------------------------------------------------------

# ensurepip is the part of venv that Debian keeps in a package of its own.
is_usable_python() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for python in python3.13 python3.12 python3.11 python3; do
        if is_usable_python "$python"; then return 0; fi
    done
    return 1
}

ensure_python() {
    if find_python; then return 0; fi
    if is_debian_root; then
        apt_install python3 python3-venv
        if find_python; then return 0; fi
    fi
    fail "No Python 3.11 or newer with venv was found. Install one (Debian, Ubuntu:" \
        "sudo apt-get install python3 python3-venv; macOS: brew install python@3.13; or from" \
        "https://www.python.org/downloads) and run the command again."
}

ensure_venv() {
    if [ -x .venv/bin/python ] && is_usable_python .venv/bin/python; then return 0; fi
    ensure_python
    say "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

pip_install() {
    # Without a terminal nobody watches the progress bars, and a log is better without them.
    if [ -t 1 ]; then quiet=""; else quiet="--quiet"; fi
    # shellcheck disable=SC2086
    .venv/bin/python -m pip install --disable-pip-version-check $quiet "$@"
}

install_requirements() {
    # The folder is part of it: an editable installation has to be redone where .venv was moved.
    wanted=$(pwd; cat pyproject.toml constraints.txt scripts/setup.sh)
    stamp=.venv/installed-for-$purpose
    if [ -f "$stamp" ] && [ "$wanted" = "$(cat "$stamp")" ]; then return 0; fi

    say "Installing Python packages into .venv; the first time takes some minutes"
    pip_install "pip>=25.1"
    # PyTorch on its own and first: pip then takes the build that the configured index prefers for
    # exactly this version (one without CUDA, say), and nothing later replaces it.
    pip_install -c constraints.txt torch
    # shellcheck disable=SC2086
    pip_install -c constraints.txt $requirements
    printf '%s\n' "$wanted" >"$stamp"
}

# ---- a virtual display for the tests that open a window ----------------------------------------

# What Qt 6 and OpenGL load at run time, and the Debian package it comes in.
display_needs="
    xvfb-run                xvfb
    xauth                   xauth
    libEGL.so.1             libegl1
    libGL.so.1              libgl1
    libdbus-1.so.3          libdbus-1-3
    libfontconfig.so.1      libfontconfig1
    libglib-2.0.so.0        libglib2.0-0
    libgssapi_krb5.so.2     libgssapi-krb5-2
    libxcb-cursor.so.0      libxcb-cursor0
    libxcb-icccm.so.4       libxcb-icccm4
    libxcb-image.so.0       libxcb-image0
    libxcb-keysyms.so.1     libxcb-keysyms1
    libxcb-randr.so.0       libxcb-randr0
    libxcb-render-util.so.0 libxcb-render-util0
    libxcb-shape.so.0       libxcb-shape0
    libxcb-xkb.so.1         libxcb-xkb1
    libxkbcommon-x11.so.0   libxkbcommon-x11-0
"

# Print the packages of `display_needs` that are not there.
missing_for_display() {
    libraries=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null) || libraries=""
    echo "$display_needs" | while read -r need package; do
        case $need in
            "") ;;
            lib*) case $libraries in *"$need "*) ;; *) echo "$package" ;; esac ;;
            *) command -v "$need" >/dev/null || echo "$package" ;;
        esac
    done | paste -sd ' ' -
}

ensure_display() {
    [ "$(uname)" = Linux ] || return 0
    missing=$(missing_for_display)
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086
    if is_debian_root; then apt_install $missing; return 0; fi
    fail "The tests open windows on a virtual display, and for that this system lacks: $missing." \
        "Install them (Debian, Ubuntu: sudo apt-get install $missing; other systems: the packages" \
        "with the same programs and libraries) and run the command again."
}

if [ "$purpose" = test ]; then ensure_display; fi
ensure_venv
install_requirements
