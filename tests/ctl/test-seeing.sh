#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What of aviommuctl watches a host: metrics and top, against a stand-in for the daemon.
#
#     test-seeing.sh PATH_TO_AVIOMMUCTL PATH_TO_MOCK [--regenerate]
#
# As test-ctl.sh.

. "$(dirname "$(realpath "$0")")/common.sh"

promtool=$here/../lib/promtool
alert_rules=$here/../../policy/aviommu-alerts.yml

# metrics_are_good NAME FILE: by our own reading of the format, and by Prometheus'
metrics_are_good() {
        "$here/openmetrics" <"$2" >"$tmp/faults" || { cat "$tmp/faults"; fail "$1" "no OpenMetrics"; }
        "$promtool" check metrics <"$2" >"$tmp/faults" 2>&1 || { cat "$tmp/faults"; fail "$1" "promtool has something to say, or there is none"; }
}

test_metrics() {
        local file=$tmp/aviommu.prom how

        mock_start
        expect metrics.prom 0 metrics
        metrics_are_good metrics "$tmp/out"
        expect metrics-per-vm.prom 0 metrics --per-vm
        metrics_are_good "metrics --per-vm" "$tmp/out"
        grep -q 'vm="' "$tmp/out" || fail "metrics --per-vm" "no VM"
        ! grep -q 'vm="' "$golden/metrics.prom" || fail metrics "has a series for each VM"

        run "metrics --output" 0 metrics --output="$file"
        [ ! -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail "metrics --output" "not quiet"
        cmp -s "$file" "$golden/metrics.prom" || fail "metrics --output" "another text"
        [ "$(stat -c %a "$file")" = 644 ] || fail "metrics --output" "mode $(stat -c %a "$file")"
        chmod 640 "$file"
        ln "$file" "$tmp/old"
        run "metrics --output again" 0 metrics --output "$file" --per-vm
        cmp -s "$file" "$golden/metrics-per-vm.prom" || fail "metrics --output" "not replaced"
        cmp -s "$tmp/old" "$golden/metrics.prom" || fail "metrics --output" "written over, not replaced"
        [ "$(stat -c %a "$file")" = 640 ] || fail "metrics --output" "the mode has become $(stat -c %a "$file")"
        echo "ok metrics --output"

        # A disk that is full: what was there stays, and nothing is left beside it.
        if mkdir "$tmp/full" && unshare -m sh -c 'mount -t tmpfs -o size=16k none "$1"' - "$tmp/full" 2>/dev/null; then
                # shellcheck disable=SC2016
                unshare -m sh -c 'mount -t tmpfs -o size=16k none "$1/full" && cd "$1/full" && echo old >a.prom &&
                        cat /dev/zero >filler 2>/dev/null
                        "$2" metrics --output="$1/full/a.prom" >"$1/out" 2>"$1/err"
                        echo $? $(ls) $(cat a.prom) >"$1/full.says"' - "$tmp" "$ctl"
                [ "$(cat "$tmp/full.says")" = "1 a.prom filler old" ] || fail "metrics, full disk" "$(cat "$tmp/full.says")"
                grep -q "a.prom: No space left on device" "$tmp/err" || fail "metrics, full disk" "does not say why"
                echo "ok metrics, full disk"
        else
                echo "skipped metrics, full disk: nothing can be mounted here"
        fi

        # Another's link is replaced, not followed.
        echo untouched >"$tmp/target"
        ln -sf "$tmp/target" "$tmp/link.prom"
        run "metrics to a link" 0 metrics --output="$tmp/link.prom"
        [ ! -L "$tmp/link.prom" ] && [ "$(cat "$tmp/target")" = untouched ] || fail "metrics to a link" "followed"
        echo "ok metrics to a link"

        # What is no file stays what it is: a rename would take /dev/null away from everybody.
        mkfifo "$tmp/pipe.prom"
        ln -s "$tmp/pipe.prom" "$tmp/to-pipe.prom"
        ln -s /proc/self/fd/1 "$tmp/to-stdout.prom"
        for how in pipe to-pipe to-stdout; do
                says "metrics to no file: $how" 1 "It is not a regular file" metrics --output="$tmp/$how.prom"
        done
        [ -p "$tmp/pipe.prom" ] && [ -L "$tmp/to-pipe.prom" ] && [ -L "$tmp/to-stdout.prom" ] ||
                fail "metrics to no file" "replaced"
        says "metrics to an empty name" 2 "--output= wants a file" metrics --output=

        says "metrics nowhere" 1 "Cannot make a file beside $tmp/none/x.prom" metrics --output="$tmp/none/x.prom"
        mkdir "$tmp/folder.prom"
        says "metrics to a folder" 1 "Cannot write $tmp/folder.prom" metrics --output="$tmp/folder.prom"
        [ "$(wc -l <"$tmp/err")" = 2 ] || fail "metrics to a folder" "no next step"
        says "metrics as JSON" 2 "there is no JSON of them" metrics -j
        (set -o pipefail; "$ctl" metrics 2>"$tmp/err" | true) || fail "metrics, closed pipe" "exit code $?"
        [ ! -s "$tmp/err" ] || fail "metrics, closed pipe" "not quiet"

        mock_start bare
        run "metrics of nothing" 0 metrics --per-vm
        metrics_are_good "metrics of nothing" "$tmp/out"
        mock_start control
        run "metrics of a hostile name" 0 metrics --per-vm
        metrics_are_good "metrics of a hostile name" "$tmp/out"
        no_escapes "metrics of a hostile name" "$tmp/out"
        echo "ok metrics of a hostile name"
        mock_start many
        run "metrics of many" 0 metrics
        [ "$(wc -l <"$tmp/out")" -lt 200 ] || fail "metrics of many" "they grow with the VMs"
        grep -q '^aviommu_vms{tier="emulated",state=".*"} 2500$' "$tmp/out" || fail "metrics of many" "not all VMs"
        metrics_are_good "metrics of many" "$tmp/out"
        echo "ok metrics of many"

        mock_stop
        run "metrics without a daemon" 6 metrics --output="$file"
        grep -q '^aviommu_up 0$' "$file" || fail "metrics without a daemon" "not written down"
        metrics_are_good "metrics without a daemon" "$file"
        grep -q 'cannot be reached' "$tmp/err" || fail "metrics without a daemon" "not said"
        [ "$(find "$tmp" -name '*.prom.*' | wc -l)" = 0 ] || fail metrics "leaves temporary files"
        echo "ok metrics without a daemon"
}

# Every metric is in the manual, and there is no other in manual and alert rules.
test_metrics_manual() {
        local manual=$here/../../man/aviommu-metrics.7 name
        diff <(sed -nE 's/^# TYPE ([a-z_]+) .*/\1/p' "$golden/metrics-per-vm.prom" | sort) \
                <(sed -nE 's/^\.It Li (aviommu_[a-z_]+)( .*)?$/\1/p' "$manual" | sort) ||
                fail "metrics manual" "not the metrics that there are (above)"
        while read -r name; do
                grep -qE "^# TYPE $name gauge" "$golden/metrics.prom" || fail "alert rules" "there is no metric $name"
        done < <(sed -nE 's/^ +expr: (.*)/\1/p' "$alert_rules" | grep -oE 'aviommu_[a-z_]+' | sort -u)
        [ "$(grep -c '^ *- alert:' "$alert_rules")" = "$(grep -c '^ *expr: .*aviommu' "$alert_rules")" ] ||
                fail "alert rules" "one is not about aviommud"
        echo "ok metrics manual"
}

# Prometheus loads the alert rules as they are, and each goes off when it should, and not before.
test_alerts() {
        "$promtool" check rules "$(realpath "$alert_rules")" >"$tmp/out" 2>&1 || fail "alert rules" "promtool does not load them, or there is none"
        "$promtool" test rules "$here/alerts.yml" >"$tmp/out" 2>&1 || fail "alert rules" "they go off at other times than in alerts.yml"
        diff <(sed -nE 's/^ *- alert: //p' "$alert_rules" | sort) <(sed -nE 's/^ *- name: //p' "$here/alerts.yml" | sort) ||
                fail "alert rules" "not those of alerts.yml (above)"
        echo "ok alert rules"
}

# The checker finds what is wrong.
test_checker() {
        local bad
        for bad in 's/^# EOF$//' '/^# EOF$/d' '1s/gauge/counter/' '1s/gauge/info/' 's/^aviommu_up 1/aviommu_up one/' \
                's/^aviommu_up 1/aviommu_up{a="b} 1/' 's/^aviommu_up 1/aviommu_up{a="b",a="c"} 1/' \
                's/^aviommu_up 1/&\n&/' 's/^aviommu_up 1/aviommu_down 1/' 's/^# UNIT \(.*\) bytes/# UNIT \1 seconds/' \
                's/^aviommu_up 1/aviommu_up{a="\\x"} 1/' '$s/$/\naviommu_up 1/' '/^# HELP aviommu_up/d'; do
                sed "$bad" "$golden/metrics-per-vm.prom" >"$tmp/bad"
                ! "$here/openmetrics" <"$tmp/bad" >/dev/null || fail checker "takes it after: $bad"
        done
        echo "ok checker"
}

# The time of day in what top writes, as one that does not change.
without_time() {
        sed -E 's/^[0-9]{2}:[0-9]{2}:[0-9]{2}  /HH:MM:SS  /; s/"time_usec":[0-9]+/"time_usec":0/'
}

test_top() {
        local how

        mock_start
        run top 0 top
        without_time <"$tmp/out" >"$tmp/page"
        compare top.txt "$tmp/page"
        [ "$(grep -c 'HH:MM' "$tmp/page")" = 1 ] || fail top "not one page"
        echo "ok top without a terminal"
        run "top -j" 0 top -j
        without_time <"$tmp/out" >"$tmp/page"
        compare top.json "$tmp/page"
        run "top -b -n 3" 0 top -b -n 3 -d 0.1
        [ "$(grep -c ' VMs, ' "$tmp/out")" = 3 ] || fail "top -b -n 3" "not three pages"
        run "top --iterations -j" 0 top --iterations=2 --delay 0.1 -j
        [ "$(wc -l <"$tmp/out")" = 2 ] || fail "top -n 2 -j" "not one object a line"
        echo "ok top, batch"
        code=$(timeout 10 "$ctl" top -b -d 0.1 2>"$tmp/err" | head -n 1; echo "${PIPESTATUS[0]}")
        [[ $code == *VMs*0 ]] && [ ! -s "$tmp/err" ] || fail "top, closed pipe" "$code"
        echo "ok top, closed pipe"
        for how in "-d 0" "-d x" "-d -1" "-n 0" "-n many"; do
                # shellcheck disable=SC2086
                says "top $how" 2 "is not a number of" top $how
        done

        for how in 40 80 120; do
                on_tty "top, $how columns" $how 24 "$ctl" top -n 1
                without_time <"$tmp/tty" >"$tmp/page"
                compare "top.tty$how" "$tmp/page"
                sed 's/\x1b\[[0-9;]*m//g' "$tmp/tty" | awk -v most="$how" 'length > most { exit 1 }' ||
                        fail "top, $how columns" "wider than the terminal"
        done
        on_tty "top, NO_COLOR" 80 24 env NO_COLOR=1 "$ctl" top -n 1
        no_escapes "top, NO_COLOR" "$tmp/tty"
        on_tty "top, dumb terminal" 80 24 env TERM=dumb "$ctl" top
        no_escapes "top, dumb terminal" "$tmp/tty"
        echo "ok top on terminals"

        mock_start control
        on_tty "top, hostile name" 80 24 env NO_COLOR=1 "$ctl" top -n 1
        no_escapes "top, hostile name" "$tmp/tty"
        mock_start denied
        run "top without a right" 0 top
        grep -q '^ivhd0 instances' "$tmp/out" || fail "top without a right" "no bars"
        ! grep -q MOST "$tmp/out" || fail "top without a right" "VMs"
        grep -q 'Wanted one thing' "$tmp/out" || fail "top without a right" "does not say why"
        says "metrics without a right" 5 "[AccessDenied]" metrics --output="$tmp/none.prom"
        [ ! -e "$tmp/none.prom" ] || fail "metrics without a right" "writes half of it"
        mock_start bare
        says "top of nothing" 0 "0 VMs" top
        mock_start many
        on_tty "top of many" 80 24 env NO_COLOR=1 "$ctl" top -n 1
        [ "$(wc -l <"$tmp/tty")" -le 24 ] || fail "top of many" "longer than the screen"
        grep -q '^and 24.. more$' "$tmp/tty" || fail "top of many" "does not say that there are more"
        for how in "80 4" "40 6" "400 2"; do
                # shellcheck disable=SC2086
                on_tty "top, $how" $how env NO_COLOR=1 "$ctl" top -n 1
                [ "$(wc -l <"$tmp/tty")" -le "${how#* }" ] || fail "top, $how" "longer than the screen"
        done
        echo "ok top of many"
        mock_stop
        says "top without a daemon" 6 "cannot be reached" top
}

# screen_start NAME [ARGUMENT...]: $ctl top on a terminal of 50 x 24, whose output goes to $tmp/screen and whose keyboard is
# descriptor 9
screen_start() {
        : >"$tmp/screen"
        rm -f "$tmp"/{keys,pid,tty-name,before,after,code}
        mkfifo "$tmp/keys"
        timeout 60 script -qefc "stty cols 50 rows 24; stty -g >$tmp/before; tty >$tmp/tty-name
                sh -c 'echo \$\$ >$tmp/pid; exec $ctl top -d 0.2 ${*:2}'; echo \$? >$tmp/code; stty -g >$tmp/after" \
                "$tmp/screen" <"$tmp/keys" >/dev/null 2>"$tmp/err" &
        script_pid=$!
        exec 9>"$tmp/keys"
}

screen_ready() {
        await "$1" grep -q 'MOST' "$tmp/screen"
}

# screen_over NAME EXIT_CODE: it has ended with that, and the terminal is as it was
screen_over() {
        await "$1" test -s "$tmp/after"
        exec 9>&-
        wait $script_pid
        cp "$tmp/screen" "$tmp/out"
        [ "$(cat "$tmp/code")" = "$2" ] || fail "$1" "exit code $(cat "$tmp/code")"
        cmp -s "$tmp/before" "$tmp/after" || fail "$1" "the terminal has other settings now"
        [ "$(grep -oF $'\x1b[?1049h' "$tmp/screen" | wc -l)" = "$(grep -oF $'\x1b[?1049l' "$tmp/screen" | wc -l)" ] ||
                fail "$1" "the screen is left as often as it is entered, or should be"
        tail -c 300 "$tmp/screen" | grep -qF $'\x1b[?25h' || fail "$1" "the cursor is still hidden"
        echo "ok $1"
}

count_on_screen() {
        [ "$(grep -oF -- "$1" "$tmp/screen" | wc -l)" -ge "$2" ]
}

test_screen() {
        local signal

        mock_start
        screen_start "top, q"
        screen_ready "top, q"
        printf 'x q' >&9
        screen_over "top, q" 0
        for signal in TERM:0 INT:0 HUP:0 SEGV:139 ABRT:134; do
                screen_start "top, ${signal%:*}"
                screen_ready "top, ${signal%:*}"
                kill -"${signal%:*}" "$(cat "$tmp/pid")"
                screen_over "top, ${signal%:*}" "${signal#*:}"
        done

        screen_start "top, resized"
        screen_ready "top, resized"
        ! count_on_screen ' ON' 1 || fail "top, resized" "it is wide already"
        stty -F "$(cat "$tmp/tty-name")" cols 120
        kill -WINCH "$(cat "$tmp/pid")"
        await "top, resized" count_on_screen ' ON' 1 # a column for which there was no room
        # However small it is, nothing is pushed out of it.
        stty -F "$(cat "$tmp/tty-name")" rows 1
        kill -WINCH "$(cat "$tmp/pid")"
        await "top, one row" grep -aqP '\x1b\[H.*\x1b\[K\x1b\[J' "$tmp/screen"
        stty -F "$(cat "$tmp/tty-name")" rows 24
        # Stopped, it leaves the terminal to others; continued, it has it again.
        kill -TSTP "$(cat "$tmp/pid")"
        await "top, stopped" count_on_screen $'\x1b[?1049l' 1
        kill -CONT "$(cat "$tmp/pid")"
        await "top, continued" count_on_screen $'\x1b[?1049h' 2
        mock_stop
        await "top, daemon gone" count_on_screen 'cannot be reached' 1
        : >"$tmp/mock.log"
        mock_start
        await "top, daemon back" count_on_screen $'\x1b[?1049h' 2
        printf q >&9
        screen_over "top, resized, stopped, continued" 0
}

# A daemon that does not answer keeps nobody.
test_top_hangs() {
        local pid

        mock_start silent
        "$ctl" top -b --timeout=0 >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        await "top -b, daemon hangs" grep -q GetAll "$tmp/mock.log"
        over "top -b, daemon hangs" $pid TERM
        echo "ok top -b, daemon hangs"

        mock_start silent
        screen_start "top, daemon hangs, INT" --timeout=0
        await "top, daemon hangs, INT" grep -q GetAll "$tmp/mock.log"
        kill -INT "$(cat "$tmp/pid")"
        screen_over "top, daemon hangs, INT" 0

        # Its pages take longer than there is between them.
        screen_start "top, daemon hangs, q" --timeout=0.5
        await "top, daemon hangs, q" count_on_screen 'No answer' 1
        printf 'x q' >&9
        screen_over "top, daemon hangs, q" 0

        # Nor is the longest wait that can be said the shortest.
        mock_start
        "$ctl" top -b -d 18446744073708 >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        await "top, longest delay" grep -q 'VMs' "$tmp/out"
        over "top, longest delay" $pid TERM
        [ "$(grep -c 'VMs' "$tmp/out")" = 1 ] || fail "top, longest delay" "does not wait"
        echo "ok top, longest delay"
}

test_holders() {
        if [ -e /dev/iommu ]; then
                echo "skipped holders: this host has a /dev/iommu"
                return
        fi
        mock_start
        says holders 3 "There is no /dev/iommu here" holders
        mock_stop
        says "holders without a daemon" 3 "modprobe iommufd" holders
}

bus_start
test_holders
test_top
test_screen
test_top_hangs
test_metrics
test_metrics_manual
test_alerts
test_checker
echo "all passed"
