#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# From a fresh Debian 12 or 13 to the main job: installs what the build needs, builds, and gives a VM its virtual
# IOMMUs on a simulated host. Needs no IOMMU, no systemd and no bus of the machine's; leaves nothing running.
. "$(dirname "$(realpath "$0")")/lib/common.sh"

usage() {
        say "usage: tests/quickstart.sh
Installs Debian packages (tests/packages.build), builds in build/release, and shows aviommuctl at work with
aviommud-sim on a private bus. Run it as root, or with sudo."
}

case ${1:-} in
'') ;;
--help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

vm=0f0e0d0c-0b0a-4908-8706-050403020100
n_commands=0

# Shows a command, runs it, and ends everything when it fails.
show() {
        local code=0
        printf '\n$ %s\n' "$*"
        run "$@" </dev/null || code=$?
        [[ $code == 0 ]] || die "FAILED: '$*' ended with exit code $code"
        n_commands=$((n_commands + 1))
}

# Waits until COMMAND... succeeds, for WHAT, unless the process CHILD ends before.
wait_for() {
        local what=$1 child=$2
        shift 2
        for _ in {1..200}; do
                "$@" >/dev/null 2>&1 && return 0
                kill -0 "$child" 2>/dev/null || break
                sleep 0.05
        done
        cat "$temp"/*.log >&2
        die "FAILED: $what did not start"
}

start_bus() {
        cat >"$temp/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=$temp/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
END
        start dbus-daemon --nofork --config-file="$temp/bus.conf" >"$temp/bus.log" 2>&1 </dev/null
        wait_for "the private bus" "$started" test -S "$temp/bus"
        export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$temp/bus
}

start_simulation() {
        printf '\n$ %s\n' "aviommud-sim --bus=\$DBUS_SYSTEM_BUS_ADDRESS --profile epyc-2p &"
        start aviommud-sim --bus="$DBUS_SYSTEM_BUS_ADDRESS" --profile epyc-2p >"$temp/sim.log" 2>&1 </dev/null
        wait_for "aviommud-sim" "$started" aviommuctl status
}

# Three functions behind two host IOMMUs, then a fourth behind a third one on the other socket.
tour() {
        local functions=(--function 0000:01:00.0 --function 0000:41:00.0 --function 0000:43:00.0=02:00.0)

        show aviommuctl status
        show aviommuctl host --probe
        show aviommuctl plan "$vm" --name demo --tier hardware --memory 8G "${functions[@]}"
        show aviommuctl create "$vm" --name demo --tier hardware --memory 8G "${functions[@]}" --leash $$
        show aviommuctl attach demo 0002:41:00.0
        show aviommuctl list
        show aviommuctl show demo
        show aviommuctl detach demo 0002:41:00.0
        show aviommuctl destroy "$vm"
        show aviommuctl list
        [[ $(aviommuctl list --quiet --no-legend) != *"$vm"* ]] || die "FAILED: the VM is still there"
}

set_up

say "== 1/3: packages"
packages_install tests/packages.build || die "FAILED: packages"

say "" "== 2/3: build, in build/release"
build release aviommud aviommud-sim aviommuctl >"$temp/build.log" 2>&1 || { cat "$temp/build.log" >&2; die "FAILED: build"; }
PATH=$top/build/release:$PATH

say "" "== 3/3: a VM with virtual IOMMUs, on a simulated host with two EPYC processors"
start_bus
start_simulation
tour

say "" "quickstart: passed, $n_commands commands; the programs are in build/release"
