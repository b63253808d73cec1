#!/usr/bin/env bash
# Fetches the Vulkan drivers that the tests run on into a folder, installing nothing:
#
#   lavapipe-25   Mesa's CPU driver as in Debian 13 and in Debian 12's backports
#   lavapipe-22   the one of Debian 12: older, slower, with other limits
#   swiftshader   the CPU driver in Debian's chromium-common: close to what Vulkan 1.3 demands
#   radv-null     Mesa's AMD driver; with RADV_FORCE_FAMILY set it compiles shaders without a GPU
#
# and Debian 13's shader compiler, which knows cooperative matrices, as DIR/glslang/glslangValidator, for
# the build's option VKMOE_GLSLANG.
#
# usage: tests/drivers.sh [--require-all] [DIR]
#
# DIR/drivers.txt then holds a line for each driver that works here, with tabs between:
#   name, ICD file (for VK_DRIVER_FILES), LD_LIBRARY_PATH or -
# What is there already is not fetched again. A driver that cannot be had is said on stderr; with
# --require-all that makes the exit status 1. Needs apt-get on Debian 12 or later, but not root.
set -euo pipefail
export LC_ALL=C

require_all=false
if [ "${1-}" = --require-all ]; then
    require_all=true
    shift
fi
case ${1-} in
-*)
    echo "usage: tests/drivers.sh [--require-all] [DIR]" >&2
    exit 2
    ;;
esac
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/vkmoe-test-drivers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

say() {
    echo "drivers.sh: $*" >&2
}

for tool in apt-get dpkg-deb; do
    if ! command -v $tool >/dev/null; then
        say "There is no $tool here, so no test driver can be fetched from Debian."
        $require_all && exit 1
        : >"$dir/drivers.txt"
        exit 0
    fi
done

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID-}${VERSION_ID-}")
if [ "$release" = debian12 ]; then
    own=bookworm
    mesa25=bookworm-backports
else
    own=trixie
    mesa25=trixie
fi

tmp=
trap '[ -z "$tmp" ] || rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# A package state of our own: needs no root, knows releases that the system's sources do not name,
# and is not moved by the system's pins. The C and C++ libraries and the Vulkan loader count as
# installed: a process has one of each, and it is the system's. (Python is named by Mesa 22 only
# for a tool.)
apt_prepare() {
    [ -z "$tmp" ] || return 0
    tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
    mkdir -p "$tmp/state/lists/partial" "$tmp/cache/archives/partial"
    local package suite
    for package in libc6 libgcc-s1 libstdc++6 libvulkan1 python3-minimal; do
        printf 'Package: %s\nStatus: install ok installed\nVersion: 99:1\nArchitecture: %s\n' \
            "$package" "$(dpkg --print-architecture)"
        printf 'Multi-Arch: %s\n\n' \
            "$([ $package = python3-minimal ] && echo allowed || echo same)"
    done >"$tmp/state/status"
    for suite in $(printf '%s\n' bookworm trixie "$own" "$mesa25" | sort -u); do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
            "http://deb.debian.org/debian $suite main"
    done >"$tmp/sources.list"
    # Quotation marks around paths: a home folder's name may hold a space.
    cat >"$tmp/apt.conf" <<EOF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "$tmp/state";
Dir::State::status "$tmp/state/status";
Dir::Cache "$tmp/cache";
Dir::Etc::sourcelist "$tmp/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
EOF
    say "Reading Debian's package lists."
    # A release that cannot be reached shows below, as a package without a version.
    apt-get -c "$tmp/apt.conf" -qq update >&2 || true
}

# unpack FOLDER SUITE WANTED PACKAGE...: DIR/FOLDER/root gets the packages' files whose names match
# the pattern WANTED: all of them, or it does not come to be.
unpack() {
    local folder=$1 suite=$2 wanted=$3 root deb
    shift 3
    root=${tmp:?}/$folder/root
    rm -rf "$tmp/debs" "$root"
    mkdir -p "$tmp/debs" "$root"
    if ! (cd "$tmp/debs" && apt-get -c "$tmp/apt.conf" -qq download "$@") >"$tmp/apt.log" 2>&1; then
        cat "$tmp/apt.log" >&2
        why="its packages could not be downloaded from Debian's $suite"
        return 1
    fi
    for deb in "$tmp"/debs/*.deb; do
        if ! dpkg-deb -x "$deb" "$root"; then
            why="its packages could not be unpacked in $dir"
            return 1
        fi
    done
    find "$root" ! -type d ! -name "$wanted" -delete
    rm -rf "${dir:?}/$folder"
    mv "$tmp/$folder" "$dir/$folder"
}

# fetch_mesa FOLDER SUITE: Mesa's Vulkan drivers and all libraries under them.
fetch_mesa() {
    local folder=$1 suite=$2 packages
    [ ! -d "$dir/$folder/root" ] || return 0
    apt_prepare
    say "Fetching Mesa's Vulkan drivers from Debian's $suite (about 50 MB)."
    # "Inst NAME (VERSION ...": what would be installed on a system that has only the above.
    packages=$(apt-get -c "$tmp/apt.conf" -s --no-install-recommends -t "$suite" \
        install mesa-vulkan-drivers 2>"$tmp/apt.log" |
        sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p') || true
    if [ -z "$packages" ]; then
        cat "$tmp/apt.log" >&2
        why="the packages of Debian's $suite cannot be reached"
        return 1
    fi
    # shellcheck disable=SC2086 # a list of words
    unpack "$folder" "$suite" 'lib*.so*' $packages
}

fetch_swiftshader() {
    [ ! -d "$dir/swiftshader/root" ] || return 0
    apt_prepare
    say "Fetching SwiftShader from Debian's $own (about 30 MB)."
    unpack swiftshader "$own" libvk_swiftshader.so "chromium-common/$own"
}

# Debian 13's glslang with the C and C++ libraries of its own, and a script that starts it so.
fetch_glslang() {
    local root=$dir/glslang/root loader
    if [ ! -d "$root" ]; then
        apt_prepare
        say "Fetching glslang from Debian's trixie (about 7 MB)."
        unpack glslang trixie '*' glslang-tools/trixie libc6/trixie libstdc++6/trixie \
            libgcc-s1/trixie || return 1
    fi
    loader=$(find "$root" -type f -name 'ld-linux*.so*' -print -quit)
    cat >"$dir/glslang/glslangValidator" <<EOF
#!/bin/sh
exec "$loader" --library-path "${loader%/*}" "$root/usr/bin/glslang" "\$@"
EOF
    chmod +x "$dir/glslang/glslangValidator"
    why=$("$dir/glslang/glslangValidator" --version 2>&1 >/dev/null) || {
        why="it does not run here: ${why:-it ends without a word}"
        return 1
    }
}

# link_libraries LINKS ROOT LIBRARY [SONAME...]: fills the folder LINKS with links to the SONAMEs
# and to what else LIBRARY needs and the system lacks. Not to everything in ROOT: what is in LINKS
# goes before the system's libraries in each program under test.
link_libraries() {
    local links=$1 root=$2 library=$3 soname file
    shift 3
    rm -rf "$links"
    mkdir "$links"
    while :; do
        for soname; do
            file=$(find "$root" -name "$soname" -print -quit)
            if [ -z "$file" ]; then
                why="it needs $soname, which neither this system nor its packages have"
                return 1
            fi
            ln -s "$file" "$links/$soname"
        done
        # shellcheck disable=SC2046 # a list of words
        set -- $(LD_LIBRARY_PATH="$links" ldd "$library" 2>/dev/null |
            sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | sort -u)
        [ $# -gt 0 ] || break
    done
}

# add NAME FOLDER LIBRARY [SONAME...]: a line in the list, if the library in DIR/FOLDER can be
# loaded here.
add() {
    local name=$1 root=$dir/$2/root links=$dir/$2/$1.lib icd=$dir/$2/$1.json library
    library=$(find "$root" -name "$3" -print -quit)
    shift 3
    if [ -z "$library" ]; then
        why="its package no longer has it"
        return 1
    fi
    link_libraries "$links" "$root" "$library" "$@" || return 1
    # Besides missing libraries ldd finds those that are too old.
    why=$(LD_LIBRARY_PATH="$links" ldd -r "$library" 2>&1 |
        sed -n '/not found\|undefined symbol\|not a dynamic/{s/^[[:space:]]*//;p;q}')
    [ -z "$why" ] || return 1
    # All of them have at least Vulkan 1.3.
    cat >"$icd" <<EOF
{
    "file_format_version": "1.0.0",
    "ICD": {
        "library_path": "$library",
        "api_version": "1.3.0"
    }
}
EOF
    [ -n "$(ls "$links")" ] || links=-
    printf '%s\t%s\t%s\n' "$name" "$icd" "$links" >>"$dir/drivers.txt.new"
}

: >"$dir/drivers.txt.new"
missing=false
# driver NAME FETCH-COMMAND -- FOLDER LIBRARY [SONAME...]
driver() {
    local name=$1 fetch=()
    shift
    while [ "$1" != -- ]; do
        fetch+=("$1")
        shift
    done
    shift
    why=
    if ! "${fetch[@]}" || ! add "$name" "$@"; then
        say "The test driver $name is not to be had: ${why:-see above}."
        missing=true
    fi
}

# Mesa 25 wants a libdrm newer than Debian 12's, which no symbol version tells.
driver lavapipe-25 fetch_mesa mesa-25 $mesa25 -- mesa-25 libvulkan_lvp.so
driver lavapipe-22 fetch_mesa mesa-22 bookworm -- mesa-22 libvulkan_lvp.so
driver swiftshader fetch_swiftshader -- swiftshader libvk_swiftshader.so
driver radv-null fetch_mesa mesa-25 $mesa25 -- mesa-25 libvulkan_radeon.so \
    libdrm.so.2 libdrm_amdgpu.so.1

why=
if ! fetch_glslang; then
    say "Debian 13's glslang is not to be had: ${why:-see above}."
    missing=true
fi

mv "$dir/drivers.txt.new" "$dir/drivers.txt"
if $missing && $require_all; then
    exit 1
fi
