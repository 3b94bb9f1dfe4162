/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the doctor makes of a host that has everything, and of each thing that it can lack. */

#include "unit.h"

#include "doctor-host.h"

static void unset(Blob *b, int error) {
        *b = (Blob){ .error = error };
}

static void say(Blob *b, const char *text) {
        *b = blob((char *)text, strlen(text));
}

/* ---- what each can lack ---- */

#define CASE(name, ...)                                                                            \
        static void name(Host *h) {                                                                \
                Facts *f _unused_ = &h->facts;                                                     \
                __VA_ARGS__;                                                                       \
        }

CASE(down, f->bus = (BusFacts){
                   .failure = { .exit_code = CLIENT_EXIT_UNREACHABLE, .text = "Nobody there" } })
CASE(silent,
     f->bus = (BusFacts){ .failure = { .exit_code = CLIENT_EXIT_TIMED_OUT, .text = "No answer" } })
CASE(denied, f->bus = (BusFacts){ .failure = { .exit_code = CLIENT_EXIT_DENIED, .text = "No" } })
CASE(older, f->bus.version = "0.9")
CASE(simulated, f->bus.kernel = "simulated")
CASE(problems, h->problems[0] = "This."; h->problems[1] = "That.";
     f->bus.problems = (StringList){ h->problems, 2 })
CASE(no_hardware, h->tiers[0] = (BusTier){ "hardware", "Because.", false })
CASE(no_emulated, h->tiers[1] = (BusTier){ "emulated", "Because.", false })
CASE(no_virtio, h->tiers[2] = (BusTier){ "virtio", "Because.", false })

CASE(intel, say(&f->firmware.processors, "vendor_id : GenuineIntel\n"))
CASE(no_vendor, say(&f->firmware.processors, "flags : sse\n"))
CASE(no_cpuinfo, unset(&f->firmware.processors, -EACCES))
CASE(no_ivrs, unset(&f->firmware.ivrs, -ENOENT))
CASE(no_ivrs_nor_iommu, unset(&f->firmware.ivrs, -ENOENT); f->bus.n_hosts = 0)
CASE(hidden_ivrs, unset(&f->firmware.ivrs, -EACCES))
CASE(damaged_ivrs, f->firmware.ivrs.size--)
CASE(two_iommus, h->hosts[1] = h->hosts[0]; h->hosts[1].name = "ivhd1"; f->bus.n_hosts = 2)
CASE(no_iommus, f->bus.n_hosts = 0)
CASE(no_iommus_amd_off, f->bus.n_hosts = 0; say(&f->kernel.command_line, "amd_iommu=off"))
CASE(no_iommus_intel_off, intel(h); f->bus.n_hosts = 0;
     say(&f->kernel.command_line, "intel_iommu=off"))
CASE(no_iommus_intel, intel(h); f->bus.n_hosts = 0)
CASE(no_iommus_intel_on, no_iommus_intel(h); say(&f->kernel.command_line, "intel_iommu=on,sm_on"))
CASE(no_iommus_intel_default, no_iommus_intel(h);
     say(&f->kernel.config, "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"))
CASE(no_iommus_intel_debian, no_iommus_intel(h);
     say(&f->kernel.config, "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n"))
CASE(no_answer_hosts, f->bus.n_hosts = 0;
     f->bus.hosts_failure = (Failure){ .exit_code = CLIENT_EXIT_FAILED, .text = "Oh" })
CASE(no_efr, h->hosts[0].efr = 0)
CASE(no_gcr3trp, h->hosts[0].features.n = 3)
CASE(no_viommu, h->hosts[0].features.n = 2)
CASE(no_space, unset(&h->spaces[0].config, -ENOENT))
CASE(short_space, h->spaces[0].config.size = 64)
CASE(no_vsc, space[0x40] = 0x0f)
CASE(vsc_disabled, space[0x48] = 0)

CASE(no_config, unset(&f->kernel.config, -ENOENT))
CASE(hidden_config, unset(&f->kernel.config, -EACCES))
CASE(another_config, say(&f->kernel.config, "nothing\n"))
CASE(no_symbols, say(&f->kernel.config, "CONFIG_X=y\n"))
CASE(not_loaded, f->kernel.is_loaded[MODULE_IOMMUFD] = false)
CASE(not_loaded_vfio, f->kernel.is_loaded[MODULE_VFIO_PCI] = false)
CASE(no_command_line, unset(&f->kernel.command_line, -EACCES))
CASE(iommu_off, say(&f->kernel.command_line, "a amd_iommu=fullflush,off\n"))
CASE(acs_override, say(&f->kernel.command_line, "pcie_acs_override=downstream"))
CASE(no_intremap, say(&f->kernel.command_line, "nointremap"))
CASE(intel_off, intel(h); say(&f->kernel.command_line, "intel_iommu=sm_on,off"))
CASE(intel_off_of_amd, say(&f->kernel.command_line, "intel_iommu=off"))
CASE(amd_off_of_intel, intel(h); say(&f->kernel.command_line, "amd_iommu=off"))
CASE(unsafe, strcpy(f->kernel.parameters[0].value, "Y"))
CASE(nesting, h->hosts[0].kernel_level = "nesting")
CASE(plumbing, h->hosts[0].kernel_level = "plumbing"; h->tiers[0].is_available = false)
CASE(plumbing_allowed, h->hosts[0].kernel_level = "plumbing")
CASE(unknown_level, h->hosts[0].kernel_level = "unknown")
CASE(unknown_levels, two_iommus(h); h->hosts[0].kernel_level = "unknown";
     h->hosts[1].kernel_level = "unknown")

CASE(no_user, f->nodes.user = -1)
CASE(last_system_user, f->nodes.user = f->nodes.iommu.uid = h->vfio[0].uid = h->vfio[1].uid = 999)
CASE(ordinary_user, f->nodes.user = 1000)
CASE(no_users, unset(&f->vfio_ids, 0); f->nodes.user = -1; f->nodes.users_error = -EACCES)
CASE(no_node, f->nodes.iommu.error = -ENOENT)
CASE(no_node_nor_config, f->nodes.iommu.error = -ENOENT; say(&f->kernel.config, "CONFIG_X=y\n"))
CASE(hidden_node, f->nodes.iommu.error = -EACCES)
CASE(roots_node, f->nodes.iommu.uid = 0)
CASE(open_node, f->nodes.iommu.mode = 0666)
CASE(open_vfio, h->vfio[1].mode = 0660)
CASE(no_cdevs, h->functions[0].cdev = ""; h->functions[1].cdev = ""; f->nodes.n_vfio = 0)
CASE(one_cdev, h->functions[1].cdev = "")
CASE(hidden_vfio, f->nodes.vfio_error = -EACCES)
CASE(no_vfio, f->nodes.vfio_error = -ENOENT; f->nodes.n_vfio = 0; f->bus.n_functions = 0)

CASE(no_vfio_nor_daemon, no_vfio(h);
     f->bus = (BusFacts){ .failure = { .exit_code = CLIENT_EXIT_UNREACHABLE, .text = "No" } })
CASE(no_vfio_nor_functions, no_vfio(h);
     f->bus.functions_failure = (Failure){ .exit_code = CLIENT_EXIT_DENIED, .text = "No" })

CASE(none_bound, h->functions[0].driver = "nvme"; h->functions[1].driver = "")
CASE(no_answer_functions, f->bus.n_functions = 0;
     f->bus.functions_failure = (Failure){ .exit_code = CLIENT_EXIT_DENIED, .text = "No" })
CASE(mixed_group, h->functions[2].group = 1)
CASE(shared_group, h->functions[1].group = 1)
CASE(host_group, h->functions[3] = (BusFunction){ "0000:43:00.0", "", "", "unbound", "", "", 3 })
CASE(no_remapping, say(&f->interrupts, " 24: 1 PCI-MSI 0-edge\n"))
CASE(no_remapping_allowed, say(&f->interrupts, "\n"); strcpy(f->kernel.parameters[0].value, "Y"))
CASE(no_interrupts, unset(&f->interrupts, -EACCES))

CASE(limited, say(&f->daemon_limits, "Max locked memory  65536  65536  bytes\n"))
CASE(no_pid, unset(&f->daemon_limits, -ENODATA))
CASE(no_limits, unset(&f->daemon_limits, -ENOENT))
CASE(other_limits, say(&f->daemon_limits, "\n"))
CASE(no_contiguous, h->resources[1].used = h->resources[1].capacity)
CASE(little_contiguous, h->resources[1].capacity = 3 << 20)
CASE(one_node_short, h->resources[2] = (Resource){ "contiguous-memory", "node1", 0, 0 })
CASE(no_domains, h->resources[2].used = 101)
CASE(no_instances, h->resources[0].used = 10)

CASE(no_qemu, f->libvirt.qemu = (Program){})
CASE(qemu_hangs, f->libvirt.qemu.error = -ETIMEDOUT)
CASE(qemu_mumbles, f->libvirt.qemu.output = (char *)"hello\n")
CASE(qemu_10_1, f->libvirt.qemu.output = (char *)"version 10.1.9\n")
CASE(qemu_10_2, f->libvirt.qemu.output = (char *)"version 10.2.0\n")
CASE(libvirt_12_2, f->libvirt.libvirt.output = (char *)"libvirtd (libvirt) 12.2.0\n")
CASE(libvirt_12_1, f->libvirt.libvirt.output = (char *)"libvirtd (libvirt) 12.1.9\n")
CASE(qemu_6, f->libvirt.qemu.output = (char *)"version 6.2\n")
CASE(no_libvirt, f->libvirt.libvirt = (Program){}; f->libvirt.hook_error = -ENOENT;
     strcpy(f->bus.agent, "not-found"))
CASE(no_libvirt_nor_systemd, no_libvirt(h); strcpy(f->bus.agent, ""))
CASE(no_libvirt_but_hook, no_libvirt(h); f->libvirt.hook_error = 0)
CASE(no_libvirt_but_agent, no_libvirt(h); strcpy(f->bus.agent, "inactive"))
CASE(no_libvirt_but_masked, no_libvirt(h); strcpy(f->bus.agent, "masked"))
CASE(libvirt_11_3, f->libvirt.libvirt.output = (char *)"libvirtd (libvirt) 11.3.0\n")
CASE(libvirt_8_2, f->libvirt.libvirt.output = (char *)"libvirtd (libvirt) 8.2.0\n")
CASE(no_hook, f->libvirt.hook_error = -ENOENT)
CASE(hidden_hook, f->libvirt.hook_error = -EACCES; f->libvirt.is_hook_hidden = true)
CASE(hook_not_to_run, f->libvirt.hook_error = -EACCES)
CASE(no_hook_virtqemud, f->libvirt.hook_error = -ENOENT;
     strcpy(f->libvirt.libvirt.path, "/usr/sbin/virtqemud"))
CASE(agent_dead, strcpy(f->bus.agent, "inactive"))
CASE(agent_unknown, strcpy(f->bus.agent, ""))

CASE(quarantined, f->bus.n_quarantined = 1)
CASE(newer_record, f->bus.n_quarantined = 1; h->quarantined[0].kind = "newer-record")
CASE(damaged_record, f->bus.n_quarantined = 1; h->quarantined[0].kind = "damaged-record")
CASE(no_answer_quarantined,
     f->bus.quarantined_failure = (Failure){ .exit_code = CLIENT_EXIT_DENIED, .text = "No" })
CASE(idle, f->overrides.n = 0)
CASE(idle_without_libvirt, f->overrides.n = 0; f->libvirt.libvirt = (Program){})
CASE(idle_by_ids, f->overrides.n = 0; say(&f->vfio_ids, "10de:1,8086:1521\n");
     h->functions[1].vendor_id = 0x8086; h->functions[1].device_id = 0x1521)
CASE(idle_by_other_ids, f->overrides.n = 0; say(&f->vfio_ids, "8086:1520\n");
     h->functions[1].vendor_id = 0x8086; h->functions[1].device_id = 0x1521)
CASE(no_functions, f->bus.n_functions = 0)
CASE(lost, h->functions[0].state = "lost")
CASE(stranger, strcpy(h->holders[2].uuid, ""))
CASE(unclear, strcpy(h->holders[2].uuid, ""); h->holders[2].holder.kind = HOLDER_UNKNOWN)
CASE(granted, strcpy(h->holders[2].uuid, ""); h->holders[2].holder.kind = HOLDER_GRANTED)
CASE(unknown_vm, f->bus.n_vms = 0)
CASE(unknown_vms, f->bus.vms_failure = (Failure){ .exit_code = CLIENT_EXIT_DENIED };
     f->bus.n_vms = 0)
CASE(hidden, f->holders.n_hidden = 5)
CASE(no_proc, f->holders = (HolderFacts){ .error = -EACCES })

#define H TIER_HARDWARE
#define E TIER_EMULATED
#define V TIER_VIRTIO

static const struct {
        const char *name;
        void (*change)(Host *h);
        FindingId id;
        FindingLevel level;
        unsigned keeps_from;
        const char *text, *command; /* parts of them; command NULL: there is none */
} cases[] = {
#define X(change) #change, change
        { X(down), FINDING_DAEMON_REACHABLE, LEVEL_FAULT, H | E | V, "Nobody there. What it alone",
          "systemctl start aviommud" },
        { X(silent), FINDING_DAEMON_REACHABLE, LEVEL_FAULT, H | E | V, "No answer",
          "systemctl status" },
        { X(denied), FINDING_DAEMON_REACHABLE, LEVEL_UNCHECKED, 0, "You may not ask", "sudo" },
        { X(older), FINDING_DAEMON_VERSION, LEVEL_WARNING, 0, "is 1.0 and the daemon that runs 0.9",
          "restart" },
        { X(simulated), FINDING_DAEMON_SIMULATED, LEVEL_WARNING, 0, "simulated", NULL },
        { X(problems), FINDING_DAEMON_PROBLEMS, LEVEL_WARNING, 0, "This. That.", NULL },
        { X(no_hardware), FINDING_DAEMON_HARDWARE, LEVEL_WARNING, H, "hardware: Because.", NULL },
        { X(no_emulated), FINDING_DAEMON_EMULATED, LEVEL_WARNING, E, "emulated: Because.", NULL },
        { X(no_virtio), FINDING_DAEMON_VIRTIO, LEVEL_WARNING, V, "virtio: Because.", NULL },

        { X(intel), FINDING_FIRMWARE_PROCESSOR, LEVEL_WARNING, H, "GenuineIntel", NULL },
        { X(no_vendor), FINDING_FIRMWARE_PROCESSOR, LEVEL_UNCHECKED, 0, "vendor", NULL },
        { X(no_cpuinfo), FINDING_FIRMWARE_PROCESSOR, LEVEL_UNCHECKED, 0, "/proc/cpuinfo", "sudo" },
        { X(no_ivrs), FINDING_FIRMWARE_IVRS, LEVEL_WARNING, H, "no IVRS", "firmware-setup" },
        { X(no_ivrs_nor_iommu), FINDING_FIRMWARE_IVRS, LEVEL_FAULT, H | E | V, "no IVRS",
          "firmware-setup" },
        { X(hidden_ivrs), FINDING_FIRMWARE_IVRS, LEVEL_UNCHECKED, 0, "IVRS cannot be read",
          "sudo" },
        { X(damaged_ivrs), FINDING_FIRMWARE_IVRS, LEVEL_WARNING, 0, "damaged", NULL },
        { X(two_iommus), FINDING_FIRMWARE_IVRS, LEVEL_WARNING, 0, "(1) than the kernel has (2)",
          "journalctl" },
        { X(no_iommus), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "no IOMMU", "firmware" },
        { X(no_iommus_amd_off), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "told not to",
          "grub" },
        { X(no_iommus_intel_off), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "told not to",
          "grub" },
        { X(no_iommus_intel), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "intel_iommu=on",
          "grub" },
        { X(no_iommus_intel_on), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "VT-d",
          "firmware" },
        { X(no_iommus_intel_default), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "VT-d",
          "firmware" },
        { X(no_iommus_intel_debian), FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT, H | E | V, "VT-d",
          "firmware" },
        { X(no_answer_hosts), FINDING_FIRMWARE_IOMMUS, LEVEL_UNCHECKED, 0, "Oh", NULL },
        { X(no_efr), FINDING_FIRMWARE_NESTING, LEVEL_UNCHECKED, 0, "EFR", NULL },
        { X(no_gcr3trp), FINDING_FIRMWARE_NESTING, LEVEL_WARNING, H, "lack GCR3TRPMode", NULL },
        { X(no_viommu), FINDING_FIRMWARE_VIOMMU, LEVEL_WARNING, H, "bit 55", "firmware" },
        { X(no_space), FINDING_FIRMWARE_VSC, LEVEL_UNCHECKED, 0, "ivhd0", NULL },
        { X(short_space), FINDING_FIRMWARE_VSC, LEVEL_UNCHECKED, 0, "Only root", "sudo" },
        { X(no_vsc), FINDING_FIRMWARE_VSC, LEVEL_WARNING, H, "no VSC capability", "firmware" },
        { X(vsc_disabled), FINDING_FIRMWARE_VSC, LEVEL_WARNING, H, "switched off", "firmware" },

        { X(no_config), FINDING_KERNEL_CONFIG, LEVEL_UNCHECKED, 0, "/boot/config-7.0",
          "modprobe configs" },
        { X(hidden_config), FINDING_KERNEL_CONFIG, LEVEL_UNCHECKED, 0, "denied", "sudo" },
        { X(another_config), FINDING_KERNEL_CONFIG, LEVEL_UNCHECKED, 0, "is not the conf", NULL },
        { X(no_symbols), FINDING_KERNEL_IOMMUFD, LEVEL_WARNING, H, "7.0 is without CONFIG_IOMMUFD",
          "scripts/config --enable IOMMUFD" },
        { X(no_symbols), FINDING_KERNEL_VFIO_PCI, LEVEL_FAULT, H | E | V, "VFIO_PCI", "VFIO_PCI" },
        { X(no_symbols), FINDING_KERNEL_VFIO_CDEV, LEVEL_WARNING, H, "CDEV", "CDEV" },
        { X(no_symbols), FINDING_KERNEL_AMD_IOMMU, LEVEL_FAULT, H | E | V, "AMD", "AMD_IOMMU" },
        { X(no_symbols), FINDING_KERNEL_AMD_IOMMUFD, LEVEL_WARNING, H, "nest",
          "AMD_IOMMU_IOMMUFD" },
        { X(no_symbols), FINDING_KERNEL_IRQ_REMAP, LEVEL_FAULT, H | E | V, "IRQ", "IRQ_REMAP" },
        { X(not_loaded), FINDING_KERNEL_MODULES, LEVEL_WARNING, H, "iommufd",
          "modprobe iommufd && systemctl restart aviommud" },
        { X(not_loaded_vfio), FINDING_KERNEL_MODULES, LEVEL_WARNING, 0, "vfio",
          "modprobe vfio_pci && systemctl restart aviommud" },
        { X(no_command_line), FINDING_KERNEL_COMMAND_LINE, LEVEL_UNCHECKED, 0, "cmdline", "sudo" },
        { X(iommu_off), FINDING_KERNEL_COMMAND_LINE, LEVEL_FAULT, H | E | V, "fullflush,off",
          "update-grub" },
        { X(acs_override), FINDING_KERNEL_COMMAND_LINE, LEVEL_WARNING, 0, "isolated", "grub" },
        { X(no_intremap), FINDING_KERNEL_COMMAND_LINE, LEVEL_FAULT, H | E | V, "remapped", "grub" },
        { X(intel_off), FINDING_KERNEL_COMMAND_LINE, LEVEL_FAULT, H | E | V, "Intel's IOMMUs",
          "grub" },
        { X(intel_off_of_amd), FINDING_KERNEL_COMMAND_LINE, LEVEL_FINE, 0, "nothing", NULL },
        { X(amd_off_of_intel), FINDING_KERNEL_COMMAND_LINE, LEVEL_FINE, 0, "nothing", NULL },
        { X(unsafe), FINDING_KERNEL_PARAMETERS, LEVEL_WARNING, 0, "raise any interrupt",
          "echo N > /sys/module/iommufd/parameters/allow_unsafe_interrupts" },
        { X(nesting), FINDING_KERNEL_LEVEL, LEVEL_WARNING, H, "ivhd0: nesting. Probed.", NULL },
        { X(plumbing), FINDING_KERNEL_LEVEL, LEVEL_WARNING, H, "AllowPlumbing=yes", "reload" },
        { X(plumbing_allowed), FINDING_KERNEL_LEVEL, LEVEL_FINE, 0, "plumbing", NULL },
        { X(unknown_level), FINDING_KERNEL_LEVEL, LEVEL_UNCHECKED, 0, "Probed.",
          "aviommuctl host ivhd0 --probe" },

        { X(unknown_levels), FINDING_KERNEL_LEVEL, LEVEL_UNCHECKED, 0, "ivhd0, ivhd1",
          "aviommuctl host --probe" },

        { X(no_user), FINDING_NODES_USER, LEVEL_FAULT, 0, "no user", "systemd-sysusers" },
        { X(last_system_user), FINDING_NODES_USER, LEVEL_FINE, 0, "is there", NULL },
        { X(ordinary_user), FINDING_NODES_USER, LEVEL_FAULT, 0, "uid 1000", NULL },
        { X(no_users), FINDING_NODES_USER, LEVEL_UNCHECKED, 0, "/etc/passwd", "sudo" },
        { X(no_node), FINDING_NODES_IOMMU, LEVEL_WARNING, H, "no /dev/iommu",
          "modprobe iommufd && systemctl restart aviommud" },
        { X(no_node_nor_config), FINDING_NODES_IOMMU, LEVEL_WARNING, H, "no /dev/iommu", NULL },
        { X(hidden_node), FINDING_NODES_IOMMU, LEVEL_UNCHECKED, 0, "/dev/iommu", "sudo" },
        { X(roots_node), FINDING_NODES_IOMMU, LEVEL_FAULT, H, "user 0", "udevadm" },
        { X(open_node), FINDING_NODES_IOMMU, LEVEL_WARNING, 0, "mode 0666", "chmod 0600" },
        { X(open_vfio), FINDING_NODES_VFIO, LEVEL_WARNING, 0, "1 of 2 nodes", "udevadm" },
        { X(no_cdevs), FINDING_NODES_VFIO, LEVEL_WARNING, H, "2 of 2", NULL },
        { X(one_cdev), FINDING_NODES_VFIO, LEVEL_WARNING, 0, "1 of 2", NULL },
        { X(hidden_vfio), FINDING_NODES_VFIO, LEVEL_UNCHECKED, 0, "/dev/vfio/devices", "sudo" },
        { X(no_vfio), FINDING_NODES_VFIO, LEVEL_FINE, 0, "nothing", NULL },
        { X(no_vfio_nor_daemon), FINDING_NODES_VFIO, LEVEL_UNCHECKED, 0, "not tell", NULL },
        { X(no_vfio_nor_functions), FINDING_NODES_VFIO, LEVEL_UNCHECKED, 0, "not tell", "sudo" },

        { X(none_bound), FINDING_FUNCTIONS_BOUND, LEVEL_WARNING, 0, "None of 4", "driverctl" },
        { X(no_answer_functions), FINDING_FUNCTIONS_BOUND, LEVEL_UNCHECKED, 0, "No", "sudo" },
        { X(mixed_group), FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING, 0,
          "group 1 (0000:41:00.0, 0000:42:00.0).", "functions" },
        { X(shared_group), FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING, 0, "0000:41:00.0, 0000:41:00.1",
          NULL },
        { X(host_group), FINDING_FUNCTIONS_GROUPS, LEVEL_FINE, 0, "within: 1", NULL },
        { X(no_remapping), FINDING_INTERRUPTS_REMAPPING, LEVEL_FAULT, H | E | V, "EPERM",
          "firmware" },
        { X(no_remapping_allowed), FINDING_INTERRUPTS_REMAPPING, LEVEL_WARNING, 0, "all the same",
          "firmware" },
        { X(no_interrupts), FINDING_INTERRUPTS_REMAPPING, LEVEL_UNCHECKED, 0, "/proc", "sudo" },

        { X(limited), FINDING_MEMORY_LOCK, LEVEL_WARNING, 0, "64K", "systemctl edit" },
        { X(no_pid), FINDING_MEMORY_LOCK, LEVEL_UNCHECKED, 0, "Which process", NULL },
        { X(no_limits), FINDING_MEMORY_LOCK, LEVEL_UNCHECKED, 0, "limits", NULL },
        { X(other_limits), FINDING_MEMORY_LOCK, LEVEL_UNCHECKED, 0, "does not tell", NULL },
        { X(no_contiguous), FINDING_MEMORY_CONTIGUOUS, LEVEL_WARNING, H, "for 0 more", "compact" },
        { X(little_contiguous), FINDING_MEMORY_CONTIGUOUS, LEVEL_WARNING, 0, "for 2 more",
          "compact_memory" },
        { X(one_node_short), FINDING_MEMORY_CONTIGUOUS, LEVEL_WARNING, 0, "node1", "compact" },
        { X(no_domains), FINDING_RESOURCES_LEFT, LEVEL_WARNING, H, "101 of 100", "list" },
        { X(no_instances), FINDING_RESOURCES_LEFT, LEVEL_WARNING, 0, "of ivhd0", "list" },

        { X(no_qemu), FINDING_QEMU_VERSION, LEVEL_WARNING, E | V, "no QEMU", "apt install" },
        { X(qemu_hangs), FINDING_QEMU_VERSION, LEVEL_UNCHECKED, 0, "no answer", NULL },
        { X(qemu_mumbles), FINDING_QEMU_VERSION, LEVEL_UNCHECKED, 0, "does not name", NULL },
        { X(qemu_10_1), FINDING_QEMU_VERSION, LEVEL_WARNING, E, "10.2.0 and later", "apt" },
        { X(qemu_10_2), FINDING_QEMU_VERSION, LEVEL_FINE, 0, "is 10.2.0", NULL },
        { X(libvirt_12_2), FINDING_LIBVIRT_VERSION, LEVEL_FINE, 0, "is 12.2.0", NULL },
        { X(libvirt_12_1), FINDING_LIBVIRT_VERSION, LEVEL_WARNING, 0, "none alone works.", NULL },
        { X(qemu_6), FINDING_QEMU_VERSION, LEVEL_WARNING, E | V, "no virtio-iommu", "apt" },
        { X(no_libvirt), FINDING_LIBVIRT_VERSION, LEVEL_FINE, 0, "not here", NULL },
        { X(no_libvirt_nor_systemd), FINDING_LIBVIRT_VERSION, LEVEL_FINE, 0, "not here", NULL },
        { X(no_libvirt_but_hook), FINDING_LIBVIRT_VERSION, LEVEL_UNCHECKED, 0, "not where", NULL },
        { X(no_libvirt_but_agent), FINDING_LIBVIRT_VERSION, LEVEL_UNCHECKED, 0, "not where", NULL },
        { X(no_libvirt_but_masked), FINDING_LIBVIRT_VERSION, LEVEL_FINE, 0, "not here", NULL },
        { X(libvirt_11_3), FINDING_LIBVIRT_VERSION, LEVEL_WARNING, 0, "cannot describe", NULL },
        { X(libvirt_8_2), FINDING_LIBVIRT_VERSION, LEVEL_WARNING, 0, "nor a virtio", NULL },
        { X(no_hook), FINDING_LIBVIRT_HOOK, LEVEL_WARNING, 0, "50-aviommu is not there",
          "mkdir -p /etc/libvirt/hooks/qemu.d && ln -sfn " },
        { X(no_hook), FINDING_LIBVIRT_HOOK, LEVEL_WARNING, 0, "", " && systemctl reload libvirtd" },
        { X(hidden_hook), FINDING_LIBVIRT_HOOK, LEVEL_UNCHECKED, 0, "50-aviommu cannot be read",
          "sudo" },
        { X(hook_not_to_run), FINDING_LIBVIRT_HOOK, LEVEL_WARNING, 0, "cannot be run", "ln" },
        { X(no_hook_virtqemud), FINDING_LIBVIRT_HOOK, LEVEL_WARNING, 0, "",
          " && systemctl reload virtqemud" },
        { X(agent_dead), FINDING_LIBVIRT_AGENT, LEVEL_WARNING, 0, "is inactive", "enable --now" },
        { X(agent_unknown), FINDING_LIBVIRT_AGENT, LEVEL_UNCHECKED, 0, "does not tell", NULL },

        { X(quarantined), FINDING_LEFTOVERS_VMS, LEVEL_WARNING, 0, "It is alive.",
          "reclaim " UUID },
        { X(newer_record), FINDING_LEFTOVERS_RECORDS, LEVEL_FAULT, 0, "nothing is granted",
          "reclaim " UUID },
        { X(damaged_record), FINDING_LEFTOVERS_RECORDS, LEVEL_WARNING, 0, "set aside", "reclaim" },
        { X(no_answer_quarantined), FINDING_LEFTOVERS_VMS, LEVEL_UNCHECKED, 0, "No", "sudo" },
        { X(idle), FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING, 0, "0000:41:00.1",
          "virsh nodedev-reattach pci_0000_41_00_1" },
        { X(idle_without_libvirt), FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING, 0, "0000:41:00.1",
          "driverctl unset-override 0000:41:00.1" },
        { X(idle_by_ids), FINDING_LEFTOVERS_FUNCTIONS, LEVEL_FINE, 0, "VM: 1,", NULL },
        { X(idle_by_other_ids), FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING, 0, "0000:41:00.1",
          "nodedev-reattach" },
        { X(no_functions), FINDING_FUNCTIONS_BOUND, LEVEL_WARNING, 0, "no PCI function", NULL },
        { X(lost), FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING, 0, "gone",
          "detach " UUID " 0000:41:00.0" },
        { X(stranger), FINDING_LEFTOVERS_HOLDERS, LEVEL_WARNING, 0, "Process 99", "ps -fp 99" },
        { X(unclear), FINDING_LEFTOVERS_HOLDERS, LEVEL_WARNING, 0, "only root may compare", "ps" },
        { X(granted), FINDING_LEFTOVERS_HOLDERS, LEVEL_FINE, 0, "Nobody has", NULL },
        { X(unknown_vm), FINDING_LEFTOVERS_HOLDERS, LEVEL_WARNING, 0, "does not know", "ps" },
        { X(unknown_vms), FINDING_LEFTOVERS_HOLDERS, LEVEL_WARNING, 0, "is not known", "ps" },
        { X(hidden), FINDING_LEFTOVERS_HOLDERS, LEVEL_UNCHECKED, 0, "5 other", "sudo" },
        { X(no_proc), FINDING_LEFTOVERS_HOLDERS, LEVEL_UNCHECKED, 0, "/proc", "sudo" },
#undef X
};

static void test_each(void **state) {
        (void)state;
        for_each_case(c, cases) {
                Findings f = {};
                const Finding *x;
                Host h;

                host_init(&h);
                c->change(&h);
                check_all(&h.facts, &f);
                x = find(&f, c->id, c->level);
                if (!x)
                        fail_msg("%s: no line %s with the level %s", c->name,
                                 finding_id_to_string(c->id), finding_level_to_string(c->level));
                if (!strstr(x->text, c->text))
                        fail_msg("%s: \"%s\" does not say \"%s\"", c->name, x->text, c->text);
                if (!x->command != !c->command || (c->command && !strstr(x->command, c->command)))
                        fail_msg("%s: the command is \"%s\"", c->name, x->command ?: "");
                if (x->keeps_from != c->keeps_from)
                        fail_msg("%s: keeps from %u", c->name, x->keeps_from);
                /* What is said to be wrong is not said to be right as well. */
                if (c->level != LEVEL_FINE && find(&f, c->id, LEVEL_FINE))
                        fail_msg("%s: %s is fine too", c->name, finding_id_to_string(c->id));
                findings_done(&f);
        }
}

/* Nothing to say against it, and everything that is always looked at has its line. */
static void test_good_host(void **state) {
        Findings f = {};
        size_t n = 0;
        Host h;

        (void)state;
        host_init(&h);
        check_all(&h.facts, &f);
        for (size_t i = 0; i < f.n; i++)
                if (f.items[i].level != LEVEL_FINE)
                        fail_msg("%s: %s", finding_id_to_string(f.items[i].id), f.items[i].text);
        for (FindingId id = 0; id < _FINDING_MAX; id++)
                n += find(&f, id, LEVEL_FINE) != NULL;
        assert_int_equal(n, _FINDING_MAX - 1); /* that the host is simulated is not said */
        findings_done(&f);
}

/* Each thing that can be looked at can also be wrong. */
static void test_all_ids_have_cases(void **state) {
        (void)state;
        for (FindingId id = 0; id < _FINDING_MAX; id++) {
                bool has = false;

                for_each_case(c, cases) has |= c->id == id && c->level > LEVEL_FINE;
                if (!has)
                        fail_msg("%s has no case", finding_id_to_string(id));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each),
                cmocka_unit_test(test_good_host),
                cmocka_unit_test(test_all_ids_have_cases),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
