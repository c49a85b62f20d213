#!/usr/bin/env bash
# Runs what is too long for CI, part by part, and says in the end which parts found something:
#
#   testnet/nightly.sh [PART ...]     seeds kills tour fuzz mutants bench; all of them unless named
#
#   seeds     20,000 seeds of every simulation         AETHER_SEEDS says another number
#   kills     200 kills of a node under load            AETHER_KILLS says another number
#   tour      the testnet with 25 nodes, and with 50
#   fuzz      each decoder, ten minutes                 AETHER_FUZZ_SECONDS
#   mutants   every mutant of every crate that has some
#   bench     everything that is measured
#
# The log of each part stays in target/nightly. Status: 0 if no part found anything.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

logs=target/nightly
mkdir -p "$logs"

seeds() {
    AETHER_SEEDS=${AETHER_SEEDS:-20000} cargo test --locked --profile soak --workspace --test sim \
        --no-fail-fast
}

kills() {
    AETHER_KILLS=${AETHER_KILLS:-200} ./testnet/run.sh --nodes 2 --stages kills
}

tour() {
    ./testnet/run.sh --nodes 25 && ./testnet/run.sh --nodes 50
}

fuzz() {
    ./testnet/fuzz.sh "${AETHER_FUZZ_SECONDS:-600}"
}

mutants() {
    local list status=0
    for list in */mutants.txt; do
        ./testnet/mutants.sh "aether-${list%%/*}" || status=1
    done
    return "$status"
}

bench() {
    ./testnet/peers/build.sh && cargo run --release --locked -p aether-bench -- all \
        --json "$logs/bench.json"
}

parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(seeds kills tour fuzz mutants bench)
for part in "${parts[@]}"; do
    case $part in
        seeds | kills | tour | fuzz | mutants | bench) ;;
        *) echo "nightly: there is no part $part; see the top of $0" >&2; exit 2 ;;
    esac
done

found=()
for part in "${parts[@]}"; do
    printf '%s: ' "$part"
    begun=$SECONDS
    if "$part" >"$logs/$part.log" 2>&1; then
        printf 'ok, %d min\n' $(((SECONDS - begun) / 60))
    else
        printf 'FAILED; see %s\n' "$logs/$part.log"
        found+=("$part")
    fi
done
[[ ${#found[@]} -eq 0 ]] || { echo "failed: ${found[*]}"; exit 1; }
