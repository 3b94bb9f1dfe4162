# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Fuzzing, and what --long adds.

# The tests that take long, on the build that finds the most; what counts steps by the million on the one that makes the most of them, as the
# sanitizers have seen its short form.
long_steps() {
        ctest_step long sanitize -L long -E '^proof-'
        ctest_step proofs development -L long -R '^proof-'
        step build-coverage build coverage && step coverage tests/lib/coverage
        step memcheck run tests/lib/memcheck build/development
}

# The quick start as a newcomer has it.
fresh_steps() {
        local suite
        for suite in bookworm trixie; do
                step "quickstart-$suite" run tests/lib/fresh "$suite"
        done
}

# Each fuzzer for a while, from its corpus (tests/fuzz/corpus/NAME) on. What it finds there stays in the log's folder.
fuzz_steps() {
        local fuzzer name n=0
        step build-fuzz build fuzz || return
        for fuzzer in build/fuzz/fuzz-*; do
                [[ -f $fuzzer && -x $fuzzer ]] || continue
                n=$((n + 1))
                name=$(basename "$fuzzer")
                fuzz_begin "$name" "$fuzzer" "tests/fuzz/corpus/${name#fuzz-}"
        done
        steps_wait
        [[ $n -gt 0 ]] || failed "fuzz: no fuzzers in build/fuzz"
}

fuzz_begin() {
        local name=$1 fuzzer=$2 corpus=$3 found=$temp/$1
        mkdir -p "$found"
        [[ -d $corpus ]] || corpus=policy/profiles # the profiles are their own corpus
        step_begin "$name" "$fuzzer" -max_total_time="$([[ $long ]] && echo 60 || echo 10)" -timeout=10 -rss_limit_mb=2048 \
                -print_final_stats=1 -artifact_prefix="$logs/" "$found" "$corpus"
}
