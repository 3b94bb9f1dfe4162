# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the cases share. Each check prints a line "ok ..."; the first that fails ends the case, with the daemon's journal.
set -u -o pipefail

tests=/usr/libexec/aviommu-tests
v3=/sys/kernel/debug/aviommu_v3
v3_parameters=/sys/module/aviommu_v3/parameters
config=/etc/aviommu/aviommud.conf
uuid_a=aaaaaaaa-0000-4000-8000-000000000001
uuid_b=bbbbbbbb-0000-4000-8000-000000000002
export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=''

# The functions of the rig; see tests/vm/README.md.
nvme=0000:01:00.0 nic0=0000:02:00.0 nic1=0000:03:00.0 igb=0000:04:00.0 edu=0000:05:00.0
shared_edu=0000:07:01.0 shared_testdev=0000:07:02.0
# shellcheck disable=SC2034 # not every case uses all of them
readonly nvme nic0 nic1 igb edu shared_edu shared_testdev

failing=''

# A name that is misspelt ends no case, as bash goes on; so it is written down.
not_found=/run/aviommu-not-found
command_not_found_handle() {
        echo "$1: command not found" >&2
        echo "$1" >>"$not_found"
        return 127
}

case_end() {
        local code=$?
        trap - EXIT
        if [[ $code == 0 && -s $not_found ]]; then
                echo "not ok: the case calls what there is not: $(sort -u "$not_found" | xargs)"
                code=1
        fi
        [[ $code == 0 ]] && exit 0
        [[ $failing ]] || echo "not ok: the case ended early (exit code $code)"
        systemctl status --no-pager --lines=0 aviommud
        echo '--- journal of aviommud'
        journalctl --no-pager --output=short-monotonic -u aviommud | tail -n 120
        echo '--- end of the kernel log'
        dmesg | tail -n 25
        exit "$code"
}
trap case_end EXIT

ok() {
        echo "ok $*"
}

fail() {
        failing=1
        echo "not ok $*"
        exit 1
}

# check WHAT COMMAND...: the command succeeds.
check() {
        local what=$1 said
        shift
        said=$("$@" 2>&1) || fail "$what: '$*' failed ($?): $said"
        ok "$what"
}

# check_is WHAT EXPECTED ACTUAL
check_is() {
        [[ $3 == "$2" ]] || fail "$1: expected '$2', got '$3'"
        ok "$1"
}

# check_says WHAT REGEX TEXT
check_says() {
        [[ $3 =~ $2 ]] || fail "$1: no '$2' in: $3"
        ok "$1"
}

# refused WHAT ERROR COMMAND...: aviommuctl is refused with org.aviommu1.Error.ERROR and a sentence, which is left in $said.
refused() {
        local what=$1 error=$2 code=0
        shift 2
        said=$(aviommuctl --json=short "$@" 2>&1) || code=$?
        [[ $code != 0 ]] || fail "$what: was not refused: $said"
        [[ $said == *"[$error]"* ]] || fail "$what: wanted $error, got ($code): $said"
        ok "$what: $error"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
        local seconds=$1 what=$2 begin=$SECONDS
        shift 2
        until "$@" >/dev/null 2>&1; do
                ((SECONDS - begin <= seconds)) || fail "$what: not within $seconds s"
                sleep 0.1
        done
        ok "$what"
}

property() {
        busctl get-property org.aviommu1 /org/aviommu1 org.aviommu1.Manager "$1" 2>&1
}

# vm_property UUID NAME, as busctl prints it.
vm_property() {
        busctl get-property org.aviommu1 "/org/aviommu1/vm/${1//-/}" org.aviommu1.Vm "$2" 2>&1
}

# function_is ADDRESS STATE, as `aviommuctl functions` says it.
function_is() {
        [[ $(aviommuctl --json=short functions "$1") == *"\"state\":\"$2\""* ]]
}

daemon_pid() {
        systemctl show -P MainPID aviommud
}

# How many descriptors the service manager keeps for the daemon.
n_stored() {
        systemctl show -P NFileDescriptorStore aviommud
}

n_vms() {
        local n
        n=$(property NVms) || return
        [[ $n == "u $1" ]]
}

# state UUID STATE
has_state() {
        [[ $(vm_property "$1" State) == "s \"$2\"" ]]
}

# How many descriptors of the daemon's lead to the kernel objects of a VM. One that an earlier daemon opened has lost its /dev
# with that one's sandbox.
daemon_fds() {
        find "/proc/$(daemon_pid)/fd" -lname '/dev/iommu' -o -lname '/dev/vfio/*' -o -lname '/iommu' -o -lname '/vfio/*' -o -lname 'anon_inode:\[eventfd\]' \
                -o -lname 'anon_inode:\[pidfd\]' -o -lname 'pidfd:*' | wc -l
}

allow_plumbing() {
        mkdir -p /etc/aviommu
        sed -i 's/^#*AllowPlumbing=.*/AllowPlumbing=yes/' "$config"
        grep -q '^AllowPlumbing=yes' "$config" || printf '[Manager]\nAllowPlumbing=yes\n' >"$config"
}

# remember: what the kernel and the daemon hold now; check_nothing_left: the same again, no vIOMMU, and nothing kept for the next daemon.
remember() {
        kept_iommu_pages=$(awk '$1 == "nr_iommu_pages" { print $2 }' /proc/vmstat)
        kept_fds=$(daemon_fds)
        kept_resources=$(property Resources)
}

check_nothing_left() {
        local what=$1 name
        [[ $(property Resources) == "$kept_resources" ]] ||
                fail "$what: the ledger had $kept_resources, has $(property Resources)"
        for name in viommus vdevices; do
                [[ ! -e $v3/$name || $(<"$v3/$name") == 0 ]] || fail "$what: $(<"$v3/$name") $name are left"
        done
        [[ $(daemon_fds) == "$kept_fds" ]] ||
                fail "$what: the daemon had $kept_fds descriptors, has $(daemon_fds): $(ls -l "/proc/$(daemon_pid)/fd")"
        [[ $(n_stored) == 0 ]] || fail "$what: $(n_stored) descriptors are in the fd store"
        [[ ! $(compgen -G '/run/aviommu/vm-*') ]] || fail "$what: records are left: $(ls /run/aviommu)"
        for _ in {1..50}; do
                pages=$(awk '$1 == "nr_iommu_pages" { print $2 }' /proc/vmstat)
                ((pages > kept_iommu_pages)) || break
                sleep 0.1
        done
        ((pages <= kept_iommu_pages)) || fail "$what: nr_iommu_pages was $kept_iommu_pages, is $pages"
        ok "$what: nothing is left (ledger, v3 counters, descriptors, records, nr_iommu_pages)"
}

# vmm NAME ARGUMENT...: starts the reference VMM in the background; its process is $vmm_pid, its output $vmm_log. Returns when
# it holds, or has ended.
vmm() {
        vmm_log=/run/results/vmm-$1.log
        shift
        "$tests/reference-vmm" "$@" >"$vmm_log" 2>&1 &
        vmm_pid=$!
        for _ in {1..600}; do
                grep -qx holding "$vmm_log" && return
                kill -0 "$vmm_pid" 2>/dev/null || return 1
                sleep 0.1
        done
        return 1
}
