#!/bin/bash
# Every vkmoe command that README.md and the man page show runs and succeeds: DIR is the shipped
# model, prompt.txt, text.txt and task.jsonl are there, and what stands in brackets is run as well.
# usage: documented.sh BUILD_DIR
set -eu
build=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$build/bin:$PATH
export XDG_CACHE_HOME=$work/cache # what is tuned here is nobody else's
cd "$work"
ln -s "$source/apps/trio" DIR
printf 'ROMEO:\nWhat news' >prompt.txt
printf 'What news?\nNone.\n' >text.txt
echo '{"context": "12 + 7 =", "choices": [" 18", " 19"], "answer": 1}' >task.jsonl

count=0
while IFS= read -r line; do
    command=$(sed 's, *#.*,,; s,[][],,g' <<<"$line")
    # chat reads turns where it is not given any.
    input=/dev/null
    [[ $command != "vkmoe chat"* ]] || input=text.txt
    if ! timeout 120 bash -c "$command" <"$input" >out 2>err; then
        echo "failed: $command"
        cat err
        exit 1
    fi
    [ -s out ] || [[ $command == *" -o "* ]] || {
        echo "no output: $command"
        exit 1
    }
    count=$((count + 1))
done < <(grep -h '^vkmoe [a-z]' "$source/README.md" "$source/apps/cli/vkmoe.1")
echo "$count commands"
[ "$count" -ge 15 ]

# The program's own list of commands is what the man page has sections for.
for name in $(vkmoe --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    grep -q "^\.Ss .*\<$name\>" "$source/apps/cli/vkmoe.1" || {
        echo "the man page does not know $name"
        exit 1
    }
done
