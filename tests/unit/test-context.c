/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A VM's context, built and taken down on the simulated kernel: for shapes of VM, with every kernel call failing once in
 * every way, cancelled at every step. Whatever happens, in the end the kernel holds nothing, or it is said what it holds.
 */

#include "context-shapes.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "oom.h"
#include "vm/guest-memory.h"
#include "vm/kernel-refusal.h"
#include "vm/unplug-watch.h"

static void built_and_taken_down(void **state) {
        unsigned n_fds = count_fds();

        (void)state;
        for_each_case(shape, shapes) for (unsigned shared = 0; shared < 2; shared++) {
                Kernel *k = host_new("epyc-2p");
                uint64_t before, after;
                Problem p = {};
                VmContext ctx;

                context_of(k, shape, &ctx);
                if (context_realize(k, &ctx, NULL, &p) < 0)
                        fail_msg("%s: %s", shape->name, p.text);
                assert_built(k, &ctx);

                /* What is there is not made again. */
                assert_ok(sim_count_calls(k, NULL, &before));
                assert_ok(context_realize(k, &ctx, NULL, &p));
                assert_ok(sim_count_calls(k, NULL, &after));
                assert_int_equal(before, after);

                ctx.shared = shared;
                assert_ok(context_teardown(k, &ctx, &p));
                assert_false(problem_is_set(&p));
                assert_ok(context_teardown(k, &ctx, &p)); /* again: nothing to do */
                assert_int_equal(ctx.iommufd, -1);
                assert_nothing_left(k, shape->name, shared);
                context_close(&ctx);
                context_done(&ctx);
                kernel_free(k);
                assert_int_equal(count_fds(), n_fds);
        }
}

static void lived_through(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        _cleanup_close_ int ram = ram_new();

        (void)state;
        for_each_case(shape, shapes) {
                Problem p = {};
                VmContext ctx;

                context_of(k, shape, &ctx);
                if (live(k, &ctx, ram, NULL, &p) < 0)
                        fail_msg("%s: %s", shape->name, p.text);
                if (ctx.handover == HANDOVER_DAEMON)
                        assert_int_equal(ctx.mapped_bytes, RAM_BYTES);
                assert_ok(context_teardown(k, &ctx, &p));
                assert_int_equal(ctx.mapped_bytes, 0);
                assert_nothing_left(k, shape->name, 0);
                context_close(&ctx);
                context_done(&ctx);
        }
}

/* ---- everything fails once ---- */

typedef struct Recorder {
        char ops[512][24];
        size_t n;
} Recorder;

static void record(void *userdata, const char *op, bool before) {
        Recorder *recorder = userdata;

        if (before && recorder->n < ELEMENTSOF(recorder->ops))
                (void)snprintf(recorder->ops[recorder->n++], sizeof(recorder->ops[0]), "%s", op);
}

/* One life with the @nth call failing, and its end. Returns whether it was reached. */
static bool fail_once(Kernel *k, const Shape *shape, bool shared, int ram, uint64_t nth, int error,
                      const char *op) {
        uint64_t before, after;
        Problem p = {};
        VmContext ctx;
        int r;

        context_of(k, shape, &ctx);
        ctx.shared = shared;
        assert_ok(sim_count_calls(k, NULL, &before));
        assert_ok(sim_inject_fault(k, NULL, nth, error));
        r = live(k, &ctx, ram, NULL, &p);
        if (r < 0) {
                /* Whoever asked is told in words. */
                if (!problem_is_set(&p))
                        fail_msg("%s, %s: %s without a word", shape->name, op, strerror(error));
                assert_true(r == -error || r == -problem_kind_to_errno(p.kind));
        }
        p = (Problem){};
        r = context_teardown(k, &ctx, &p);
        assert_ok(sim_count_calls(k, NULL, &after));
        assert_ok(sim_clear_faults(k));
        if (r < 0) {
                assert_error(r, EBUSY);
                assert_true(problem_is_set(&p) && shared);
                assert_true(ctx.iommufd >= 0);
                if (context_teardown(k, &ctx, &p) < 0)
                        fail_msg("%s, %s: %s: %s", shape->name, op, strerror(error), p.text);
        }
        assert_int_equal(ctx.iommufd, -1);
        assert_nothing_left(k, op, (unsigned)error);
        context_close(&ctx);
        context_done(&ctx);
        return after - before >= nth;
}

static void every_call_fails_once(void **state) {
        static const int errors[] = { ENOMEM, EBUSY, EIO, EINTR, ENODEV, EPERM, ENOSPC };
        _cleanup_close_ int ram = ram_new();
        unsigned n_fds = count_fds(), n_swept = 0;

        (void)state;
        for_each_case(shape, shapes) for (unsigned shared = 0; shared < 2; shared++) {
                Kernel *k = host_new("epyc-2p");
                Recorder recorder = {};
                Problem p = {};
                VmContext ctx;

                /* Which calls there are. */
                context_of(k, shape, &ctx);
                ctx.shared = shared;
                sim_set_hook(k, record, &recorder);
                assert_ok(live(k, &ctx, ram, NULL, &p));
                assert_ok(context_teardown(k, &ctx, &p));
                sim_set_hook(k, NULL, NULL);
                context_close(&ctx);
                context_done(&ctx);

                for (size_t i = 0; i < recorder.n; i++) {
                        /* Unmapping one's own page cannot fail; and the many questions of a sweep are alike. */
                        if (streq(recorder.ops[i], "vfmmio_unmap") || (i > 80 && i % 16 != 0))
                                continue;
                        for_each_case(error, errors) {
                                assert_true(fail_once(k, shape, shared, ram, i + 1, *error,
                                                      recorder.ops[i]));
                                n_swept++;
                        }
                }
                kernel_free(k);
                assert_int_equal(count_fds(), n_fds);
        }
        print_message("%u calls failed\n", n_swept);
        assert_true(n_swept > 1000);
}

/* ---- cancelled ---- */

typedef struct Canceller {
        atomic_bool cancelled;
        unsigned countdown;
} Canceller;

static void cancel_hook(void *userdata, const char *op, bool before) {
        Canceller *c = userdata;

        (void)op;
        if (!before && c->countdown > 0 && --c->countdown == 0)
                atomic_store(&c->cancelled, true);
}

static void cancelled_at_each_step(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");

        (void)state;
        for_each_case(shape, shapes) {
                if (shape->handover != HANDOVER_DAEMON)
                        continue;
                for (unsigned n = 1;; n++) {
                        Canceller c = { .countdown = n };
                        Problem p = {};
                        VmContext ctx;
                        int r;

                        context_of(k, shape, &ctx);
                        sim_set_hook(k, cancel_hook, &c);
                        r = context_realize(k, &ctx, &c.cancelled, &p);
                        sim_set_hook(k, NULL, NULL);
                        if (c.countdown == 0) { /* also when it was the last call */
                                assert_error(r, ECANCELED);
                                assert_problem(&p, PROBLEM_CANCELLED, "cancelled");
                        } else
                                assert_ok(r);
                        assert_ok(context_teardown(k, &ctx, NULL));
                        assert_nothing_left(k, shape->name, n);
                        context_close(&ctx);
                        context_done(&ctx);
                        if (r == 0)
                                break;
                }
        }
}

/* ---- what a kernel says ---- */

static void refusals_of_the_kernel(void **state) {
        static const struct {
                const char *name, *profile, *function, *op;
                int error;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "no AMD type", "stock", "0000:41:00.0", NULL, 0, PROBLEM_TIER_UNAVAILABLE,
                  "without a VF MMIO page" },
                { "no nesting", "intel", "0000:41:00.0", NULL, 0, PROBLEM_TIER_UNAVAILABLE,
                  "cannot nest on this kernel" },
                { "a host driver's", "small", "0000:44:00.0", NULL, 0, PROBLEM_FUNCTION_NOT_BOUND,
                  "0000:44:00.0 has no VFIO device node" },
                { "a token wanted", "epyc-2p", "0000:51:00.2", NULL, 0, PROBLEM_VF_TOKEN,
                  "give the PF's VF token" },
                { "no iommufd", "no-iommufd", "0000:41:00.0", NULL, 0, PROBLEM_TIER_UNAVAILABLE,
                  "There is no /dev/iommu: load" },
                { "not allowed", "small", "0000:41:00.0", "iommufd_open", EACCES,
                  PROBLEM_TIER_UNAVAILABLE, "may not open /dev/iommu: let" },
                { "no capability", "small", "0000:41:00.0", "iommufd_account_process", EPERM,
                  PROBLEM_KERNEL, "CAP_SYS_RESOURCE, without" },
                { "used up", "small", "0000:41:00.0", "viommu_alloc", ENOSPC,
                  PROBLEM_NO_FREE_INSTANCE, "on ivhd0, although the ledger has" },
                { "no blocks", "small", "0000:41:00.0", "viommu_alloc", ENOMEM,
                  PROBLEM_NO_CONTIGUOUS_MEMORY, "1.5 MiB" },
                { "a page that cannot be mapped", "small", "0000:41:00.0", "vfmmio_map", ENXIO,
                  PROBLEM_KERNEL, "refused mapping the VF MMIO page for ivhd0" },
                { "an id taken", "small", "0000:41:00.0", "vdevice_alloc", EEXIST,
                  PROBLEM_DUPLICATE_GUEST_ID, "guest device id of 0000:41:00.0 is taken" },
                { "something else", "small", "0000:41:00.0", "ioas_alloc", EXDEV, PROBLEM_KERNEL,
                  "refused IOMMU_IOAS_ALLOC for the VM: Invalid cross-device link." },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(kernel_freep) Kernel *k = host_new(c->profile);
                Problem p = {};
                VmContext ctx;
                int r;

                context_of(k, &(Shape){ "", TIER_HARDWARE, HANDOVER_DAEMON, { c->function } },
                           &ctx);
                if (c->op)
                        assert_ok(sim_inject_fault(k, c->op, 1, c->error));
                r = context_realize(k, &ctx, NULL, &p);
                if (r == 0)
                        fail_msg("%s: realized", c->name);
                assert_problem(&p, c->kind, c->says);
                assert_ok(context_teardown(k, &ctx, NULL));
                assert_nothing_left(k, c->name, 0);
                context_close(&ctx);
                context_done(&ctx);
        }
}

/* v3 takes 8 bytes of user data, its relatives 16. */
static void both_sizes_of_user_data(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("plumbing");

        (void)state;
        for (unsigned size = 8; size <= 16; size += 8) {
                VmContext ctx;

                assert_ok(sim_set_limit(k, SIM_LIMIT_VIOMMU_DATA_LEN, KERNEL_NONE, size));
                context_of(k, &(Shape){ "", HW_SHAPE }, &ctx);
                assert_ok(context_realize(k, &ctx, NULL, NULL));
                assert_built(k, &ctx);
                assert_ok(context_teardown(k, &ctx, NULL));
                context_done(&ctx);
        }
}

/* udev may be a moment late with the owner of a node. */
static void node_belongs_to_root_for_a_moment(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Problem p = {};
        VmContext ctx;

        (void)state;
        context_of(k, &(Shape){ "", HW_SHAPE }, &ctx);
        assert_ok(sim_inject_fault(k, "cdev_open", 1, EACCES));
        assert_ok(sim_inject_fault(k, "cdev_open", 2, EACCES));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_ok(context_teardown(k, &ctx, NULL));

        context_done(&ctx);
        context_of(k, &(Shape){ "", HW_SHAPE }, &ctx);
        assert_ok(sim_inject_fault(k, "cdev_open", 1, EACCES)); /* a moment, then it is said */
        assert_ok(sim_inject_fault(k, "cdev_open", 2, EMFILE));
        assert_error(context_realize(k, &ctx, NULL, &p), EMFILE);
        assert_ok(context_teardown(k, &ctx, NULL));
        context_done(&ctx);
}

static void every_step_has_words(void **state) {
        (void)state;
        for (KernelStep step = 0; step < _STEP_MAX; step++)
                for (int error = 1; error < 134; error++) {
                        Problem p = {};

                        assert_error(kernel_refusal(&p, step, "SUBJECT", -error), error);
                        assert_true(problem_is_set(&p));
                        assert_null(strchr(p.text, '%'));
                        assert_null(strstr(p.text, "(null)"));
                        assert_true(p.text[strlen(p.text) - 1] == '.');
                        if (p.kind == PROBLEM_KERNEL && strstr(p.text, "refused"))
                                assert_contains(p.text, strerror(error));
                        assert_error(kernel_refusal(NULL, step, "SUBJECT", -error), error);
                }
        assert_aborts((void)kernel_refusal(NULL, _STEP_MAX, "", -EIO));
        assert_aborts((void)kernel_refusal(NULL, STEP_MAP, "", 0));
}

/* The service may open what was there when it started. */
static void nodes_that_came_later(void **state) {
        static const KernelStep steps[] = { STEP_IOMMUFD_OPEN, STEP_CDEV_OPEN };

        (void)state;
        for_each_case(step, steps) {
                Problem p = {};

                assert_error(kernel_refusal(&p, *step, "SUBJECT", -EPERM), EPERM);
                assert_contains(p.text, "restart aviommud.service");
        }
}

/* ---- memory ---- */

static void mappings(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        _cleanup_close_ int ram = ram_new();
        VmContext ctx = shared_context(k, shapes);
        KernelMapping m = mapping;
        Problem p = {};

        (void)state;
        m.fd = ram;
        assert_ok(context_map(k, &ctx, &m, &p));
        assert_error(context_map(k, &ctx, &m, &p), EEXIST);
        assert_problem(&p, PROBLEM_MEMORY_OVERLAP, "0x0 overlaps");
        m.iova = RAM_BYTES - 4096;
        assert_error(context_map(k, &ctx, &m, &p), EEXIST);
        m.iova = RAM_BYTES; /* side by side is fine */
        assert_ok(context_map(k, &ctx, &m, &p));
        assert_int_equal(ctx.n_mappings, 2);
        assert_int_equal(ctx.mapped_bytes, 2 * RAM_BYTES);

        assert_error(context_unmap(k, &ctx, 0, 4096, &p), ENOENT); /* a part of one */
        assert_problem(&p, PROBLEM_NO_SUCH_MAPPING, "0x0");
        assert_error(context_unmap(k, &ctx, 4096, RAM_BYTES, &p), ENOENT);
        assert_error(context_unmap(k, &ctx, 0, 2 * RAM_BYTES, &p), ENOENT); /* both */
        assert_ok(context_unmap(k, &ctx, 0, RAM_BYTES, &p));
        assert_int_equal(ctx.mapped_bytes, RAM_BYTES);
        assert_non_null(context_find_mapping(&ctx, RAM_BYTES, RAM_BYTES));
        m.iova = 0;
        assert_ok(context_map(k, &ctx, &m, &p));

        m.iova = 4 * RAM_BYTES; /* more than may be pinned */
        assert_ok(sim_set_limit(k, SIM_LIMIT_PINNED_BYTES, KERNEL_NONE, 2 * RAM_BYTES));
        assert_error(context_map(k, &ctx, &m, &p), ENOMEM);
        assert_problem(&p, PROBLEM_NO_PINNABLE_MEMORY, "0x1000000");
        assert_int_equal(ctx.n_mappings, 2);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_int_equal(ctx.n_mappings, 0);
        assert_nothing_left(k, "mapped", 0);
        context_done(&ctx);
}

static void guest_memory(void **state) {
        _cleanup_close_ int ram = ram_new(), disk = -1, read_only = -1, path = -1;
        char self[64];
        int pipes[2];
        Problem p = {};

        (void)state;
        assert_ok(guest_memory_check(ram, 0, RAM_BYTES, true, &p));
        assert_ok(guest_memory_check(ram, RAM_BYTES - 1, 1, true, &p));
        assert_ok(guest_memory_check(ram, RAM_BYTES, 0, true, &p));
        assert_error(guest_memory_check(ram, 0, RAM_BYTES + 1, true, &p), EINVAL);
        assert_problem(&p, PROBLEM_NOT_MAPPABLE, "The file has 4194304 bytes");
        assert_int_equal(p.available, RAM_BYTES);
        assert_error(guest_memory_check(ram, RAM_BYTES + 1, 0, true, &p), EINVAL);
        assert_error(guest_memory_check(ram, UINT64_MAX, UINT64_MAX, true, &p), EINVAL);
        assert_error(guest_memory_check(ram, 4096, UINT64_MAX - 4095, true, &p), EINVAL);

        (void)snprintf(self, sizeof(self), "/proc/self/fd/%i", ram);
        read_only = open(self, O_RDONLY | O_CLOEXEC);
        assert_ok(guest_memory_check(read_only, 0, RAM_BYTES, false, &p));
        assert_error(guest_memory_check(read_only, 0, RAM_BYTES, true, &p), EINVAL);
        assert_problem(&p, PROBLEM_NOT_MAPPABLE, "not open for reading and writing");
        path = open(self, O_PATH | O_CLOEXEC);
        assert_error(guest_memory_check(path, 0, RAM_BYTES, false, &p), EINVAL);

        assert_ok(pipe2(pipes, O_CLOEXEC));
        assert_error(guest_memory_check(pipes[0], 0, 4096, false, &p), EINVAL);
        assert_problem(&p, PROBLEM_NOT_MAPPABLE, "no file of memory");
        fd_close(pipes[0]);
        fd_close(pipes[1]);
        assert_error(guest_memory_check(pipes[0], 0, 4096, false, &p), EBADF);

        disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        assert_error(guest_memory_check(disk, 0, 1, false, &p), EINVAL);
        assert_problem(&p, PROBLEM_NOT_MAPPABLE, "no file of memory");
}

/* Not only a memfd that may be sealed. */
static void guest_memory_of_all_kinds(void **state) {
        static const unsigned flags[] = { 0, MFD_ALLOW_SEALING, MFD_HUGETLB };
        _cleanup_close_ int directory = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                            shm = open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        Problem p = {};

        (void)state;
        for_each_case(f, flags) {
                _cleanup_close_ int fd = memfd_create("guest-memory", MFD_CLOEXEC | *f);

                if (fd < 0 && *f == MFD_HUGETLB)
                        continue; /* this kernel has none */
                assert_true(fd >= 0);
                assert_ok(ftruncate(fd, 2 << 20));
                assert_ok(guest_memory_check(fd, 0, 2 << 20, true, &p));
        }
        assert_true(shm >= 0);
        assert_ok(ftruncate(shm, 4096));
        assert_ok(guest_memory_check(shm, 0, 4096, true, &p));
        assert_error(guest_memory_check(directory, 0, 0, false, &p), EINVAL);
        assert_problem(&p, PROBLEM_NOT_MAPPABLE, "no file of memory");
}

/* ---- lists ---- */

static void copies(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx, copy;

        (void)state;
        context_of(k, shapes + 2, &ctx);
        assert_ok(context_add_mapping(&ctx, 0, 4096));

        OOM_SWEEP(nth, {
                int r = context_copy(&ctx, &copy);

                assert_true(r == 0 || r == -ENOMEM);
        });
        assert_int_equal(copy.n_functions, ctx.n_functions);
        assert_ptr_not_equal(copy.functions, ctx.functions);
        assert_memory_equal(copy.functions, ctx.functions,
                            ctx.n_functions * sizeof(ContextFunction));
        assert_memory_equal(copy.viommus, ctx.viommus, ctx.n_viommus * sizeof(ContextViommu));
        assert_int_equal(copy.mappings[0].length, 4096);

        context_remove_viommu(&copy, copy.viommus[0].host_iommu);
        assert_int_equal(copy.n_viommus, 2);
        assert_ptr_equal(context_find_viommu(&copy, ctx.viommus[2].host_iommu), copy.viommus + 1);
        context_remove_function(&copy, 1);
        assert_null(context_find_function(&copy, &ctx.functions[1].address));
        assert_non_null(context_find_function(&copy, &ctx.functions[3].address));
        assert_aborts(context_remove_function(&copy, 3));
        assert_aborts(context_remove_viommu(&copy, 77));
        context_done(&copy);
        assert_int_equal(copy.n_functions, 0);

        context_close(&ctx);
        context_done(&ctx);
}

static void lists_without_memory(void **state) {
        VmContext ctx;
        int r;

        (void)state;
        context_init(&ctx, TIER_HARDWARE, HANDOVER_DAEMON);
        OOM_SWEEP(nth, {
                r = context_add_function(&ctx, &(ContextFunction){ .cdev = -1, .unplug_fd = -1 });
                assert_true(r == 0 || (r == -ENOMEM && ctx.n_functions == 0));
        });
        OOM_SWEEP(nth, {
                r = context_add_viommu(&ctx, &(ContextViommu){});
                assert_true(r == 0 || (r == -ENOMEM && ctx.n_viommus == 0));
        });
        OOM_SWEEP(nth, {
                r = context_add_mapping(&ctx, 0, 1);
                assert_true(r == 0 || (r == -ENOMEM && ctx.n_mappings == 0));
        });
        /* Without room in the list the kernel is not asked at all. */
        context_done(&ctx);
        oom_arm(1, 1);
        assert_error(context_map(NULL, &ctx, &mapping, NULL), ENOMEM);
        assert_true(oom_disarm());
        context_done(&ctx);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(built_and_taken_down),
                cmocka_unit_test(lived_through),
                cmocka_unit_test(every_call_fails_once),
                cmocka_unit_test(cancelled_at_each_step),
                cmocka_unit_test(refusals_of_the_kernel),
                cmocka_unit_test(both_sizes_of_user_data),
                cmocka_unit_test(node_belongs_to_root_for_a_moment),
                cmocka_unit_test(every_step_has_words),
                cmocka_unit_test(nodes_that_came_later),
                cmocka_unit_test(mappings),
                cmocka_unit_test(guest_memory),
                cmocka_unit_test(guest_memory_of_all_kinds),
                cmocka_unit_test(copies),
                cmocka_unit_test(lists_without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
