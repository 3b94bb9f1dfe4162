#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What an administrator sees in the journal: fields and ids by which messages are found, and what the catalogue says to them. With
# a journald of its own, in a mount namespace where /run and /var/log are empty.
#
#     test-journal.sh PATH_TO_AVIOMMUD_SIM PATH_TO_AVIOMMUCTL SOURCE_DIR
#
# Exit code 77: it may not be done here, or a program is missing.

set -u

sim=$(realpath "${1:?path of aviommud-sim}")
ctl=$(realpath "${2:?path of aviommuctl}")
source=$(realpath "${3:?source folder}")
journald=
uuid=11111111-2222-3333-4444-555555555555
pids=()

if [[ ${4:-} != inside ]]; then
        [[ $EUID = 0 ]] && unshare --mount true 2>/dev/null || exit 77
        exec unshare --mount --propagation=private "$0" "$1" "$2" "$3" inside
fi

for journald in {/usr,}/lib/systemd/systemd-journald; do
        [[ ! -x $journald ]] || break
done
[[ -x $journald && -s /etc/machine-id ]] && command -v journalctl busctl dbus-daemon >/dev/null || exit 77

finish() {
        local pid
        for pid in "${pids[@]}"; do
                kill "$pid" 2>/dev/null
                wait "$pid" 2>/dev/null
        done
}
trap finish EXIT

fail() {
        echo "FAILED $*"
        cat /run/*.log
        journalctl --directory="$journal" --no-pager 2>&1 | tail -n 30
        exit 1
}

await() {
        local i
        for ((i = 0; i < 200; i++)); do
                "$@" >/dev/null 2>&1 && return 0
                sleep 0.05
        done
        fail "waited in vain for: $*"
}

mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log || exit 77
journal=/run/log/journal
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus LC_ALL=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0
mkdir -p /run/systemd/journal "$journal" /run/root/usr/lib/systemd/catalog /run/root/var/lib/systemd/catalog
# Neither the host's kernel log nor its audit are touched.
mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=\n' >/run/systemd/journald.conf.d/test.conf
"$journald" >/run/journald.log 2>&1 &
pids+=($!)
for ((i = 0; i < 200; i++)); do
        [[ ! -S /run/systemd/journal/socket ]] || break
        kill -0 "${pids[0]}" 2>/dev/null || { echo "skipped: journald does not run here"; cat /run/journald.log; exit 77; }
        sleep 0.05
done
await test -S /run/systemd/journal/socket
dbus-daemon --session --nofork --nopidfile --address="$DBUS_SYSTEM_BUS_ADDRESS" 2>/run/bus.log &
pids+=($!)
await test -S /run/bus
"$sim" --bus="$DBUS_SYSTEM_BUS_ADDRESS" --profile="$source/policy/profiles/small.json" 2>/run/sim.log &
pids+=($!)
await "$ctl" status

# found TEXT MATCH...: an entry that matches all of these has it in its message. The journal is asked until it is there.
found() {
        local text=$1
        shift
        journalctl --sync
        journalctl --directory="$journal" --quiet --output=cat "$@" | grep -qF -- "$text"
}

# What systemctl service-log-target does.
busctl set-property org.aviommu1 /org/freedesktop/LogControl1 org.freedesktop.LogControl1 LogTarget s journal ||
        fail "the log target cannot be set"
lines=$(wc -l </run/sim.log)
"$ctl" create "$uuid" --quiet --name=web1 --tier=virtio --handover=none --function=0000:41:00.0 --leash=$$ ||
        fail "no VM"
"$ctl" detach "$uuid" 41:00.0 --quiet || fail "no detach"
"$ctl" destroy "$uuid" --force --quiet || fail "no destroy"
[[ $(wc -l </run/sim.log) = "$lines" ]] || fail "it still writes to stderr"

id_of() {
        sed -nE "s/^#define MESSAGE_$1 +\"([0-9a-f]{32})\"\$/\1/p" "$source/daemon/base/message-id.h"
}
await found 'Admitted VM "web1"' AVIOMMU_VM=$uuid MESSAGE_ID="$(id_of VM_ADMITTED)" PRIORITY=6
await found 'Detached 0000:41:00.0' AVIOMMU_VM=$uuid AVIOMMU_FUNCTION=0000:41:00.0 MESSAGE_ID="$(id_of FUNCTION_DETACHED)"
await found 'Released VM "web1"' AVIOMMU_VM_NAME=web1 AVIOMMU_REASON=destroyed MESSAGE_ID="$(id_of VM_RELEASED)"
echo "ok fields"

cp "$source/systemd/aviommud.catalog" /run/root/usr/lib/systemd/catalog
journalctl --update-catalog --root=/run/root || fail "the catalogue cannot be read"
mount --bind /run/root/var/lib/systemd/catalog /var/lib/systemd/catalog 2>/dev/null || {
        echo "skipped catalogue: there is no place for it"
        exit 0
}
explained=$(journalctl --directory="$journal" --no-pager --catalog MESSAGE_ID="$(id_of VM_RELEASED)")
grep -qF 'Subject: A VM has given everything back' <<<"$explained" || fail "journalctl -x: $explained"
grep -qF "Nothing of VM $uuid (web1) is left" <<<"$explained" || fail "journalctl -x fills nothing in: $explained"
echo "ok catalogue"
