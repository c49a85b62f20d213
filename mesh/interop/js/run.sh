#!/bin/sh
# Lets a program in JavaScript and a node in Rust talk to each other, over WebSocket and over TCP.
#
# Needs Node.js 20.19 or later with npm, and cargo. Exits with 0 if both understood each other, 77
# if there is no suitable Node.js, another number if something is wrong. All traffic is on loopback,
# apart from what npm and cargo fetch. AETHER_BUILT names a folder where the Rust side is built
# already, so that it isn't built here.
set -eu
built=${AETHER_BUILT:+$(cd "$AETHER_BUILT" && pwd)}
cd "$(dirname "$0")"

suitable='const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
if ! command -v npm >/dev/null || ! node -e "$suitable" 2>/dev/null; then
    echo "interop skipped: Node.js 20.19 or later with npm is needed" >&2
    exit 77
fi

npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error >/dev/null
node golden.mjs

if [ -z "$built" ]; then
    cargo build --quiet -p aether-mesh --example interop
    target=$(cargo metadata --format-version 1 --no-deps | node -p 'JSON.parse(fs.readFileSync(0)).target_directory')
    built=$target/debug
fi

scratch=$(mktemp -d)
rust=
trap '[ -z "$rust" ] || kill "$rust" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

for transport in /tcp/0/ws /tcp/0; do
    # The Rust side's first line is its address. A pipe with a name lets us wait for it.
    mkfifo "$scratch/out"
    "$built/examples/interop" "/ip4/127.0.0.1$transport" >"$scratch/out" &
    rust=$!
    read -r address <"$scratch/out" || { echo "the Rust node did not start" >&2; exit 1; }
    rm "$scratch/out"

    said=$(node join.mjs "$address" interop greetings)
    if [ "$said" != "hello from Rust" ]; then
        echo "JavaScript got \"$said\" from $address" >&2
        exit 1
    fi
    wait "$rust" || { echo "the Rust node at $address failed" >&2; exit 1; }
    rust=
done
echo "interop ok"
