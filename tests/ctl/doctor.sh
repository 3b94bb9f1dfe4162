# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Part of test-ctl.sh: aviommuctl doctor against trees of files and the stand-in for the daemon.

# put PATH [CONTENTS]: a file of the host
put() {
        mkdir -p "$(dirname "$host/$1")"
        printf '%b' "${2:-}" >"$host/$1"
}

# put_program PATH CONTENTS
put_program() {
        put "$1" "#!/bin/sh\n$2\n"
        chmod 0755 "$host/$1"
}

# put_space PATH BYTE: PCI configuration space with a VSC capability at 40h; BYTE enables its BARs
put_space() {
        put "$1"
        {
                head -c 6 /dev/zero; printf '\020'; head -c 45 /dev/zero; printf '\100'; head -c 11 /dev/zero
                printf '\011'; head -c 7 /dev/zero; printf %b "$2"; head -c 7 /dev/zero; printf %b "$2"
                head -c 175 /dev/zero
        } >"$host/$1"
}

# nul N: so many NUL bytes, for put
nul() {
        printf '\\0000%.0s' $(seq "$1")
}

# ivhd SEGMENT: a block of an IVRS table, of the kind 11h
ivhd() {
        printf '%s' '\0021\0000\0030\0000\0002\0000' "$(nul 10)" "\\000$1\\0000" "$(nul 6)"
}

# A host that the stand-in could run on: a table of one IOMMU, a kernel with everything, Debian's libvirt and QEMU.
make_host() {
        host=$tmp/host
        rm -rf "$host"
        put proc/sys/kernel/osrelease '7.0-test\n'
        put proc/cmdline 'root=/dev/sda ro iommu=pt\n'
        put proc/cpuinfo 'processor\t: 0\nvendor_id\t: AuthenticAMD\n'
        put proc/interrupts ' 24: 1  IR-PCI-MSIX-0000:00:01.0 0-edge nvme0q0\n'
        put boot/config-7.0-test 'CONFIG_IOMMUFD=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_AMD_IOMMU=y
CONFIG_AMD_IOMMU_IOMMUFD=y\nCONFIG_IRQ_REMAP=y\n'
        put sys/module/iommufd/parameters/allow_unsafe_interrupts 'N\n'
        put sys/module/vfio_pci/parameters/ids '\n'
        put sys/firmware/acpi/tables/IVRS "IVRS\0140$(nul 3)\0001\0004$(nul 38)$(ivhd 0)$(ivhd 1)"
        put_space sys/bus/pci/devices/0000:00:00.2/config '\001'
        put etc/passwd "root:x:0:0::/root:/bin/sh\naviommu:x:$(id -u):998::/:/usr/sbin/nologin\n"
        put dev/iommu
        put dev/vfio/devices/vfio0
        chmod 0600 "$host/dev/iommu" "$host/dev/vfio/devices/vfio0"
        put_program usr/bin/qemu-system-x86_64 'echo "QEMU emulator version 11.1.3 (Debian 1:11.1.3-1)"'
        put_program usr/sbin/libvirtd 'echo "$0 (libvirt) 12.8.0"'
        put_program etc/libvirt/hooks/qemu.d/50-aviommu 'exit 0'
        mkdir -p "$host/proc/1/fd" "$host/proc/4711/fd" "$host/proc/4712/fd"
        ln -s /dev/iommu "$host/proc/1/fd/9"
        ln -s /dev/iommu "$host/proc/4711/fd/22"
        ln -s /dev/null "$host/proc/4712/fd/0"
        put proc/4711/comm 'qemu-system-x86\n'
        put proc/4711/cmdline "qemu-system-x86_64\0000-uuid\0000$uuid1\0000"
        if [ -n "$mock_pid" ]; then
                put "proc/$mock_pid/limits" 'Max locked memory   unlimited   unlimited   bytes\n'
                mkdir -p "$host/proc/$mock_pid/fd"
                ln -s /dev/iommu "$host/proc/$mock_pid/fd/3"
        fi
}

# doctor NAME EXIT_CODE ARGUMENT...: as expect
doctor() {
        local name=$1 code=$2
        shift 2
        run "$name" "$code" doctor --root="$host" "$@"
        sed -i 's/aviommuctl is [0-9][0-9.]*/aviommuctl is VERSION/' "$tmp/out"
        [ ! -s "$tmp/err" ] || fail "$name" "something on stderr"
        [[ $name != *.pretty.json ]] || sed -i -z 's/\[\n *\]/[]/g; s/{\n *}/{}/g' "$tmp/out"
        compare "$name" "$tmp/out"
        echo "ok $name"
}

# What the daemon itself says is read as well as what the stand-in says: with a simulated host of two processors.
test_doctor_of_daemon() {
        local sim_pid

        mkdir -m 0700 "$tmp/records"
        "$(dirname "$ctl")/aviommud-sim" --bus="$AVIOMMU_BUS_ADDRESS" --profile epyc-2p --runtime-dir="$tmp/records" \
                2>"$tmp/sim.err" &
        sim_pid=$!
        mock_pid=$sim_pid # for the host's files, and for finish()
        await "the simulated daemon" "$ctl" status
        make_host
        says "doctor of a daemon" 0 "aviommuctl host --probe" doctor --root="$host"
        grep -q '^fine .*daemon.version .*of one version' "$tmp/out" || fail "doctor of a daemon" "another version"
        grep -q '^fine .*Host IOMMUs: 8, of AMD: 8' "$tmp/out" || fail "doctor of a daemon" "other IOMMUs"
        grep -q '^fine .*EFR2 GCR3TRPMode' "$tmp/out" || fail "doctor of a daemon" "they cannot nest"
        grep -q '^fine .*Every node has contiguous memory' "$tmp/out" || fail "doctor of a daemon" "no memory"
        grep -qE '^warning .*nobody has them.*: 0000:01:00.0, .* and [0-9]+ more' "$tmp/out" ||
                fail "doctor of a daemon" "no functions wait"
        says "doctor before a probe" 1 "Not probed yet" doctor --root="$host" --tier=hardware
        run "probe" 0 host --probe
        run "doctor after a probe" 0 doctor --root="$host" --tier=hardware
        grep -q '^fine .*kernel.level *ivhd0, ivhd1, .*: accelerated' "$tmp/out" || fail "doctor after a probe" "no level"
        grep -q '^fine .*daemon.hardware' "$tmp/out" || fail "doctor after a probe" "no tier"
        put_space sys/bus/pci/devices/0000:40:00.2/config '\000'
        run "doctor of VF MMIO" 1 doctor --root="$host" --tier=hardware
        [ "$(grep -c ^fault "$tmp/out")" = 1 ] && grep -q '^fault .*firmware.vsc .* on ivhd1:' "$tmp/out" ||
                fail "doctor of VF MMIO" "something else keeps from the tier"
        echo "ok doctor of a daemon"
        mock_stop
}

test_doctor() {
        local host level

        mock_stop
        test_doctor_of_daemon

        mock_start
        make_host
        doctor doctor.txt 1
        doctor doctor.json 1 --json=short
        doctor doctor.pretty.json 1 --json=pretty
        doctor doctor-quiet.txt 1 -q
        doctor doctor-hardware.txt 1 --tier=hardware
        doctor doctor-hardware.json 1 --tier=hardware -j
        doctor doctor-emulated.txt 0 --tier emulated
        for level in fine warning fault unchecked; do
                grep -q "^$level" "$golden/doctor.txt" || fail doctor "nothing is $level"
        done
        on_tty "doctor, 40 columns" 40 200 NO_COLOR=1 "$ctl doctor --root=$host --tier=emulated"
        compare doctor.tty40 "$tmp/tty"
        [ "$(awk 'length > 40' "$tmp/tty" | wc -l)" = 0 ] || fail "doctor, 40 columns" "a line is longer"
        no_escapes "doctor, 40 columns" "$tmp/tty"
        on_tty "doctor in colour" 80 200 "$ctl doctor --root=$host --tier=emulated"
        grep -qP '\x1b\[32mfine' "$tmp/tty" || fail "doctor in colour" "no colour"
        echo "ok doctor on a terminal"

        # As many processors and interrupts as make a large file.
        yes "$(cat "$host/proc/interrupts")" | head -c 5000000 >"$host/proc/interrupts.new"
        mv "$host/proc/interrupts.new" "$host/proc/interrupts"
        says "doctor of many interrupts" 0 "Interrupts are remapped" doctor --root="$host" --tier=emulated

        # Functions that wait for nobody, an unsafe host.
        mock_start many
        make_host
        put proc/interrupts ' 24: 1 PCI-MSI 0-edge nvme0q0\n'
        put sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts 'Y\n'
        put sys/module/vfio_pci/parameters/ids '1022:14a0\n'
        doctor doctor-many.txt 1 -q

        mock_start bare
        make_host
        rm -r "${host:?}"/{usr,etc/libvirt,dev,sys/module}
        chmod -x "$host/boot/config-7.0-test"
        put proc/cpuinfo 'vendor_id\t: GenuineIntel\n'
        doctor doctor-intel.txt 1
        doctor doctor-virtio.txt 1 --tier=virtio

        mock_start denied
        make_host
        doctor doctor-denied.txt 0 -q
        mock_start types
        make_host
        doctor doctor-types.txt 1 -q
        mock_start control
        make_host
        put proc/4711/comm '\033[31mqemu\n'
        put proc/4711/cmdline ''
        run "control: doctor" 1 doctor --root="$host"
        no_escapes "control: doctor" "$tmp/out"
        run "control: doctor -j" 1 doctor --root="$host" -j
        no_escapes "control: doctor -j" "$tmp/out"
        grep -qF '\u001b[31mqemu' "$tmp/out" || fail "control: doctor -j" "the name is not there"
        echo "ok control: doctor"

        # Without the daemon, and without anything.
        mock_stop
        make_host
        doctor doctor-down.txt 1
        put boot/config-7.0-test
        truncate -s 20 "$host/sys/firmware/acpi/tables/IVRS"
        put_program usr/bin/qemu-system-x86_64 'echo hello'
        put_program usr/sbin/libvirtd 'exec /nonexistent'
        doctor doctor-damaged.txt 1 -q
        if [ "$(id -u)" = 0 ]; then
                make_host
                chmod 0755 "$tmp"
                chmod 0 "$host/proc/4711/fd" "$host/boot/config-7.0-test" "$host/sys/firmware/acpi/tables/IVRS"
                cp "$ctl" "$tmp/aviommuctl"
                setpriv --reuid=65534 --regid=65534 --clear-groups "$tmp/aviommuctl" doctor --root="$host" \
                        --address="unix:path=$tmp/none" -q >"$tmp/out" 2>"$tmp/err" </dev/null
                sed -i "s#$tmp#TMP#" "$tmp/out"
                compare doctor-nobody.txt "$tmp/out"
                chmod 0755 "$host/proc/4711/fd"
                echo "ok doctor of a user"
        fi
        host=$tmp/empty
        mkdir "$host"
        doctor doctor-empty.txt 1
        says "doctor of nothing" 3 "Cannot look below" doctor --root="$tmp/nothing"
        says "doctor of a file" 3 "Not a directory" doctor --root="$tmp/out"
        says "doctor of no tier" 2 "none of hardware, emulated, virtio" doctor --tier=quantum
        says "doctor of something" 2 'takes no arguments' doctor ivhd0
        "$ctl" doctor --root="$host" 2>"$tmp/err" | true
        [ "${PIPESTATUS[0]}" = 1 ] && [ ! -s "$tmp/err" ] || fail "doctor, closed pipe" "not quiet"
        echo "ok doctor, closed pipe"
}
