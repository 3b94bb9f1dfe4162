#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# orchestrate.sh TIER FUNCTION: the life of one VM by busctl(1). aviommu-orchestration(7) goes through it. Bash has no pidfds, so
# aviommuctl(1) sets the leash, and what a VMM gets is what "aviommuctl exec" gives it.
set -e -u -o pipefail
tier=$1
function=$2
uuid=7d3f0a52-6c1e-4b7a-9a55-2f0c1d9be003
name=org.aviommu1
manager=(busctl --system call "$name" /org/aviommu1 "$name.Manager")

# The same dictionary for Plan, Reserve and CreateVm: number of keys, then key, type and value of each.
request=(tier s "$tier"  functions "a(sa{sv})" 1 "$function" 0)

# Would it be admitted?
"${manager[@]}" Plan "sa{sv}" "$uuid" 2 "${request[@]}"

# Place: for ten minutes nobody else gets what it needs.
token=$("${manager[@]}" Reserve "a{sv}t" 2 "${request[@]}" 600000000 | cut -d'"' -f2)

# Start: what was reserved is its own now.
vm=$("${manager[@]}" CreateVm "sa{sv}" "$uuid" 4 "${request[@]}" \
        name s example-sh  reservation s "$token" | cut -d'"' -f2)

# From here on the VM lives as long as this process does, the VMM.
sleep infinity &
trap 'kill $!' EXIT
aviommuctl leash "$uuid" $! --quiet
busctl --system get-property "$name" "$vm" "$name.Vm" State
busctl --system get-property "$name" "$vm" "$name.Vm" Charges

# Pages of at most 1000: the second result is where the next begins, empty at the end.
"${manager[@]}" ListVms su "" 1000

# The end. Before the VMM has got anything, the daemon takes a VM back from under it.
busctl --system call "$name" "$vm" "$name.Vm" Destroy "a{sv}" 0
