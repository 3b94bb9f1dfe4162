# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What check.sh counts: a line for each check, a log for each step, and the sum at the end.

logs=build/check-logs
n_passed=0
n_failed=0
failed_steps=' '

steps_begin() {
        rm -rf "$logs"
        mkdir -p "$logs"
}

# Ends with the sum alone on the last line.
steps_end() {
        say "$n_passed passed, $n_failed failed"
        [[ $n_failed == 0 && $n_passed -gt 0 ]]
        exit
}

passed() {
        n_passed=$((n_passed + 1))
        say "ok $1 ($2 s)"
}

# failed NAME [LOG]: shows the end of the log.
failed() {
        n_failed=$((n_failed + 1))
        failed_steps+="$1 "
        say "FAILED $1"
        if [[ ${2:-} && -s ${2:-} ]]; then
                tail -n 100 "$2" | sed 's/^/    /'
                say "    (all of it: $2)"
        fi
}

has_failed() {
        [[ $failed_steps == *" $1 "* ]]
}

log_of() {
        printf '%s/%s.log\n' "$logs" "${1//[ \/]/-}"
}

# verdict NAME CODE SECONDS: of a command whose output is in the step's log. Fails where the command did.
verdict() {
        if [[ $2 == 0 ]]; then
                passed "$1" "$3"
        else
                failed "$1" "$(log_of "$1")"
                return 1
        fi
}

# step NAME COMMAND...: runs the command, its output goes to the log.
step() {
        local name=$1 begin=$SECONDS log code=0
        log=$(log_of "$name")
        shift
        "$@" >"$log" 2>&1 </dev/null || code=$?
        verdict "$name" "$code" $((SECONDS - begin))
}

# step_begin NAME COMMAND...: the same in the background, beside at most $side_by_side - 1 others; steps_wait waits for all of them.
declare -A step_names=() step_begins=()
side_by_side=$jobs

step_begin() {
        local name=$1 log
        log=$(log_of "$name")
        shift
        [[ ${#step_names[@]} -lt $side_by_side ]] || step_wait
        start "$@" >"$log" 2>&1 </dev/null
        step_names[$started]=$name
        step_begins[$started]=$SECONDS
}

# Waits for one of them. (wait -n forgets those that ended before it.)
step_wait() {
        local pid code=0
        while :; do
                for pid in "${!step_names[@]}"; do
                        kill -0 "$pid" 2>/dev/null || break 2
                done
                sleep 0.5
        done
        wait "$pid" || code=$?
        forget "$pid"
        verdict "${step_names[$pid]}" "$code" $((SECONDS - step_begins[$pid]))
        unset "step_names[$pid]" "step_begins[$pid]"
}

steps_wait() {
        while [[ ${#step_names[@]} -gt 0 ]]; do
                step_wait
        done
}

# ctest_step NAME PRESET ARGUMENT...: the tests of a build, each counted by itself. No test at all is a failure, and so is
# one that was not run or skipped.
ctest_step() {
        local name=$1 preset=$2 log=$logs/test-$1.log n=0 n_before=$n_failed code=0 test verdict seconds
        shift 2
        if has_failed "build-$preset"; then
                failed "test-$name: not built"
                return 1
        fi
        run ctest --test-dir "build/$preset" --parallel "$jobs" --output-on-failure --no-tests=error \
                --timeout 600 "$@" >"$log" 2>&1 </dev/null || code=$?
        while read -r test verdict seconds; do
                n=$((n + 1))
                if [[ $verdict == Passed ]]; then
                        passed "$name/$test" "$seconds"
                else
                        failed "$name/$test"
                        ctest_output "$log" "$test" | tail -n 100 | sed 's/^/    /'
                fi
        done < <(ctest_verdicts <"$log")
        # ctest itself failed, or there was nothing to run.
        if [[ $n == 0 || ($code != 0 && $n_failed == "$n_before") ]]; then
                failed "test-$name" "$log"
        fi
}

# "NAME Passed|other SECONDS" for each test in ctest's output.
ctest_verdicts() {
        sed -nE 's#^ *[0-9]+/[0-9]+ Test +\#[0-9]+: ([^ ]+) \.*[ *]*([A-Za-z]+).* ([0-9.]+) sec.*#\1 \2 \3#p'
}

# What a failed test printed: from its verdict to the next line of ctest's own.
ctest_output() {
        awk -v name="$2" '
                / Test +#[0-9]+: / { inside = index($0, ": " name " ") > 0 }
                /^ +Start +[0-9]+: / { if (inside) exit }
                inside' "$1"
}
