/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Bad input: each kind gets an error name of its own and a sentence, and leaves the world as it was. The world is the ledger,
 * the kernel and the list of VMs, as the daemon tells of them before and after each call.
 */

#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC   "0000:01:00.0"
#define NIC2  "0000:41:00.0"
#define DISK  "0000:43:00.0"
#define GPU   "0000:10:00.0"
#define GPU_1 "0000:10:00.1"
#define TOKEN "00112233-4455-6677-8899-aabbccddeeff"
#define OTHER "ffeeddcc-bbaa-9988-7766-554433221100"
#define MIB   UINT64_C(1048576)

/* The VM that is there all the time, and what it has. */
typedef struct Base {
        Fixture *f;
        const char *vm;
        int file;
        char *world;
} Base;

static Base base_new(Fixture *f) {
        Base base = { .f = f, .vm = vm_path(uuid_of(1)), .file = memfd_of(4 * MIB) };

        CREATE(f, uuid_of(1), .name = "base", .tier = "hardware", .functions = NIC " " NIC2,
               .memory = 4 * MIB);
        run_ok(f, base.vm, "Vm", "MapMemory", "htttu", base.file, UINT64_C(0), 2 * MIB, UINT64_C(0),
               UINT32_C(1));
        base.world = world(f);
        return base;
}

static void base_done(Base *base) {
        vm_destroy_ok(base->f, uuid_of(1));
        assert_nothing_left(base->f);
        (void)close(base->file);
        free(base->world);
}

/* @what: the test's own words, shown when it goes wrong. */
static void refused(Base *base, const char *what, const char *error, sd_bus_message *m) {
        _cleanup_free_ char *after = NULL;
        bool good;
        Call call;

        call_start(base->f, &call, m);
        call_wait(&call);
        after = world(base->f);
        good = streq(call_error(&call), error) && streq(after, base->world);
        if (!good)
                print_error("in: %s\n", what);
        call_expect(&call, error);
        assert_string_equal(after, base->world);
}

static void refused_vm(Base *base, const char *what, const char *error, VmSpec *spec) {
        if (!spec->uuid)
                spec->uuid = uuid_of(2);
        refused(base, what, error, vm_request(base->f->bus, "CreateVm", spec));
}

#define REFUSED_VM(base, error, ...)                                                               \
        refused_vm((base), #__VA_ARGS__, (error), &(VmSpec){ __VA_ARGS__ })

#define REFUSED(base, error, path, interface, member, ...)                                         \
        refused((base), member " " #__VA_ARGS__, (error),                                          \
                message_new((base)->f->bus, (path), (interface), (member), __VA_ARGS__))

#define REFUSED_MAP(base, error, ...)                                                              \
        REFUSED(base, error, (base)->vm, "Vm", "MapMemory", "htttu", __VA_ARGS__)

static void test_uuids(void **state) {
        static const char *const uuids[] = {
                "",
                "guest",
                "5ca1ab1e-0000-4000-8000-00000000000",
                "5ca1ab1e-0000-4000-8000-0000000000011",
                "5ca1ab1e-0000-4000-8000-00000000000g",
                "5ca1ab1e-0000-4000-8000-000000000001 ",
                " 5ca1ab1e-0000-4000-8000-000000000001",
                "{5ca1ab1e-0000-4000-8000-000000000001}",
                "5ca1ab1e0000-4000-8000-000000000001-",
                "00000000-0000-0000-0000-000000000000",
                "%s%n",
        };
        Base base = base_new(*state);

        for (size_t i = 0; i < ELEMENTSOF(uuids); i++) {
                REFUSED_VM(&base, "InvalidUuid", .uuid = uuids[i], .tier = "virtio");
                REFUSED(&base, "InvalidUuid", NULL, "Manager", "Plan", "sa{sv}", uuids[i], 0);
                REFUSED(&base, "InvalidUuid", NULL, "Manager", "GetVm", "s", uuids[i]);
                REFUSED(&base, "InvalidUuid", NULL, "Manager", "PrepareContext", "s", uuids[i]);
        }
        REFUSED(&base, "NoSuchVm", NULL, "Manager", "GetVm", "s", uuid_of(2));
        REFUSED(&base, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "");
        REFUSED(&base, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "bas");
        REFUSED_VM(&base, "VmExists", .uuid = uuid_of(1), .tier = "virtio");
        REFUSED_VM(&base, "VmExists", .uuid = uuid_of(1), .name = "x", .tier = "virtio");
        REFUSED_VM(&base, "VmExists", .name = "base", .tier = "virtio");
        base_done(&base);
}

static void test_addresses(void **state) {
        static const char *const addresses[] = {
                "",
                "41:00",
                "0000:41:00",
                "0000:41:00.8",
                "0000:41:20.0",
                "g000:41:00.0",
                "0000:41:00.0 ",
                "0000:141:00.0",
                "0x0000:41:0.0",
                "0000.41.00.0",
                "0000:41:00.00",
                "00000:41:00.0",
        };
        Base base = base_new(*state);

        for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
                REFUSED(&base, "InvalidAddress", base.vm, "Vm", "AttachDevice", "sa{sv}",
                        addresses[i], 0);
                REFUSED(&base, "InvalidAddress", base.vm, "Vm", "DetachDevice", "s", addresses[i]);
                REFUSED(&base, "InvalidAddress", base.vm, "Vm", "OpenDevice", "s", addresses[i]);
                REFUSED(&base, "InvalidAddress", NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2),
                        2, "tier", "s", "virtio", "functions", "a(sa{sv})", 1, addresses[i], 0);
        }
        REFUSED_VM(&base, "InvalidAddress", .tier = "hardware", .functions = DISK "=1:00.0");
        REFUSED_VM(&base, "InvalidAddress", .tier = "hardware", .functions = DISK "=01:00.8");
        REFUSED_VM(&base, "InvalidAddress", .tier = "hardware", .functions = DISK "=");
        REFUSED(&base, "InvalidAddress", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1,
                "guest-device-id", "s", "0000:01:00.0");
        REFUSED_VM(&base, "InvalidUuid", .tier = "hardware", .functions = DISK ",token=1");
        base_done(&base);
}

static void test_keys(void **state) {
        Base base = base_new(*state);
        const char *uuid = uuid_of(2);

        REFUSED(&base, "UnknownKey", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "functon", "s", "x");
        REFUSED(&base, "UnknownKey", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 1, "", "s", "");
        REFUSED(&base, "UnknownKey", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 1, "Tier", "s",
                "virtio");
        REFUSED(&base, "UnknownKey", NULL, "Manager", "Plan", "sa{sv}", uuid, 1, "x", "u", 1);
        REFUSED(&base, "UnknownKey", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "functions", "a(sa{sv})", 1, DISK, 1, "guest-id", "s", "01:00.0");
        REFUSED(&base, "UnknownKey", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1, "name", "s",
                "x");
        REFUSED(&base, "UnknownKey", base.vm, "Vm", "Destroy", "a{sv}", 1, "now", "b", true);

        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 1, "tier", "u",
                1);
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 1, "tier", "v",
                "s", "virtio");
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "functions", "as", 1, DISK);
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "memory", "u", 4096);
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "memory", "x", INT64_C(-1));
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "leash-pidfd", "s", "1");
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "virtio", "name", "as", 0);
        REFUSED(&base, "InvalidType", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s",
                "hardware", "guest-domains", "t", UINT64_C(1));
        REFUSED(&base, "InvalidType", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1, "managed",
                "s", "yes");
        REFUSED(&base, "InvalidType", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1,
                "guest-device-id", "q", 1);
        REFUSED(&base, "InvalidType", base.vm, "Vm", "Destroy", "a{sv}", 1, "force", "s", "yes");

        REFUSED(&base, "InvalidArgument", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier",
                "s", "virtio", "tier", "s", "virtio");
        REFUSED(&base, "InvalidArgument", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 2,
                "managed", "b", false, "managed", "b", false);

        /* Signatures are the bus library's matter. */
        REFUSED(&base, "org.freedesktop.DBus.Error.InvalidArgs", NULL, "Manager", "CreateVm", "s",
                uuid);
        REFUSED(&base, "org.freedesktop.DBus.Error.InvalidArgs", base.vm, "Vm", "SetLeash", "u", 1);
        REFUSED(&base, "org.freedesktop.DBus.Error.UnknownMethod", base.vm, "Vm", "Suspend", "");
        base_done(&base);
}

static void test_values(void **state) {
        char longest[130], longer[131];
        Base base = base_new(*state);

        memset(longest, 'n', sizeof(longest));
        longest[128] = '\0';
        memset(longer, 'n', sizeof(longer));
        longer[129] = '\0';

        REFUSED_VM(&base, "InvalidArgument", .name = "x"); /* no tier */
        REFUSED_VM(&base, "InvalidArgument", .tier = "");
        REFUSED_VM(&base, "InvalidArgument", .tier = "gold");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .handover = "libvirt");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .leash = "none");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .leash = "rope");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = "");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = " x");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = "x ");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = "a\nb");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = "a\x1b[2J");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = "a\x7f");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .name = longer);
        REFUSED_VM(&base, "InvalidArgument", .tier = "hardware", .handover = "none");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .guest_domains = 1);
        REFUSED_VM(&base, "InvalidArgument", .tier = "hardware", .guest_domains = 65536);
        REFUSED(&base, "InvalidArgument", NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2), 2,
                "tier", "s", "hardware", "guest-domains", "u", UINT32_C(0));
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .functions = DISK " " DISK);
        REFUSED_VM(&base, "InvalidArgument", .tier = "hardware",
                   .functions = "0000:07:00.0,managed");
        REFUSED_VM(&base, "InvalidArgument", .tier = "virtio", .functions = DISK "=01:00.0");
        REFUSED_VM(&base, "InvalidArgument", .tier = "hardware", .functions = "0000:00:01.1");
        REFUSED(&base, "InvalidArgument", base.vm, "Vm", "AttachDevice", "sa{sv}", "0000:00:01.1",
                0);
        REFUSED(&base, "InvalidArgument", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1,
                "managed", "b", true);
        REFUSED(&base, "InvalidArgument", base.vm, "Vm", "Describe", "s", "");
        REFUSED(&base, "InvalidArgument", base.vm, "Vm", "Describe", "s", "yaml");

        /* The longest name is a name. */
        CREATE(base.f, uuid_of(2), .tier = "virtio", .name = longest);
        vm_destroy_ok(base.f, uuid_of(2));
        base_done(&base);
}

static void test_functions(void **state) {
        Base base = base_new(*state);
        Fixture *f = base.f;

        REFUSED_VM(&base, "NoSuchFunction", .tier = "hardware", .functions = "0000:99:00.0");
        REFUSED_VM(&base, "NoSuchFunction", .tier = "virtio", .handover = "none",
                   .functions = "0000:99:00.0,managed");
        REFUSED_VM(&base, "NoSuchFunction", .tier = "hardware",
                   .functions = DISK " ffff:ff:1f.7"); /* the first is good */
        REFUSED(&base, "NoSuchFunction", base.vm, "Vm", "AttachDevice", "sa{sv}", "0000:99:00.0",
                0);
        REFUSED(&base, "NoSuchFunction", base.vm, "Vm", "DetachDevice", "s", DISK);
        REFUSED(&base, "NoSuchFunction", base.vm, "Vm", "OpenDevice", "s", DISK);

        REFUSED_VM(&base, "FunctionNotBound", .tier = "hardware", .functions = "0000:07:00.0");
        REFUSED_VM(&base, "FunctionNotBound", .tier = "emulated", .functions = "0000:07:00.0");
        REFUSED_VM(&base, "FunctionNotBound", .tier = "virtio", .handover = "none",
                   .functions = "0001:02:00.0");
        /* The host's own network, and its disk, which libvirt would take from under it. */
        REFUSED_VM(&base, "FunctionInUse", .tier = "virtio", .handover = "none",
                   .functions = "0000:02:00.0");
        REFUSED_VM(&base, "FunctionInUse", .tier = "emulated", .functions = "0003:48:00.0,managed");
        REFUSED(&base, "FunctionNotBound", base.vm, "Vm", "AttachDevice", "sa{sv}", "0000:07:00.0",
                0);

        REFUSED_VM(&base, "FunctionInUse", .tier = "hardware", .functions = NIC);
        REFUSED_VM(&base, "FunctionInUse", .tier = "virtio", .handover = "none",
                   .functions = DISK " " NIC ",managed");
        REFUSED(&base, "FunctionInUse", base.vm, "Vm", "AttachDevice", "sa{sv}", NIC, 0);

        REFUSED_VM(&base, "GroupNotWhole", .tier = "hardware", .functions = GPU);
        REFUSED_VM(&base, "GroupNotWhole", .tier = "virtio", .handover = "none",
                   .functions = GPU_1);
        REFUSED_VM(&base, "GroupNotWhole", .tier = "hardware", .functions = "0000:21:00.0");
        REFUSED(&base, "GroupNotWhole", base.vm, "Vm", "AttachDevice", "sa{sv}", GPU_1, 0);

        REFUSED_VM(&base, "DuplicateGuestDeviceId", .tier = "hardware",
                   .functions = DISK "=02:00.0 0000:44:00.0=02:00.0");
        REFUSED(&base, "DuplicateGuestDeviceId", base.vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1,
                "guest-device-id", "s", "01:00.0");

        REFUSED_VM(&base, "VfTokenRequired", .tier = "hardware", .functions = "0000:51:00.1");
        REFUSED_VM(&base, "VfTokenRequired", .tier = "hardware",
                   .functions = "0000:51:00.1,token=" OTHER);
        REFUSED(&base, "VfTokenRequired", base.vm, "Vm", "AttachDevice", "sa{sv}", "0000:51:00.2",
                0);

        /* Whole groups and known tokens do. */
        CREATE(f, uuid_of(2), .tier = "hardware",
               .functions = GPU " " GPU_1 " 0000:51:00.1,token=" TOKEN);
        run_ok(f, vm_path(uuid_of(2)), "Vm", "DetachDevice", "s", GPU);
        run_fails(f, "FunctionInUse", base.vm, "Vm", "AttachDevice", "sa{sv}", GPU, 0);
        run_ok(f, vm_path(uuid_of(2)), "Vm", "AttachDevice", "sa{sv}", GPU, 0);
        vm_destroy_ok(f, uuid_of(2));
        assert_world(f, base.world);

        /* The rest of a group belongs to somebody. */
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = GPU " " GPU_1);
        run_fails(f, "FunctionInUse", base.vm, "Vm", "AttachDevice", "sa{sv}", GPU_1, 0);
        vm_destroy_ok(f, uuid_of(2));
        base_done(&base);
}

/* ---- memory ---- */

static void test_memory(void **state) {
        Base base = base_new(*state);
        Fixture *f = base.f;
        char path[128];
        _cleanup_close_ int readable = -1, only_path = -1, on_disk = -1, device = -1;
        int pipe_fds[2];

        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(0), UINT64_C(0), 4 * MIB,
                    UINT32_C(1));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(0), UINT64_C(4095), 4 * MIB,
                    UINT32_C(1));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(1), MIB, 4 * MIB, UINT32_C(1));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(0), MIB, UINT64_C(4097),
                    UINT32_C(1));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(0), MIB, 4 * MIB, UINT32_C(2));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_C(0), MIB, UINT64_MAX - 4095,
                    UINT32_C(1));
        REFUSED_MAP(&base, "InvalidArgument", base.file, UINT64_MAX - 4095, MIB, 4 * MIB,
                    UINT32_C(1));

        REFUSED_MAP(&base, "MemoryOverlap", base.file, UINT64_C(0), MIB, UINT64_C(0), UINT32_C(1));
        REFUSED_MAP(&base, "MemoryOverlap", base.file, UINT64_C(0), 2 * MIB, MIB, UINT32_C(1));

        assert_int_equal(pipe(pipe_fds), 0);
        REFUSED_MAP(&base, "NotMappable", pipe_fds[0], UINT64_C(0), MIB, 4 * MIB, UINT32_C(1));
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        device = open("/dev/zero", O_RDWR | O_CLOEXEC);
        REFUSED_MAP(&base, "NotMappable", device, UINT64_C(0), MIB, 4 * MIB, UINT32_C(1));
        on_disk = open(PROFILES "/small.json", O_RDONLY | O_CLOEXEC);
        REFUSED_MAP(&base, "NotMappable", on_disk, UINT64_C(0), UINT64_C(4096), 4 * MIB,
                    UINT32_C(0));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", base.file);
        readable = open(path, O_RDONLY | O_CLOEXEC);
        REFUSED_MAP(&base, "NotMappable", readable, UINT64_C(0), MIB, 4 * MIB, UINT32_C(1));
        only_path = open(path, O_PATH | O_CLOEXEC);
        REFUSED_MAP(&base, "NotMappable", only_path, UINT64_C(0), MIB, 4 * MIB, UINT32_C(0));
        REFUSED_MAP(&base, "NotMappable", base.file, 2 * MIB, 4 * MIB, 4 * MIB, UINT32_C(1));
        REFUSED_MAP(&base, "NotMappable", base.file, 16 * MIB, MIB, 4 * MIB, UINT32_C(1));

        REFUSED(&base, "NoSuchMapping", base.vm, "Vm", "UnmapMemory", "tt", 4 * MIB, MIB);
        REFUSED(&base, "NoSuchMapping", base.vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), MIB);
        REFUSED(&base, "NoSuchMapping", base.vm, "Vm", "UnmapMemory", "tt", UINT64_C(0),
                UINT64_C(0));
        REFUSED(&base, "NoSuchMapping", base.vm, "Vm", "UnmapMemory", "tt", UINT64_MAX, UINT64_MAX);

        /* Read-only from a read-only file is fine, and once more fills up to the limit. */
        run_ok(f, base.vm, "Vm", "MapMemory", "htttu", readable, UINT64_C(0), MIB, 4 * MIB,
               UINT32_C(0));
        run_fails(f, "LimitsExceeded", base.vm, "Vm", "MapMemory", "htttu", base.file, UINT64_C(0),
                  MIB, 8 * MIB, UINT32_C(1));
        run_ok(f, base.vm, "Vm", "UnmapMemory", "tt", 4 * MIB, MIB);
        assert_world(f, base.world);
        base_done(&base);
}

static void test_pinning(void **state) {
        Base base = base_new(*state);
        Fixture *f = base.f;

        REFUSED_VM(&base, "NoPinnableMemory", .tier = "virtio", .memory = UINT64_MAX);
        REFUSED_VM(&base, "NoPinnableMemory", .tier = "virtio", .memory = UINT64_C(1) << 60);

        /* The kernel's limit, where the ledger has room. */
        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "memlock", 2 * MIB);
        REFUSED(&base, "NoPinnableMemory", base.vm, "Vm", "MapMemory", "htttu", base.file,
                UINT64_C(0), MIB, 4 * MIB, UINT32_C(1));
        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "memlock", 16 * MIB);
        run_ok(f, base.vm, "Vm", "MapMemory", "htttu", base.file, UINT64_C(0), MIB, 4 * MIB,
               UINT32_C(1));
        run_fails(f, "InvalidArgument", SIMULATION_PATH, "Simulation", "SetLimit", "st", "sky",
                  UINT64_C(1));
        base_done(&base);
}

/* ---- paths ---- */

static void test_stale(void **state) {
        static const char *const outside[] = { "/org/aviommu1/vm/x", "/org/aviommu1/vm",
                                               "/org/aviommu1/host/ivhd9", "/org" };
        Base base = base_new(*state);
        Fixture *f = base.f;
        const char *vm = vm_path(uuid_of(9));

        REFUSED(&base, "NoSuchVm", vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        REFUSED(&base, "NoSuchVm", vm, "Vm", "DetachDevice", "s", DISK);
        REFUSED(&base, "NoSuchVm", vm, "Vm", "CreateViommu", "s", "ivhd0");
        REFUSED(&base, "NoSuchVm", vm, "Vm", "MapMemory", "htttu", base.file, UINT64_C(0), MIB,
                UINT64_C(0), UINT32_C(1));
        REFUSED(&base, "NoSuchVm", vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), MIB);
        REFUSED(&base, "NoSuchVm", vm, "Vm", "OpenContext", "");
        REFUSED(&base, "NoSuchVm", vm, "Vm", "OpenDevice", "s", DISK);
        REFUSED(&base, "NoSuchVm", vm, "Vm", "ConfirmContext", "");
        REFUSED(&base, "NoSuchVm", vm, "Vm", "SetLeash", "h", base.file);
        REFUSED(&base, "NoSuchVm", vm, "Vm", "Cancel", "");
        REFUSED(&base, "NoSuchVm", vm, "Vm", "Describe", "s", "json");
        REFUSED(&base, "NoSuchVm", vm, "Vm", "Destroy", "a{sv}", 0);
        REFUSED(&base, "NoSuchVm", vm, "org.freedesktop.DBus.Properties", "Get", "ss",
                "org.aviommu1.Vm", "State");
        REFUSED(&base, "NoSuchVm", vm, "org.freedesktop.DBus.Properties", "GetAll", "s",
                "org.aviommu1.Vm");
        REFUSED(&base, "NoSuchViommu", viommu_path(uuid_of(1), 5), "Viommu", "Destroy", "");
        REFUSED(&base, "NoSuchViommu", viommu_path(uuid_of(9), 1), "Viommu", "Destroy", "");
        REFUSED(&base, "NoSuchViommu", viommu_path(uuid_of(1), 5),
                "org.freedesktop.DBus.Properties", "Get", "ss", "org.aviommu1.Viommu", "State");

        for (size_t i = 0; i < ELEMENTSOF(outside); i++) {
                Call call;

                call_method(f, &call, f->bus, outside[i], "Vm", "Destroy", "a{sv}", 0);
                call_wait(&call);
                assert_true(strncmp(call_error(&call), "org.freedesktop.DBus.Error.Unknown", 34) ==
                            0);
                call_done(&call);
        }
        /* Members of a VM are not members of its vIOMMU, nor the other way round. */
        run_fails(f, "org.freedesktop.DBus.Error.UnknownMethod", viommu_path(uuid_of(1), 1), "Vm",
                  "Destroy", "a{sv}", 0);
        run_fails(f, "org.freedesktop.DBus.Error.UnknownMethod", base.vm, "Viommu", "Destroy", "");
        assert_world(f, base.world);
        base_done(&base);
}

static void test_order_of_handover(void **state) {
        Base base = base_new(*state);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        Fixture *f = base.f;

        REFUSED(&base, "WrongState", base.vm, "Vm", "Cancel", "");
        REFUSED(&base, "WrongState", base.vm, "Vm", "ConfirmContext", "");
        run_ok(f, base.vm, "Vm", "SetLeash", "h", self);
        run_fails(f, "WrongState", base.vm, "Vm", "ConfirmContext", ""); /* nobody has opened it */
        (void)close(vm_open_context(f, uuid_of(1), NULL));
        run_ok(f, base.vm, "Vm", "ConfirmContext", "");
        run_fails(f, "WrongState", base.vm, "Vm", "OpenDevice", "s", NIC);
        vm_destroy_force(f, uuid_of(1));
        assert_nothing_left(f);
        (void)close(base.file);
        free(base.world);
}

/* ---- limits ---- */

/* Plan's verdict: the error and the two amounts. */
static void assert_plan(Fixture *f, const VmSpec *spec, const char *expected) {
        _cleanup_free_ char *text = NULL;
        Call call;

        call_start(f, &call, vm_request(f->bus, "Plan", spec));
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        text = message_to_text(call.reply);
        call_done(&call);
        if (!strstr(text, expected))
                fail_msg("there is no %s in %s", expected, text);
}

/* Fills it, fails one more, releases one, succeeds. */
static void test_fill_instances(void **state) {
        Fixture *f = *state;
        const VmSpec third = { .uuid = uuid_of(3),
                               .tier = "hardware",
                               .functions = "0000:45:00.0" };
        _cleanup_free_ char *full = NULL;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = "0000:41:00.0");
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = "0000:42:00.0");
        full = world(f);
        assert_plan(f, &third, "\"error\": \"org.aviommu1.Error.NoFreeInstance\"");
        assert_plan(f, &third, "\"wanted\": 1, \"available\": 0");
        for (int i = 0; i < 3; i++) {
                vm_create_fails(f, "NoFreeInstance", &third);
                assert_world(f, full);
        }
        vm_destroy_ok(f, uuid_of(1));
        vm_create(f, &third);
        CREATE_FAILS(f, "NoFreeInstance", uuid_of(1), .tier = "hardware",
                     .functions = "0000:41:00.0");

        /* Another function on an instance that is there takes none. */
        run_ok(f, vm_path(uuid_of(3)), "Vm", "AttachDevice", "sa{sv}", "0000:41:00.0", 0);
        vm_destroy_ok(f, uuid_of(2));
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

static void test_fill_trans_devids(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        CREATE_FAILS(f, "NoFreeTransDevId", uuid_of(2), .tier = "hardware", .functions = NIC2);
        run_fails(f, "NoFreeTransDevId", vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", NIC2,
                  0);
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

static void test_fill_contiguous(void **state) {
        Fixture *f = *state;

        CREATE_FAILS(f, "NoContiguousMemory", uuid_of(1), .tier = "hardware", .functions = NIC);
        assert_nothing_left(f);
}

/* The ledger would have some, but the node has none. */
static void test_fill_node(void **state) {
        Fixture *f = *state;

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "contiguous",
               3 * (UINT64_C(1) << 19));
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        CREATE_FAILS(f, "NoContiguousMemory", uuid_of(2), .tier = "hardware", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(1));
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* The ledger would have some, but the kernel has none. */
static void test_fill_kernel(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        before = world(f);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "guest-ids", UINT64_C(1));
        CREATE_FAILS(f, "NoFreeInstance", uuid_of(2), .tier = "hardware",
                     .functions = "0000:03:00.0");
        assert_world(f, before);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "guest-ids", UINT64_C(2));
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = "0000:03:00.0");
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

static void test_fill_domain_ids(void **state) {
        Fixture *f = *state;

        CREATE_FAILS(f, "NoFreeDomainId", uuid_of(1), .tier = "hardware", .functions = NIC,
                     .guest_domains = 61439);
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .guest_domains = 61438);
        CREATE_FAILS(f, "NoFreeDomainId", uuid_of(2), .tier = "virtio", .handover = "none");
        vm_destroy_ok(f, uuid_of(1));
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none");
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

static void test_fill_memory(void **state) {
        Fixture *f = *state;
        const uint64_t capacity = UINT64_C(1484340697440); /* 90 percent of 2 x 768 GiB */
        _cleanup_close_ int file = memfd_of(MIB);
        const char *vm = vm_path(uuid_of(2));

        CREATE_FAILS(f, "NoPinnableMemory", uuid_of(1), .tier = "virtio", .memory = capacity + 1);
        CREATE(f, uuid_of(1), .tier = "virtio", .memory = capacity);
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC);
        CREATE_FAILS(f, "NoPinnableMemory", uuid_of(3), .tier = "virtio", .memory = 1);
        run_fails(f, "NoPinnableMemory", vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB,
                  UINT64_C(0), UINT32_C(1));
        vm_destroy_ok(f, uuid_of(1));
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB, UINT64_C(0), UINT32_C(1));
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

static void test_fill_counts(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC " " NIC2);
        run_fails(f, "LimitsExceeded", vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", DISK,
                  0);
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(2), .tier = "virtio",
                     .functions = DISK " 0000:44:00.0 0000:45:00.0");
        CREATE(f, uuid_of(2), .tier = "virtio");
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(1));
        CREATE(f, uuid_of(3), .tier = "virtio", .functions = DISK);
        vm_destroy_ok(f, uuid_of(2));
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_uuids),
                BUS_TEST(test_addresses),
                BUS_TEST(test_keys),
                BUS_TEST(test_values),
                BUS_TEST(test_functions),
                BUS_TEST(test_memory, .config = "MaxMappingsPerVm=2"),
                BUS_TEST(test_pinning),
                BUS_TEST(test_stale),
                BUS_TEST(test_order_of_handover),
                BUS_TEST(test_fill_instances, .profile = "small", .config = "InstancesPerIommu=2"),
                BUS_TEST(test_fill_trans_devids, .config = "HotplugDevIdsReserved=65459"),
                BUS_TEST(test_fill_contiguous, .config = "ContiguousMemoryPerNodePercent=0"),
                BUS_TEST(test_fill_node),
                BUS_TEST(test_fill_kernel),
                BUS_TEST(test_fill_domain_ids),
                BUS_TEST(test_fill_memory),
                BUS_TEST(test_fill_counts, .config = "MaxVms=2\nMaxFunctionsPerVm=2"),
        };

        return bus_tests_run(argc, argv, tests);
}
