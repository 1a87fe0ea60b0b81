#!/bin/sh
# Runs a module of this repository on the first Python that is new enough:
#   sh tools/python.sh -m tools.bootstrap
# $PYTHON if it is set, else the project's own environment, else the newest on PATH. A name on PATH
# proves nothing (version managers leave shims behind that only print an error), so each one is run.
set -eu
cd "$(dirname "$0")/.."

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    if new_enough "$PYTHON"; then
        exec "$PYTHON" "$@"
    fi
    echo "qsaga needs Python 3.11 or newer: PYTHON=$PYTHON is older or does not run." >&2
    exit 1
fi

for python in .venv/bin/python python3.13 python3.12 python3.11 python3 python; do
    if new_enough "$python"; then
        exec "$python" "$@"
    fi
done
echo "qsaga needs Python 3.11 or newer: install it (https://www.python.org/downloads/) or name it with PYTHON=/path/to/python3.11." >&2
exit 1
