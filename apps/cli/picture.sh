#!/usr/bin/env bash
# Draws a real session: runs the commands below with the vkmoe of BUILD_DIR and writes what a terminal
# would show to apps/cli/session.svg.
# usage: apps/cli/picture.sh BUILD_DIR
set -euo pipefail
build=$1
out=$(cd "$(dirname "$0")" && pwd)/session.svg
PATH=$build/bin:$PATH

session() {
    local line
    for line in 'vkmoe run -p "ROMEO:" -n 70 --temp 0' \
        'vkmoe run -p "{\"id\":" -n 40 --temp 0' \
        'vkmoe info --config deepseek-moe-16b | head -n 12'; do
        echo "\$ $line"
        bash -c "$line" 2>&1
    done
}

text=$(session | fold -s -w 96 | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')
lines=$(wc -l <<<"$text")
{
    printf '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 %d" role="img">\n' \
        $((lines * 17 + 30))
    echo '<title>vkmoe in a terminal</title>'
    echo '<rect width="100%" height="100%" rx="8" fill="#1e1f29"/>'
    echo '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">'
    y=25
    while IFS= read -r line; do
        colour='#d7dae0'
        [[ $line != '$ '* ]] || colour='#7fd88f'
        printf '<text x="14" y="%d" fill="%s">%s</text>\n' $y "$colour" "$line"
        y=$((y + 17))
    done <<<"$text"
    echo '</g></svg>'
} >"$out.new"
mv "$out.new" "$out"
