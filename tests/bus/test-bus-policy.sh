#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The bus policy as it is shipped, on a dbus-daemon that allows nothing else by itself:
#
#     test-bus-policy.sh PATH_TO_AVIOMMUD_SIM SOURCE_DIR
#
# Exit code 77: there is no second user to be, or a tool is missing.

set -u

sim=$(realpath "${1:?path of aviommud-sim}")
source=$(realpath "${2:?source folder}")
tmp=
pids=()

finish() {
        local pid
        for pid in "${pids[@]}"; do
                kill "$pid" 2>/dev/null
                wait "$pid" 2>/dev/null
        done
        [[ ! $tmp ]] || rm -rf "$tmp"
}
trap finish EXIT

fail() {
        echo "FAILED $*"
        cat "$tmp"/*.log 2>/dev/null
        exit 1
}

[[ $EUID = 0 ]] && command -v dbus-daemon busctl setpriv >/dev/null || exit 77
tmp=$(mktemp -d)
chmod 755 "$tmp"

# What a system bus denies by default; the rest is our own file's.
cat >"$tmp/bus.conf" <<EOF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=$tmp/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Peer"/>
  </policy>
  <include>$source/dbus/org.aviommu1.conf</include>
</busconfig>
EOF

dbus-daemon --config-file="$tmp/bus.conf" --nofork --nopidfile 2>"$tmp/bus.log" &
pids+=($!)
for ((i = 0; i < 200; i++)); do
        [[ ! -S $tmp/bus ]] || break
        sleep 0.05
done
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$tmp/bus

"$sim" --bus="$DBUS_SYSTEM_BUS_ADDRESS" --profile="$source/policy/profiles/small.json" 2>"$tmp/sim.log" &
pids+=($!)

# as USER ARGUMENT...: busctl, started by that user; what it says goes to $tmp/out
as() {
        local user=$1
        shift
        if [[ $user = root ]]; then
                busctl --system --auto-start=no "$@" >"$tmp/out" 2>&1
        else
                setpriv --reuid="$user" --regid=65534 --clear-groups busctl --system --auto-start=no "$@" >"$tmp/out" 2>&1
        fi
}

for ((i = 0; i < 200; i++)); do
        ! as root get-property org.aviommu1 /org/aviommu1 org.aviommu1.Manager NVms || break
        sleep 0.05
done

log=(org.aviommu1 /org/freedesktop/LogControl1 org.freedesktop.LogControl1)
as root set-property "${log[@]}" LogLevel s debug || fail "root cannot set the log level: $(cat "$tmp/out")"
as root get-property "${log[@]}" LogLevel || fail "root cannot read the log level: $(cat "$tmp/out")"
[[ $(cat "$tmp/out") = 's "debug"' ]] || fail "the log level is $(cat "$tmp/out")"
echo "ok root"

as 65534 get-property org.aviommu1 /org/aviommu1 org.aviommu1.Manager NVms ||
        fail "nobody cannot read a property: $(cat "$tmp/out")"
echo "ok anybody reads properties"
for call in "set-property ${log[*]} LogLevel s info" "get-property ${log[*]} LogLevel" \
        "introspect ${log[*]:0:2}"; do
        # shellcheck disable=SC2086
        ! as 65534 $call || fail "nobody gets through: $call"
        grep -q 'Access denied\|AccessDenied\|rejected' "$tmp/out" || fail "another error: $(cat "$tmp/out")"
done
echo "ok what is logged is root's alone"

! as 65534 call org.aviommu1 /org/aviommu1/simulation org.aviommu1.Simulation Counters ||
        fail "nobody reaches an interface that is not listed"
echo "ok other interfaces are denied"
