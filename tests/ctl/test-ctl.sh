#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# aviommuctl against a stand-in for the daemon, on a bus of its own: every verb, output mode and exit code.
#
#     test-ctl.sh PATH_TO_AVIOMMUCTL PATH_TO_MOCK [--regenerate]
#
# Prints "ok NAME" for each case and stops at the first that fails. With --regenerate the expected outputs in golden/ are
# written anew: look at `git diff` afterwards.

. "$(dirname "$(realpath "$0")")/common.sh"

test_output() {
        local verb arguments

        mock_start
        while read -r verb arguments; do
                # shellcheck disable=SC2086
                {
                        expect "$verb.txt" 0 $arguments
                        expect "$verb.bare.txt" 0 $arguments --no-legend
                        expect "$verb.json" 0 $arguments --json=short
                        expect "$verb.pretty.json" 0 --json=pretty $arguments
                        run "$verb -j" 0 -j $arguments
                        cmp -s "$tmp/out" "$golden/$verb.json" || fail "$verb -j" "is not short"
                        echo "ok $verb -j"
                        run "$verb --json=off" 0 $arguments --json=off
                        cmp -s "$tmp/out" "$golden/$verb.txt" || fail "$verb --json=off" "is no table"
                        echo "ok $verb --json=off"
                }
        done <<-EOF
		status status
		host host
		host-named host ivhd10 ivhd0
		functions functions
		functions-named functions 41:00.1 0001:02:00.0
		list list
		show show $uuid1
		show-both show web1 $uuid2
		plan plan $uuid1 $hardware
		reservations reservations
		definitions definitions
		definition definition $uuid1
		quarantined reclaim
		reclaim-would reclaim $uuid2 --dry-run
		reclaim reclaim db1
		reclaim-record reclaim 33333333000040008000000000000000
	EOF
        if command -v jq >/dev/null; then
                for verb in "$golden"/*.json; do
                        sed '/^--- stderr/,$d' "$verb" | jq -e '.version == 1' >/dev/null ||
                                fail json "${verb##*/} is no JSON, or has no version"
                done
                echo "ok json is JSON"
        else
                echo "skipped json is JSON: no jq"
        fi
        grep -q '"efr":18446744073709551615' "$golden/host.json" || fail "64 bits" "not exact"
        echo "ok 64 bits"

        mock_start bare
        expect status-without-iommu.txt 0 status
        says "no VMs" 0 "No VMs." list
        says "no VMs as JSON" 0 '{"version":1,"vms":[]}' list -j
        says "no host IOMMUs" 0 "No host IOMMUs." host
        says "nothing quarantined" 0 "Nothing is quarantined." reclaim
        says "nothing quarantined as JSON" 0 '{"version":1,"quarantined":[]}' reclaim -j
        run "nothing quarantined, quietly" 0 reclaim -q
        [ ! -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail "nothing quarantined, quietly" "not quiet"
        says "no definitions" 0 "No definitions." definitions
        says "no definitions as JSON" 0 '{"version":1,"definitions":[]}' definitions -j
        says "no reservations" 0 "No reservations." reservations
        says "no reservations as JSON" 0 '{"version":1,"reservations":[]}' reservations -j
        run "no VMs, quietly" 0 list -q
        [ ! -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail "no VMs, quietly" "not quiet"
        echo "ok no VMs, quietly"
}

test_pages() {
        mock_start many
        run "list in pages" 0 list --no-legend
        [ "$(wc -l <"$tmp/out")" = 2500 ] || fail "list in pages" "$(wc -l <"$tmp/out") lines"
        echo "ok list in pages"
        asked "the second page" 'ListVmDetails "1000" u:1000'
        run "functions in pages" 0 functions --no-legend
        [ "$(sort -u "$tmp/out" | wc -l)" = 2500 ] || fail "functions in pages" "not all"
        echo "ok functions in pages"

        (set -o pipefail; "$ctl" list 2>"$tmp/err" | true) || fail "closed pipe" "exit code $?"
        [ ! -s "$tmp/err" ] || fail "closed pipe" "not quiet"
        echo "ok closed pipe"
        timeout 10 "$ctl" list >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "Cannot write to stdout" "$tmp/err" || fail "full disk" "goes unnoticed"
        echo "ok full disk"
}

test_terminal() {
        mock_start
        on_tty "terminal" 100 50 "$ctl" list
        compare list.tty "$tmp/tty"
        grep -q $'\x1b\[31mquarantined' "$tmp/tty" || fail "terminal" "no colour"
        echo "ok terminal"
        on_tty "40 columns" 40 50 "$ctl" list
        compare list.tty40 "$tmp/tty"
        on_tty "40 columns, functions" 40 80 "$ctl" functions
        compare functions.tty40 "$tmp/tty"
        sed 's/\x1b\[[0-9;]*m//g' "$tmp/tty" | awk 'length > 40 { exit 1 }' ||
                fail "40 columns" "wider than the terminal"
        on_tty "40 columns, show" 40 80 "$ctl" show db1
        compare show.tty40 "$tmp/tty"
        on_tty "40 columns, definitions" 40 80 "$ctl" definitions
        compare definitions.tty40 "$tmp/tty"
        on_tty "40 columns, definition" 40 80 "$ctl" definition web1
        compare definition.tty40 "$tmp/tty"
        echo "ok 40 columns"
        for how in list host functions reservations status reclaim "show web1" "plan $uuid1 $hardware" \
                "policy show $here/../../policy/aviommud.conf" "policy explain $uuid1 --tenant acme"; do
                on_tty "40 columns, $how" 40 500 env NO_COLOR=1 PAGER=cat "$ctl" $how
                no_escapes "40 columns, $how" "$tmp/tty"
                awk 'length > 40 { print; exit 1 }' "$tmp/tty" || fail "40 columns, $how" "wider than the terminal"
                [ -s "$tmp/tty" ] || fail "40 columns, $how" "nothing"
        done
        echo "ok 40 columns, every table"
        on_tty "pretty on a terminal" 100 50 "$ctl" list -j
        cmp -s "$tmp/tty" "$golden/list.pretty.json" || fail "pretty on a terminal" "is not"
        echo "ok pretty on a terminal"
        for how in NO_COLOR=1 TERM=dumb; do
                on_tty "$how" 100 50 env $how "$ctl" list
                no_escapes "$how" "$tmp/tty"
                cmp -s "$tmp/tty" "$golden/list.txt" || fail "$how" "another table"
                echo "ok $how"
        done
        setsid --wait "$ctl" list >"$tmp/out" 2>"$tmp/err" </dev/null || fail "no terminal" "exit $?"
        cmp -s "$tmp/out" "$golden/list.txt" || fail "no terminal" "another table"
        echo "ok no terminal"
        "$ctl" list >"$tmp/out" 2>"$tmp/err" <&- || fail "no stdin" "exit $?"
        cmp -s "$tmp/out" "$golden/list.txt" || fail "no stdin" "another table"
        "$ctl" list >&- 2>&- <&-
        [ $? = 1 ] || fail "no descriptors" "a list that nobody can read is a success"
        echo "ok no descriptors"
        for verb in "list" "create $uuid1" "--help"; do
                # shellcheck disable=SC2086
                timeout 10 "$ctl" $verb >&- 2>"$tmp/err"
                [ $? = 1 ] && grep -q "Cannot write to stdout: Bad file descriptor" "$tmp/err" ||
                        fail "no stdout" "$verb: goes unnoticed"
        done
        echo "ok no stdout"
        "$ctl" define --file=- >"$tmp/out" 2>"$tmp/err" <&-
        [ $? = 1 ] && grep -q "Cannot read stdin: Bad file descriptor" "$tmp/err" || fail "no stdin" "is read as an empty one"
        echo "ok no stdin to read from"

        mock_start many
        on_tty "pager" 100 20 "PAGER='sed s/^/paged:/' $ctl list"
        [ "$(grep -c ^paged: "$tmp/tty")" = 2501 ] || fail pager "not used"
        echo "ok pager"
        # shellcheck disable=SC2016
        on_tty "LESS" 100 20 "PAGER='echo \$LESS \$LESSSECURE; cat >/dev/null' $ctl list"
        grep -q '^FRSXMK 1$' "$tmp/tty" || fail LESS "is not set"
        echo "ok LESS"
        for how in "--no-pager" "| cat"; do
                on_tty "$how" 100 20 "PAGER=false $ctl list $how"
                [ "$(grep -c vm "$tmp/tty")" = 2500 ] || fail "$how" "paged"
                echo "ok $how"
        done
        on_tty "no such pager" 100 20 "PAGER=/nonexistent/pager $ctl list"
        [ "$(grep -c emulated "$tmp/tty")" = 2500 ] || fail "no such pager" "no output"
        echo "ok no such pager"
        on_tty "pager ends early" 100 20 "PAGER=true $ctl list"
        echo "ok pager ends early"
        on_tty "short output" 100 50 "PAGER=false $ctl list --version"
        grep -q ^aviommuctl "$tmp/tty" || fail "short output" "paged"
        echo "ok short output"
}

test_locale() {
        if ! localedef -i de_DE -f UTF-8 "$tmp/de_DE.UTF-8" 2>/dev/null; then
                echo "skipped locale with commas: localedef makes none"
                return
        fi
        mock_start
        for verb in "status" "show web1" "list -j" "host" "reservations" "metrics" "plan $uuid1 $hardware" \
                "policy explain $uuid1 --memory=1536M" "create $uuid1 $hardware --memory=1536M" "reserve $hardware --ttl=0.5"; do
                # shellcheck disable=SC2086
                run "locale" 0 $verb
                cp "$tmp/out" "$tmp/plain"
                # shellcheck disable=SC2086
                commas=yes run "locale" 0 $verb
                cmp -s "$tmp/out" "$tmp/plain" || fail "locale with commas" "$verb differs"
        done
        commas=yes run "locale" 0 list --timeout=2.5
        echo "ok locale with commas"
}

test_changes() {
        local second=22222222-0000-4000-8000-000000000000 file

        mock_start
        expect create.txt 0 create $uuid1 $hardware
        asked "create: the default request" \
                "CreateVm \"$uuid1\" [ \"tier\" \"hardware\" \"functions\" [ ( \"0000:41:00.0\" [ ] ) ] ]"
        expect create.json 0 create $uuid1 $hardware -jq
        "$ctl" create $uuid1 $hardware >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "The VM $uuid1 is there" "$tmp/err" || fail "create, full disk" "does not say what is there"
        echo "ok create, full disk"
        "$ctl" attach web1 0000:41:00.0 >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "What was to be changed has been changed" "$tmp/err" ||
                fail "attach, full disk" "does not say whether it is done"
        echo "ok attach, full disk"
        "$ctl" destroy $uuid1 $uuid2 >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "The VM $uuid1 has been destroyed, and none after it" "$tmp/err" ||
                fail "destroy, full disk" "does not say what is done"
        echo "ok destroy, full disk"
        run "create with everything" 0 --timeout=20 create \
                --name web1 --tier hardware $uuid1 --function 0000:41:00.0=01:00.0 \
                --function=0001:01:00.1 --vf-token=ABCDEF00222233334444555555555555 --managed \
                --handover daemon --memory 4G --guest-domains 0x10 --leash=$$
        [ ! -s "$tmp/err" ] || fail "create with everything" "speaks of a missing leash"
        asked "create with everything" "\"name\" \"web1\" \"tier\" \"hardware\" \"handover\" \"daemon\" \
\"functions\" [ ( \"0000:41:00.0\" [ \"guest-device-id\" \"01:00.0\" ] ) ( \"0001:01:00.1\" [ \
\"vf-token\" \"abcdef00-2222-3333-4444-555555555555\" \"managed\" b:1 ] ) ] \"memory\" t:4294967296 \
\"guest-domains\" u:16 \"leash-pidfd\" fd:anon_inode:[pidfd] ]"
        run "create new" 0 create new -q
        grep -qE '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' "$tmp/out" ||
                fail "create new" "no UUID"
        asked "create new" "CreateVm \"$(cat "$tmp/out")\" [ ]"
        run "create new twice" 0 create new -q
        [ "$(grep -o 'CreateVm "[^"]*"' "$tmp/mock.log" | sort -u | wc -l)" = 3 ] ||
                fail "create new" "the same UUID again"
        asked "UUID without dashes" 'CreateVm'
        run "UUID without dashes" 0 create 99999999888877776666555555555555 -q
        asked "UUID without dashes" "CreateVm \"$uuid2\""
        asked "password may be asked for" 'CreateVm "'
        run "--no-ask-password" 0 create $uuid2 --no-ask-password
        asked "--no-ask-password" "CreateVm (no-ask) \"$uuid2\""
        run "plan asks the same" 0 plan $uuid1 --hold --memory 1K
        asked "plan asks the same" "Plan \"$uuid1\" [ \"memory\" t:1024 \"leash\" \"caller\" ]"
        expect plan-refused.txt 4 plan $uuid1 --name refuse:NoFreeInstance
        expect plan-refused.json 4 plan $uuid1 --name refuse:NoFreeInstance -j
        says "create refused" 4 "[NoFreeDomainId]" create $uuid1 --name refuse:NoFreeDomainId

        expect attach.txt 0 attach $uuid1 41:00.1=02:00.0 --managed
        asked attach 'AttachDevice "0000:41:00.1" [ "guest-device-id" "02:00.0" "managed" b:1 ]'
        run "attach with memory" 0 attach $uuid1 41:00.0 41:00.1 --memory 4G
        asked "attach with memory" '"memory" t:4294967296'
        says "attach with no size" 2 "is not a size" attach $uuid1 41:00.0 --memory=lots
        run "attach with a token" 0 attach --vf-token $uuid2 $uuid1 0000:41:00.1 --quiet
        [ ! -s "$tmp/out" ] || fail "attach --quiet" "not quiet"
        asked "attach with a token" "AttachDevice \"0000:41:00.1\" [ \"vf-token\" \"$uuid2\" ]"
        expect attach.json 0 -j attach $uuid1 41:00.1
        expect attach-two.txt 0 attach $uuid1 41:00.0 41:00.1
        expect attach-two.json 0 attach -j $uuid1 41:00.0 41:00.1
        [ "$(wc -l <"$tmp/out")" = 1 ] || fail "attach -j of two" "is more than one document"
        expect detach.txt 0 detach $uuid1 41:00.1
        asked detach 'DetachDevice "0000:41:00.1"'
        expect detach.json 0 -j detach $uuid1 41:00.1
        expect viommu-create.txt 0 viommu $uuid1 create ivhd0
        asked "viommu create" '555555555555 CreateViommu "ivhd0"'
        expect viommu-destroy.json 0 -j viommu $uuid1 destroy ivhd12
        asked "viommu destroy" '555555555555/viommu/12 Destroy'

        file=$tmp/memory
        truncate -s 8192 "$file"
        says map 0 "Mapped 8K at 0x1000 in $uuid1." map $uuid1 "$file" 0x1000
        asked map "MapMemory fd:$file t:0 t:8192 t:4096 u:1"
        run "map with all arguments" 0 map $uuid1 "$file" 1M 4K 4096 --read-only
        asked "map with all arguments" "MapMemory fd:$file t:4096 t:4096 t:1048576 u:0"
        run "map to the end" 0 map $uuid1 "$file" 0 4K 0
        expect map.json 0 -j map $uuid1 "$file" 0xfffffffffffff000 0x1000
        asked "map at the top" "t:18446744073709547520 u:1"
        says "map no file" 3 "No such file" map $uuid1 "$tmp/none" 0
        says "map a pipe" 2 "LENGTH has to be given" map $uuid1 /dev/null 0
        says "map beyond the end" 2 "LENGTH has to be given" map $uuid1 "$tmp/mock.err" 0
        says unmap 0 "Unmapped 8K at 0x1000" unmap $uuid1 0x1000 8K
        asked unmap "UnmapMemory t:4096 t:8192"
        expect unmap.json 0 -j unmap $uuid1 4096 2MiB

        says leash 0 "lives as long as process $$" leash $uuid1 $$
        asked leash 'SetLeash fd:anon_inode:[pidfd]'
        says "leash to nobody" 3 "There is no process 2147483647" leash $uuid1 2147483647
        says "leash to no number" 2 "is not a process id" leash $uuid1 1e3
        expect confirm.txt 0 confirm $uuid1
        asked confirm '555555555555 ConfirmContext'
        expect confirm.json 0 -j confirm $uuid1
        says "cancel nothing" 1 "[WrongState]" cancel $uuid1
        expect destroy.txt 0 destroy $uuid1 11111111222233334444555555555555
        asked destroy '555555555555 Destroy [ ]'
        run "destroy --force" 0 destroy $uuid1 --force
        asked "destroy --force" '555555555555 Destroy [ "force" b:1 ]'
        expect destroy-living.txt 1 destroy $uuid2
        expect destroy.json 3 -j destroy $uuid1 $second
        expect destroy-two.txt 3 destroy $second $uuid1
        expect reserve.txt 0 reserve $hardware --function=41:00.1=02:00.0 --memory=4G --ttl=300
        asked reserve 'Reserve [ "tier" "hardware" "functions" [ ( "0000:41:00.0" [ ] ) ( "0000:41:00.1" [ "guest-device-id" "02:00.0" ] ) ] "memory" t:4294967296 ] t:300000000'
        expect reserve.json 0 reserve -j --tier virtio --ttl 0.5
        run "reserve --quiet" 0 reserve -q --tier virtio --ttl 60
        [ "$(cat "$tmp/out" "$tmp/err")" = 0a1b2c3d4e5f40718293a4b5c6d7e8f9 ] || fail "reserve --quiet" "not the token alone"
        # A token that nobody has read is given back, or it is in the way until it expires.
        "$ctl" reserve $hardware --ttl=300 >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "No space left on device: reservation 0a1b2c3d4e5f has been given back" "$tmp/err" ||
                fail "reserve, full disk" "goes unnoticed"
        asked "reserve, full disk" 'Unreserve "0a1b2c3d4e5f40718293a4b5c6d7e8f9"'
        mock_start
        "$ctl" reserve $hardware --ttl=300 >&- 2>"$tmp/err"
        [ $? = 1 ] && grep -q "reservation 0a1b2c3d4e5f has been given back" "$tmp/err" || fail "reserve, no stdout" "goes unnoticed"
        asked "reserve, no stdout" 'Unreserve "0a1b2c3d4e5f40718293a4b5c6d7e8f9"'
        mock_start
        mkfifo "$tmp/nobody"
        exec 8<>"$tmp/nobody" 7>"$tmp/nobody" 8>&-
        "$ctl" reserve $hardware --ttl=300 >&7 2>"$tmp/err"
        [ $? = 1 ] && grep -q "Nobody reads the token: reservation 0a1b2c3d4e5f has been given back" "$tmp/err" ||
                fail "reserve, closed pipe" "goes unnoticed"
        exec 7>&-
        asked "reserve, closed pipe" 'Unreserve "0a1b2c3d4e5f40718293a4b5c6d7e8f9"'
        ! grep -q 40718293a4b5 "$tmp/err" || fail "reserve, closed pipe" "tells the token"

        expect unreserve.txt 0 unreserve 0a1b2c3d4e5f40718293a4b5c6d7e8f9
        asked unreserve 'Unreserve "0a1b2c3d4e5f40718293a4b5c6d7e8f9"'
        expect unreserve.json 0 unreserve -j f00000000001
        run "create --reservation" 0 create $uuid1 $hardware --reservation=0a1b2c3d4e5f40718293a4b5c6d7e8f9
        asked "create --reservation" '"reservation" "0a1b2c3d4e5f40718293a4b5c6d7e8f9"'
        run "plan --reservation" 0 plan $uuid1 $hardware --reservation=0a1b2c3d4e5f40718293a4b5c6d7e8f9
        asked "plan --reservation" 'Plan "11111111-2222-3333-4444-555555555555" [ "tier" "hardware" "reservation"'
        run "reclaim --dry-run" 0 reclaim $uuid2 --dry-run -q
        [ -s "$tmp/out" ] || fail "reclaim --dry-run" "says nothing"
        asked "reclaim --dry-run" "Reclaim \"$uuid2\" [ \"dry-run\" b:1 ]"
        ! grep -q "Reclaim \"$uuid2\" \[ \]" "$tmp/mock.log" || fail "reclaim --dry-run" "does it"
        run "reclaim" 0 reclaim db1 -q
        [ ! -s "$tmp/out" ] || fail "reclaim --quiet" "not quiet"
        asked "reclaim" "Reclaim \"$uuid2\" [ ]"
        expect reclaim-living.txt 1 reclaim web1
        expect reclaim-none.txt 3 reclaim $second
        run "create --leash agent" 0 create $uuid1 --leash agent
        [ ! -s "$tmp/err" ] || fail "create --leash agent" "speaks of a missing leash"
        asked "create --leash agent" "CreateVm \"$uuid1\" [ \"leash\" \"agent\" ]"
        run "host --probe" 0 host ivhd0 --probe
        asked "host --probe" '/org/aviommu1/host/ivhd0 Probe'
        ! grep -q 'ivhd10 Probe' "$tmp/mock.log" || fail "host --probe" "probes others too"
        run "host --probe all" 0 host --probe
        asked "host --probe all" '/org/aviommu1/host/ivhd10 Probe'
}

# document TEXT: what define reads, in a file
document() {
        printf '%s\n' "$1" >"$tmp/definition.json"
}

# wrong NAME SENTENCE TEXT: a document that define does not take
wrong() {
        document "$3"
        says "definition: $1" 2 "$2" define --file="$tmp/definition.json"
}

test_definitions() {
        mock_start
        expect define.txt 0 define $uuid1 $hardware --name=web1 --memory=4G --autostart
        asked define "DefineVm \"$uuid1\" [ \"name\" \"web1\" \"tier\" \"hardware\" \"functions\" [ ( \"0000:41:00.0\" [ ] ) ] \"memory\" t:4294967296 \"autostart\" b:1 ] [ ]"
        expect define-warned.txt 0 define $uuid1 --tier=virtio --tenant=nobody --replace
        asked "define --replace" '[ "replace" b:1 ]'
        expect define.json 0 define $uuid1 --tier=virtio -j
        run "define --quiet" 0 define new --tier=virtio -q
        [ "$(cat "$tmp/out" "$tmp/err" | wc -l)" = 1 ] || fail "define --quiet" "not the UUID alone"
        run modify 0 modify web1 --add-function=41:00.1=02:00.0 --vf-token=$uuid2 --managed --remove-function=41:00.0 \
                --no-autostart --memory=0
        asked modify "ModifyDefinition \"$uuid1\" [ \"add-functions\" [ ( \"0000:41:00.1\" [ \"guest-device-id\" \"02:00.0\" \"vf-token\" \"$uuid2\" \"managed\" b:1 ] ) ] \"memory\" t:0 \"autostart\" b:0 \"remove-functions\" [ \"0000:41:00.0\" ] ]"
        expect undefine.txt 0 undefine web1
        asked undefine "UndefineVm \"$uuid1\""
        expect undefine.json 0 undefine $uuid1 -j
        expect start.txt 0 start web1
        asked start "StartDefinition \"$uuid1\" [ ]"
        run "start --leash agent" 0 start $uuid1 --leash agent
        [ ! -s "$tmp/err" ] || fail "start --leash agent" "speaks of a missing leash"
        asked "start --leash agent" "StartDefinition \"$uuid1\" [ \"leash\" \"agent\" ]"
        run "start --leash PID" 0 start $uuid1 --leash $$
        asked "start --leash PID" "StartDefinition \"$uuid1\" [ \"leash-pidfd\" fd:"
        expect definition-damaged.txt 1 definition 33333333-0000-4000-8000-000000000000
        says "no such definition" 3 'There is no definition of "web9"' start web9
        says "no such definition, UUID" 3 'There is no definition' definition 33333333-0000-4000-8000-000000000001

        # What is written is read, and says the same.
        run "definition -j" 0 definition web1 -j
        cp "$tmp/out" "$tmp/definition.json"
        run "define --file" 0 define --file="$tmp/definition.json"
        grep -q "^$uuid1$" "$tmp/out" || fail "define --file" "another UUID"
        asked "define --file" "DefineVm \"$uuid1\" [ \"name\" \"web1\" \"tier\" \"hardware\" \"handover\" \"vmm\" \"tenant\" \"acme\" \"functions\" [ ( \"0000:41:00.0\" [ \"guest-device-id\" \"02:00.0\" ] ) ( \"0000:41:00.1\" [ \"vf-token\" \"$uuid2\" \"managed\" b:1 ] ) ] \"memory\" t:4294967296 \"guest-domains\" u:16 \"autostart\" b:1 ] [ ]"
        timeout 30 "$ctl" define $uuid2 --file=- --autostart <"$tmp/definition.json" >"$tmp/out" || fail "define from stdin" "exit code $?"
        asked "define from stdin" "DefineVm \"$uuid2\" [ \"name\" \"web1\""

        wrong "empty" "This is no JSON" ""
        wrong "cut off" "in line 2" '{"tier": "virtio",'
        wrong "no object" "no JSON object" '[]'
        wrong "two" "This is no JSON" '{"tier": "virtio"} {}'
        wrong "unknown key" 'There is no key "teir" here' '{"teir": "virtio"}'
        wrong "wrong type" '"memory" wants a whole number' '{"memory": "4G"}'
        wrong "less than nothing" '"memory" wants a whole number' '{"memory": -1}'
        wrong "too much" '"memory" wants a whole number' '{"memory": 18446744073709551616}'
        wrong "nothing" '"name" wants a text' '{"name": null}'
        wrong "another version" "of another version than 1" '{"version": 2}'
        wrong "no UUID" 'is not a UUID' '{"uuid": "web1"}'
        wrong "no address" 'functions[1]: "41:00" is not the address' '{"functions": [{"address": "41:00.0"}, {"address": "41:00"}]}'
        wrong "no function" 'functions[0]: A function is an object' '{"functions": ["41:00.0"]}'
        wrong "a function without" 'functions[0]: It has no "address"' '{"functions": [{}]}'
        wrong "no guest address" 'is not an address in the guest' '{"functions": [{"address": "41:00.0", "guest_device_id": "x"}]}'
        wrong "a 0 in a text" '"name" wants a text' '{"name": "a\u0000b"}'
        document '{"tier": "virtio"}'
        says "definition: without a UUID" 2 'has no "uuid"' define --file="$tmp/definition.json"
        head -c 1100000 /dev/zero | tr '\0' ' ' >"$tmp/definition.json"
        says "definition: too long" 2 "longer than 1024 KiB" define --file="$tmp/definition.json"
        printf '{"tier": "virtio"}\0{}' >"$tmp/definition.json"
        says "definition: a 0 behind it" 2 "more behind its end" define --file="$tmp/definition.json"
        says "definition: a folder" 1 "Cannot read $tmp" define --file="$tmp"
}

test_describe() {
        mock_start
        expect describe.txt 0 describe web1 --format=libvirt-xml
        asked "describe: the format" '555555555555 Describe "libvirt-xml"'
        expect describe.json 0 describe $uuid1 -j
        asked "describe: the default" '555555555555 Describe "json"'
        says "describe as nothing known" 2 "[InvalidArgument]" describe web1 --format yaml
        mock_start control
        run "control: describe -j" 0 describe web1 -j
        no_escapes "control: describe -j" "$tmp/out"
        on_tty "control: describe" 80 50 NO_COLOR=1 PAGER=cat "$ctl" describe web1
        no_escapes "control on a terminal: describe" "$tmp/tty"
        echo "ok control: describe"
}

# What an exec'ed command says of itself: its descriptors but the standard ones and the one it looks with, and its filters.
looker='exec 2>/dev/null
for f in /proc/$$/fd/*; do f=${f##*/}; [ "$f" -gt 2 ] && [ -e /proc/$$/fd/$f ] && echo "fd $f"; done
sed -n "s/^\(Seccomp\|NoNewPrivs\|SigIgn\):\t/\1 /p" /proc/$$/status
echo "arguments $*"'

test_exec() {
        local both='{iommufd} {device:41:00.0} {device:0000:41:00.1}'

        mock_start free
        says "exec: nothing placed" 2 "no argument has {iommufd}" exec web1 -- true
        says "exec: a function not placed" 2 "--fd-device=0000:41:00.1=N" exec web1 -- true '{iommufd}{device:41:00.0}'
        says "exec: no address" 2 'is not {device:SSSS:BB:DD.F}' exec web1 -- true '{device:41:00}'
        says "exec: no end" 2 'is not {device:SSSS:BB:DD.F}' exec web1 -- true '{device:41:00.0'
        says "exec: another function" 3 'has no function 0000:42:00.0' exec web1 -- true '{device:42:00.0}'
        says "exec: handover vmm" 1 'its VMM opens 0000:41:00.0 itself' exec db1 -- true '{iommufd}{device:41:00.0}'
        says "exec: ids of nobody" 1 'there are no ids yet' exec db1 -- true '{iommufd}{hwpt}'
        says "exec: no such program" 3 'There is no program "nosuch"' exec web1 -- nosuch $both
        says "exec: no program" 3 'is no program that can be run' exec web1 -- /etc/passwd $both
        printf '#! %s/nosuch -x\n' "$tmp" >"$tmp/script"
        chmod +x "$tmp/script"
        says "exec: no interpreter" 3 'for a program that cannot be run' exec web1 -- "$tmp/script" $both
        says "exec: no number" 2 'is not the number' exec web1 --fd-iommufd=x -- true
        says "exec: a standard descriptor" 2 'in use' exec web1 --fd-iommufd=2 -- true
        says "exec: a number twice" 2 'given twice' exec web1 --fd-iommufd=9 --fd-device=41:00.0=9 -- true
        says "exec: an item twice" 2 'descriptor 8 and 9' exec web1 --fd-iommufd=8 --fd-iommufd=9 -- true
        says "exec: no number of a function" 2 'is not FUNCTION=N' exec web1 --fd-device=41:00.0 -- true
        says "exec: kept, and not there" 2 'is not open' exec web1 --fd-keep=77 -- true
        says "exec: beyond all limits" 1 'ulimit -n' exec web1 --fd-iommufd=2000000000 -- true $both
        says "exec: no such VM" 3 '[NoSuchVm]' exec nobody -- true
        says "exec: no command" 2 'exec wants VM -- COMMAND' exec web1
        ! grep -q "SetLeash\|ConfirmContext" "$tmp/mock.log" || fail exec "a mistake set the leash"
        echo "ok exec: a mistake sets no leash"

        mock_start free
        run "exec" 0 exec web1 -- sh -c "$looker" vmm 'i={iommufd},h={hwpt}' '{ioas}{x}{"k":1}' \
                '{device:0000:41:00.0}' 'd{device:41:00.1}d{device:41:00.1}'
        grep -qxE 'arguments i=[0-9]+,h=8 7\{x\}\{"k":1\} [0-9]+ d([0-9]+)d\1' "$tmp/out" || fail exec "arguments"
        # shellcheck disable=SC2046
        set -- $(sed -nE 's/^arguments i=([0-9]+),h=8 [^ ]* ([0-9]+) d([0-9]+)d.*/\1 \2 \3/p' "$tmp/out")
        [ "$(grep '^fd ' "$tmp/out" | sort)" = "$(printf 'fd %s\n' "$@" | sort)" ] || fail exec "descriptors"
        grep -qx 'Seccomp 2' "$tmp/out" && grep -qx 'NoNewPrivs 1' "$tmp/out" || fail exec "no filter"
        grep -qx 'SigIgn 0*' "$tmp/out" || fail exec "signals are ignored"
        echo "ok exec"
        [ "$(sed -n 's/.* \(Open[A-Za-z]*\|SetLeash\|ConfirmContext\).*/\1/p' "$tmp/mock.log" | tr '\n' ' ')" = \
                "OpenContext OpenDevice OpenDevice SetLeash ConfirmContext " ] || fail exec "another order of calls"
        asked "exec: the leash" 'SetLeash fd:anon_inode:[pidfd]'

        exec 7</dev/null 8</dev/null
        run "exec: fixed numbers" 0 exec $uuid1 --fd-iommufd=12 --fd-device 41:00.0=3 --fd-device=41:00.1=5 \
                --fd-keep=8 -- sh -c "$looker" vmm
        [ "$(grep '^fd ' "$tmp/out" | sort -k2n | tr '\n' ' ')" = "fd 3 fd 5 fd 8 fd 12 " ] || fail exec "fixed numbers"
        # execvp() runs these too.
        echo 'echo started "$@"' >"$tmp/script"
        says "exec: a script that names no shell" 0 'started x ' exec web1 -- "$tmp/script" x $both
        printf '#! /bin/sh -e\necho started' >"$tmp/script"
        says "exec: a script" 0 'started' exec web1 -- "$tmp/script" $both
        says "exec: a number in use" 2 'Descriptor 2 is in use' exec web1 --fd-iommufd=2 -- true
        exec 7<&- 8<&-
        echo "ok exec: fixed numbers"

        mock_start free
        run "exec: handover vmm" 0 exec db1 -- sh -c "$looker" vmm '{iommufd}'
        grep -qx 'Seccomp 0' "$tmp/out" && grep -qx 'NoNewPrivs 0' "$tmp/out" || fail exec "a filter in handover vmm"
        ! grep -q "ConfirmContext\|OpenDevice" "$tmp/mock.log" || fail exec "confirms in handover vmm"
        echo "ok exec: handover vmm"

        mock_start no-leash
        says "exec: no leash" 1 "[WrongState]" exec web1 -- echo started $both
        ! grep -q "started\|taken down" "$tmp/out" "$tmp/err" || fail exec "runs without a leash"
        mock_start no-confirm
        says "exec: not confirmed" 1 "is taken down with it" exec web1 -- echo started $both
        ! grep -q started "$tmp/out" || fail exec "runs without the context"
        LC_ALL=C sed 's|/ld-linux|/no-linux|g' "$(type -P true)" >"$tmp/broken"
        chmod +x "$tmp/broken"
        mock_start free
        says "exec: not executable" 1 "is taken down with it" exec web1 -- "$tmp/broken" $both
        mock_start
        says "exec: it has a VMM" 4 "hangs on a process already" exec web1 -- echo started $both
        mock_start denied
        says "exec: denied" 5 "[AccessDenied]" exec $uuid2 -- true '{iommufd}'
}

# check and show read files and want no daemon; explain asks one.
test_policy() {
        local etc=$tmp/root/etc/aviommu

        mock_stop
        mkdir -p "$etc/aviommud.conf.d" "$tmp/root/usr/lib/aviommu/aviommud.conf.d" "$tmp/root/run/aviommud/aviommud.conf.d"
        says "policy: nothing there" 0 "can be used: 0 file(s) read" policy check "$tmp/root"
        says "policy: no such file" 3 "There is no $tmp/none" policy check "$tmp/none"
        printf '[Manager]\nMaxVms=20\n[Tenant acme]\nMaxInstances=8\nTiers=hardware\n' >"$etc/aviommud.conf"
        printf '[Tenant acme]\nReservedInstances=ivhd0:2\n' >"$etc/aviommud.conf.d/20-reserve.conf"
        printf '[Nonsense]\n' >"$tmp/root/usr/lib/aviommu/aviommud.conf.d/20-reserve.conf"
        printf '[Nonsense]\n' >"$tmp/root/usr/lib/aviommu/aviommud.conf.d/30-masked.conf"
        ln -s /dev/null "$tmp/root/run/aviommud/aviommud.conf.d/30-masked.conf"
        says "policy: it can be used" 0 "can be used: 3 file(s) read, 0 warning(s)" policy check "$tmp/root"
        run "policy: quietly" 0 policy check "$tmp/root" -q
        [ ! -s "$tmp/out" ] || fail "policy: quietly" "not quiet"

        run policy-show 0 policy show "$tmp/root" --no-legend
        grep -v ' default$' "$tmp/out" | sed "s,$tmp,,; s/   */ /g" >"$tmp/settings"
        compare policy-show.bare.txt "$tmp/settings"
        says "policy: defaults" 0 default policy show "$tmp/root"
        says "policy: show as JSON" 0 "\"section\":\"Tenant acme\",\"key\":\"ReservedInstances\",\"value\":\"ivhd0:2\"" \
                policy show "$tmp/root" -j

        printf '[Manager]\nMaxVm=1\nWorkers=0\n[Vm]\nMaxInstances=9\n' >"$etc/aviommud.conf.d/40-wrong.conf"
        run policy-errors 1 policy check "$tmp/root"
        cat "$tmp/out" "$tmp/err" | sed "s,$tmp,,g" >"$tmp/wrong"
        compare policy-errors.txt "$tmp/wrong"
        says "policy: errors as JSON" 1 "\"usable\":false" policy check "$tmp/root" -j
        says "policy: one file" 1 "40-wrong.conf:2: Unknown key" policy check "$etc/aviommud.conf.d/40-wrong.conf"
        says "policy: no show of errors" 1 "40-wrong.conf:2: Unknown key" policy show "$tmp/root"
        says "policy: it is a check" 2 "none of check, show and explain" policy mend
        says "policy: of what" 2 "explain wants a UUID" policy explain

        mock_start
        expect policy-explain.bare.txt 4 policy explain $uuid1 --name refuse:QuotaExceeded
        expect policy-explain.json 4 policy explain $uuid1 --name refuse:QuotaExceeded -j
        expect policy-explain-admitted.bare.txt 0 policy explain $uuid1 --name limited --tenant acme
        asked "policy explain" 'Plan "'$uuid1'" [ "name" "limited" "tenant" "acme" ]'
}

# advises NAME EXIT_CODE ARGUMENT...: as run, with a sentence and in a line of its own what to do next
advises() {
        run "$@"
        [ "$(wc -l <"$tmp/err")" = 2 ] || fail "$1" "no sentence and next step"
        echo "ok $1: advice"
}

test_advice() {
        advises "define with no file" 3 define --file="$tmp/none"
        advises "define with a folder" 1 define --file="$tmp"
        printf '{"tier": 1' >"$tmp/definition.json"
        advises "define with no JSON" 2 define --file="$tmp/definition.json"
        mock_start free
        advises "exec of nothing" 3 exec web1 -- nosuch '{iommufd}{device:41:00.0}{device:41:00.1}'
        advises "exec of no program" 3 exec web1 -- /etc/passwd '{iommufd}{device:41:00.0}{device:41:00.1}'
        mock_start
        advises "doctor of nothing" 3 doctor --root="$tmp/none"
        advises "metrics to nowhere" 1 metrics --output="$tmp/none/x.prom"
        "$ctl" list >/dev/full 2>"$tmp/err"
        [ "$(wc -l <"$tmp/err")" = 2 ] || fail "list, full disk" "no sentence and next step"
        echo "ok list, full disk: advice"
        "$ctl" start web1 >/dev/full 2>"$tmp/err"
        [ $? = 1 ] && grep -q "What was to be changed has been changed" "$tmp/err" || fail "start, full disk" "does not say whether it is done"
        echo "ok start, full disk"
}

# Every help fits on a terminal of 80 columns.
help_fits() {
        local libexec=$AVIOMMU_LIBEXEC verb program

        for verb in $("$ctl" --help | verbs_listed) ""; do
                # shellcheck disable=SC2086
                "$ctl" $verb --help
        done >"$tmp/help"
        for verb in $("$ctl" libvirt --help | verbs_listed); do
                "$ctl" libvirt "$verb" --help
        done >>"$tmp/help"
        for program in aviommud aviommud-sim aviommu-libvirt-hook aviommu-libvirt-agent; do
                "$libexec/$program" --help
        done >>"$tmp/help"
        [ "$(wc -l <"$tmp/help")" -gt 500 ] || fail "help" "only $(wc -l <"$tmp/help") lines"
        awk 'length > 80 { print; found = 1 } END { exit found }' "$tmp/help" || fail "help" "wider than 80 columns (above)"
        echo "ok help in 80 columns"
}

test_usage() {
        local how

        mock_start
        expect help.txt 0 --help
        for verb in status host doctor functions list show describe plan create reserve unreserve reservations define modify undefine start definitions definition attach \
                detach map unmap leash exec confirm viommu cancel destroy reclaim policy monitor holders top metrics libvirt; do
                expect "help-$verb.txt" 0 $verb --help
        done
        help_fits
        says "version" 0 "aviommuctl " --version
        says "no verb" 2 "Which verb?"
        says "another verb" 2 'There is no verb "frobnicate"' frobnicate
        says "another option" 2 "aviommuctl create --help" create new --frobnicate
        says "option of another verb" 2 "unrecognized option" list --hold
        says "shortened option" 0 '"version":1' list --js=short
        says "ambiguous option" 2 "ambiguous" list --no
        says "option without its argument" 2 "requires an argument" create new --tier
        says "too few arguments" 2 "attach wants VM FUNCTION[=GUEST_BDF]..." attach $uuid1
        says "too many arguments" 2 'not "b" as well' list b
        says "options after --" 3 "[NoSuchVm]" show -- --json=short
        says "JSON mode" 2 'none of short, pretty, off' list --json=yes
        says "timeout" 2 'is not a number of seconds' list --timeout=1,5
        says "no such name" 3 '[NoSuchVm]' destroy $uuid1 11111111-2222-3333-4444-55555555555
        ! grep -q Destroy "$tmp/mock.log" || fail "no such name" "something was destroyed"
        says "no UUID, x" 3 '[NoSuchVm]' confirm 1111111x-2222-3333-4444-555555555555
        says "no UUID to come" 2 'is not a UUID' create 1111111x-2222-3333-4444-555555555555
        says "no address" 2 'is not the address' functions 41:00.8
        says "no function" 2 'is not a function' attach $uuid1 0000:41:00.0=
        says "no function, long" 2 'is not a function' create new --function=00000:41:00.0
        says "no size" 2 'is not a size' create new --memory=4X
        says "size too large" 2 'is not a size' create new --memory=16777216T
        says "no domains" 2 'is not a number' create new --guest-domains=4294967296
        says "no token" 2 'is not a VF token' create new --function=41:00.0 --vf-token=1
        says "token for nothing" 2 'come after' create new --vf-token=$uuid1 --function=41:00.0
        says "reserve without an end" 2 'wants --ttl=SECONDS' reserve --tier=virtio
        says "reserve for nothing" 2 'is not a number of seconds' reserve --tier=virtio --ttl=0
        says "reserve for what" 2 'is not a number of seconds' reserve --tier=virtio --ttl=1h
        says "reserve a VM" 2 'not "new" as well' reserve new --ttl=1
        says "reserve with a name" 2 'unrecognized option' reserve --ttl=1 --name=x
        says "no reservation" 2 'wants the token' create new --reservation=
        for how in name tier handover tenant; do
                says "create with an empty $how" 2 "--$how= wants a text" create new "--$how="
        done
        says "modify to nobody's account" 2 "--tenant= wants a text" modify web1 --tenant ""
        says "define nothing" 2 'wants UUID, or --file=FILE' define --tier=virtio
        says "define for once" 2 'unrecognized option' define new --leash=1
        says "define with both" 2 'leave the other options out' define --file=/dev/null --tier=virtio
        says "define from nowhere" 3 'Cannot open' define --file="$tmp/nowhere"
        says "modify nothing" 2 'wants something to change' modify $uuid1
        says "modify by what" 2 'is not the address' modify $uuid1 --remove-function=x
        says "start on nothing" 2 'is not a process id' start $uuid1 --leash=0
        says "unreserve nothing" 2 'unreserve wants TOKEN' unreserve
        says "two leashes" 2 'exclude' create new --hold --leash=$$
        says "held and the agent's" 2 'exclude' create new --hold --leash=agent
        says "the agent's and a process'" 2 'given twice' create new --leash=agent --leash=$$
        says "a leash that is none" 2 'is not a process id' create new --leash=agents
        says "--dry-run of nothing" 2 'wants a VM' reclaim --dry-run
        says "reclaim two" 2 'as well' reclaim $uuid1 $uuid2
        says "reclaim no such name" 3 '[NoSuchVm]' reclaim nobody
        says "viommu what" 2 'neither' viommu $uuid1 make ivhd0
        says "viommu where" 2 'is not a host IOMMU' viommu $uuid1 destroy ivhd01
        says "no bus address" 2 'is not the address of a bus' list --address=unix:
        for how in nonsense "" ";" "nonsense;other:path=$tmp/bus"; do
                says "another bus address, \"$how\"" 2 "\"$how\" is not the address of a bus" list --address="$how"
        done
        says "one of two bus addresses" 6 "No message bus at x:;unix:path=$tmp/none" list --address="x:;unix:path=$tmp/none"
        says "two of a name that is not UTF-8" 2 "UTF-8" create new --name=$'\xff'
        ! grep -qE 'CreateVm|Reserve|DefineVm|ModifyDefinition|StartDefinition' "$tmp/mock.log" || fail usage "a mistake reached the daemon"
        echo "ok mistakes do not reach the daemon"
}

test_errors() {
        local name code

        mock_start
        # Every refusal that the daemon can give: its exit code, and that there is advice.
        : >"$tmp/codes"
        for name in $(sed -n 's/.*X(PROBLEM_[A-Z_]*, "\([A-Za-z]*\)".*/\1/p' \
                "$here/../../daemon/base/problem.h"); do
                timeout 10 "$ctl" show "error:$name" >"$tmp/out" 2>"$tmp/err"
                code=$?
                [ "$(wc -l <"$tmp/err")" = 2 ] || fail "error $name" "no sentence and next step"
                { echo "$name $code"; tail -1 "$tmp/err"; } >>"$tmp/codes"
        done
        [ -s "$tmp/codes" ] || fail "errors" "none found"
        compare errors.txt "$tmp/codes"
        echo "ok errors of the daemon"

        : >"$tmp/codes"
        for name in org.freedesktop.DBus.Error.{ServiceUnknown,NameHasNoOwner,NoServer,Disconnected} \
                org.freedesktop.DBus.Error.{Spawn.ChildExited,Timeout,TimedOut,AccessDenied,AuthFailed} \
                org.freedesktop.DBus.Error.{InteractiveAuthorizationRequired,LimitsExceeded} \
                org.freedesktop.DBus.Error.{UnknownObject,UnknownMethod,UnknownProperty,InvalidArgs} \
                org.freedesktop.systemd1.NoSuchUnit org.aviommu1.Error.SomethingNew \
                System.Error.ENOMEM com.example.Other; do
                timeout 10 "$ctl" show "bus-error:$name" >"$tmp/out" 2>"$tmp/err"
                echo "$name $?" >>"$tmp/codes"
        done
        compare bus-errors.txt "$tmp/codes"
        echo "ok errors of the bus"

        expect error.txt 1 show error:FunctionNotBound
        says "a VM that is gone" 3 "[NoSuchVm]" show 00000000-0000-0000-0000-000000000000
        says "one of two" 3 '"name":"db1"' show nobody db1 -j
        says "no such host IOMMU" 3 'There is no host IOMMU "ivhd3"' host ivhd3
        says "no such function" 3 'no PCI function 0000:00:00.0' functions 00:00.0
        says "detach from a VM that is gone" 3 "[NoSuchVm]" detach $uuid2 41:00.0

        mock_start denied
        says "status without looking" 0 "Quarantined: -" status
        says "status without looking, JSON" 0 '"n_quarantined":null' status -j
        says "reclaim without looking" 5 "org.aviommu1.look" reclaim

        mock_start silent
        SECONDS=0
        says "timeout" 7 "No answer from aviommud within 0.3 s" list --timeout=0.3
        [ "$SECONDS" -lt 3 ] || fail "timeout" "after $SECONDS s"
        says "timeout of a change" 7 "It may still be done" create new --timeout=0.3
        mock_start vanish
        says "it vanishes" 6 "aviommud cannot be reached: It went away" list
        mock_start vanish
        says "it vanishes in a change" 6 "aviommud cannot be reached: It went away" create new --timeout=0
        mock_stop
        says "no daemon" 6 "systemctl start aviommud" list
        says "no daemon, JSON" 6 "systemctl start aviommud" list -j
        [ ! -s "$tmp/out" ] || fail "no daemon, JSON" "writes a document"
        says "no bus" 6 "No message bus at unix:path=$tmp/none" list --address="unix:path=$tmp/none"
        AVIOMMU_BUS_ADDRESS=unix:path=$tmp/none says "no bus in the environment" 6 "$tmp/none" status
        AVIOMMU_BUS_ADDRESS= DBUS_SYSTEM_BUS_ADDRESS=unix:path=$tmp/other \
                says "the system bus" 6 "the system bus' address" status
        mock_start
        AVIOMMU_BUS_ADDRESS=unix:path=$tmp/none says "--address goes first" 0 web1 list \
                --address="unix:path=$tmp/bus"
        AVIOMMU_BUS_ADDRESS= DBUS_SYSTEM_BUS_ADDRESS=unix:path=$tmp/bus says "the other bus" 0 web1 list
}

test_hostile() {
        local verb

        for mode in types empty; do
                mock_start $mode
                for verb in status host functions list "show web1" "plan new" "create new" reclaim \
                        "reclaim $uuid2" reservations "reserve --ttl=1" definitions "definition $uuid1" \
                        "define new" "start $uuid1"; do
                        # An empty dictionary is well-formed, so types are wrong where a reply has a form.
                        # shellcheck disable=SC2086
                        says "$mode: $verb" 1 "not of the form" $verb
                done
        done
        mock_start endless
        says "endless list" 1 "not of the form" list
        says "endless definitions" 1 "not of the form" definitions
        says "endless reservations" 1 "not of the form" reservations

        mock_start control
        for verb in list "show web1" "list -j" "list --json=pretty" "show $uuid1 -j" reclaim "reclaim -j" \
                "reclaim $uuid2" "reclaim $uuid2 -j" reservations "reservations -j" definitions "definitions -j" \
                "definition $uuid1" "definition $uuid1 -j"; do
                # shellcheck disable=SC2086
                run "control: $verb" 0 $verb
                no_escapes "control: $verb" "$tmp/out"
                echo "ok control: $verb"
                # shellcheck disable=SC2086
                LC_ALL=C run "control: $verb" 0 $verb
                no_escapes "control in C: $verb" "$tmp/out"
                on_tty "control: $verb" 200 50 NO_COLOR=1 "$ctl" $verb
                no_escapes "control on a terminal: $verb" "$tmp/tty"
                echo "ok control on a terminal: $verb"
        done
        expect control.txt 0 list
        expect control.json 0 list -j
        run "control in an error" 3 show $'a\x1b[31mb\nc'
        no_escapes "control in an error" "$tmp/err"
        run "control in an argument" 2 confirm $'a\x1b[31mb\xff\xc2\x9b'
        no_escapes "control in an argument" "$tmp/err"
        echo "ok control in arguments"

        mock_start huge
        for verb in list "show $uuid1" "list -j"; do
                # shellcheck disable=SC2086
                run "huge: $verb" 0 $verb
                [ "$(wc -c <"$tmp/out")" -gt 1048000 ] || fail "huge: $verb" "cut"
                echo "ok huge: $verb"
        done
        on_tty "huge on a terminal" 80 50 NO_COLOR=1 "$ctl" list
        [ "$(wc -c <"$tmp/tty")" -lt 1000 ] || fail "huge on a terminal" "not cut"
        echo "ok huge on a terminal"
}

# Whether the mock has been called so many times by now.
test_calls() {
        [ "$(grep -c "$1" "$tmp/mock.log")" = "$2" ]
}

test_progress() {
        local pid code n=0

        mock_start slow=5600
        says "progress without a terminal" 0 \
                "still waiting: creating the VM: binding 0000:41:00.0, 5 s" create $uuid1 --leash=$$
        mock_start slow=1500
        on_tty "progress" 100 50 "$ctl" attach $uuid1 41:00.0
        grep -q 'attaching the function' "$tmp/tty" || fail progress "none"
        echo "ok progress"
        on_tty "progress, 40 columns" 40 50 "$ctl" attach $uuid1 41:00.0
        tr '\r' '\n' <"$tmp/tty" | sed 's/\x1b\[[0-9;]*[mK]/\n/g' |
                grep 'attaching' | awk 'length >= 40 { exit 1 }' || fail "progress" "too wide"
        echo "ok progress, 40 columns"
        on_tty "no progress" 100 50 "$ctl" -q attach $uuid1 41:00.0
        ! grep -q attaching "$tmp/tty" || fail "no progress" "shown"
        echo "ok no progress"

        mock_start slow=20000
        for signal in INT TERM; do
                "$ctl" create $uuid1 >"$tmp/out" 2>"$tmp/err" &
                pid=$!
                await "slow create" test_calls CreateVm $((++n))
                kill -$signal $pid
                wait $pid
                code=$?
                [ $code = 1 ] && grep -q 'Cancelled\]' "$tmp/err" || fail "cancel by $signal" "exit $code"
                echo "ok cancel by $signal"
        done
        for verb in "attach $uuid1 41:00.0" "destroy $uuid1"; do
                # shellcheck disable=SC2086
                "$ctl" $verb >"$tmp/out" 2>"$tmp/err" &
                pid=$!
                await "slow change" test_calls "$([ "${verb%% *}" = attach ] && echo AttachDevice || echo Destroy)" 1
                sleep 0.2
                run "show what is in flight" 0 show web1
                grep -qE '^Operation: binding 0000:41:00.0, for 0\.[2-9] s, 1 waiting$' "$tmp/out" ||
                        fail "show what is in flight" "no operation, or no age"
                run "aviommuctl cancel" 0 cancel $uuid1
                wait $pid
                code=$?
                [ $code = 1 ] || fail "aviommuctl cancel" "exit $code"
                echo "ok aviommuctl cancel: $verb"
        done

        mock_start silent
        "$ctl" create $uuid1 >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        await "silent create" grep -q CreateVm "$tmp/mock.log"
        kill -INT $pid
        await "Cancel" grep -q Cancel "$tmp/mock.log"
        kill -INT $pid
        wait $pid
        code=$?
        [ $code = 130 ] || fail "second Ctrl-C" "exit $code"
        [ "$(grep -c Cancel "$tmp/mock.log")" = 1 ] || fail "second Ctrl-C" "cancels twice"
        echo "ok second Ctrl-C"
}

test_hold() {
        local pid code fd

        for how in EOF INT TERM; do
                mock_start held
                rm -f "$tmp/fifo"
                mkfifo "$tmp/fifo"
                rm -f "$tmp/out" "$tmp/err"
                "$ctl" create $uuid1 --hold <"$tmp/fifo" >"$tmp/out" 2>"$tmp/err" &
                pid=$!
                exec {fd}>"$tmp/fifo"
                await "hold" grep -q 'Holding' "$tmp/err"
                grep -q "^$uuid1" "$tmp/out" || fail hold "the UUID is not there yet"
                echo "some input" >&$fd
                sleep 0.2
                kill -0 $pid || fail hold "does not hold"
                [ $how = EOF ] || kill -$how $pid
                [ $how != EOF ] || exec {fd}>&-
                wait $pid
                code=$?
                exec {fd}>&-
                [ $code = 0 ] || fail "hold until $how" "exit $code"
                asked "hold until $how" '555555555555 Destroy [ "force" b:1 ]'
        done
        # Without any stdin there is no end of it.
        "$ctl" create $uuid1 --hold <&- >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        await "hold without stdin" grep -q 'Holding' "$tmp/err"
        sleep 0.2
        kill -INT $pid 2>/dev/null || fail "hold without stdin" "does not hold"
        wait $pid || fail "hold without stdin" "exit $?"
        echo "ok hold without stdin"
        asked "hold: the leash" "CreateVm \"$uuid1\" [ \"leash\" \"caller\" ]"

        rm -f "$tmp/out" "$tmp/err"
        "$ctl" create $uuid1 --hold <"$tmp/fifo" >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        exec {fd}>"$tmp/fifo"
        await "hold" grep -q 'Holding' "$tmp/err"
        "$ctl" destroy -q $uuid1
        wait $pid
        code=$?
        exec {fd}>&-
        [ $code = 1 ] && grep -q 'taken down by others (destroyed)' "$tmp/err" ||
                fail "hold: taken down by others" "exit $code"
        echo "ok hold: taken down by others"

        # A daemon that comes back and does not know it says so to nobody.
        "$ctl" create $uuid1 --hold <"$tmp/fifo" >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        exec {fd}>"$tmp/fifo"
        await "hold" grep -q 'Holding' "$tmp/err"
        mock_start held
        await "hold over a restart" grep -q "GetVm .*$uuid1" "$tmp/mock.log"
        mock_start bare
        await "hold: lost" eval "! kill -0 $pid"
        wait $pid
        code=$?
        exec {fd}>&-
        [ $code = 1 ] && grep -q 'taken down by others (lost)' "$tmp/err" || fail "hold: lost" "exit code $code"
        [ "$(grep -c 'there again' "$tmp/err")" = 2 ] || fail "hold: lost" "did not wait for the second restart"
        echo "ok hold: lost"

        # Handed over, it is the other's.
        mock_start
        "$ctl" create $uuid1 --hold <"$tmp/fifo" >"$tmp/out" 2>"$tmp/err" &
        pid=$!
        exec {fd}>"$tmp/fifo"
        await "hold" grep -q 'Holding' "$tmp/err"
        exec {fd}>&-
        wait $pid || fail "hold: handed over" "exit code $?"
        grep -q 'hangs on another process' "$tmp/err" || fail "hold: handed over" "not said"
        ! grep -q Destroy "$tmp/mock.log" || fail "hold: handed over" "destroys what is another's"
        echo "ok hold: handed over"
}

# The events in a monitor's output, without the time.
events() {
        sed -e 's/^[-0-9]* [:.0-9]* //' -e 's/"time_usec":[0-9]*,//' "$1"
}

monitor_until() {
        local name=$1 text=$2
        await "$name" grep -qF -- "$text" "$tmp/events"
}

test_monitor() {
        local pid code format

        for format in off short; do
                mock_start
                rm -f "$tmp/events"
                "$ctl" monitor --json=$format >"$tmp/events" 2>"$tmp/err" </dev/null &
                pid=$!
                monitor_until monitor daemon-up
                run monitor 0 create $uuid1 --leash=$$
                run monitor 0 attach $uuid1 41:00.0
                run monitor 0 destroy $uuid1
                monitor_until monitor vm-removed
                mock_stop
                monitor_until monitor daemon-gone
                mock_start
                await monitor eval '[ "$(grep -c daemon-up "$tmp/events")" = 2 ]'
                kill -INT $pid
                wait $pid
                code=$?
                [ $code = 0 ] || fail monitor "exit $code"
                grep -vqE '^([-0-9]+ [:0-9]+\.[0-9]{3} |\{"version":1,"time_usec":[0-9]{16},)' \
                        "$tmp/events" && fail monitor "lines without a time"
                events "$tmp/events" >"$tmp/out"
                compare "monitor.$format" "$tmp/out"
                echo "ok monitor, JSON $format"
        done

        rm -f "$tmp/events"
        "$ctl" monitor >"$tmp/events" 2>"$tmp/err" &
        pid=$!
        monitor_until "monitor, TERM" daemon-up
        kill -TERM $pid
        wait $pid || fail "monitor, TERM" "exit $?"
        echo "ok monitor, TERM"

        # A bus that hangs does not keep it.
        kill -STOP $bus_pid
        "$ctl" monitor --timeout=0 >"$tmp/events" 2>"$tmp/err" &
        pid=$!
        await "monitor, bus hangs" eval "ls -l /proc/$pid/fd | grep -q socket"
        over "monitor, bus hangs" $pid TERM
        kill -CONT $bus_pid
        echo "ok monitor, bus hangs"

        : >"$tmp/tty"
        script -qefc "sh -c 'echo \$\$ >$tmp/pid; exec $ctl monitor -j'" "$tmp/tty" </dev/null >/dev/null 2>&1 &
        pid=$!
        await "monitor on a terminal" grep -q '"event":"daemon-up"}' "$tmp/tty"
        kill -INT "$(cat "$tmp/pid")"
        wait $pid
        tr -d '\r' <"$tmp/tty" | grep -q '^{.*"event":"daemon-up"}$' ||
                fail "monitor on a terminal" "not one object a line"
        echo "ok monitor on a terminal"

        mock_stop
        code=$(timeout 10 "$ctl" monitor 2>"$tmp/err" | head -n 1; echo "${PIPESTATUS[0]}")
        [[ $code == *daemon-gone*0 ]] || fail "monitor, closed pipe" "$code"
        [ ! -s "$tmp/err" ] || fail "monitor, closed pipe" "not quiet"
        echo "ok monitor, closed pipe"
}

# The verbs in a --help on stdin.
verbs_listed() {
        sed -n '/^Verbs:/,/^Options:/s/^  \([a-z][a-z]*\).*/\1/p'
}

# manual_has_keys MANUAL: the entry of each verb under JSON has every key of its documents.
manual_has_keys() {
        local file verb entry key

        if ! command -v jq >/dev/null; then
                echo "skipped manual: keys of JSON: no jq"
                return
        fi
        for file in "$golden"/*.json "$golden/monitor.short"; do
                verb=${file##*/}
                verb=${verb%%.*}
                case $verb in
                control) verb=list ;;
                quarantined) verb=reclaim ;;
                esac
                # "policy-explain-admitted" is one of "policy explain".
                for (( ; ; )); do
                        entry=$(sed -n '/^\.Ss JSON$/,/^\.Sh/p' "$1" |
                                awk -v want=" ${verb//-/ } " '/^\.It / { found = 0; n = split(substr($0, 8), names, " , ")
                                        for (i = 1; i <= n; i++) if (" " names[i] " " == want) found = 1 } found')
                        [ -z "$entry" ] && [[ $verb == *-* ]] || break
                        verb=${verb%-*}
                done
                [ -n "$entry" ] || entry=$(sed -n '/^\.It Other verbs$/,/^\.El/p' "$1")
                for key in $(sed '/^--- stderr/,$d' "$file" | jq -r 'keys[]' | sort -u); do
                        [ "$key" = version ] || grep -qw -- "$key" <<<"$entry" || fail manual "lacks the JSON key $key of $verb"
                done
        done
        echo "ok manual: keys of JSON"
}

# The manual has every verb, option and exit code that the program and its tests know.
test_manual() {
        local manual=$here/../../man/aviommuctl.1 verb option code

        "$ctl" --help | verbs_listed >"$tmp/verbs"
        [ "$(wc -l <"$tmp/verbs")" -ge 21 ] || fail manual "$(wc -l <"$tmp/verbs") verbs"
        while read -r verb; do
                grep -qE "^\.It Cm $verb( |\$)" "$manual" || fail manual "lacks the verb $verb"
                for option in $("$ctl" "$verb" --help | grep -oE -- ' --[a-z-]+' | tr -d -- ' ' | sed s/^--//); do
                        grep -qE "Fl (. , )?-$option(=|\$| )" "$manual" || fail manual "lacks --$option of $verb"
                done
        done <"$tmp/verbs"
        manual_has_keys "$manual"
        for code in 0 1 2 3 4 5 6 7; do
                grep -q "^\.It $code\$" "$manual" || fail manual "lacks exit code $code"
        done
        for code in $(grep -rhoE 'getenv\("[A-Z_]+"\)' "$here/../../client/ctl" "$here/../../client/lib" | grep -oE '[A-Z_]+'); do
                grep -qE "^\.It Ev .*$code" "$manual" || fail manual "lacks the environment variable $code"
        done
        echo "ok manual"
}

# shellcheck source=tests/ctl/doctor.sh
. "$here/doctor.sh"

bus_start
test_manual
test_output
test_pages
test_terminal
test_locale
test_advice
test_changes
test_definitions
test_describe
test_exec
test_policy
test_usage
test_errors
test_hostile
test_progress
test_hold
test_monitor
test_doctor
echo "all passed"
