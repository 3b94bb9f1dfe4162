/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stand-in for aviommud that answers aviommuctl with canned data, for test-ctl.sh: the same every time, and on demand
 * what no sane daemon would send. It decides nothing and keeps nothing.
 *
 *     mock-aviommud ADDRESS [MODE]
 *
 * Modes: normal · types (replies of other types than documented) · empty (replies without contents) · huge (strings of a
 * megabyte) · control (text that tries to steer a terminal) · many (2500 VMs and functions, in pages) · endless (a list
 * whose cursor never moves) · silent (no reply, ever) · vanish (exits at the first call) · bare (no VMs, functions or
 * IOMMUs) · denied (to look, but for properties) · free (the first VM has no VMM) · held (a caller holds it) · no-leash,
 * no-confirm (nor has it here, and these calls fail) · slow=MILLISECONDS (changes take that long, can be cancelled, and
 * have a visible operation)
 *
 * Each call is written to stdout, with its arguments. Names and UUIDs that ask for an error:
 * GetVmByName("error:NAME") fails with org.aviommu1.Error.NAME, ("bus-error:NAME") with that whole name;
 * a request with the name "refuse:NAME" is refused so.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "base/macro.h"

#define UUID_1 "11111111-2222-3333-4444-555555555555"
#define UUID_2 "99999999-8888-7777-6666-555555555555"
#define UUID_3 "33333333-0000-4000-8000-000000000000" /* a record of a newer daemon */
#define PATH_1 "/org/aviommu1/vm/11111111222233334444555555555555"
#define PATH_2 "/org/aviommu1/vm/99999999888877776666555555555555"

#define N_MANY 2500U

typedef struct Mock {
        sd_bus *bus;
        const char *mode;
        uint64_t delay_usec;

        /* The one call that is being slow */
        sd_bus_message *pending;
        uint64_t due_usec;
} Mock;

static uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool mode_is(const Mock *mock, const char *mode) {
        return streq(mock->mode, mode);
}

/* The name of a VM: the place where hostile text comes from. */
static const char *vm_name(const Mock *mock) {
        static char huge[1024 * 1024];

        if (mode_is(mock, "huge")) {
                memset(huge, 'x', sizeof(huge) - 1);
                return huge;
        }
        if (mode_is(mock, "control"))
                return "\x1b]0;owned\x07\x1b[31m\xc2\x9b"
                       "2Jab\xe2\x80\xae"
                       "cd\x7f\ne\xc3\xa9\\";
        return "web1";
}

/* Writes the arguments of a call. */
static void dump(sd_bus_message *m) {
        const char *contents;
        char type;

        while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
                if (strchr("arve", type)) {
                        if (sd_bus_message_enter_container(m, type, contents) < 0)
                                return;
                        printf("%s", type == 'a' ? " [" : type == 'r' ? " (" : "");
                        dump(m);
                        printf("%s", type == 'a' ? " ]" : type == 'r' ? " )" : "");
                        (void)sd_bus_message_exit_container(m);
                } else if (strchr("sog", type)) {
                        const char *s;

                        (void)sd_bus_message_read_basic(m, type, &s);
                        printf(" \"%s\"", s);
                } else if (type == 'h') {
                        char link[64], target[256] = "";
                        int fd;

                        (void)sd_bus_message_read_basic(m, type, &fd);
                        (void)snprintf(link, sizeof(link), "/proc/self/fd/%i", fd);
                        (void)!readlink(link, target, sizeof(target) - 1);
                        printf(" fd:%s", target);
                } else {
                        union {
                                uint64_t t;
                                uint32_t u;
                                int b;
                        } v = {};

                        (void)sd_bus_message_read_basic(m, type, &v);
                        printf(" %c:%" PRIu64, type, type == 't' ? v.t : v.u);
                }
        }
}

static int reply_error(sd_bus_message *m, const char *prefix, const char *name) {
        char full[256];

        (void)snprintf(full, sizeof(full), "%s%s", prefix, name);
        return sd_bus_reply_method_errorf(m, full,
                                          "Wanted one thing of 0000:41:00.1, there are none.");
}

static int append_resources(sd_bus_message *r) {
        return sd_bus_message_append(
                r, "a(sstt)", 5, "instances", "ivhd0", UINT64_C(4096), UINT64_C(2), "trans-devids",
                "0000", UINT64_C(65301), UINT64_C(3), "contiguous-memory", "node0",
                UINT64_C(17179869184), UINT64_C(3145728), "domain-ids", "host", UINT64_C(65536),
                UINT64_C(65536), "pinned-memory", "host", UINT64_MAX, UINT64_C(5905580032));
}

static int append_property(sd_bus_message *r, const char *name, const char *type, ...) {
        va_list ap;
        int q;

        if ((q = sd_bus_message_open_container(r, 'e', "sv")) < 0 ||
            (q = sd_bus_message_append_basic(r, 's', name)) < 0 ||
            (q = sd_bus_message_open_container(r, 'v', type)) < 0)
                return q;
        if (streq(type, "a(sstt)"))
                q = append_resources(r);
        else {
                va_start(ap, type);
                q = sd_bus_message_appendv(r, type, ap);
                va_end(ap);
        }
        if (q < 0 || (q = sd_bus_message_close_container(r)) < 0)
                return q;
        return sd_bus_message_close_container(r);
}

static void append_manager(Mock *mock, sd_bus_message *r) {
        bool bare = mode_is(mock, "bare");

        append_property(r, "Version", "s", "1.0");
        append_property(r, "Kernel", "s", "simulated");
        append_property(r, "KernelLevel", "s", bare ? "none" : "plumbing");
        append_property(r, "Tiers", "a(sbs)", 3, "hardware", !bare,
                        bare ? "This host has no AMD IOMMU." : "", "emulated", true, "", "virtio",
                        true, "");
        if (bare)
                append_property(r, "Problems", "as", 2, "This host has no IOMMU.",
                                "/dev/iommu is missing: modprobe iommufd.");
        else {
                append_property(r, "Problems", "as", 0);
                append_property(r, "Resources", "a(sstt)");
        }
        append_property(r, "NVms", "u", bare ? 0U : 2U);
        append_property(r, "NReservations", "u", bare ? 0U : 1U);
        append_property(r, "NFunctions", "u", bare ? 0U : 4U);
        append_property(r, "NHostIommus", "u", bare ? 0U : 2U);
        append_property(r, "SomethingNew", "a{sv}", 0); /* clients skip what they do not know */
}

static void append_host(Mock *mock, sd_bus_message *r, unsigned i) {
        char name[16], address[16];

        (void)mock;
        (void)snprintf(name, sizeof(name), "ivhd%u", i);
        (void)snprintf(address, sizeof(address), "%04x:%02x:00.2", i, 0x40 * (i & 3));
        append_property(r, "Name", "s", name);
        append_property(r, "Vendor", "s", "amd");
        append_property(r, "PciAddress", "s", i == 10 ? "" : address);
        append_property(r, "Segment", "q", i);
        append_property(r, "NumaNode", "i", i == 10 ? -1 : 0);
        append_property(r, "Efr", "t", UINT64_C(0xffffffffffffffff));
        append_property(r, "Efr2", "t", UINT64_C(0x1d));
        append_property(r, "Features", "as", 3, "gt", "gio", "viommu");
        append_property(r, "KernelLevel", "s", i == 10 ? "unknown" : "plumbing");
        append_property(r, "KernelLevelReason", "s",
                        i == 10 ? "No idle function on vfio-pci to probe with." : "Probed.");
        append_property(r, "Resources", "a(sstt)");
}

/* Whether the first VM has no VMM yet. */
static bool is_free(const Mock *mock) {
        return mode_is(mock, "free") || mode_is(mock, "no-leash") || mode_is(mock, "no-confirm");
}

static void append_vm(Mock *mock, sd_bus_message *r, bool first) {
        append_property(r, "Uuid", "s", first ? UUID_1 : UUID_2);
        append_property(r, "Name", "s", first ? vm_name(mock) : "db1");
        append_property(r, "Tier", "s", first ? "hardware" : "virtio");
        append_property(r, "Handover", "s", first ? "daemon" : "vmm");
        append_property(r, "State", "s", first ? "bound" : "quarantined");
        append_property(r, "StateReason", "s",
                        first ? "" : "The iommufd is still open in process 4711.");
        append_property(r, "OwnerUid", "u", 1000U);
        append_property(r, "Tenant", "s", first ? "acme" : "");
        append_property(r, "Leash", "s",
                        !first || is_free(mock) ? "none"
                        : mode_is(mock, "held") ? "caller"
                                                : "pidfd");
        /* Some time after the machine was started, or far from it: the output shows no number of seconds then. */
        append_property(r, "LeashDeadlineUSec", "t", first ? UINT64_C(0) : UINT64_C(1));
        append_property(r, "Confirmed", "b", first && !is_free(mock));
        if (first) {
                append_property(r, "Functions", "a(ssss)", 2, "0000:41:00.0", "ivhd0", "01:00.0",
                                "bound", "0000:41:00.1", "ivhd0", "02:00.0", "bound");
                append_property(r, "Viommus", "ao", 1, PATH_1 "/viommu/0");
                append_property(r, "Charges", "a(sst)", 3, "instances", "ivhd0", UINT64_C(1),
                                "contiguous-memory", "node0", UINT64_C(1572864), "pinned-memory",
                                "host", UINT64_C(4294967296));
                append_property(r, "MappedBytes", "t", UINT64_C(4294967296));
        } else {
                append_property(r, "Functions", "a(ssss)", 0);
                append_property(r, "Viommus", "ao", 0);
                append_property(r, "Charges", "a(sst)", 0);
                append_property(r, "MappedBytes", "t", UINT64_C(0));
        }
        if (first && mock->pending)
                append_property(r, "Operation", "(stu)", "binding 0000:41:00.0",
                                mock->due_usec - mock->delay_usec, 1U);
        else
                append_property(r, "Operation", "(stu)", "", UINT64_C(0), 0U);
}

static void append_viommu(sd_bus_message *r) {
        append_property(r, "HostIommu", "s", "ivhd0");
        append_property(r, "State", "s", "bound");
        append_property(r, "ViommuId", "u", 5U);
        append_property(r, "VfMmioOffset", "t", UINT64_C(0x8000000000001000));
        append_property(r, "VfMmioSize", "t", UINT64_C(4096));
        append_property(r, "Devices", "a(ssu)", 2, "0000:41:00.0", "01:00.0", 6U, "0000:41:00.1",
                        "02:00.0", 7U);
}

static int on_get_all(Mock *mock, sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        const char *interface, *path = sd_bus_message_get_path(m);

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "s", &interface) < 0 ||
            sd_bus_message_new_method_return(m, &r) < 0 ||
            sd_bus_message_open_container(r, 'a', "{sv}") < 0)
                return -EINVAL;
        if (streq(interface, "org.aviommu1.Manager"))
                append_manager(mock, r);
        else if (streq(interface, "org.aviommu1.Viommu"))
                append_viommu(r);
        else if (streq(path, PATH_1) || streq(path, PATH_2))
                append_vm(mock, r, streq(path, PATH_1));
        else
                return reply_error(m, "org.aviommu1.Error.", "NoSuchVm");
        (void)sd_bus_message_close_container(r);
        return sd_bus_send(mock->bus, r, NULL);
}

static int on_get(Mock *mock, sd_bus_message *m) {
        const char *interface, *name;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "ss", &interface, &name) < 0)
                return -EINVAL;
        if (streq(name, "Operation"))
                return sd_bus_reply_method_return(m, "v", "(stu)",
                                                  mock->pending ? "binding 0000:41:00.0" : "",
                                                  now_usec(), 0U);
        if (streq(name, "Charges") && streq(sd_bus_message_get_path(m), PATH_1))
                return sd_bus_reply_method_return(
                        m, "v", "a(sst)", 3, "instances", "ivhd0", UINT64_C(1), "contiguous-memory",
                        "node0", UINT64_C(1572864), "pinned-memory", "host", UINT64_C(4294967296));
        if (streq(name, "Charges"))
                return sd_bus_reply_method_return(m, "v", "a(sst)", 0);
        if (streq(name, "LeashDeadlineUSec"))
                return sd_bus_reply_method_return(m, "v", "t", now_usec() + 29990000);
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_PROPERTY, "No such property");
}

static int on_managed_objects(Mock *mock, sd_bus_message *m) {
        static const unsigned hosts[] = { 10, 0 };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;

        if (sd_bus_message_new_method_return(m, &r) < 0 ||
            sd_bus_message_open_container(r, 'a', "{oa{sa{sv}}}") < 0)
                return -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(hosts) && !mode_is(mock, "bare"); i++) {
                char path[64];

                (void)snprintf(path, sizeof(path), "/org/aviommu1/host/ivhd%u", hosts[i]);
                (void)sd_bus_message_open_container(r, 'e', "oa{sa{sv}}");
                (void)sd_bus_message_append(r, "o", path);
                (void)sd_bus_message_open_container(r, 'a', "{sa{sv}}");
                (void)sd_bus_message_append(r, "{sa{sv}}", "org.freedesktop.DBus.Peer", 0);
                (void)sd_bus_message_open_container(r, 'e', "sa{sv}");
                (void)sd_bus_message_append(r, "s", "org.aviommu1.HostIommu");
                (void)sd_bus_message_open_container(r, 'a', "{sv}");
                append_host(mock, r, hosts[i]);
                for (unsigned depth = 0; depth < 4; depth++)
                        (void)sd_bus_message_close_container(r);
        }
        (void)sd_bus_message_close_container(r);
        return sd_bus_send(mock->bus, r, NULL);
}

/* The page of a list of N_MANY after @cursor, which is the number of what came last. */
static void page_of_many(const char *cursor, uint32_t limit, unsigned *ret_from, unsigned *ret_to) {
        *ret_from = *cursor ? (unsigned)strtoul(cursor, NULL, 10) : 0;
        limit = MIN(limit, 1000U);
        *ret_to = MIN(*ret_from + limit, N_MANY);
}

static void append_listed(sd_bus_message *r, bool details, const char *uuid, const char *name,
                          const char *tier, const char *handover, const char *state,
                          uint32_t n_functions, const char *path, const char *tenant) {
        (void)sd_bus_message_open_container(r, 'r', details ? "sssssuoa{sv}" : "sssssuo");
        (void)sd_bus_message_append(r, "sssssuo", uuid, name, tier, handover, state, n_functions,
                                    path);
        if (details) {
                (void)sd_bus_message_open_container(r, 'a', "{sv}");
                append_property(r, "of-a-later-version", "u", 1U);
                append_property(r, "tenant", "s", tenant);
                append_property(r, "owner-uid", "u", 1000U);
                (void)sd_bus_message_close_container(r);
        }
        (void)sd_bus_message_close_container(r);
}

/* ListVms, and with @details ListVmDetails. */
static int on_list_vms(Mock *mock, sd_bus_message *m, bool details) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        unsigned from = 0, to = 0;
        const char *cursor;
        char next[16] = "";
        uint32_t limit;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "su", &cursor, &limit) < 0 ||
            sd_bus_message_new_method_return(m, &r) < 0)
                return -EINVAL;

        (void)sd_bus_message_open_container(r, 'a', details ? "(sssssuoa{sv})" : "(sssssuo)");
        if (mode_is(mock, "endless"))
                (void)snprintf(next, sizeof(next), "again");
        else if (mode_is(mock, "many")) {
                page_of_many(cursor, limit, &from, &to);
                for (unsigned i = from; i < to; i++) {
                        char uuid[40], name[16];

                        (void)snprintf(uuid, sizeof(uuid), "%08x-0000-4000-8000-000000000000", i);
                        (void)snprintf(name, sizeof(name), "vm%u", i);
                        append_listed(r, details, uuid, name, "emulated", "vmm", "admitted", 1,
                                      PATH_1, "");
                }
                if (to < N_MANY)
                        (void)snprintf(next, sizeof(next), "%u", to);
        } else if (!mode_is(mock, "bare")) {
                append_listed(r, details, UUID_1, vm_name(mock), "hardware", "daemon", "bound", 2,
                              PATH_1, "acme");
                append_listed(r, details, UUID_2, "db1", "virtio", "vmm", "quarantined", 0, PATH_2,
                              "");
        }
        (void)sd_bus_message_close_container(r);
        (void)sd_bus_message_append(r, "s", next);
        return sd_bus_send(mock->bus, r, NULL);
}

static void append_function(sd_bus_message *r, const char *address, const char *driver,
                            const char *iommu, uint32_t group, int node, const char *state,
                            const char *uuid) {
        (void)sd_bus_message_open_container(r, 'r', "sssuissa{sv}");
        (void)sd_bus_message_append(r, "sssuiss", address, driver, iommu, group, node, state, uuid);
        (void)sd_bus_message_open_container(r, 'a', "{sv}");
        append_property(r, "vendor-id", "q", 0x1022);
        append_property(r, "device-id", "q", 0x14a0);
        append_property(r, "class", "u", 0x020000U);
        append_property(r, "physical-function", "s", "");
        append_property(r, "cdev", "s", *uuid ? "vfio0" : "");
        append_property(r, "group-type", "s", "DMA-FQ");
        append_property(r, "aliases", "as", 1, "0000:40:00.0");
        (void)sd_bus_message_close_container(r);
        (void)sd_bus_message_close_container(r);
}

static int on_list_functions(Mock *mock, sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        unsigned from, to;
        const char *cursor;
        char next[16] = "";
        uint32_t limit;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "su", &cursor, &limit) < 0 ||
            sd_bus_message_new_method_return(m, &r) < 0)
                return -EINVAL;

        (void)sd_bus_message_open_container(r, 'a', "(sssuissa{sv})");
        if (mode_is(mock, "many")) {
                page_of_many(cursor, limit, &from, &to);
                for (unsigned i = from; i < to; i++) {
                        char address[32];

                        (void)snprintf(address, sizeof(address), "0000:%02x:%02x.%x", i >> 8,
                                       i >> 3 & 0x1f, i & 7);
                        append_function(r, address, "vfio-pci", "ivhd0", i, 0, "idle", "");
                }
                if (to < N_MANY)
                        (void)snprintf(next, sizeof(next), "%u", to);
        } else if (!mode_is(mock, "bare")) {
                append_function(r, "0000:41:00.0", "vfio-pci", "ivhd0", 12, 0, "assigned", UUID_1);
                append_function(r, "0000:41:00.1", "vfio-pci", "ivhd0", 13, 0, "assigned", UUID_1);
                append_function(r, "0001:01:00.0", "nvme", "ivhd10", 14, 1, "host", "");
                append_function(r, "0001:02:00.0", "", "", UINT32_MAX, -1, "unbound", "");
        }
        (void)sd_bus_message_close_container(r);
        (void)sd_bus_message_append(r, "s", next);
        return sd_bus_send(mock->bus, r, NULL);
}

static int on_get_vm(Mock *mock, sd_bus_message *m) {
        const char *what;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "s", &what) < 0)
                return -EINVAL;
        if (strncmp(what, "error:", 6) == 0)
                return reply_error(m, "org.aviommu1.Error.", what + 6);
        if (strncmp(what, "bus-error:", 10) == 0)
                return reply_error(m, "", what + 10);
        if (mode_is(mock, "bare"))
                return reply_error(m, "org.aviommu1.Error.", "NoSuchVm");
        if (streq(what, UUID_1) || streq(what, "web1"))
                return sd_bus_reply_method_return(m, "o", PATH_1);
        if (streq(what, UUID_2) || streq(what, "db1"))
                return sd_bus_reply_method_return(m, "o", PATH_2);
        return reply_error(m, "org.aviommu1.Error.", "NoSuchVm");
}

/* Finds the name in a request; "" when there is none. */
static const char *request_name(sd_bus_message *m) {
        const char *key, *name = "";

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_skip(m, "s") < 0 || sd_bus_message_enter_container(m, 'a', "{sv}") <= 0)
                return "";
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                if (sd_bus_message_read_basic(m, 's', &key) < 0)
                        return "";
                if (streq(key, "name"))
                        (void)sd_bus_message_read(m, "v", "s", &name);
                else
                        (void)sd_bus_message_skip(m, "v");
                (void)sd_bus_message_exit_container(m);
        }
        return name;
}

static int on_plan(Mock *mock, sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        const char *name = request_name(m);
        bool refused = strncmp(name, "refuse:", 7) == 0;

        if (sd_bus_message_new_method_return(m, &r) < 0 ||
            sd_bus_message_open_container(r, 'a', "{sv}") < 0)
                return -EINVAL;
        append_property(r, "admitted", "b", !refused);
        append_property(r, "tier", "s", "hardware");
        append_property(r, "handover", "s", "daemon");
        append_property(r, "functions", "a(ssss)", 2, "0000:41:00.0", "ivhd0", "01:00.0", "12",
                        "0001:01:00.0", "ivhd10", "02:00.0", "14");
        append_property(r, "viommus", "as", 2, "ivhd0", "ivhd10");
        append_property(r, "charges", "a(sst)", 2, "instances", "ivhd0", UINT64_C(1),
                        "contiguous-memory", "node0", UINT64_C(1572864));
        if (refused) {
                append_property(r, "error", "s", name + 7);
                append_property(r, "message", "s", "Wanted 2, there is 1.");
                append_property(r, "wanted", "t", UINT64_MAX);
                append_property(r, "available", "t", UINT64_C(1));
        }
        if (strstr(name, "limited") || strstr(name, "QuotaExceeded"))
                append_property(r, "limits", "a(sssttt)", 3, "Vm", "MaxPinnedMemory", "host",
                                UINT64_C(8) << 30, UINT64_C(0), UINT64_C(4) << 30, "Tenant acme",
                                "MaxInstances", "host", UINT64_C(4), UINT64_C(3), UINT64_C(2), "",
                                "ReservedInstances", "ivhd0", UINT64_C(60), UINT64_C(9),
                                UINT64_C(1));
        (void)sd_bus_message_close_container(r);
        return sd_bus_send(mock->bus, r, NULL);
}

/* What a change answers and what everyone hears of it. */
static int finish_change(Mock *mock, sd_bus_message *m) {
        const char *member = sd_bus_message_get_member(m), *uuid = UUID_1;

        if (streq(member, "CreateVm")) {
                const char *name = request_name(m);

                if (strncmp(name, "refuse:", 7) == 0)
                        return reply_error(m, "org.aviommu1.Error.", name + 7);
                (void)sd_bus_message_rewind(m, true);
                (void)sd_bus_message_read(m, "s", &uuid);
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1", "org.aviommu1.Manager",
                                         "VmAdded", "so", uuid, PATH_1);
                return sd_bus_reply_method_return(m, "o", PATH_1);
        }
        if (streq(sd_bus_message_get_interface(m), "org.aviommu1.Vm") && streq(member, "Destroy"))
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1", "org.aviommu1.Manager",
                                         "VmRemoved", "sos", uuid, PATH_1, "destroyed");
        else {
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1", "org.aviommu1.Manager",
                                         "VmChanged", "so", uuid, PATH_1);
                (void)sd_bus_emit_signal(mock->bus, PATH_1, "org.freedesktop.DBus.Properties",
                                         "PropertiesChanged", "sa{sv}as", "org.aviommu1.Vm", 3,
                                         "State", "s", "bound", "Confirmed", "b", true, "Operation",
                                         "(stu)", "attaching", UINT64_C(5), 0U, 0);
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1",
                                         "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                         "sa{sv}as", "org.aviommu1.Manager", 1, "NVms", "u", 1U, 0);
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1",
                                         "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                         "sa{sv}as", "org.aviommu1.Manager", 4, "KernelLevel", "s",
                                         "plumbing", "Problems", "as", 1, "It is hot.",
                                         "NFunctions", "u", 4U, "NHostIommus", "u", 2U, 0);
                (void)sd_bus_emit_signal(mock->bus, "/org/aviommu1", "org.aviommu1.Manager",
                                         "CapacityChanged", NULL);
        }
        if (streq(member, "CreateViommu"))
                return sd_bus_reply_method_return(m, "o", PATH_1 "/viommu/0");
        if (streq(member, "Probe"))
                return sd_bus_reply_method_return(m, "s", "plumbing");
        return sd_bus_reply_method_return(m, NULL);
}

static int on_change(Mock *mock, sd_bus_message *m) {
        const char *path = sd_bus_message_get_path(m);

        if (strcmp(path, PATH_2) == 0 && strcmp(sd_bus_message_get_member(m), "Destroy") == 0)
                return reply_error(m, "org.aviommu1.Error.", "WrongState");

        if (strncmp(path, "/org/aviommu1/vm/", 17) == 0 &&
            strncmp(path, PATH_1, strlen(PATH_1)) != 0 &&
            !(streq(path, PATH_2) && streq(sd_bus_message_get_member(m), "SetLeash")))
                return reply_error(m, "org.aviommu1.Error.", "NoSuchVm");
        if (mock->delay_usec > 0 && !mock->pending) {
                mock->pending = sd_bus_message_ref(m);
                mock->due_usec = now_usec() + mock->delay_usec;
                return 0;
        }
        return finish_change(mock, m);
}

static int on_list_quarantined(Mock *mock, sd_bus_message *m) {
        if (mode_is(mock, "bare"))
                return sd_bus_reply_method_return(m, "a(sss)", 0);
        return sd_bus_reply_method_return(
                m, "a(sss)", 2, UUID_2, "vm",
                mode_is(mock, "control") ? vm_name(mock) : "The iommufd is still open.", UUID_3,
                "newer-record",
                "A newer aviommud has written its record, which cannot be read: nothing is "
                "granted as long as it is there.");
}

static int on_list_reservations(Mock *mock, sd_bus_message *m) {
        if (mode_is(mock, "bare"))
                return sd_bus_reply_method_return(m, "a(sutssasa(sst))s", 0, "");
        if (mode_is(mock, "endless"))
                return sd_bus_reply_method_return(m, "a(sutssasa(sst))s", 0, "again");
        return sd_bus_reply_method_return(
                m, "a(sutssasa(sst))s", 2, "0a1b2c3d4e5f", 1000U, UINT64_C(299500000),
                mode_is(mock, "control") ? vm_name(mock) : "hardware", "daemon", 2, "0000:41:00.0",
                "0000:41:00.1", 2, "instances", "ivhd0", UINT64_C(1), "pinned-memory", "host",
                UINT64_C(4294967296), "f00000000001", 0U, UINT64_C(86400000000), "virtio", "none",
                0, 0, "");
}

static int on_list_definitions(Mock *mock, sd_bus_message *m) {
        if (mode_is(mock, "bare"))
                return sd_bus_reply_method_return(m, "a(ssubssssstas)s", 0, "");
        if (mode_is(mock, "endless"))
                return sd_bus_reply_method_return(m, "a(ssubssssstas)s", 0, "again");
        return sd_bus_reply_method_return(
                m, "a(ssubssssstas)s", 3, UUID_1, vm_name(mock), 1000U, true, "active", "",
                "hardware", "daemon", "acme", UINT64_C(4294967296), 2, "0000:41:00.0",
                "0000:41:00.1", UUID_2, "", 0U, true, "refused",
                mode_is(mock, "control") ? vm_name(mock) : "There is no function 0000:99:00.0.",
                "virtio", "", "", UINT64_C(0), 1, "0000:99:00.0", UUID_3, "", 0U, false, "damaged",
                "", "", "", "", UINT64_C(0), 0, "");
}

static int on_get_definition(Mock *mock, sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        const char *uuid;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "s", &uuid) < 0)
                return -EINVAL;
        if (streq(uuid, UUID_3))
                return reply_error(m, "org.aviommu1.Error.", "DefinitionDamaged");
        if (sd_bus_message_new_method_return(m, &r) < 0 ||
            sd_bus_message_open_container(r, 'a', "{sv}") < 0)
                return -EINVAL;
        append_property(r, "tier", "s", streq(uuid, UUID_1) ? "hardware" : "virtio");
        if (streq(uuid, UUID_1)) {
                append_property(r, "name", "s", vm_name(mock));
                append_property(r, "handover", "s", "vmm");
                append_property(r, "tenant", "s", "acme");
                append_property(r, "memory", "t", UINT64_C(4294967296));
                append_property(r, "guest-domains", "u", 16U);
                append_property(r, "autostart", "b", true);
                append_property(r, "functions", "a(sa{sv})", 2, "0000:41:00.0", 1,
                                "guest-device-id", "s", "02:00.0", "0000:41:00.1", 2, "vf-token",
                                "s", UUID_2, "managed", "b", true);
        }
        (void)sd_bus_message_close_container(r);
        return sd_bus_send(mock->bus, r, NULL);
}

/* A definition without functions warns. */
static int on_define(sd_bus_message *m) {
        bool warns = true;

        (void)sd_bus_message_rewind(m, true);
        (void)sd_bus_message_skip(m, "s");
        (void)sd_bus_message_enter_container(m, 'a', "{sv}");
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                const char *key;

                (void)sd_bus_message_read(m, "s", &key);
                warns = warns && !strstr(key, "functions");
                (void)sd_bus_message_skip(m, "v");
                (void)sd_bus_message_exit_container(m);
        }
        return sd_bus_reply_method_return(m, "s", warns ? "There is no tenant \"nobody\"." : "");
}

static int on_reclaim(Mock *mock, sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *r = NULL;
        const char *uuid;
        bool is_vm;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "s", &uuid) < 0)
                return -EINVAL;
        is_vm = streq(uuid, UUID_2);
        if (streq(uuid, UUID_1))
                return sd_bus_reply_method_errorf(
                        m, "org.aviommu1.Error.WrongState",
                        "VM web1 is bound, not quarantined: destroy it instead.");
        if (!is_vm && !streq(uuid, UUID_3))
                return reply_error(m, "org.aviommu1.Error.", "NoSuchVm");

        if (sd_bus_message_new_method_return(m, &r) < 0 ||
            sd_bus_message_open_container(r, 'a', "{sv}") < 0)
                return -EINVAL;
        append_property(r, "kind", "s", is_vm ? "vm" : "newer-record");
        append_property(r, "reason", "s",
                        mode_is(mock, "control") ? vm_name(mock)
                        : is_vm                  ? "The iommufd is still open."
                                                 : "A newer aviommud has written its record.");
        if (is_vm) {
                append_property(r, "functions", "as", 2, "0000:41:00.0", "0000:41:00.1");
                append_property(r, "charges", "a(sst)", 3, "instances", "ivhd0", UINT64_C(1),
                                "pinned-memory", "host", UINT64_C(4294967296), "descriptors",
                                "host", UINT64_C(4));
        }
        (void)sd_bus_message_close_container(r);
        return sd_bus_send(mock->bus, r, NULL);
}

static int on_describe(Mock *mock, sd_bus_message *m) {
        const char *format;

        (void)sd_bus_message_rewind(m, true);
        if (sd_bus_message_read(m, "s", &format) < 0)
                return -EINVAL;
        if (streq(format, "yaml"))
                return reply_error(m, "org.aviommu1.Error.", "InvalidArgument");
        return sd_bus_reply_method_return(m, "s",
                                          mode_is(mock, "control") ? vm_name(mock)
                                                                   : "<domain>\n  'x' & {iommufd}\n"
                                                                     "</domain>\n");
}

/* Any descriptor does. */
static int on_open(sd_bus_message *m) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC), r;

        if (streq(sd_bus_message_get_member(m), "OpenDevice"))
                r = sd_bus_reply_method_return(m, "h", fd);
        else
                r = sd_bus_reply_method_return(m, "ha{sv}", fd, 3, "ioas", "u", 7U, "hwpt", "u", 8U,
                                               "devices", "a(susu)", 0);
        (void)close(fd);
        return r;
}

static int on_cancel(Mock *mock, sd_bus_message *m) {
        if (!mock->pending)
                return reply_error(m, "org.aviommu1.Error.", "WrongState");
        (void)reply_error(mock->pending, "org.aviommu1.Error.", "Cancelled");
        mock->pending = sd_bus_message_unref(mock->pending);
        return sd_bus_reply_method_return(m, NULL);
}

static int dispatch(Mock *mock, sd_bus_message *m) {
        const char *member = sd_bus_message_get_member(m);

        if (mode_is(mock, "silent"))
                return 0;
        if (mode_is(mock, "vanish"))
                _exit(0);
        if (mode_is(mock, "types"))
                return sd_bus_reply_method_return(m, "a{sv}", 5, "admitted", "s", "yes", "Version",
                                                  "u", 7U, "HostIommu", "t", UINT64_C(3), "Name",
                                                  "ai", 2, 1, 2, "Uuid", "b", true);
        if (mode_is(mock, "empty"))
                return sd_bus_reply_method_return(m, NULL);

        if (mode_is(mock, "denied") && strncmp(member, "Get", 3) != 0)
                return reply_error(m, "org.aviommu1.Error.", "AccessDenied");

        if (streq(member, "GetAll"))
                return on_get_all(mock, m);
        if (streq(member, "Get"))
                return on_get(mock, m);
        if (streq(member, "GetManagedObjects"))
                return on_managed_objects(mock, m);
        if (streq(member, "ListVms") || streq(member, "ListVmDetails"))
                return on_list_vms(mock, m, !streq(member, "ListVms"));
        if (streq(member, "ListFunctions"))
                return on_list_functions(mock, m);
        if (streq(member, "GetVm") || streq(member, "GetVmByName"))
                return on_get_vm(mock, m);
        if (streq(member, "Plan"))
                return on_plan(mock, m);
        if (streq(member, "ListQuarantined"))
                return on_list_quarantined(mock, m);
        if (streq(member, "ListReservations"))
                return on_list_reservations(mock, m);
        if (streq(member, "ListDefinitions"))
                return on_list_definitions(mock, m);
        if (streq(member, "GetDefinition"))
                return on_get_definition(mock, m);
        if (streq(member, "DefineVm") || streq(member, "ModifyDefinition"))
                return on_define(m);
        if (streq(member, "UndefineVm"))
                return sd_bus_reply_method_return(m, NULL);
        if (streq(member, "StartDefinition"))
                return sd_bus_reply_method_return(m, "o", PATH_1);
        if (streq(member, "Reserve"))
                return sd_bus_reply_method_return(m, "s", "0a1b2c3d4e5f40718293a4b5c6d7e8f9");
        if (streq(member, "Reclaim"))
                return on_reclaim(mock, m);
        if (streq(member, "Describe"))
                return on_describe(mock, m);
        if (streq(member, "OpenContext") || streq(member, "OpenDevice"))
                return on_open(m);
        if (mode_is(mock, "no-leash") && streq(member, "SetLeash"))
                return reply_error(m, "org.aviommu1.Error.", "WrongState");
        if (mode_is(mock, "no-confirm") && streq(member, "ConfirmContext"))
                return reply_error(m, "org.aviommu1.Error.", "WrongState");
        if (streq(member, "Cancel"))
                return on_cancel(mock, m);
        return on_change(mock, m);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *path = sd_bus_message_get_path(m);
        Mock *mock = userdata;
        uint8_t type;

        (void)reterr;
        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL || !path ||
            strncmp(path, "/org/aviommu1", 13) != 0)
                return 0;

        printf("%s %s%s", path, sd_bus_message_get_member(m),
               sd_bus_message_get_allow_interactive_authorization(m) ? "" : " (no-ask)");
        dump(m);
        printf("\n");
        (void)fflush(stdout);
        if (dispatch(mock, m) < 0)
                printf("the mock could not answer\n");
        return 1;
}

int main(int argc, char *argv[]) {
        Mock mock = { .mode = argc > 2 ? argv[2] : "normal" };
        int r;

        if (argc < 2) {
                (void)fprintf(stderr, "mock-aviommud ADDRESS [MODE]\n");
                return 2;
        }
        if (strncmp(mock.mode, "slow=", 5) == 0)
                mock.delay_usec = strtoul(mock.mode + 5, NULL, 10) * 1000;

        if ((r = sd_bus_new(&mock.bus)) < 0 || (r = sd_bus_set_address(mock.bus, argv[1])) < 0 ||
            (r = sd_bus_set_bus_client(mock.bus, true)) < 0 ||
            (r = sd_bus_negotiate_fds(mock.bus, true)) < 0 || (r = sd_bus_start(mock.bus)) < 0 ||
            (r = sd_bus_add_filter(mock.bus, NULL, on_message, &mock)) < 0 ||
            /* The bus may not have noticed yet that the one before has gone. */
            (r = sd_bus_request_name(mock.bus, "org.aviommu1",
                                     SD_BUS_NAME_REPLACE_EXISTING |
                                             SD_BUS_NAME_ALLOW_REPLACEMENT)) < 0) {
                (void)fprintf(stderr, "mock-aviommud: %s\n", strerror(-r));
                return 1;
        }
        printf("ready\n");
        (void)fflush(stdout);

        for (;;) {
                r = sd_bus_process(mock.bus, NULL);
                if (r < 0)
                        break;
                if (mock.pending && now_usec() >= mock.due_usec) {
                        (void)finish_change(&mock, mock.pending);
                        mock.pending = sd_bus_message_unref(mock.pending);
                        continue;
                }
                if (r == 0) {
                        uint64_t now = now_usec();

                        r = sd_bus_wait(mock.bus, !mock.pending         ? UINT64_MAX
                                                  : mock.due_usec > now ? mock.due_usec - now
                                                                        : 0);
                        if (r < 0 && r != -EINTR)
                                break;
                }
        }
        (void)sd_bus_unref(mock.bus);
        return 0;
}
