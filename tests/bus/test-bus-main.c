/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The main job: a VM with three functions behind two host IOMMUs, from the plan to the death of its VMM, as libvirt and a VMM
 * would do it. The VMM here is a forked child that has the descriptors and opens the simulated kernel as the real one is: by
 * itself.
 */

#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define ALL  NIC " " NIC2 " " DISK

#define MIB UINT64_C(1048576)

#define CHARGES                                                                                    \
        "[(\"instances\", \"ivhd0\", 1), (\"trans-devids\", \"0000\", 2), "                        \
        "(\"contiguous-memory\", \"node0\", 3145728), (\"domain-ids\", \"host\", 129), "           \
        "(\"instances\", \"ivhd1\", 1), (\"pinned-memory\", \"host\", 67108864), "                 \
        "(\"descriptors\", \"host\", 5)]"

/* The part of @text from @key on must be @expected. */
static void assert_at(const char *text, const char *key, const char *expected) {
        const char *p = strstr(text, key);

        if (!p || strncmp(p + strlen(key), expected, strlen(expected)) != 0)
                fail_msg("after %s there is not %s in: %s", key, expected, text);
}

static char *plan(Fixture *f, const VmSpec *spec) {
        Call call;
        char *text;

        call_start(f, &call, vm_request(f->bus, "Plan", spec));
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        text = message_to_text(call.reply);
        call_done(&call);
        return text;
}

/* The plan says what CreateVm then does, and does nothing. */
static void test_plan(void **state) {
        Fixture *f = *state;
        const VmSpec spec = { .uuid = uuid_of(1),
                              .name = "guest",
                              .tier = "hardware",
                              .functions = ALL,
                              .memory = 64 * MIB };
        _cleanup_free_ char *before = world(f);
        _cleanup_free_ char *cold = plan(f, &spec), *warm = NULL, *again = NULL, *charges = NULL;

        /* Nobody has asked the kernel yet: CreateVm would, a plan doesn't touch it. */
        assert_at(cold, "\"admitted\": ", "false");
        assert_at(cold, "\"error\": ", "\"org.aviommu1.Error.KernelLevelUnknown\"");
        assert_world(f, before);
        run_ok(f, ROOT_PATH "/host/ivhd0", "HostIommu", "Probe", "");
        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        assert_property(f, ROOT_PATH "/host/ivhd1", "HostIommu", "KernelLevel", "\"accelerated\"");

        warm = plan(f, &spec);
        assert_at(warm, "\"admitted\": ", "true");
        assert_at(warm, "\"tier\": ", "\"hardware\"");
        assert_at(warm, "\"handover\": ", "\"daemon\"");
        assert_at(warm, "\"viommus\": ", "[\"ivhd0\", \"ivhd1\"]");
        assert_at(warm, "\"charges\": ", CHARGES);
        assert_at(warm, "(\"" NIC2 "\", ", "\"ivhd1\", \"02:00.0\", ");
        assert_world(f, before);

        vm_create(f, &spec);
        charges = property(f, vm_path(spec.uuid), "Vm", "Charges");
        assert_string_equal(charges, CHARGES);
        again = plan(f, &spec);
        assert_at(again, "\"error\": ", "\"org.aviommu1.Error.VmExists\"");
        vm_destroy_ok(f, spec.uuid);
        assert_nothing_left(f);
}

static void test_properties(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_free_ char *text = NULL, *byname = NULL, *missing = NULL, *list = NULL;
        char expected[256];

        assert_property(f, NULL, "Manager", "Version", "\"0.1.0\"");
        assert_property(f, NULL, "Manager", "Kernel", "\"simulated\"");
        assert_property(f, NULL, "Manager", "KernelLevel", "\"unknown\"");
        assert_property(f, NULL, "Manager", "Problems", "[]");
        assert_property(f, NULL, "Manager", "NHostIommus", "8");

        CREATE(f, uuid, .name = "a guest", .tier = "hardware", .functions = ALL,
               .memory = 64 * MIB);
        assert_property(f, NULL, "Manager", "NVms", "1");
        assert_property(f, NULL, "Manager", "KernelLevel", "\"accelerated\"");
        assert_property(f, NULL, "Manager", "Tiers",
                        "[(\"hardware\", true, \"\"), (\"emulated\", true, \"\"), "
                        "(\"virtio\", true, \"\")]");

        (void)snprintf(expected, sizeof(expected), "\"%s\"", uuid);
        assert_property(f, vm, "Vm", "Uuid", expected);
        assert_property(f, vm, "Vm", "Name", "\"a guest\"");
        assert_property(f, vm, "Vm", "Tier", "\"hardware\"");
        assert_property(f, vm, "Vm", "Handover", "\"daemon\"");
        assert_property(f, vm, "Vm", "State", "\"realized\"");
        assert_property(f, vm, "Vm", "StateReason", "\"\"");
        assert_property(f, vm, "Vm", "OwnerUid", "0");
        assert_property(f, vm, "Vm", "Leash", "\"none\"");
        assert_property(f, vm, "Vm", "Confirmed", "false");
        assert_property(f, vm, "Vm", "MappedBytes", "0");
        assert_property(f, vm, "Vm", "Operation", "(\"\", 0, 0)");
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"01:00.0\", \"realized\"), "
                        "(\"" NIC2 "\", \"ivhd1\", \"02:00.0\", \"realized\"), "
                        "(\"" DISK "\", \"ivhd1\", \"02:01.0\", \"realized\")]");
        (void)snprintf(expected, sizeof(expected), "[\"%s/viommu/0\", \"%s/viommu/1\"]", vm, vm);
        assert_property(f, vm, "Vm", "Viommus", expected);
        assert_property(f, viommu_path(uuid, 1), "Viommu", "HostIommu", "\"ivhd1\"");
        assert_property(f, viommu_path(uuid, 1), "Viommu", "VfMmioSize", "4096");
        assert_property(f, viommu_path(uuid, 1), "Viommu", "State", "\"realized\"");
        text = property(f, viommu_path(uuid, 1), "Viommu", "Devices");
        assert_at(text, "[(", "\"" NIC2 "\", \"02:00.0\", ");
        assert_at(text, "), (", "\"" DISK "\", \"02:01.0\", ");

        (void)snprintf(expected, sizeof(expected), "\"%s\"", vm);
        byname = ask_text(f, NULL, "Manager", "GetVmByName", "s", "a guest");
        assert_string_equal(byname, expected);
        missing = ask_text(f, NULL, "Manager", "GetVm", "s", uuid);
        assert_string_equal(missing, expected);
        list = ask_text(f, NULL, "Manager", "ListVms", "su", "", UINT32_C(10));
        (void)snprintf(expected, sizeof(expected),
                       "[(\"%s\", \"a guest\", \"hardware\", \"daemon\", \"realized\", 3, "
                       "\"%s\")], \"\"",
                       uuid, vm);
        assert_string_equal(list, expected);

        vm_destroy_ok(f, uuid);
        run_fails(f, "NoSuchVm", NULL, "Manager", "GetVm", "s", uuid);
        assert_nothing_left(f);
}

static void test_describe(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        _cleanup_free_ char *text = NULL;

        CREATE(f, uuid, .name = "q\"uote", .tier = "hardware", .functions = NIC "=05:00.0",
               .memory = MIB);
        text = ask_text(f, vm_path(uuid), "Vm", "Describe", "s", "json");
        assert_at(text, "\"version\":", "1");
        assert_at(text, "\"uuid\":", "\"5ca1ab1e-0000-4000-8000-000000000001\"");
        assert_at(text, "\"name\":", "\"q\\\"uote\"");
        assert_at(text, "\"guest-device-id\":", "\"05:00.0\"");
        assert_at(text, "\"memory\":", "1048576");
        assert_at(text, "\"mappings\":", "[]");
        assert_at(text, "\"kind\":\"instances\",\"scope\":\"ivhd0\",", "\"amount\":1");
        vm_destroy_ok(f, uuid);
}

static void test_attach_detach(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_free_ char *before = NULL;

        CREATE(f, uuid, .tier = "hardware", .functions = NIC);
        before = world(f);

        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 1, "guest-device-id", "s", "0a:00.0");
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"01:00.0\", \"realized\"), "
                        "(\"" NIC2 "\", \"ivhd1\", \"0a:00.0\", \"realized\"), "
                        "(\"" DISK "\", \"ivhd1\", \"02:00.0\", \"realized\")]");
        assert_int_equal(counter(f, "viommus"), 2);
        assert_int_equal(counter(f, "vdevices"), 3);

        /* A vIOMMU goes with its last function, and comes back with the next. */
        run_ok(f, vm, "Vm", "DetachDevice", "s", NIC2);
        assert_int_equal(counter(f, "viommus"), 2);
        run_ok(f, vm, "Vm", "DetachDevice", "s", DISK);
        assert_world(f, before);
        run_fails(f, "NoSuchFunction", vm, "Vm", "DetachDevice", "s", DISK);

        run_ok(f, vm, "Vm", "DetachDevice", "s", NIC);
        assert_property(f, vm, "Vm", "Viommus", "[]");
        assert_int_equal(counter(f, "bound-functions"), 0);
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC, 0);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

static void test_viommu_again(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid), *path;
        _cleanup_free_ char *charges = NULL, *after = NULL, *back = NULL;
        sd_bus_message *m;

        CREATE(f, uuid, .tier = "hardware", .functions = ALL);
        charges = property(f, vm, "Vm", "Charges");
        run_fails(f, "WrongState", vm, "Vm", "CreateViommu", "s", "ivhd1");
        run_ok(f, viommu_path(uuid, 1), "Viommu", "Destroy", "");
        assert_int_equal(counter(f, "viommus"), 1);
        assert_int_equal(counter(f, "vdevices"), 1);
        assert_int_equal(counter(f, "bound-functions"), 3);
        after = property(f, vm, "Vm", "Charges");
        assert_null(strstr(after, "ivhd1"));
        run_fails(f, "NoSuchViommu", viommu_path(uuid, 1), "Viommu", "Destroy", "");
        run_fails(f, "NoHostIommu", vm, "Vm", "CreateViommu", "s", "ivhd7");
        run_fails(f, "NoHostIommu", vm, "Vm", "CreateViommu", "s", "ivhd77");

        m = ask(f, vm, "Vm", "CreateViommu", "s", "ivhd1");
        assert_true(sd_bus_message_read(m, "o", &path) > 0);
        assert_string_equal(path, viommu_path(uuid, 1));
        sd_bus_message_unref(m);
        assert_int_equal(counter(f, "vdevices"), 3);
        back = property(f, vm, "Vm", "Charges");
        assert_true(strlen(back) == strlen(charges));
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

static void test_memory(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int file = memfd_of(8 * MIB);
        _cleanup_free_ char *before = NULL, *charges = NULL;

        CREATE(f, uuid, .tier = "hardware", .functions = NIC, .memory = 4 * MIB);
        before = world(f);
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), 4 * MIB, UINT64_C(0),
               UINT32_C(1));
        assert_property(f, vm, "Vm", "MappedBytes", "4194304");
        assert_int_equal(counter(f, "pinned-bytes"), 4 * MIB);
        assert_int_equal(counter(f, "mappings"), 1);

        /* Above the request it is charged as it comes. */
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, 4 * MIB, 4 * MIB, 16 * MIB, UINT32_C(0));
        charges = property(f, vm, "Vm", "Charges");
        assert_at(charges, "(\"pinned-memory\", \"host\", ", "8388608");
        run_fails(f, "MemoryOverlap", vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), 4 * MIB,
                  18 * MIB, UINT32_C(1));
        run_fails(f, "NoSuchMapping", vm, "Vm", "UnmapMemory", "tt", 16 * MIB, 2 * MIB);
        run_ok(f, vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), 4 * MIB);
        run_ok(f, vm, "Vm", "UnmapMemory", "tt", 16 * MIB, 4 * MIB);
        run_fails(f, "NoSuchMapping", vm, "Vm", "UnmapMemory", "tt", 16 * MIB, 4 * MIB);
        assert_property(f, vm, "Vm", "MappedBytes", "0");
        assert_world(f, before);

        /* What is mapped still goes with the VM. */
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), 8 * MIB, UINT64_C(0),
               UINT32_C(1));
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* ---- the VMM ---- */

typedef struct Vmm {
        pid_t pid;
        int pidfd, ready;
} Vmm;

/* What the child does: writes to the VF page through the iommufd, says so, and lives until it is killed. */
static void vmm_run(int iommufd, uint64_t offset, int ready) {
        volatile uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, iommufd,
                                       (off_t)offset);

        if (page == MAP_FAILED)
                _exit(1);
        *page = UINT32_C(0xcafe);
        (void)!write(ready, "x", 1);
        for (;;)
                (void)pause();
}

static Vmm vmm_start(Fixture *f, int iommufd, uint64_t offset) {
        int fds[2];
        Vmm vmm;
        char c;

        assert_int_equal(pipe(fds), 0);
        vmm.pid = fixture_fork(f);
        if (vmm.pid == 0)
                vmm_run(iommufd, offset, fds[1]);
        (void)close(fds[1]);
        assert_int_equal(read(fds[0], &c, 1), 1);
        (void)close(fds[0]);
        vmm.pidfd = fixture_pidfd(vmm.pid);
        return vmm;
}

static uint64_t vf_offset(const char *ids, const char *iommu) {
        char key[32];
        const char *p;
        unsigned viommu;
        uint64_t offset;

        (void)snprintf(key, sizeof(key), "(\"%s\", ", iommu);
        p = strstr(ids, key);
        assert_non_null(p);
        assert_int_equal(sscanf(p + strlen(key), "%u, %" SCNu64, &viommu, &offset), 2);
        return offset;
}

static void test_vmm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        static const char *const functions[] = { NIC, NIC2, DISK };
        _cleanup_close_ int file = memfd_of(4 * MIB);
        _cleanup_free_ char *ids = NULL;
        int iommufd, cdevs[3];
        volatile void *page;
        size_t n_fds;
        char expected[256];
        Vmm vmm;

        CREATE(f, uuid, .name = "guest", .tier = "hardware", .functions = ALL, .memory = 64 * MIB);
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), 4 * MIB, UINT64_C(0),
               UINT32_C(1));

        iommufd = vm_open_context(f, uuid, &ids);
        assert_at(ids, "\"ioas\": ", "1");
        for (size_t i = 0; i < ELEMENTSOF(cdevs); i++)
                cdevs[i] = vm_open_device(f, uuid, functions[i]);
        vmm = vmm_start(f, iommufd, vf_offset(ids, "ivhd1"));

        /* What it wrote is on the page that the kernel has for that vIOMMU. */
        assert_int_equal(
                f->kernel->ops->vfmmio_map(f->kernel, iommufd, vf_offset(ids, "ivhd1"), &page), 0);
        assert_int_equal(*(volatile uint32_t *)page, 0xcafe);
        run_fails(f, "Busy", viommu_path(uuid, 1), "Viommu", "Destroy", "");
        assert_int_equal(
                f->kernel->ops->vfmmio_unmap(f->kernel, iommufd, vf_offset(ids, "ivhd1"), page), 0);

        run_fails(f, "WrongState", vm, "Vm", "ConfirmContext", "");
        run_ok(f, vm, "Vm", "SetLeash", "h", vmm.pidfd);
        assert_property(f, vm, "Vm", "State", "\"bound\"");
        assert_property(f, vm, "Vm", "Leash", "\"pidfd\"");
        assert_property(f, vm, "Vm", "LeashDeadlineUSec", "0");

        n_fds = fixture_count_daemon_fds(f, false);
        run_ok(f, vm, "Vm", "ConfirmContext", "");
        assert_property(f, vm, "Vm", "Confirmed", "true");
        assert_true(fixture_count_daemon_fds(f, false) < n_fds);
        run_fails(f, "WrongState", vm, "Vm", "OpenDevice", "s", NIC);
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"01:00.0\", \"bound\"), "
                        "(\"" NIC2 "\", \"ivhd1\", \"02:00.0\", \"bound\"), "
                        "(\"" DISK "\", \"ivhd1\", \"02:01.0\", \"bound\")]");

        /* From here on the VMM has it all, and the VM is not taken from under it unasked. */
        for (size_t i = 0; i < ELEMENTSOF(cdevs); i++)
                (void)close(cdevs[i]);
        (void)close(iommufd);
        run_fails(f, "WrongState", vm, "Vm", "Destroy", "a{sv}", 0);
        assert_int_equal(counter(f, "bound-functions"), 3);

        forget_signals(f);
        fixture_kill(f, vmm.pid);
        (void)snprintf(expected, sizeof(expected), "VmRemoved \"%s\", \"%s\", \"vmm-exited\"", uuid,
                       vm);
        (void)hear(f, expected);
        (void)close(vmm.pidfd);
        run_fails(f, "NoSuchVm", vm, "Vm", "Describe", "s", "json");
        assert_nothing_left(f);
}

/* Detaching after the handover waits for the VMM to let go. */
static void test_detach_from_vmm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_free_ char *before = NULL;
        int iommufd, nic, nic2;
        Call call;
        int self = fixture_pidfd(getpid());

        CREATE(f, uuid, .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid, NULL);
        nic = vm_open_device(f, uuid, NIC);
        run_ok(f, vm, "Vm", "ConfirmContext", "");
        before = world(f);

        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        nic2 = vm_open_device(f, uuid, NIC2);
        run_ok(f, vm, "Vm", "ConfirmContext", "");

        call_method(f, &call, f->bus, vm, "Vm", "DetachDevice", "s", NIC2);
        fixture_serve_for(f, 200000);
        assert_null(call.reply);
        assert_int_equal(counter(f, "vdevices"), 1);
        (void)close(nic2);
        call_expect(&call, "");
        assert_world(f, before);

        /* In time it says so, and the function stays charged until it is closed. */
        run_fails(f, "Busy", vm, "Vm", "DetachDevice", "s", NIC);
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"01:00.0\", \"draining\")]");
        CREATE_FAILS(f, "FunctionInUse", uuid_of(2), .tier = "hardware", .functions = NIC);
        (void)close(nic);
        run_ok(f, vm, "Vm", "DetachDevice", "s", NIC);
        assert_property(f, vm, "Vm", "Functions", "[]");

        (void)close(iommufd);
        vm_destroy_force(f, uuid);
        (void)close(self);
        assert_nothing_left(f);
}

/* ---- lists ---- */

#define MANY      2500
#define IN_FLIGHT 60

static void create_many(Fixture *f, sd_bus *bus) {
        Call calls[IN_FLIGHT] = {};

        for (unsigned i = 0; i < MANY + IN_FLIGHT; i++) {
                Call *call = calls + i % IN_FLIGHT;

                if (call->slot)
                        call_expect(call, "");
                /* every other first, so that the order of making is not that of listing */
                if (i < MANY)
                        call_start(f, call,
                                   vm_request(bus, "CreateVm",
                                              &(VmSpec){ .uuid = uuid_of((i * 7 + 3) % MANY),
                                                         .tier = "virtio",
                                                         .handover = "none",
                                                         .leash = "caller" }));
        }
}

/* Reads one page, whose VMs follow on @n. Returns how many it has. */
static unsigned read_page(Fixture *f, unsigned n, char cursor[static 64], uint32_t limit) {
        sd_bus_message *m = ask(f, NULL, "Manager", "ListVms", "su", cursor, limit);
        const char *uuid, *name, *tier, *handover, *vm_state, *path, *next;
        uint32_t n_functions, count = 0;

        assert_true(sd_bus_message_enter_container(m, 'a', "(sssssuo)") > 0);
        while (sd_bus_message_read(m, "(sssssuo)", &uuid, &name, &tier, &handover, &vm_state,
                                   &n_functions, &path) > 0) {
                assert_string_equal(uuid, uuid_of(n + count));
                assert_string_equal(path, vm_path(uuid));
                assert_string_equal(vm_state, "bound");
                count++;
        }
        assert_true(sd_bus_message_exit_container(m) > 0);
        assert_true(sd_bus_message_read(m, "s", &next) > 0);
        (void)snprintf(cursor, 64, "%s", next);
        sd_bus_message_unref(m);
        return count;
}

static void test_pages(void **state) {
        Fixture *f = *state;
        sd_bus *owner = fixture_connect(f);
        char cursor[64] = "";
        unsigned n = 0;

        create_many(f, owner);
        assert_property(f, NULL, "Manager", "NVms", "2500");
        for (; n == 0 || *cursor; n += 1000)
                assert_int_equal(read_page(f, n, cursor, 1000), n < 2000 ? 1000 : 500);
        assert_int_equal(n, 3000);

        /* A page that ends with the last one is the last one; a cursor outlives its VM. */
        (void)snprintf(cursor, sizeof(cursor), "%s", uuid_of(MANY - 11));
        assert_int_equal(read_page(f, MANY - 10, cursor, 10), 10);
        assert_string_equal(cursor, "");
        vm_destroy_force(f, uuid_of(7));
        (void)snprintf(cursor, sizeof(cursor), "%s", uuid_of(7));
        assert_int_equal(read_page(f, 8, cursor, 1), 1);

        run_fails(f, "InvalidArgument", NULL, "Manager", "ListVms", "su", "", UINT32_C(0));
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListVms", "su", "", UINT32_C(1001));
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListVms", "su", "next please",
                  UINT32_C(10));
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListFunctions", "su", "", UINT32_C(0));
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1001));
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListFunctions", "su", "no address",
                  UINT32_C(10));

        fixture_disconnect(f, owner);
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

static void test_function_pages(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *all = ask_text(f, NULL, "Manager", "ListFunctions", "su", "",
                                            UINT32_C(1000));
        _cleanup_free_ char *number = property(f, NULL, "Manager", "NFunctions");
        char cursor[64] = "", last[64] = "";
        unsigned n = 0;

        assert_non_null(strstr(all, "(\"0000:41:00.0\", \"vfio-pci\", \"ivhd1\", "));
        assert_null(strstr(all, "0000:00:01.1")); /* a bridge */
        do {
                sd_bus_message *m = ask(f, NULL, "Manager", "ListFunctions", "su", cursor,
                                        UINT32_C(7));
                const char *address, *next;

                assert_true(sd_bus_message_enter_container(m, 'a', "(sssuissa{sv})") > 0);
                while (sd_bus_message_enter_container(m, 'r', "sssuissa{sv}") > 0) {
                        assert_true(sd_bus_message_read(m, "s", &address) > 0);
                        assert_true(strcmp(last, address) < 0);
                        (void)snprintf(last, sizeof(last), "%s", address);
                        assert_true(sd_bus_message_skip(m, "ssuissa{sv}") >= 0);
                        assert_true(sd_bus_message_exit_container(m) >= 0);
                        n++;
                }
                assert_true(sd_bus_message_exit_container(m) > 0);
                assert_true(sd_bus_message_read(m, "s", &next) > 0);
                (void)snprintf(cursor, sizeof(cursor), "%s", next);
                sd_bus_message_unref(m);
        } while (*cursor);
        assert_int_equal(n, strtoul(number, NULL, 10));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_plan),
                BUS_TEST(test_properties),
                BUS_TEST(test_describe),
                BUS_TEST(test_attach_detach),
                BUS_TEST(test_viommu_again),
                BUS_TEST(test_memory),
                BUS_TEST(test_vmm),
                BUS_TEST(test_detach_from_vmm, .config = "DetachTimeoutSec=1"),
                BUS_TEST(test_pages),
                BUS_TEST(test_function_pages),
        };

        return bus_tests_run(argc, argv, tests);
}
