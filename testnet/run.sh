#!/usr/bin/env bash
# Builds the node and the lab, starts nodes on this machine, and takes the tour:
#
#   testnet/run.sh [--nodes 5] [--seed N] [--input FILE] [--json FILE] [--keep]
#                  [--stages form,publish,restart,serve,spread,maps,type,kills,flood,churn] [--data FOLDER]
#
# The stage `maps` writes 20,000 keys to one map through all nodes, one of which is killed in the
# middle, and shows that all end with the same and with all that was acknowledged; AETHER_MAPS_KEYS
# says another number of keys.
#
# The stage `type` has all nodes type 400 sentences into one text at once, kills one of them in the
# middle, and shows that all end with one text and each paragraph as its writer typed it;
# AETHER_TYPE_SENTENCES says another number of sentences.
#
# The stage `kills` kills a node five times while it is written to, and shows that nothing is lost
# that it had acknowledged; AETHER_KILLS says another number of times.
#
# The stage `flood` attacks one node as strangers may, and shows that its memory stays under
# network.max_memory and that the others are served; AETHER_FLOOD_SECONDS makes its turns longer.
#
# AETHER_PROFILE names the cargo profile: dev, which the tests build anyway, unless given.
# AETHER_BUILT names a folder where both programs are built already, so that nothing is built.
set -euo pipefail

if [ -n "${AETHER_BUILT:-}" ]; then
    exec "$AETHER_BUILT/aether-lab" --aether "$AETHER_BUILT/aether" "$@"
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
profile=${AETHER_PROFILE:-dev}
quiet=()
[ -t 2 ] || quiet=(--quiet)

echo "building aether and the lab, profile $profile" >&2
target=$(
    cd "$root"
    cargo build --locked ${quiet[@]+"${quiet[@]}"} --profile "$profile" -p aether-node \
        -p aether-lab -p aether-examples --bins
    cd "${CARGO_TARGET_DIR:-target}"
    pwd
)
case $profile in
    dev) folder=$target/debug ;;
    *) folder=$target/$profile ;;
esac
exec "$folder/aether-lab" --aether "$folder/aether" "$@"
