#!/usr/bin/env bash
# Builds what Aether is measured beside, for the bench: testnet/peers/build.sh [PROGRAM ...]
# All of it, unless programs are named: peer-iroh-blobs peer-nats peer-tcp.
#
# It goes into testnet/peers/target, where the bench looks for it, and installs nothing. One that
# doesn't build is left out, and told of at the end.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

failed=()
[ $# -gt 0 ] || set -- peer-tcp peer-nats peer-iroh-blobs
for program in "$@"; do
    echo "building $program" >&2
    cargo build --release --locked --target-dir target -p "$program" || failed+=("$program")
done

if [ -x target/release/peer-nats ] && ! target/release/peer-nats --find >/dev/null; then
    echo "the bench leaves NATS out until it is installed" >&2
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "not built: ${failed[*]}" >&2
    exit 1
fi
