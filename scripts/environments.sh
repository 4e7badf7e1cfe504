#!/bin/sh
# What is done in other environments than .venv, each made from nothing:
#
#   sh scripts/environments.sh wheel    install the wheel alone, away from the sources: examine, demo
#   sh scripts/environments.sh lowest   the lowest versions that pyproject.toml allows, Python 3.11
#   sh scripts/environments.sh newest   the newest of everything, with each Python from 3.11 to 3.13
#   sh scripts/environments.sh docs     build the documentation into site/
#
# Lowest and newest run the quick tests, those without a window. A Python that this computer lacks is
# skipped, and that is said. The environments are in .environments, and are made anew each time.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)

say() { printf '[environments] %s\n' "$*"; }

# Print where a version of Python is; nothing if it is not here.
python_of() {
    for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
}

# Make an environment of a name with a Python.
make_environment() {
    environment=$root/.environments/$1
    say "Making $1 with $("$2" --version)"
    "$2" -m venv --clear "$environment"
    install "pip>=25.1"
}

install() {
    "$environment/bin/python" -m pip install --disable-pip-version-check --quiet --no-compile "$@"
}

quick_tests() {
    # What the packages of others warn of in old or new versions is not ours to mend.
    env QT_QPA_PLATFORM=offscreen "$environment/bin/python" -m pytest -q -p no:cacheprovider \
        -m "not gui and not slow" \
        -W default::DeprecationWarning -W default::PendingDeprecationWarning
}

wheel() {
    make_environment wheel "$root/.venv/bin/python"
    dist=$(mktemp -d)
    trap 'rm -rf "$dist"' EXIT
    install hatchling
    "$environment/bin/python" -m hatchling build -t wheel -d "$dist" >/dev/null
    install -c constraints.txt torch  # on its own and first, as in setup.sh
    install -c constraints.txt "$dist"/*.whl
    cd "$dist"  # from where no source can be imported
    "$environment/bin/python" -c "import napari_unfold as n; assert '.environments' in n.__file__"
    "$environment/bin/napari-unfold" doctor
    "$environment/bin/napari-unfold" demo --out demo
    test -s demo/figure.png
    say "The wheel works"
}

lowest() {
    python=$(python_of 3.11)
    if [ -z "$python" ]; then say "Python 3.11 is not here: skipped"; return; fi
    make_environment lowest "$python"
    install -c constraints-lowest.txt torch
    install -c constraints-lowest.txt -e ".[all]" --group test
    quick_tests
}

newest() {
    for version in 3.11 3.12 3.13; do
        python=$(python_of $version)
        if [ -z "$python" ]; then say "Python $version is not here: skipped"; continue; fi
        make_environment "newest-$version" "$python"
        install -c constraints.txt torch  # the newest might bring gigabytes for a GPU
        install -e ".[all]" --group test
        quick_tests
    done
}

docs() {
    for version in 3.13 3.12 3.11 3; do
        python=$(python_of $version)
        [ -z "$python" ] || break
    done
    if [ -z "$python" ]; then say "No Python is here that can make an environment" >&2; exit 1; fi
    make_environment docs "$python"
    install -c constraints.txt --group docs
    NO_MKDOCS_2_WARNING=1 "$environment/bin/python" -m mkdocs build --strict
    say "The documentation is in site/index.html"
}

case ${1:-} in
    wheel | lowest | newest | docs) "$1" ;;
    *) echo "usage: sh scripts/environments.sh wheel|lowest|newest|docs" >&2; exit 2 ;;
esac
