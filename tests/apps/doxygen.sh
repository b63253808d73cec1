#!/bin/sh
# The public headers are documented: Doxygen has nothing to complain about.
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
{
    cat include/Doxyfile
    echo "OUTPUT_DIRECTORY = $out"
} | doxygen -
[ -f "$out/html/structvkmoe__session__params.html" ] || {
    echo "Doxygen wrote no page for vkmoe_session_params"
    exit 1
}
