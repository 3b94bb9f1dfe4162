#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What of aviommuctl watches a host: metrics and top, against a stand-in for the daemon.
#
#     test-seeing.sh PATH_TO_AVIOMMUCTL PATH_TO_MOCK [--regenerate]
#
# As test-ctl.sh.

. "$(dirname "$(realpath "$0")")/common.sh"

# metrics_are_good NAME FILE: by our own reading of the format, and by Prometheus' where it is installed
metrics_are_good() {
        "$here/openmetrics" <"$2" >"$tmp/faults" || { cat "$tmp/faults"; fail "$1" "no OpenMetrics"; }
        ! command -v promtool >/dev/null || promtool check metrics <"$2" >"$tmp/faults" 2>&1 ||
                { cat "$tmp/faults"; fail "$1" "promtool has something to say"; }
}

test_metrics() {
        local file=$tmp/aviommu.prom

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

        # Another's link is replaced, not followed.
        echo untouched >"$tmp/target"
        ln -sf "$tmp/target" "$tmp/link.prom"
        run "metrics to a link" 0 metrics --output="$tmp/link.prom"
        [ ! -L "$tmp/link.prom" ] && [ "$(cat "$tmp/target")" = untouched ] || fail "metrics to a link" "followed"
        echo "ok metrics to a link"

        says "metrics nowhere" 1 "Cannot make a file beside $tmp/none/x.prom" metrics --output="$tmp/none/x.prom"
        mkdir "$tmp/folder.prom"
        says "metrics to a folder" 1 "Cannot write $tmp/folder.prom" metrics --output="$tmp/folder.prom"
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
        local manual=$here/../../man/aviommu-metrics.7 rules=$here/../../policy/aviommu-alerts.yml name
        diff <(sed -nE 's/^# TYPE ([a-z_]+) .*/\1/p' "$golden/metrics-per-vm.prom" | sort) \
                <(sed -nE 's/^\.It Li (aviommu_[a-z_]+)( .*)?$/\1/p' "$manual" | sort) ||
                fail "metrics manual" "not the metrics that there are (above)"
        while read -r name; do
                grep -qE "^# TYPE $name gauge" "$golden/metrics.prom" || fail "alert rules" "there is no metric $name"
        done < <(sed -nE 's/^ +expr: (.*)/\1/p' "$rules" | grep -oE 'aviommu_[a-z_]+' | sort -u)
        [ "$(grep -c '^ *- alert:' "$rules")" = "$(grep -c '^ *expr: .*aviommu' "$rules")" ] ||
                fail "alert rules" "one is not about aviommud"
        ! command -v promtool >/dev/null || promtool check rules "$rules" >"$tmp/out" 2>&1 ||
                fail "alert rules" "promtool does not load them"
        echo "ok metrics manual"
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

bus_start
test_metrics
test_metrics_manual
test_checker
echo "all passed"
