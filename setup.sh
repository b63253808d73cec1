#!/usr/bin/env bash
# From a fresh Debian 12 or 13 to the shipped model's first words:
#
#   ./setup.sh                          installs what is missing, builds, runs the shipped model
#   ./setup.sh COMMAND ARGUMENT...      the same, then runs vkmoe with these, as in
#                                       ./setup.sh run -p "12 + 7 ="
#   ./setup.sh --desktop [ARGUMENT...]  the same with the desktop application, which it starts
#   ./setup.sh --packages-only [test|desktop] only installs what is missing (for the tests too,
#                                       which need the desktop's)
#
# It asks for root only if a package is missing. All it says goes to stderr.
set -euo pipefail

build_packages=(build-essential cmake ninja-build pkg-config glslang-tools spirv-tools libvulkan1
    libvulkan-dev libvulkan-volk-dev libpcre2-dev libutf8proc-dev libjansson-dev
    libedit-dev libcairo2-dev)
desktop_packages=(libgtk-4-dev adwaita-icon-theme librsvg2-common)
test_packages=("${desktop_packages[@]}" xvfb xauth libcmocka-dev vulkan-validationlayers
    libspirv-cross-c-shared-dev clang-format clang libclang-rt-dev doxygen)
driver_package=mesa-vulkan-drivers # AMD, Intel, and a driver for CPUs

# Debian 12's own Mesa is old: its CPU driver is about ten times slower at matrix products.
backports=bookworm-backports
backports_file=/etc/apt/sources.list.d/vkmoe-$backports.list

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() {
    echo "setup.sh: $*" >&2
}

# shellcheck source=/dev/null
on_debian_12() {
    [ "$(. /etc/os-release && echo "${ID-}${VERSION_ID-}")" = debian12 ]
}

# The version of PACKAGE, if it is installed. (It may be there for a second architecture too.)
installed() {
    dpkg-query -W -f '${Architecture} ${db:Status-Status} ${Version}\n' "$1" 2>/dev/null |
        sed -n "s/^\(all\|$(dpkg --print-architecture)\) installed //p" | grep .
}

# Whether there is a GPU with a Vulkan driver, or the user has chosen a driver.
have_gpu_driver() {
    [ -z "${VK_DRIVER_FILES-}${VK_ICD_FILENAMES-}" ] || return 0
    local file found=false data=${XDG_DATA_HOME:-$HOME/.local/share}
    for file in /dev/dri/renderD* /dev/nvidiactl /dev/dxg; do
        [ ! -e "$file" ] || found=true
    done
    $found || return 1
    for file in {/etc,/usr/local/share,/usr/share,"$data"}/vulkan/icd.d/*.json; do
        case ${file##*/} in
        '*.json' | lvp_* | *swiftshader* | gfxstream_* | virtio_*) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

# Runs as root: install_as_root PACKAGE...
install_as_root() {
    # Without the sbin folders, which su leaves out, dpkg gives up.
    export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
    local apt=(apt-get -y -q -o DPkg::Lock::Timeout=300 --no-install-recommends)
    local packages=() driver=false package
    for package; do
        if [ "$package" = $driver_package ] && on_debian_12; then
            driver=true
        else
            packages+=("$package")
        fi
    done
    local added=false
    if $driver && ! grep -rqs "^[^#]*$backports" /etc/apt/sources.list /etc/apt/sources.list.d; then
        say "Adding Debian's $backports as $backports_file, for its newer Vulkan drivers."
        echo "deb http://deb.debian.org/debian $backports main" >$backports_file
        added=true
    fi
    "${apt[@]}" update ||
        say "Not all of Debian's package lists could be renewed; going on with what is there."
    if $driver; then
        # The lists tell what could be reached: a missing one is only a warning of update's.
        if apt-cache madison $driver_package | grep $backports >/dev/null &&
            "${apt[@]}" -t $backports install $driver_package; then
            :
        else
            say "Debian's $backports cannot be used here, so it will be Debian 12's own Vulkan" \
                "drivers, which are slow on a CPU."
            if $added; then
                rm $backports_file
            fi
            packages+=("$driver_package")
        fi
    fi
    if [ ${#packages[@]} -gt 0 ]; then
        "${apt[@]}" install "${packages[@]}"
    fi
}

# install_missing PACKAGE...
install_missing() {
    if ! command -v dpkg-query >/dev/null; then
        say "This is not Debian, so please see to the equivalents of these packages: $*."
        return
    fi
    local missing=() package
    for package; do
        installed "$package" >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian packages: ${missing[*]}"
    local command=("$root/setup.sh" --install-as-root "${missing[@]}") done=false
    if [ "$(id -u)" = 0 ]; then
        "${command[@]}" && done=true
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || sudo -v; }; then
        sudo "${command[@]}" && done=true
    else
        say "This takes root's password."
        su -c "$(printf '%q ' "${command[@]}")" && done=true
    fi
    if ! $done; then
        say "The packages could not be installed; this does it by hand:" \
            "apt-get install ${missing[*]}"
        exit 1
    fi
}

packages_step() {
    local packages=("${build_packages[@]}") version
    case ${1-} in
    test) packages+=("${test_packages[@]}") ;;
    desktop) packages+=("${desktop_packages[@]}") ;;
    esac
    if ! have_gpu_driver; then
        packages+=("$driver_package")
        if on_debian_12 && version=$(installed $driver_package) &&
            dpkg --compare-versions "$version" lt 23; then
            say "The installed $driver_package is Debian 12's own, which is slow on a CPU;" \
                "the one of $backports has about ten times its speed."
        fi
    fi
    install_missing "${packages[@]}" >&2
}

desktop=
case ${1-} in
--install-as-root)
    shift
    install_as_root "$@"
    exit
    ;;
--packages-only)
    packages_step "${2-}"
    exit
    ;;
--desktop)
    shift
    desktop=true
    ;;
-*)
    echo 'usage: ./setup.sh [COMMAND ARGUMENT...], with the commands of vkmoe; or' \
        './setup.sh --desktop [ARGUMENT...], with those of vkmoe-desktop; or' \
        './setup.sh --packages-only [test|desktop]' >&2
    exit 2
    ;;
esac

packages_step "${desktop:+desktop}"
say "Building in build/release, which takes a few minutes the first time."
(cd "$root" && cmake --preset release && cmake --build --preset release) >&2
if [ -n "$desktop" ]; then
    say "Starting build/release/bin/vkmoe-desktop"
    exec "$root/build/release/bin/vkmoe-desktop" "$@"
fi
if [ $# -eq 0 ]; then
    set -- run -p "ROMEO:" -n 120
fi
say "Running$(printf ' %q' build/release/bin/vkmoe "$@")"
exec "$root/build/release/bin/vkmoe" "$@"
