# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The machines that `boot` can start. rig_profile NAME sets:
#   rig_machine  QEMU arguments for the machine and its IOMMU
#   rig_devices  QEMU arguments for the functions under test
#   rig_append   kernel command line, besides what every profile has
#   rig_nest     not empty: boot with the ACPI table that makes the driver offer nest parents
#   rig_v3       not empty: load the stand-in for AMD's v3 interface

# One function behind each root port, for a group of its own; two behind a conventional PCI bridge, which
# share one; two root ports left empty for hot plug (device_add ...,bus=spare0).
# The three network functions hang on one cable, which leads nowhere else.
# QEMU device ids are what `rig-host device_del` takes.
rig_functions() {
        rig_devices=(
                -device pcie-root-port,id=rp0,chassis=1,slot=1,addr=02.0,multifunction=on
                -device pcie-root-port,id=rp1,chassis=1,slot=2,addr=02.1
                -device pcie-root-port,id=rp2,chassis=1,slot=3,addr=02.2
                -device pcie-root-port,id=rp3,chassis=1,slot=4,addr=02.3
                -device pcie-root-port,id=rp4,chassis=1,slot=5,addr=02.4
                -device pcie-root-port,id=rp5,chassis=1,slot=6,addr=02.5
                -device pcie-root-port,id=spare0,chassis=1,slot=7,addr=02.6
                -device pcie-root-port,id=spare1,chassis=1,slot=8,addr=02.7
                -drive "file=$1/nvme.img,format=raw,if=none,id=nvme0-disk,snapshot=on"
                -device nvme,id=nvme0,drive=nvme0-disk,serial=aviommu0,bus=rp0
                # For one more: --device nvme,id=nvme1,drive=nvme1-disk,serial=aviommu1,bus=spare0
                -drive "file=$1/nvme.img,format=raw,if=none,id=nvme1-disk,snapshot=on"
                -netdev hubport,id=link0,hubid=0 -device e1000e,id=nic0,netdev=link0,romfile=,bus=rp1
                -netdev hubport,id=link1,hubid=0 -device e1000e,id=nic1,netdev=link1,romfile=,bus=rp2
                -netdev hubport,id=link2,hubid=0 -device igb,id=sriov0,netdev=link2,romfile=,bus=rp3
                -device edu,id=edu0,bus=rp4
                -device pcie-pci-bridge,id=bridge0,bus=rp5
                -device edu,id=edu1,bus=bridge0,addr=1
                -device pci-testdev,id=testdev0,bus=bridge0,addr=2
        )
}

rig_profile() {
        rig_machine=(-machine q35)
        rig_append=''
        rig_nest=''
        rig_v3=''
        rig_functions "$2"
        case $1 in
        amd | amd-stock | amd-nonest)
                # dma-remap: without it the functions' DMA goes past the tables.
                rig_machine+=(-device 'amd-iommu,intremap=on,xtsup=on,dma-remap=on')
                # The kernel stumbles over this emulation's interrupt remapping; without it, VFIO must be
                # told that unprotected interrupts will do.
                rig_append='intremap=off iommufd.allow_unsafe_interrupts=1 vfio_iommu_type1.allow_unsafe_interrupts=1'
                [[ $1 == amd-nonest ]] || rig_nest=1
                [[ $1 != amd ]] || rig_v3=1
                ;;
        intel)
                rig_machine+=(-device 'intel-iommu,intremap=off,caching-mode=on')
                rig_append='intel_iommu=on iommufd.allow_unsafe_interrupts=1 vfio_iommu_type1.allow_unsafe_interrupts=1'
                ;;
        no-iommu) ;;
        *) rig_die "no profile '$1': amd, amd-stock, amd-nonest, intel, no-iommu" ;;
        esac
}
