# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Shared by quickstart.sh and check.sh: the machine's packages, the build, and leaving nothing behind.
#
# What takes long runs as a child in a session of its own, so that a signal to the script ends all of it at once:
# `run COMMAND...` waits for it, `start COMMAND...` does not (its process is then $started).

set -u -o pipefail

top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
cd "$top" || exit 1

export LC_ALL=C.UTF-8 HOME=${HOME:-/root} UBSAN_OPTIONS=print_stacktrace=1
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
unset CDPATH DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES \
        WATCHDOG_USEC WATCHDOG_PID DESTDIR

jobs=$(nproc)
children=() # process groups that are still to end
mounted_proc=''
temp=''

say() {
        printf '%s\n' "$@"
}

die() {
        printf '%s: %s\n' "$(basename "$0")" "$*" >&2
        exit 1
}

# --- Children, and leaving ----------------------------------------------------------------------------

start() {
        setsid "$@" &
        started=$!
        children+=("$started")
}

# Takes a child that has ended off the list.
forget() {
        local child rest=()
        for child in "${children[@]}"; do
                [[ $child == "$1" ]] || rest+=("$child")
        done
        children=("${rest[@]}")
}

run() {
        local code=0
        start "$@"
        wait "$started" || code=$?
        forget "$started"
        return "$code"
}

# Whether the process group has a process that is more than a zombie.
is_alive() {
        # sed complains of those that end meanwhile.
        { sed -nE 's/^[0-9]+ \(.*\) ([A-Z]) [0-9]+ ([0-9]+) .*/\1 \2/p' /proc/[0-9]*/stat 2>/dev/null || true; } |
                grep "^[^ZX] $1$" >/dev/null
}

# Ends a child and all that it started, and waits until they have: TERM first, KILL after ten seconds.
stop() {
        local group=$1
        # The child alone too, as it may not have come to have a group yet.
        kill -TERM "$group" 2>/dev/null
        kill -TERM -- "-$group" 2>/dev/null
        for _ in {1..200}; do
                is_alive "$group" || break
                sleep 0.05
        done
        kill -KILL -- "-$group" 2>/dev/null
        wait "$group" 2>/dev/null
        forget "$group"
        return 0
}

leave() {
        local code=$? i
        trap '' EXIT INT TERM HUP
        for ((i = ${#children[@]} - 1; i >= 0; i--)); do
                stop "${children[i]}"
        done
        [[ ! $temp ]] || rm -rf "$temp"
        # sudo's user owns the checkout; what was built in it should be theirs too.
        if [[ ${SUDO_UID:-} && $(id -u) == 0 && -d build ]]; then
                chown -R "$(stat -c %u:%g .)" build
        fi
        [[ ! $mounted_proc ]] || umount -l /proc
        exit "$code"
}

# To be called first. Sets $temp, a folder that goes with the script.
set_up() {
        trap leave EXIT
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
        if [[ ! -e /proc/self/stat ]]; then
                mount -t proc proc /proc || die "/proc is not mounted, and mounting it failed"
                mounted_proc=1
        fi
        temp=$(mktemp -d "${TMPDIR:-/tmp}/aviommu-XXXXXX") || exit 1
}

# --- Debian packages ----------------------------------------------------------------------------------

# Prints those of the packages in the lists FILE... that are not installed.
packages_missing() {
        local package
        sed 's/#.*//' "$@" | xargs -n1 | sort -u | while read -r package; do
                [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
                        printf '%s\n' "$package"
        done
}

as_root() {
        if [[ $(id -u) == 0 ]]; then
                "$@"
        elif command -v sudo >/dev/null; then
                sudo "$@"
        else
                say "this needs root, and there is no sudo: $*" >&2
                return 1
        fi
}

apt() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=900 -o Acquire::Retries=3 \
                -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Installs what is missing of the packages in the lists FILE....
packages_install() {
        local missing try
        command -v apt-get >/dev/null || { say "this is no Debian: apt-get is missing" >&2; return 1; }
        mapfile -t missing < <(packages_missing "$@")
        if [[ ${#missing[@]} -eq 0 ]]; then
                say "all packages are installed"
                return 0
        fi
        say "installing ${#missing[@]} packages: ${missing[*]}"
        # Package lists may be missing or old: the first attempt is worth it only when apt knows the packages.
        if apt-get install --simulate --no-install-recommends "${missing[@]}" >/dev/null 2>&1 &&
                apt install --no-install-recommends "${missing[@]}"; then
                return 0
        fi
        for try in 1 2 3; do
                apt -o APT::Update::Error-Mode=any update && break
                say "apt-get update failed ($try of 3)" >&2
                sleep "$try"
        done
        apt install --no-install-recommends "${missing[@]}" && return 0
        say "these packages could not be installed: ${missing[*]}" >&2
        return 1
}

# --- The build ----------------------------------------------------------------------------------------

# build PRESET [TARGET...]: configures a preset of CMakePresets.json in build/PRESET and builds all of it, or the targets.
build() {
        # A build folder knows its checkout by name; one that was copied or moved starts anew.
        local preset=$1 cache=build/$1/CMakeCache.txt
        shift
        if [[ -e $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$top" "$cache"; then
                rm -rf "build/$preset"
        fi
        run cmake --preset "$preset" </dev/null &&
                run cmake --build "build/$preset" --parallel "$jobs" ${1:+--target "$@"} </dev/null
}
