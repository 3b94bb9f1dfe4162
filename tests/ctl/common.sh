# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests of aviommuctl share: a bus, the stand-in for the daemon, and ways to run and to compare. For scripts whose
# arguments are PATH_TO_AVIOMMUCTL PATH_TO_MOCK [--regenerate], or PATH_TO_AVIOMMUCTL PATH_TO_AVIOMMUD_SIM.

set -u

ctl=$(realpath "${1:?path of aviommuctl}")
mock=$(realpath "${2:?path of mock-aviommud}")
regenerate=${3:-}
here=$(dirname "$(realpath "$0")")
golden=$here/golden
tmp=$(mktemp -d)
bus_pid=
mock_pid=
uuid1=11111111-2222-3333-4444-555555555555
uuid2=99999999-8888-7777-6666-555555555555
hardware="--tier=hardware --function=0000:41:00.0"

unset COLUMNS LINES LESS NO_COLOR DBUS_SYSTEM_BUS_ADDRESS LANG LANGUAGE LIBVIRT_DEFAULT_URI
# Every program is in the build folder.
AVIOMMU_LIBEXEC=$(dirname "$ctl")
export AVIOMMU_LIBEXEC
export LC_ALL=C.UTF-8 TERM=xterm TZ=UTC PAGER=cat

mock_stop() {
        [ -n "$mock_pid" ] || return 0
        kill "$mock_pid" 2>/dev/null
        wait "$mock_pid" 2>/dev/null
        mock_pid=
}

finish() {
        mock_stop
        [ -z "$bus_pid" ] || kill "$bus_pid" 2>/dev/null
        [ -z "$bus_pid" ] || kill -CONT "$bus_pid" 2>/dev/null # a test may have stopped it
        rm -rf "$tmp"
}
trap finish EXIT

fail() {
        echo "FAILED $1: $2"
        echo "--- stdout"
        cat "$tmp/out" 2>/dev/null
        echo "--- stderr"
        cat "$tmp/err" 2>/dev/null
        exit 1
}

# Waits until a command succeeds, for at most 10 seconds.
await() {
        local name=$1 i
        shift
        for ((i = 0; i < 200; i++)); do
                "$@" >/dev/null 2>&1 && return 0
                sleep 0.05
        done
        fail "$name" "waited in vain for: $*"
}

# over NAME PID SIGNAL: the process ends of it, with exit code 0
over() {
        kill "-$3" "$2"
        await "$1" eval "! kill -0 $2"
        wait "$2" || fail "$1" "exit code $?"
}

mock_start() {
        mock_stop
        : >"$tmp/mock.log"
        "$mock" "$AVIOMMU_BUS_ADDRESS" "${1:-normal}" >"$tmp/mock.log" 2>"$tmp/mock.err" &
        mock_pid=$!
        await "the mock in mode ${1:-normal}" grep -q '^ready' "$tmp/mock.log"
}

# run NAME EXIT_CODE ARGUMENT...: stdout and stderr go to files
run() {
        local name=$1 expected=$2 code
        shift 2
        timeout 30 env ${commas:+LOCPATH="$tmp" LC_ALL=de_DE.UTF-8} "$ctl" "$@" \
                >"$tmp/out" 2>"$tmp/err" </dev/null
        code=$?
        [ "$code" = "$expected" ] || fail "$name" "exit code $code instead of $expected: $*"
}

compare() {
        local name=$1 file=$2
        if [ "$regenerate" = --regenerate ]; then
                cp "$file" "$golden/$name"
        elif ! diff -u "$golden/$name" "$file"; then
                fail "$name" "differs from golden/$name"
        fi
}

# expect NAME EXIT_CODE ARGUMENT...: as run, and both outputs are as in golden/
expect() {
        local name=$1
        run "$@"
        cat "$tmp/out" >"$tmp/both"
        if [ -s "$tmp/err" ]; then
                echo "--- stderr" >>"$tmp/both"
                cat "$tmp/err" >>"$tmp/both"
        fi
        # json-c before 0.17 breaks the line in an empty list.
        [[ $name != *.pretty.json ]] || sed -i -z 's/\[\n *\]/[]/g; s/{\n *}/{}/g' "$tmp/both"
        compare "$name" "$tmp/both"
        echo "ok $name"
}

# says NAME EXIT_CODE TEXT ARGUMENT...: as run, and TEXT is in one of the outputs
says() {
        local name=$1 code=$2 text=$3
        shift 3
        run "$name" "$code" "$@"
        grep -qF -- "$text" "$tmp/out" "$tmp/err" || fail "$name" "does not say: $text"
        echo "ok $name"
}

# asked NAME TEXT: the mock has been called so
asked() {
        grep -qF -- "$2" "$tmp/mock.log" || { cat "$tmp/mock.log"; fail "$1" "was not asked: $2"; }
        echo "ok $1"
}

# on_tty NAME COLUMNS ROWS COMMAND...: stdout of it on a terminal goes to $tmp/tty, without the carriage returns
on_tty() {
        local name=$1 columns=$2 rows=$3 code
        shift 3
        timeout 30 script -qec "stty cols $columns rows $rows; $*" /dev/null </dev/null 2>&1 |
                tr -d '\r' >"$tmp/tty"
        code=${PIPESTATUS[0]}
        cp "$tmp/tty" "$tmp/out"
        [ "$code" = 0 ] || fail "$name" "exit code $code on a terminal: $*"
}

no_escapes() {
        if LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]' "$2"; then
                fail "$1" "control characters in the output"
        fi
}

bus_start() {
        cat >"$tmp/bus.conf" <<-EOF
		<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
		 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
		<busconfig>
		  <type>session</type>
		  <listen>unix:path=$tmp/bus</listen>
		  <auth>EXTERNAL</auth>
		  <policy context="default">
		    <allow send_destination="*" eavesdrop="true"/>
		    <allow eavesdrop="true"/>
		    <allow own="*"/>
		  </policy>
		</busconfig>
	EOF
        dbus-daemon --config-file="$tmp/bus.conf" --nofork --nopidfile 2>"$tmp/bus.err" &
        bus_pid=$!
        await "the bus" test -S "$tmp/bus"
        export AVIOMMU_BUS_ADDRESS=unix:path=$tmp/bus
}
