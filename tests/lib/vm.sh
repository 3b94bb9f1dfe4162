# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The tests in the VM: tests/vm/prepare in the background, then every case on a real kernel.

vm_prepare_pid=''
vm_prepare_start=0

vm_prepare_begin() {
        vm_prepare_start=$SECONDS
        start nice -n 15 tests/vm/prepare >"$logs/vm-prepare.log" 2>&1 </dev/null
        vm_prepare_pid=$started
}

vm_prepare_end() {
        if wait "$vm_prepare_pid"; then
                passed vm-prepare "$((SECONDS - vm_prepare_start))"
        else
                failed vm-prepare "$logs/vm-prepare.log"
        fi
        forget "$vm_prepare_pid"
}

# The test programs as a payload of their own: in the VM they are in /usr/libexec/aviommu-tests, beside what is in
# tests/vm/cases/lib.
vm_payload=build/check-vm-payload

make_vm_payload() {
        local folder=$vm_payload/usr/libexec/aviommu-tests program
        rm -rf "$vm_payload"
        mkdir -p "$folder"
        for program in build/release/*; do
                [[ -f $program && -x $program ]] || continue
                # Installed ones come with the other payload.
                grep -qE "/s?bin/$(basename "$program")$" tests/lib/installed-files || cp "$program" "$folder" || return 1
        done
        cp tests/vm/cases/lib/* "$folder"
}

# Each executable of tests/vm/cases runs in the VM, with the project installed there. A line "# boot: ARGUMENTS" in it is
# one boot with these arguments of tests/vm/boot; "# boot-long:" likewise, with --long only. Without such a line it runs
# once. There is no skipping: no case at all is a failure.
vm_steps() {
        local case arguments name n=0
        side_by_side=$(vm_side_by_side)
        if has_failed vm-prepare || has_failed install; then
                failed "vm: not run, as there is no VM or nothing to install in it"
                return 1
        fi
        step vm-payload make_vm_payload
        for case in tests/vm/cases/*; do
                [[ -f $case && -x $case ]] || continue
                while read -r arguments; do
                        n=$((n + 1))
                        name=vm/$(basename "$case")${arguments:+ $arguments}
                        # shellcheck disable=SC2086 # several words
                        vm_step_begin "$name" "$case" $arguments
                done < <(vm_boots "$case")
        done
        if has_failed package; then
                failed "vm/first-vm: not run, as there is no package"
        else
                first_vm_begin "$(own_suite)" "$packages"
        fi
        steps_wait
        [[ $n -gt 0 ]] || failed "vm: no cases in tests/vm/cases"
}

# The Debian that this machine is.
own_suite() {
        (. tests/vm/lib.sh && printf '%s\n' "$rig_own_suite")
}

# first_vm_begin SUITE FOLDER: a newcomer's first VM on a host that is this Debian and has nothing of ours but the package in FOLDER.
first_vm_begin() {
        local suite=$1 payload=build/check-vm-package-$1
        rm -rf "$payload"
        mkdir -p "$payload/root" && cp "$2"/aviommud_*.deb "$payload/root" || { failed "vm/first-vm $suite: no package"; return 1; }
        step_begin "vm/first-vm $suite" env AVIOMMU_OWN_SUITE="$suite" tests/vm/boot --root own --payload "$payload" \
                --payload "$vm_payload" --script tests/vm/first-vm --env SUITE="$suite" --results "$logs/vm-first-vm-$suite"
}

# How many of them have room beside each other: two processors' work each at times, mostly one's, and up to 6 GiB.
vm_side_by_side() {
        awk -v n="$jobs" '$1 == "MemAvailable:" { m = int($2 / (6 * 1024 * 1024)) } END { n = m < n ? m : n; print (n > 1 ? n : 1) }' /proc/meminfo
}

# Prints the arguments of each boot of a case, an empty line for none.
vm_boots() {
        local kind='boot'
        [[ ! ${long:-} ]] || kind='boot(-long)?'
        if grep -qE '^# boot(-long)?:' "$1"; then
                sed -nE "s/^# $kind: *//p" "$1"
        else
                printf '\n'
        fi
}

vm_step_begin() {
        local name=$1 case=$2 folder
        shift 2
        folder=$logs/${name//[ \/]/-}
        step_begin "$name" tests/vm/boot --payload "$destination" --payload "$vm_payload" \
                --script "$case" --results "$folder" "$@"
}
