/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Fault sweep: a script of requests runs again and again, and each time another kernel call of it fails, until every call of
 * every kind has failed with every errno. A request that fails leaves everything as it was; at the end of each script, whatever
 * happened in it, nothing is charged, nothing is in the kernel, no descriptor is left in the daemon.
 */

#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define MIB  UINT64_C(1048576)

/* Not vfmmio_unmap: munmap() of a whole mapping doesn't fail. */
static const char *const ops[] = {
        "scan",
        "iommufd_open",
        "iommufd_account_process",
        "ioas_alloc",
        "ioas_map_file",
        "ioas_unmap",
        "hwpt_alloc_nest_parent",
        "viommu_alloc",
        "vfmmio_map",

        "vdevice_alloc",
        "object_destroy",
        "object_probe",
        "cdev_open",
        "cdev_bind",
        "cdev_attach",
        "cdev_detach",
        "cdev_notify_request",
};

static const struct {
        int error;
        const char *name;
} errors[] = {
        { ENOMEM, "ENOMEM" }, { EBUSY, "EBUSY" }, { EIO, "EIO" },
        { ENODEV, "ENODEV" }, { EPERM, "EPERM" }, { ENOSPC, "ENOSPC" },
};

typedef struct Sweep {
        Fixture *f;
        const char *uuid, *vm;
        int file;
        size_t n_fds;
        char where[128]; /* what fails now, for messages */
        unsigned n_failed, n_quarantined;
} Sweep;

/* One request of a script. Returns whether it succeeded; a failure has to be undone. */
static bool step(Sweep *s, const char *name, bool may_stay, sd_bus_message *m) {
        _cleanup_free_ char *before = world(s->f), *after = NULL;
        bool good, nameless;
        const char *error;
        Call call;

        call_start(s->f, &call, m);
        call_wait(&call);
        error = call_error(&call);
        good = !*error;
        if (good) {
                call_done(&call);
                return true;
        }

        s->n_failed++;
        after = world(s->f);
        /* A sentence of ours, but for memory that ran out and a host that cannot be read. */
        nameless = strchr(error, '.') && !streq(error, SD_BUS_ERROR_NO_MEMORY) &&
                   strncmp(s->where, "scan", 4) != 0;
        if (nameless || (!may_stay && !streq(before, after)))
                print_error("%s, %s: \"%s\"\n", s->where, name, error);
        assert_false(nameless);
        if (!may_stay)
                assert_string_equal(after, before);
        call_expect(&call, error);
        return false;
}

#define STEP(s, member, may_stay, ...)                                                             \
        step((s), (member), (may_stay),                                                            \
             message_new((s)->f->bus, (s)->vm, "Vm", (member), __VA_ARGS__))

/* The VM is gone at the end, if not at the first try. */
static void finish(Sweep *s) {
        for (int tries = 0; vm_count(s->f) > 0; tries++) {
                if (tries > 0) {
                        assert_property(s->f, s->vm, "Vm", "State", "\"quarantined\"");
                        s->n_quarantined++;
                }
                assert_true(tries < 2);
                (void)STEP(s, "Destroy", true, "a{sv}", 1, "force", "b", true);
        }
        assert_nothing_left(s->f);
        if (s->n_fds == 0)
                s->n_fds = fixture_count_daemon_fds(s->f, false);
        if (fixture_count_daemon_fds(s->f, false) != s->n_fds)
                fail_msg("%s: the daemon has %zu descriptors, before it had %zu", s->where,
                         fixture_count_daemon_fds(s->f, false), s->n_fds);
}

/* A detached function whose leaving failed is draining, and the next try takes it. */
static void detach(Sweep *s, const char *function) {
        if (!STEP(s, "DetachDevice", true, "s", function))
                run_ok(s->f, s->vm, "Vm", "DetachDevice", "s", function);
}

static bool create(Sweep *s, VmSpec spec) {
        spec.uuid = s->uuid;
        return step(s, "CreateVm", false, vm_request(s->f->bus, "CreateVm", &spec));
}

static void script_hardware(Sweep *s) {
        if (!create(s, (VmSpec){ .tier = "hardware", .functions = NIC " " NIC2 }))
                return;
        if (STEP(s, "AttachDevice", false, "sa{sv}", DISK, 0))
                detach(s, DISK);
        if (STEP(s, "MapMemory", false, "htttu", s->file, UINT64_C(0), MIB, UINT64_C(0),
                 UINT32_C(1)) &&
            STEP(s, "UnmapMemory", false, "tt", UINT64_C(0), MIB))
                (void)STEP(s, "MapMemory", false, "htttu", s->file, UINT64_C(0), MIB, UINT64_C(0),
                           UINT32_C(1));
        detach(s, NIC2); /* with its vIOMMU */
        (void)STEP(s, "AttachDevice", false, "sa{sv}", NIC2, 0);
        (void)STEP(s, "Destroy", true, "a{sv}", 0);
}

/* The same after somebody has had the context: there may be objects that the daemon doesn't know. */
static void script_shared(Sweep *s) {
        if (!create(s, (VmSpec){ .tier = "hardware", .functions = NIC " " NIC2 }))
                return;
        (void)close(vm_open_context(s->f, s->uuid, NULL));
        if (STEP(s, "AttachDevice", false, "sa{sv}", DISK, 0))
                (void)close(vm_open_device(s->f, s->uuid, DISK));
        (void)STEP(s, "MapMemory", false, "htttu", s->file, UINT64_C(0), MIB, UINT64_C(0),
                   UINT32_C(1));
        (void)STEP(s, "Destroy", true, "a{sv}", 0);
}

static void script_viommu(Sweep *s) {
        if (!create(s, (VmSpec){ .tier = "hardware", .functions = NIC2 " " DISK }))
                return;
        if (step(s, "Viommu.Destroy", true,
                 message_new(s->f->bus, viommu_path(s->uuid, 1), "Viommu", "Destroy", "")))
                (void)STEP(s, "CreateViommu", false, "s", "ivhd1");
}

static void script_vmm(Sweep *s) {
        /* The first CreateVm takes the prepared context, if there is one. */
        (void)step(s, "PrepareContext", true,
                   message_new(s->f->bus, NULL, "Manager", "PrepareContext", "s", s->uuid));
        if (!create(s, (VmSpec){ .tier = "virtio", .functions = NIC }) &&
            !create(s, (VmSpec){ .tier = "virtio", .functions = NIC }))
                fail_msg("%s: two failures of one fault", s->where);
        if (STEP(s, "AttachDevice", false, "sa{sv}", DISK, 0))
                detach(s, DISK);
        (void)STEP(s, "Destroy", true, "a{sv}", 0);
}

static void script_emulated(Sweep *s) {
        if (!create(s, (VmSpec){ .tier = "emulated", .handover = "daemon", .functions = NIC }))
                return;
        if (STEP(s, "AttachDevice", false, "sa{sv}", DISK, 0))
                detach(s, DISK);
        (void)STEP(s, "Destroy", true, "a{sv}", 0);
}

static void probe(Fixture *f, const char *iommu) {
        char path[64];

        (void)snprintf(path, sizeof(path), ROOT_PATH "/host/%s", iommu);
        run_ok(f, path, "HostIommu", "Probe", "");
}

/* Fails the n-th call of each kind, until there is none left that could. */
static void sweep(Fixture *f, void (*script)(Sweep *s)) {
        Sweep s = { .f = f, .uuid = uuid_of(1), .file = memfd_of(MIB) };
        unsigned n_runs = 0;

        s.vm = vm_path(s.uuid);
        probe(f, "ivhd0");
        probe(f, "ivhd1");
        (void)snprintf(s.where, sizeof(s.where), "without a fault");
        script(&s);
        finish(&s);
        assert_int_equal(s.n_failed, 0);

        for (size_t i = 0; i < ELEMENTSOF(ops); i++)
                for (size_t e = 0; e < ELEMENTSOF(errors); e++)
                        for (unsigned n = 1;;
                             n += 1 + n / 8, n_runs++) { /* sweeps probe hundreds of ids */
                                uint64_t before, after;

                                (void)snprintf(s.where, sizeof(s.where), "%s call %u fails: %s",
                                               ops[i], n, errors[e].name);
                                assert_int_equal(sim_count_calls(f->kernel, ops[i], &before), 0);
                                assert_int_equal(
                                        sim_inject_fault(f->kernel, ops[i], n, errors[e].error), 0);
                                script(&s);
                                assert_int_equal(sim_count_calls(f->kernel, ops[i], &after), 0);
                                assert_int_equal(sim_clear_faults(f->kernel), 0);
                                finish(&s);
                                if (after - before < n)
                                        break;
                        }
        print_message("%u runs, %u failed requests, %u quarantined\n", n_runs, s.n_failed,
                      s.n_quarantined);
        assert_true(s.n_failed > 0);
        (void)close(s.file);
}

static void test_hardware(void **state) {
        sweep(*state, script_hardware);
}

static void test_shared(void **state) {
        sweep(*state, script_shared);
}

static void test_viommu(void **state) {
        sweep(*state, script_viommu);
}

static void test_vmm(void **state) {
        sweep(*state, script_vmm);
}

static void test_emulated(void **state) {
        sweep(*state, script_emulated);
}

/* ---- two faults ---- */

static void try(Fixture *f, sd_bus_message *m) {
        Call call;

        call_start(f, &call, m);
        call_wait(&call);
        call_done(&call);
}

static void script_twice(Sweep *s, bool shared) {
        Fixture *f = s->f;
        int fd = -1;

        try(f,
            vm_request(
                    f->bus, "CreateVm",
                    &(VmSpec){ .uuid = s->uuid, .tier = "hardware", .functions = NIC " " NIC2 }));
        if (shared && vm_count(f) > 0) {
                _cleanup_free_ char *vm_state = property(f, s->vm, "Vm", "State");

                if (streq(vm_state, "\"realized\""))
                        fd = vm_open_context(f, s->uuid, NULL);
        }
        try(f, message_new(f->bus, s->vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0));
        if (fd >= 0)
                (void)close(fd);
        try(f, message_new(f->bus, s->vm, "Vm", "DetachDevice", "s", DISK));
        try(f, message_new(f->bus, s->vm, "Vm", "Destroy", "a{sv}", 0));
}

/* A call fails, and the undoing of what was before it fails too: quarantined or draining at worst, gone at the next try. */
static void test_twice(void **state) {
        Fixture *f = *state;
        Sweep s = { .f = f, .uuid = uuid_of(1) };
        uint64_t before, after;

        s.vm = vm_path(s.uuid);
        probe(f, "ivhd0");
        probe(f, "ivhd1");
        for (unsigned i = 0; i < 2 * ELEMENTSOF(ops); i++)
                for (unsigned n = 1;; n += 1 + n / 8) {
                        for (unsigned second = 1; second < 9; second += 1 + second / 3) {
                                const char *op = ops[i / 2];

                                (void)snprintf(s.where, sizeof(s.where),
                                               "%s call %u and object_destroy call %u fail", op, n,
                                               second);
                                assert_int_equal(sim_count_calls(f->kernel, op, &before), 0);
                                assert_int_equal(sim_inject_fault(f->kernel, op, n, EIO), 0);
                                assert_int_equal(
                                        sim_inject_fault(f->kernel, "object_destroy", second, EIO),
                                        0);
                                script_twice(&s, i % 2);
                                assert_int_equal(sim_count_calls(f->kernel, op, &after), 0);
                                assert_int_equal(sim_clear_faults(f->kernel), 0);
                                finish(&s);
                        }
                        if (after - before < n)
                                break;
                }
        print_message("%u quarantined\n", s.n_quarantined);
}

/* A kernel call that fails once, during the first probe, is not what the kernel can do. */
static void test_first_probe(void **state) {
        /* one host IOMMU for each probe: what is known of one stays known */
        static const struct {
                const char *op;
                unsigned nth;
                const char *function;
        } cases[] = {
                { "iommufd_open", 1, "0000:01:00.0" },
                { "cdev_bind", 1, "0000:41:00.0" },
                { "ioas_alloc", 1, "0001:01:00.0" },
                { "hwpt_alloc_nest_parent", 1, "0001:41:00.0" },
                { "viommu_alloc", 1, "0002:01:00.0" },
                { "viommu_alloc", 2, "0002:41:00.0" },
                { "viommu_alloc", 3, "0003:01:00.0" },
                { "viommu_alloc", 4, "0003:41:00.0" },
        };
        Fixture *f = *state;
        size_t n_wrong = 0;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const VmSpec spec = { .uuid = uuid_of(1),
                                      .tier = "hardware",
                                      .functions = cases[i].function };

                assert_int_equal(sim_inject_fault(f->kernel, cases[i].op, cases[i].nth, EIO), 0);
                for (int tries = 0; tries < 2; tries++) {
                        Call call;

                        call_start(f, &call, vm_request(f->bus, "CreateVm", &spec));
                        call_wait(&call);
                        if (!*call_error(&call))
                                vm_destroy_ok(f, spec.uuid);
                        else if (tries > 0) {
                                print_error("after %s: %s\n", cases[i].op, call_error(&call));
                                n_wrong++;
                        }
                        call_done(&call);
                        assert_int_equal(sim_clear_faults(f->kernel), 0);
                }
        }
        assert_int_equal(n_wrong, 0);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_hardware),    BUS_TEST(test_shared),   BUS_TEST(test_viommu),
                BUS_TEST(test_vmm),         BUS_TEST(test_emulated), BUS_TEST(test_twice),
                BUS_TEST(test_first_probe),
        };

        return bus_tests_run(argc, argv, tests);
}
