# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the cases with guests of libvirt share: domains of each tier, and what their guests say (tests/vm/tools/nested-init.c).

nested=/usr/lib/aviommu-rig/nested
consoles=/run/results # which come back

# What cksum(1) says of an NVMe disk of the rig, as a guest says it.
disk_cksum() {
        seq -f 'aviommu %07.0f' 0 262143 | cksum
}

# domain_xml NAME UUID TIER FUNCTION [KERNEL-ARGUMENT...]: a q35 guest that asks for that tier, with the function, on an iommufd of
# aviommud's.
# Its kernel is the host's, for which the emulated interrupt remapping is too much (intremap=off).
domain_xml() {
        local name=$1 uuid=$2 tier=$3 function=$4 iommu='' arguments=''
        shift 4
        case $tier in
        emulated)
                iommu="<iommu model='amd'><driver intremap='on'/></iommu>"
                arguments="<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='amd-iommu.dma-remap=on'/></qemu:commandline>"
                ;;
        virtio) iommu="<iommu model='virtio'/>" ;;
        esac
        cat <<END
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>$name</name>
  <uuid>$uuid</uuid>
  <metadata><aviommu:viommu xmlns:aviommu='https://aviommu.org/xmlns/domain/1' tier='$tier'/></metadata>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <iommufd enabled='yes' fdgroup='aviommu'/>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$nested/bzImage</kernel>
    <initrd>$nested/initrd</initrd>
    <cmdline>console=ttyS0 ${nested_arguments:-quiet} tsc=reliable intremap=off $*</cmdline>
  </os>
  <features><acpi/><apic/><ioapic driver='qemu'/></features>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='$consoles/$name.console'/></serial>
    $iommu
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0x${function%%:*}' bus='0x${function:5:2}' slot='0x${function:8:2}' function='0x${function:11}'/></source>
    </hostdev>
  </devices>
  $arguments
</domain>
END
}

# define NAME ..., as domain_xml; the domain is not running.
define() {
        domain_xml "$@" >"/run/results/$1.xml"
        rm -f "$consoles/$1.console"
        check "virsh define $1" virsh define "/run/results/$1.xml"
}

is_shut_off() {
        [[ $(virsh domstate "$1") == 'shut off'* ]]
}

qemu_pid() {
        cat "/run/libvirt/qemu/$1.pid"
}

# guest_said NAME WORD: prints what the guest said under that word, and fails as long as it said nothing.
guest_said() {
        local said
        said=$(tr -d '\r' <"$consoles/$1.console" | sed -n "s/^nested: $2 //p") && [[ $said ]] && printf '%s\n' "$said"
}

# wait_for_guest SECONDS NAME: until it has read its disk. Looks seldom: the guest needs the processor more.
wait_for_guest() {
        local seconds=$1 name=$2 begin=$SECONDS
        until guest_said "$name" '\(cksum\|failed\)' >/dev/null; do
                ((SECONDS - begin <= seconds)) || fail "$name has read its disk: not within $seconds s: $(tail -n 3 "$consoles/$name.console")"
                sleep 2
        done
        ok "$name has read its disk"
}

# Prints "FD FD FILE" for each file that is open in both processes: the same one, not one of that name (kcmp(2)).
same_files() {
        perl -e '
                my ($a, $b) = map { $_ + 0 } @ARGV;
                my %fds = map { my $pid = $_; ($pid => [map { m|/(\d+)$| ? $1 + 0 : () } glob "/proc/$pid/fd/*"]) } ($a, $b);
                for my $x (@{$fds{$a}}) {
                        for my $y (@{$fds{$b}}) {
                                print "$x $y ", readlink("/proc/$a/fd/$x"), "\n" if syscall(312, $a, $b, 0, $x, $y) == 0;
                        }
                }' "$1" "$2"
}

# agent_says REGEX: in its status.
agent_says() {
        [[ $(systemctl show -P StatusText aviommu-libvirt-agent) =~ $1 ]]
}

# used KIND: how much of it all VMs together are charged for.
used() {
        property Resources | grep -oP "\"$1\" \"[^\"]*\" \d+ \K\d+"
}

# Pages that somebody has pinned and not let go of yet, on the whole host.
pinned_pages() {
        awk '$1 == "nr_foll_pin_acquired" { n += $2 } $1 == "nr_foll_pin_released" { n -= $2 } END { printf "%d\n", n }' /proc/vmstat
}

# When a case fails: what libvirt, hook and agent had to say.
libvirt_end() {
        local code=$?
        if [[ $code != 0 ]]; then
                echo '--- journal of libvirt, hook and agent'
                journalctl --no-pager --output=short-monotonic -u libvirtd -u aviommu-libvirt-agent | tail -n 60
                tail -n 4 /var/log/libvirt/qemu/*.log
                systemctl show -P StatusText aviommu-libvirt-agent
        fi
        (exit "$code")
        case_end
}
trap libvirt_end EXIT
