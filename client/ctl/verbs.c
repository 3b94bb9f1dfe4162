/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of verbs: their arguments, options and words. What a verb does is in the file of its family.
 */
#include "ctl/ctl.h"
#include "ctl/exec.h"
#include "ctl/request-option.h"

enum {
        OPTION_PROBE = 0x300,
        OPTION_READ_ONLY,
        OPTION_FORCE,
        OPTION_DRY_RUN,
        OPTION_FORMAT,
        OPTION_OUTPUT,
        OPTION_PER_VM,
        OPTION_FILE,
        OPTION_REPLACE,
};

static int host_option(Ctl *ctl, int id, const char *argument) {
        (void)argument;
        ctl->probe = id == OPTION_PROBE;
        return 0;
}

static int describe_option(Ctl *ctl, int id, const char *argument) {
        (void)id;
        ctl->format = argument;
        return 0;
}

static int map_option(Ctl *ctl, int id, const char *argument) {
        (void)argument;
        ctl->is_read_only = id == OPTION_READ_ONLY;
        return 0;
}

static int destroy_option(Ctl *ctl, int id, const char *argument) {
        (void)argument;
        ctl->is_forced = id == OPTION_FORCE;
        return 0;
}

static int define_option(Ctl *ctl, int id, const char *argument) {
        if (id == OPTION_FILE)
                ctl->definition_file = argument;
        else if (id == OPTION_REPLACE)
                ctl->is_replaced = true;
        else
                return request_option(ctl, id, argument);
        return 0;
}

static int top_option(Ctl *ctl, int id, const char *argument) {
        switch (id) {
        case 'b':
                ctl->is_batch = true;
                return 0;
        case 'd':
                if (seconds_parse(argument, &ctl->delay_usec) < 0 || ctl->delay_usec < 100000)
                        return ctl_usage(ctl, "\"%s\" is not a number of seconds, 0.1 or more",
                                         argument);
                return 0;
        default:
                if (number_parse(argument, &ctl->n_iterations) < 0 || ctl->n_iterations == 0)
                        return ctl_usage(ctl, "\"%s\" is not a number of pages", argument);
                return 0;
        }
}

static int metrics_option(Ctl *ctl, int id, const char *argument) {
        if (id != OPTION_OUTPUT) {
                ctl->per_vm = true;
                return 0;
        }
        if (!*argument)
                return ctl_usage(ctl, "--output= wants a file");
        ctl->output_file = argument;
        return 0;
}

static int reclaim_option(Ctl *ctl, int id, const char *argument) {
        (void)argument;
        ctl->is_dry_run = id == OPTION_DRY_RUN;
        return 0;
}

static const CtlOption host_options[] = {
        { "probe", NULL, OPTION_PROBE,
          "Find out the kernel level; resets an idle function on vfio-pci" },
};

static const CtlOption describe_options[] = {
        { "format", "FORMAT", OPTION_FORMAT, "json, libvirt-xml or qemu-args" },
};

static const CtlOption exec_options[] = {
        { "fd-iommufd", "N", OPTION_FD_IOMMUFD,
          "Give the VM's iommufd to COMMAND as descriptor N" },
        { "fd-device", "FUNCTION=N", OPTION_FD_DEVICE,
          "Give it that of a function as descriptor N" },
        { "fd-keep", "N", OPTION_FD_KEEP, "Leave it descriptor N as it is here; may be repeated" },
};

/* What a VM takes: of a wish that is carried out at once, and of one that is kept for later. */
#define TAKEN_OPTIONS                                                                              \
        { "tier", "TIER", OPTION_TIER, "hardware, emulated or virtio" },                           \
                { "function", "FUNCTION[=GUEST_BDF]", OPTION_FUNCTION,                             \
                  "PCI function and its address in the guest; may be repeated" },                  \
                { "vf-token", "UUID", OPTION_VF_TOKEN, "VF token of the --function before it" },   \
                { "managed", NULL, OPTION_MANAGED, "Libvirt will bind the --function before it" }, \
                { "handover", "WHO", OPTION_HANDOVER,                                              \
                  "Who makes the kernel objects: daemon, vmm or none" },                           \
                { "memory", "SIZE", OPTION_MEMORY, "Guest memory that may be pinned" },            \
                { "tenant", "NAME", OPTION_TENANT, "On whose account the VM is" },                 \
                { "guest-domains", "N", OPTION_GUEST_DOMAINS,                                      \
                  "Domain ids for the guest on each vIOMMU" }

static const CtlOption request_options[] = {
        { "name", "NAME", OPTION_NAME, "Name, unique among the VMs (default: the UUID)" },
        TAKEN_OPTIONS,
        { "leash", "PID|agent", OPTION_LEASH,
          "Take the VM down when this process ends, or when the agent says so" },
        { "hold", NULL, OPTION_HOLD, "Stay, and take the VM down on Ctrl-C or the end of input" },
        { "reservation", "TOKEN", OPTION_RESERVATION, "Take what `aviommuctl reserve` keeps" },
};

static const CtlOption reserve_options[] = {
        { "ttl", "SECONDS", OPTION_TTL, "Keep it so long, 1 second to a day" },
        TAKEN_OPTIONS,
};

static const CtlOption define_options[] = {
        { "file", "FILE", OPTION_FILE, "Take all of it from a JSON document; - is stdin" },
        { "replace", NULL, OPTION_REPLACE, "In place of the definition there is" },
        { "autostart", NULL, OPTION_AUTOSTART, "Admit it at boot" },
        { "name", "NAME", OPTION_NAME, "Name, unique among the VMs (default: the UUID)" },
        TAKEN_OPTIONS,
};

static const CtlOption modify_options[] = {
        { "add-function", "FUNCTION[=GUEST_BDF]", OPTION_FUNCTION,
          "PCI function and its address in the guest; may be repeated" },
        { "vf-token", "UUID", OPTION_VF_TOKEN, "VF token of the --add-function before it" },
        { "managed", NULL, OPTION_MANAGED, "Libvirt will bind the --add-function before it" },
        { "remove-function", "FUNCTION", OPTION_REMOVE_FUNCTION,
          "PCI function to take out; may be repeated" },
        { "autostart", NULL, OPTION_AUTOSTART, "Admit it at boot" },
        { "no-autostart", NULL, OPTION_NO_AUTOSTART, "Leave it to `aviommuctl start`" },
        { "name", "NAME", OPTION_NAME, "Another name" },
        { "tier", "TIER", OPTION_TIER, "hardware, emulated or virtio" },
        { "handover", "WHO", OPTION_HANDOVER, "Who makes the kernel objects: daemon, vmm or none" },
        { "memory", "SIZE", OPTION_MEMORY, "Guest memory that may be pinned" },
        { "tenant", "NAME", OPTION_TENANT, "On whose account the VM is" },
        { "guest-domains", "N", OPTION_GUEST_DOMAINS, "Domain ids for the guest on each vIOMMU" },
};

static const CtlOption start_options[] = {
        { "leash", "PID|agent", OPTION_LEASH,
          "Take the VM down when this process ends, or when the agent says so" },
};

static const CtlOption attach_options[] = {
        { "vf-token", "UUID", OPTION_VF_TOKEN, "VF token of the function" },
        { "managed", NULL, OPTION_MANAGED, "Libvirt will bind the function" },
        { "memory", "SIZE", OPTION_MEMORY, "The VM's memory, which its VMM pins with it" },
};

static const CtlOption map_options[] = {
        { "read-only", NULL, OPTION_READ_ONLY, "The functions may not write to it" },
};

static const CtlOption destroy_options[] = {
        { "force", NULL, OPTION_FORCE, "Also a VM whose VMM is alive and has its context" },
};

static const CtlOption reclaim_options[] = {
        { "dry-run", NULL, OPTION_DRY_RUN, "Say what would be given up, and do not do it" },
};

static const CtlOption metrics_options[] = {
        { "output", "FILE", OPTION_OUTPUT, "Replace FILE with them, in one step" },
        { "per-vm", NULL, OPTION_PER_VM, "Also what each VM holds" },
};

static const CtlOption top_options[] = {
        { "batch", NULL, 'b', "Write page after page, not on a screen of its own" },
        { "delay", "SECONDS", 'd', "Wait this long between pages (default: 2)" },
        { "iterations", "N", 'n', "End after so many pages" },
};

static const CtlOption doctor_options[] = {
        { "tier", "TIER", OPTION_TIER, "What keeps this host from hardware, emulated or virtio" },
        { "root", "FOLDER", OPTION_ROOT, "Look at the files below FOLDER" },
};

#define OPTIONS(array) .options = (array), .n_options = ELEMENTSOF(array)

const Verb verbs[] = {
        { .name = "status",
          .summary = "Show what this host offers and what is in use",
          .run = verb_status },
        { .name = "host",
          .arguments = "[IVHD...]",
          .summary = "Show the host IOMMUs",
          .text = "Without names in a table, with names each in full.",
          .max_args = -1,
          OPTIONS(host_options),
          .option = host_option,
          .run = verb_host },
        { .name = "doctor",
          .summary = "Look this host over: what it lacks, and the commands that mend it",
          .text = "Ends with 1 when something is at fault; aviommu-doctor(7) explains each check.",
          OPTIONS(doctor_options),
          .option = doctor_option,
          .run = verb_doctor },
        { .name = "functions",
          .arguments = "[ADDRESS...]",
          .summary = "Show the PCI functions",
          .max_args = -1,
          .run = verb_functions },
        { .name = "list", .summary = "Show the VMs", .run = verb_list },
        { .name = "show",
          .arguments = "VM...",
          .summary = "Show everything about a VM",
          .min_args = 1,
          .max_args = -1,
          .run = verb_show },
        { .name = "describe",
          .arguments = "VM",
          .summary = "Show a VM as JSON, libvirt XML or QEMU's arguments",
          .min_args = 1,
          .max_args = 1,
          OPTIONS(describe_options),
          .option = describe_option,
          .run = verb_describe },
        { .name = "plan",
          .arguments = "UUID",
          .summary = "Ask whether a VM would be admitted",
          .text = "Takes the options of create and changes nothing. UUID may be \"new\".",
          .min_args = 1,
          .max_args = 1,
          OPTIONS(request_options),
          .option = request_option,
          .run = verb_plan },
        { .name = "create",
          .arguments = "UUID",
          .summary = "Admit a VM and make its context",
          .text = "UUID may be \"new\"; the UUID is printed.",
          .min_args = 1,
          .max_args = 1,
          OPTIONS(request_options),
          .option = request_option,
          .run = verb_create },
        { .name = "reserve",
          .summary = "Keep what a VM to come will take",
          .text = "Prints the token with which create uses it: keep it to yourself.",
          OPTIONS(reserve_options),
          .option = request_option,
          .run = verb_reserve },
        { .name = "unreserve",
          .arguments = "TOKEN",
          .summary = "Give a reservation back",
          .text = "TOKEN may be the id that `aviommuctl reservations` shows.",
          .min_args = 1,
          .max_args = 1,
          .run = verb_unreserve },
        { .name = "reservations", .summary = "Show what is kept", .run = verb_reservations },
        { .name = "define",
          .arguments = "[UUID]",
          .summary = "Write a VM down, to be started later and at boot",
          .text = "Prints the UUID, which may be \"new\". The document is what `aviommuctl "
                  "definition -j` writes.",
          .max_args = 1,
          OPTIONS(define_options),
          .option = define_option,
          .run = verb_define },
        { .name = "modify",
          .arguments = "DEFINITION",
          .summary = "Change a definition",
          .text = "What is not said stays. A VM that has been started stays as it is.",
          .min_args = 1,
          .max_args = 1,
          OPTIONS(modify_options),
          .option = request_option,
          .run = verb_modify },
        { .name = "undefine",
          .arguments = "DEFINITION",
          .summary = "Take a definition back",
          .text = "A VM that has been started stays.",
          .min_args = 1,
          .max_args = 1,
          .run = verb_undefine },
        { .name = "start",
          .arguments = "DEFINITION",
          .summary = "Admit a VM as it is defined",
          .text = "Without --leash= it waits for its VMM as long as that takes.",
          .min_args = 1,
          .max_args = 1,
          OPTIONS(start_options),
          .option = request_option,
          .run = verb_start },
        { .name = "definitions", .summary = "Show what is defined", .run = verb_definitions },
        { .name = "definition",
          .arguments = "DEFINITION",
          .summary = "Show a definition, with -j as define takes it",
          .min_args = 1,
          .max_args = 1,
          .run = verb_definition },
        { .name = "attach",
          .arguments = "VM FUNCTION[=GUEST_BDF]...",
          .summary = "Add a function to a VM, or several of one group",
          .min_args = 2,
          .max_args = -1,
          OPTIONS(attach_options),
          .option = attach_option,
          .run = verb_attach },
        { .name = "detach",
          .arguments = "VM FUNCTION",
          .summary = "Take a function from a VM",
          .min_args = 2,
          .max_args = 2,
          .run = verb_detach },
        { .name = "map",
          .arguments = "VM FILE IOVA [LENGTH [OFFSET]]",
          .summary = "Map memory for the functions' DMA",
          .text = "FILE is on tmpfs or hugetlbfs, or a memfd as /proc/PID/fd/N. Without a LENGTH: "
                  "to "
                  "its end.",
          .min_args = 3,
          .max_args = 5,
          OPTIONS(map_options),
          .option = map_option,
          .run = verb_map },
        { .name = "unmap",
          .arguments = "VM IOVA LENGTH",
          .summary = "Take one mapping back",
          .min_args = 3,
          .max_args = 3,
          .run = verb_unmap },
        { .name = "leash",
          .arguments = "VM PID",
          .summary = "Hang the life of a VM on a process",
          .min_args = 2,
          .max_args = 2,
          .run = verb_leash },
        { .name = "exec",
          .arguments = "VM -- COMMAND [ARGUMENT...]",
          .summary = "Become the VMM of a VM",
          .text = "In arguments, {iommufd} and {device:FUNCTION} stand for the descriptors' "
                  "numbers, {ioas} and {hwpt} for ids.",
          .min_args = 2,
          .max_args = -1,
          OPTIONS(exec_options),
          .option = exec_option,
          .run = verb_exec },
        { .name = "confirm",
          .arguments = "VM",
          .summary = "Say that the VMM has every descriptor",
          .min_args = 1,
          .max_args = 1,
          .run = verb_confirm },
        { .name = "viommu",
          .arguments = "VM create|destroy IVHD",
          .summary = "Make or destroy a vIOMMU of a VM",
          .min_args = 3,
          .max_args = 3,
          .run = verb_viommu },
        { .name = "cancel",
          .arguments = "VM",
          .summary = "Stop the operation in flight of a VM",
          .min_args = 1,
          .max_args = 1,
          .run = verb_cancel },
        { .name = "destroy",
          .arguments = "VM...",
          .summary = "Take VMs down",
          .min_args = 1,
          .max_args = -1,
          OPTIONS(destroy_options),
          .option = destroy_option,
          .run = verb_destroy },
        { .name = "reclaim",
          .arguments = "[VM]",
          .summary = "Give up what is quarantined, or list it",
          .text = "Its charges return and its functions count as free; nothing is taken from "
                  "whoever holds it still.",
          .max_args = 1,
          OPTIONS(reclaim_options),
          .option = reclaim_option,
          .run = verb_reclaim },
        { .name = "policy",
          .arguments = "check|show [PATH], or explain UUID",
          .summary = "Check the configuration, show it, or say what of it applies",
          .text = "check and show read the files as the daemon would: this system's, one file, or "
                  "those below a root folder. explain takes the options of create.",
          .min_args = 1,
          .max_args = 2,
          OPTIONS(request_options),
          .option = request_option,
          .run = verb_policy },
        { .name = "monitor",
          .summary = "Show changes as they happen",
          .text = "Ends on Ctrl-C, or when nobody reads any more.",
          .run = verb_monitor },
        { .name = "holders",
          .summary = "Show who has /dev/iommu open",
          .text = "Root alone sees all of them. Does not start the daemon.",
          .run = verb_holders },
        { .name = "top",
          .summary = "Watch what is in use, and who holds it",
          .text = "Keys: q ends, the space bar looks at once. Without a terminal: one page.",
          OPTIONS(top_options),
          .option = top_option,
          .run = verb_top },
        { .name = "metrics",
          .summary = "Write OpenMetrics for Prometheus",
          .text = "For the textfile collector of its node exporter; does not start the daemon.",
          OPTIONS(metrics_options),
          .option = metrics_option,
          .run = verb_metrics },
        { .name = "libvirt",
          .arguments = "VERB [ARGUMENT...]",
          .summary = "Look at and change libvirt's domains",
          .program = "aviommuctl-libvirt" },
        {},
};
