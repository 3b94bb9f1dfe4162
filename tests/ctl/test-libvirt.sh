#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# aviommuctl libvirt on libvirt's test driver, whose domains are in libvirt/node.xml, and a simulated host.
#
#     test-libvirt.sh PATH_TO_AVIOMMUCTL PATH_TO_AVIOMMUD_SIM
#
# The test driver has no QEMU, no hooks, and of an iommufd in a domain it knows what its libvirt does: what follows from their
# versions is in unit/test-libvirt-abilities.c. Each program that asks has domains of its own, so nothing is left of a change.

. "$(dirname "$(realpath "$0")")/common.sh"
sim=$mock
sim_pid=
silent_pid=
export LIBVIRT_DEFAULT_URI="test://$here/libvirt/node.xml"

finish_all() {
        [ -z "$sim_pid" ] || kill "$sim_pid" 2>/dev/null
        [ -z "$silent_pid" ] || kill "$silent_pid" 2>/dev/null
        finish
}
trap finish_all EXIT

# run NAME EXIT_CODE ARGUMENT...
run() {
        local name=$1 expected=$2 code
        shift 2
        timeout 30 "$ctl" libvirt --config="$tmp/libvirt.conf" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
        code=$?
        [ "$code" = "$expected" ] || fail "$name" "exit code $code instead of $expected: $*"
}

# also NAME PATTERN: a line of what came out last.
also() {
        grep -qE -- "$2" "$tmp/out" "$tmp/err" || fail "$1" "does not say: $2"
        echo "ok $1"
}

config() {
        printf '[Libvirt]\n' >"$tmp/libvirt.conf"
        [ $# = 0 ] || printf '%s\n' "$@" >>"$tmp/libvirt.conf"
}

start() {
        dbus-daemon --session --nofork --nopidfile --address="unix:path=$tmp/bus" 2>"$tmp/bus.err" &
        bus_pid=$!
        await "the bus" test -S "$tmp/bus"
        export AVIOMMU_BUS_ADDRESS=unix:path=$tmp/bus
        "$sim" --bus="$AVIOMMU_BUS_ADDRESS" --profile="$here/../../policy/profiles/epyc-2p.json" 2>"$tmp/sim.log" &
        sim_pid=$!
        await "the daemon" "$ctl" status
}

test_check() {
        config
        says "check" 0 "web would start, on the tier virtio." check web
        also "check: a tier passed over" '^tier emulated +warning '
        also "check: admitted" '^tier virtio +fine +aviommud admits it, handover none\.'
        also "check: the daemon of this host" '^request +fine +It asks for auto'
        run "check by UUID" 0 check 22222222-0000-4000-8000-000000000001
        run "check by UUID, JSON" 0 check 22222222000040008000000000000001 -j
        also "check: JSON" '"name":"web","would_start":true,"tier":"virtio","checks":\['
        says "check: asks for what it has not" 1 "picky would not start" check picky
        also "check: a fault for each tier" '^tier hardware +fault '
        also "check: and the other" '^tier emulated +fault .*apply picky --tier=emulated'
        also "check: it runs" 'this is about its next start'
        run "check by id" 1 check 1 -j
        also "check: JSON of a fault" '"would_start":false,"tier":null'
        says "check: a bad request" 1 "fastest" check wrong
        says "check: nothing to do" 0 "has nothing to do with it" check none
        says "check: not asked for" 0 "without a vIOMMU of aviommud's" check plain
        says "check: no such domain" 3 "virsh list" check nobody
        says "check: a function of the host" 1 "[FunctionNotBound]" check bound
        also "check: which, and what to do" '^tier virtio +fault '
        says "check: saved" 1 "no <acpi/>" check saved
        also "check: saved, what that means" '^domain +warning +It was saved'
        config Unasked=refuse
        says "check: unasked, refused" 1 "Unasked=refuse" check plain
        config Unasked=ignore
        says "check: unasked, ignored" 0 "such domains are ignored" check plain
        config Unasked=never
        says "check: a bad configuration" 1 "libvirt.conf" check plain
        config
}

test_plan() {
        says "plan" 0 "Admitted: yes" plan web
        also "plan: the function" '^0000:41:00\.0 '
        also "plan: memory" '^pinned-memory +host +1G$'
        run "plan, JSON" 0 plan web --json=short
        also "plan: JSON" '"admitted":true.*"tier":"virtio","handover":"none"'
        says "plan: refused by its XML" 1 'model="intel"' plan picky
        says "plan: refused by the daemon" 1 "[FunctionNotBound]" plan bound
        says "plan: nothing" 0 "asks for nothing" plan none
        run "plan: nothing, JSON" 0 plan none -j
        also "plan: nothing, JSON" '"admitted":null'
        says "plan: a bad request" 1 "fastest" plan wrong
}

test_apply() {
        says "apply --dry-run" 0 "Would change plain for the tier virtio:" apply plain --dry-run
        also "apply: the difference" "^\\+    <iommu model='virtio'/>"
        also "apply: where" '^@@ -[0-9]+,[0-9]+ \+[0-9]+,[0-9]+ @@$'
        sed -n '/^@@/,$p' "$tmp/out" >"$tmp/dry"
        says "apply" 0 "Changed plain for the tier virtio:" apply plain
        sed -n '/^@@/,$p' "$tmp/out" | cmp -s - "$tmp/dry" || fail apply "another difference than with --dry-run"
        ! grep -q geheim "$tmp/out" || fail apply "shows a secret"
        says "apply to one that runs" 0 "counts from its next start" apply picky --tier=virtio
        also "apply: the request too" '^\+ .*tier="virtio"'
        run "apply, JSON" 0 apply picky --tier virtio -j
        also "apply: JSON" '"done":"apply".*"tier":"virtio","iommufd":false,"dry_run":false,"running":true,"saved":false,"changes":\["'
        says "apply: nothing to change" 0 "made for the tier virtio already" apply ready
        says "apply: saved" 0 "Changed saved for the tier virtio" apply saved
        also "apply: when that counts" 'virsh managedsave-remove'
        run "apply: saved, JSON" 0 apply saved -j
        also "apply: saved, JSON" '"running":false,"saved":true,"changes":\['
        says "apply: hardware" 1 "takes over AMD" apply web --tier=hardware
        says "apply: no tier" 2 "neither emulated nor virtio" apply web --tier=fastest
        says "apply: without iommufd" 0 "Changed plain for the tier virtio:" apply plain --iommufd=no
        run "apply: without iommufd, JSON" 0 apply plain --iommufd=no -j
        also "apply: without iommufd, JSON" '"iommufd":false'
        says "apply: neither" 2 "neither yes nor no" apply web --iommufd=perhaps
        says "apply: a bad request" 1 "fastest" apply wrong
        says "apply: no such domain" 3 "virsh list" apply nobody
}

# The difference that apply shows is one: it turns the one XML into the other.
test_difference() {
        command -v virsh >/dev/null && command -v patch >/dev/null || {
                echo "skipped the difference: no virsh, or no patch"
                return
        }
        virsh -c "$LIBVIRT_DEFAULT_URI" dumpxml --inactive plain >"$tmp/plain.xml" 2>/dev/null
        patch -s "$tmp/plain.xml" "$tmp/dry" || fail "the difference" "does not fit"
        grep -q "model='virtio'" "$tmp/plain.xml" || fail "the difference" "lacks the change"
        xmllint --noout "$tmp/plain.xml" || fail "the difference" "makes no XML"
        echo "ok the difference"
}

test_status() {
        says "status" 0 "TEST" status
        also "status: the abilities" '^virtio +yes'
        also "status: the daemon" 'aviommud: answers'
        also "status: a domain" '^web .*shut-off auto +virtio'
        also "status: one that runs" '^picky .*running +hardware, then emulated'
        also "status: a bad request" '^wrong .*unreadable'
        ! grep -q '^none ' "$tmp/out" || fail status "shows what does not matter"
        "$ctl" create 22222222-0000-4000-8000-000000000001 -q --tier=virtio --handover=none --leash=agent
        run "status of a VM" 0 status -j
        also "status: its VM" '"name":"web".*"vm":\{"tier":"virtio","handover":"none","state":"[a-z]+"\}'
        says "check: left of an earlier run" 0 "still has a VM of an earlier run" check web
        "$ctl" destroy -q --force 22222222-0000-4000-8000-000000000001
        # Somebody else's VM has the name, and not a function.
        "$ctl" create "$uuid1" -q --name=web --tier=virtio --handover=none --leash=agent
        says "check: the name is taken" 0 "web would start, on the tier virtio." check web
        also "check: admitted without it" '^tier virtio +fine +aviommud admits it'
        says "plan: the name is taken" 0 "Admitted: yes" plan web
        "$ctl" destroy -q --force "$uuid1"
        says "status elsewhere" 0 '"domains":[]' status --connect=test:///default -j
        says "options before the verb" 0 '"uri":"test:///default"' --connect=test:///default -j status
        "$ctl" -j libvirt status >"$tmp/out" 2>"$tmp/err" || fail status "exit code $?"
        also "options of all verbs before libvirt" '^\{"version":1,'
        says "no libvirt there" 6 "Cannot connect to libvirt at qemu+unix:///system" status \
                --connect="qemu+unix:///system?socket=$tmp/none"
        # One that takes the connection and never answers, as while a hook is at work.
        perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Listen => 1, Local => $ARGV[0]) or die;
                my $c = $s->accept; sleep 30' "$tmp/silent" &
        silent_pid=$!
        await "a silent libvirt" test -S "$tmp/silent"
        says "a silent libvirt" 7 "No answer from libvirt in time" status --timeout=0.5 \
                --connect="qemu+unix:///system?socket=$tmp/silent"
        kill "$silent_pid"
        LIBVIRT_DEFAULT_URI=test:///nowhere.xml says "no such node" 1 "Cannot connect to libvirt" status
        says "which verb" 2 "Which verb?"
        says "no such verb" 2 'There is no verb "start"' start web
        says "help" 0 "check DOMAIN" --help
        AVIOMMU_LIBEXEC=$tmp says "not installed" 3 "Install the package aviommu-libvirt" status
}

# The daemon is down: the configuration says what the hook makes of it.
test_down() {
        kill "$sim_pid"
        wait "$sim_pid"
        sim_pid=
        config
        says "down: asks" 6 "cannot be reached" check web
        also "down: a fault" '^daemon +fault'
        says "down: does not ask" 0 "would start" check plain
        also "down: a warning" '^daemon +warning'
        config DaemonDownAsked=run DaemonDownUnasked=refuse
        says "down: asks, may run" 0 "would start" check web
        says "down: does not ask, may not" 6 "would not start" check plain
        says "down: plan" 6 "cannot be reached" plan web
        says "down: status" 0 "aviommud: aviommud cannot be reached" status
        says "down: apply" 0 "Changed plain" apply plain
}

start
test_check
test_plan
test_apply
test_difference
test_status
test_down
echo "all passed"
