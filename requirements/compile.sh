#!/usr/bin/env bash
# Compiles the hashed locks from pyproject.toml; existing pins stay unless --upgrade is given.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

lock() {
  local output=$1
  shift
  uv pip compile pyproject.toml \
    --universal \
    --python-version 3.11 \
    --generate-hashes \
    --no-header \
    --no-annotate \
    --quiet \
    --output-file "$output" \
    "$@"
  python3 requirements/fingerprint.py "$output"
}

lock functions/requirements.txt "$@"
lock requirements/local.txt --group local "$@"
lock requirements/dev.txt --group dev "$@"
