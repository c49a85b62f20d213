#!/usr/bin/env bash
# Breaks a crate in many small ways, one at a time, and says which of them its tests catch.
#
#   testnet/mutants.sh CRATE [PATTERN]   CRATE is a package, such as aether-crdt; PATTERN (a glob
#                                        such as '*fork*') picks mutants by name
#
# The mutants of a crate stand in `mutants.txt` beside its manifest. Each is a paragraph:
#
#   = what is broken
#   src/file.rs
#   - a line as it stands, found exactly once
#   + the line that takes its place; none, and the line is gone
#
# Several lines of each kind are one block. A line `! ARGUMENTS` before them all says what the tests
# are run with, such as `--no-default-features`. The work is done in a copy, which shares a target folder
# with the next run. Status: 0 all caught, 1 some survived, 2 it can't be told.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

fail() { echo "mutants: $1" >&2; exit 2; }

crate=${1-}
pattern=${2-*}
[[ -n $crate ]] || fail "which crate? usage: testnet/mutants.sh CRATE [PATTERN]"
manifest=$(cargo pkgid --package "$crate" 2>/dev/null) || fail "there is no package $crate here"
manifest=${manifest#*file://}
folder=${manifest%%#*}
folder=${folder#"$root"/}
list=$folder/mutants.txt
[[ -f $list ]] || fail "$list isn't there: $crate has no list of mutants"

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    # What is deleted and not committed is still listed.
    if [[ -f $file ]]; then printf '%s\0' "$file"; fi
done | tar --create --null --files-from - | tar --extract --directory "$work"
export CARGO_TARGET_DIR=$root/target/mutants
# A mutant may loop for ever. Ten minutes are more than a whole build takes.
read -ra arguments <<<"$(sed -n 's/^! //p' "$list")"
suite() {
    (cd "$work" && timeout 600 cargo test --quiet --locked --package "$crate" "${arguments[@]}" "$@")
}

echo "$crate: its tests, as it stands"
suite >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "they fail without a mutant"; }

name= file= old= new= caught=0
survived=()

try() {
    [[ -n $name ]] || return 0
    [[ $name == $pattern ]] || { name=; return 0; }
    local path=$work/$folder/$file text changed
    [[ -f $path ]] || fail "$name: $folder/$file isn't there"
    [[ -n $old ]] || fail "$name: it says no line that it breaks"
    text=$(<"$path")
    changed=${text/"$old"/"$new"}
    [[ $changed != "$text" ]] || fail "$name: $folder/$file has no such line as $old"
    [[ ${text#*"$old"} != *"$old"* ]] || fail "$name: $folder/$file has that more than once: $old"
    printf '%s\n' "$changed" >"$path"
    if ! suite --no-run >"$work/log" 2>&1; then
        tail -20 "$work/log" >&2
        fail "$name: it doesn't compile"
    fi
    if suite >"$work/log" 2>&1; then
        survived+=("$name")
        printf 'SURVIVED  %s\n' "$name"
    else
        caught=$((caught + 1))
        printf 'caught    %-60s %s\n' "$name" "$(sed -n 's/^---- \(.*\) stdout ----$/\1/p' "$work/log" | head -1)"
    fi
    printf '%s\n' "$text" >"$path"
    name=
}

while IFS= read -r line || [[ -n $line ]]; do
    case $line in
        '= '*) try; name=${line#= } file= old= new= ;;
        '- '* | -) line=${line#-}; line=${line# }; old+=${old:+$'\n'}$line ;;
        '+ '* | +) line=${line#+}; line=${line# }; new+=${new:+$'\n'}$line ;;
        '#'* | '!'* | '') ;;
        *) [[ -n $name && -z $file ]] || fail "$list: what is this line? $line"; file=$line ;;
    esac
done <"$list"
try

echo "$((caught + ${#survived[@]})) mutants, $caught caught"
[[ ${#survived[@]} -eq 0 ]] || exit 1
[[ $caught -gt 0 ]] || fail "no mutant's name is like $pattern"
