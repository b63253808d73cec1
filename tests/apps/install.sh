#!/bin/sh
# Installs a build below a temporary folder and uses it as others would: the program from another
# folder with no -m, the library through pkg-config, and through CMake both shared and static.
# usage: install.sh BUILD_DIR
set -eu
build=$1
source=$(cd "$(dirname "$0")/install" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/usr" >"$work/log"

cd "$work"
text=$("$work/usr/bin/vkmoe" run -p "ROMEO:" -n 8 --temp 0)
[ -n "$text" ] || { echo "the installed program wrote no text"; exit 1; }

# It finds the program that tests paths where that was installed: here, one that is soon done.
selftest=$work/usr/libexec/vkmoe/vkmoe-selftest
[ -x "$selftest" ] || { echo "vkmoe-selftest was not installed"; exit 1; }
printf '#!/bin/sh\necho "$@" >%s/tested\necho passed\n' "$work" >"$selftest"
"$work/usr/bin/vkmoe" run -p "ROMEO:" -n 1 --no-cache --paths=+int8 >/dev/null
[ -s "$work/tested" ] || { echo "the installed program did not find vkmoe-selftest"; exit 1; }

libdir=$(dirname "$(find "$work/usr" -name libvkmoe.so)")
[ -L "$libdir/libvkmoe.so.0" ] || { echo "libvkmoe.so.0 is missing in $libdir"; exit 1; }
PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # the flags are words
cc -o by_pkgconfig "$source/main.c" $(pkg-config --cflags --libs vkmoe) "-Wl,-rpath,$libdir"
./by_pkgconfig

cmake -S "$source" -B by_cmake -DCMAKE_PREFIX_PATH="$work/usr" >>"$work/log"
cmake --build by_cmake >>"$work/log"
./by_cmake/uses_shared
./by_cmake/uses_static
