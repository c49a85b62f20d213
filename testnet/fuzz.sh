#!/usr/bin/env bash
# Fuzzes every decoder of what peers send: testnet/fuzz.sh [SECONDS] [FOLDER/TARGET ...]
# Each target for so long, 60 seconds unless said; all of them, unless some are named, such as
# mesh/envelope. Needs a nightly toolchain; installs cargo-fuzz if it isn't there. A finding ends it
# with status 1 and is kept in FOLDER/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly compiler: rustup toolchain install nightly" >&2
    exit 1
fi
if ! command -v cargo-fuzz >/dev/null; then
    echo "installing cargo-fuzz" >&2
    cargo install --quiet --locked cargo-fuzz
fi
if [ $# -eq 0 ]; then
    for target in {mesh,crdt}/fuzz/targets/*.rs; do
        set -- "$@" "${target%%/*}/$(basename "$target" .rs)"
    done
fi
for target in "$@"; do
    printf '\n==> %s, %s seconds\n' "$target" "$seconds" >&2
    # 288 KiB: what the largest frame of the mesh has.
    (cd "${target%/*}" && cargo +nightly fuzz run "${target#*/}" -- -max_total_time="$seconds" \
        -max_len=294912 -rss_limit_mb=1024 -print_final_stats=1)
done
echo "no findings in $# targets" >&2
