#!/usr/bin/env bash
# Installs what is missing, builds Tapestry and its examples, and runs the quickstart. Arguments go to the quickstart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source .cmake/packages.sh

install_packages
cmake --preset release
cmake --build build --parallel "$(nproc)" --target examples
exec build/examples/quickstart "$@"
