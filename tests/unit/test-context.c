/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A VM's context, built and taken down on the simulated kernel: for shapes of VM, with every kernel call failing once in
 * every way, cancelled at every step, with objects that a VMM made and pages that somebody mapped. Whatever happens, in the
 * end the kernel holds nothing, or it is said what it holds.
 */

#include "unit.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "kernel/sim/sim.h"
#include "oom.h"
#include "vm/context.h"
#include "vm/guest-memory.h"
#include "vm/kernel-refusal.h"
#include "vm/unplug-watch.h"

#define RAM_BYTES  (UINT64_C(4) << 20)
#define SHAPE_FNS  6
#define MAIN_FN    "0000:01:00.0" /* alone in its group, behind ivhd0 */
#define OTHER_FN   "0000:03:00.0" /* likewise */
#define HW_SHAPE   TIER_HARDWARE, HANDOVER_DAEMON, { "0000:41:00.0" }
#define GUARDED_FN "0000:51:00.1" /* a VF whose PF is on vfio-pci */

static const uint8_t guard_token[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                         0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };

static Kernel *host_new(const char *profile) {
        char path[512];
        Problem p = {};
        Kernel *k;

        (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, profile);
        if (sim_kernel_new(path, -1, &k, &p) < 0)
                fail_msg("%s", p.text);
        return k;
}

static int ram_new(void) {
        int fd = memfd_create("ram", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_ok(ftruncate(fd, (off_t)RAM_BYTES));
        return fd;
}

static void assert_nothing_left(Kernel *k, const char *when, unsigned n) {
        SimCounters c;

        sim_get_counters(k, &c);
        if (!sim_counters_are_zero(&c))
                fail_msg("%s %u: left are %lu contexts, %lu cdevs, %lu ioas, %lu hwpts, %lu "
                         "viommus, "
                         "%lu vdevices, %lu mappings",
                         when, n, c.contexts, c.open_cdevs, c.ioas, c.hwpts, c.viommus, c.vdevices,
                         c.mappings);
}

/* ---- shapes ---- */

typedef struct Shape {
        const char *name;
        VmTier tier;
        VmHandover handover;
        const char *functions[SHAPE_FNS];
} Shape;

static const Shape shapes[] = {
        { "hardware, one function", TIER_HARDWARE, HANDOVER_DAEMON, { MAIN_FN } },
        { "hardware, two on one vIOMMU", TIER_HARDWARE, HANDOVER_DAEMON, { MAIN_FN, OTHER_FN } },
        { "hardware, three vIOMMUs",
          TIER_HARDWARE,
          HANDOVER_DAEMON,
          { "0000:41:00.0", MAIN_FN, "0001:01:00.0", OTHER_FN } },
        { "hardware, a group", TIER_HARDWARE, HANDOVER_DAEMON, { "0000:10:00.0", "0000:10:00.1" } },
        { "hardware, a VF with a token", TIER_HARDWARE, HANDOVER_DAEMON, { GUARDED_FN } },
        { "hardware, no function", TIER_HARDWARE, HANDOVER_DAEMON, {} },
        { "emulated, two functions", TIER_EMULATED, HANDOVER_DAEMON, { MAIN_FN, "0001:01:00.0" } },
        { "the VMM's", TIER_HARDWARE, HANDOVER_VMM, { MAIN_FN } },
        { "accounting", TIER_VIRTIO, HANDOVER_NONE, { MAIN_FN } },
};

static void context_of(Kernel *k, const Shape *shape, VmContext *ctx) {
        HostScan *scan;

        assert_ok(k->ops->scan(k, NULL, 0, &scan));
        context_init(ctx, shape->tier, shape->handover);
        for (unsigned i = 0; i < SHAPE_FNS && shape->functions[i]; i++) {
                ContextFunction f = { .address = address(shape->functions[i]),
                                      .guest_id = { (uint16_t)(0x100 + 8 * i) },
                                      .cdev = -1,
                                      .unplug_fd = -1 };

                for (size_t j = 0; j < scan->n_functions; j++)
                        if (pci_address_equal(&scan->functions[j].address, &f.address)) {
                                f.host_iommu = scan->functions[j].host_iommu;
                                f.group = scan->functions[j].group;
                        }
                if (streq(shape->functions[i], GUARDED_FN)) {
                        f.has_vf_token = true;
                        memcpy(f.vf_token, guard_token, sizeof(f.vf_token));
                }
                if (shape->handover == HANDOVER_DAEMON)
                        assert_ok(unplug_eventfd_new(&f.unplug_fd));
                assert_ok(context_add_function(ctx, &f));
                if (shape->tier == TIER_HARDWARE && !context_find_viommu(ctx, f.host_iommu))
                        assert_ok(context_add_viommu(
                                ctx, &(ContextViommu){ .host_iommu = f.host_iommu }));
        }
        host_scan_free(scan);
}

static const KernelMapping mapping = { .fd = -1, .length = RAM_BYTES, .writable = true };

/*
 * Everything that is done to a context in its life, in this order; stops at what fails first.
 * The function that is taken out and the vIOMMU are the last of their kind.
 */
static int live(Kernel *k, VmContext *ctx, int ram, const atomic_bool *cancelled, Problem *p) {
        KernelMapping m = mapping;
        int r;

        m.fd = ram;
        r = context_realize(k, ctx, cancelled, p);
        if (r < 0 || ctx->handover != HANDOVER_DAEMON)
                return r;
        r = context_map(k, ctx, &m, p);
        if (r >= 0) {
                m.iova = UINT64_C(1) << 32;
                r = context_map(k, ctx, &m, p);
        }
        if (r >= 0)
                r = context_unmap(k, ctx, m.iova, m.length, p);
        if (r >= 0 && ctx->n_viommus > 0)
                r = context_unrealize_viommu(k, ctx, ctx->viommus + ctx->n_viommus - 1, p);
        if (r >= 0) /* and again what has been taken down */
                r = context_realize(k, ctx, cancelled, p);
        if (r >= 0 && ctx->n_functions > 0) {
                r = context_unrealize_function(k, ctx, ctx->functions + ctx->n_functions - 1, p);
                if (r >= 0)
                        context_remove_function(ctx, ctx->n_functions - 1);
        }
        return r;
}

static void assert_built(Kernel *k, const VmContext *ctx) {
        SimCounters c;

        sim_get_counters(k, &c);
        assert_int_equal(c.contexts, ctx->handover != HANDOVER_NONE);
        if (ctx->handover != HANDOVER_DAEMON)
                return;
        assert_int_equal(c.ioas, 1);
        assert_int_equal(c.devices, ctx->n_functions);
        assert_int_equal(c.bound_functions, ctx->n_functions);
        assert_int_equal(c.open_cdevs, ctx->n_functions);
        assert_int_equal(c.viommus, ctx->n_viommus);
        assert_int_equal(c.guest_ids, ctx->n_viommus);
        assert_int_equal(c.vdevices, ctx->tier == TIER_HARDWARE ? ctx->n_functions : 0);
        assert_int_equal(c.vf_pages, ctx->n_viommus);
        assert_int_equal(ctx->hwpt_id != 0, ctx->tier == TIER_HARDWARE && ctx->n_functions > 0);
        for (size_t i = 0; i < ctx->n_functions; i++)
                assert_true(ctx->functions[i].attached && ctx->functions[i].device_id != 0 &&
                            ctx->functions[i].cdev >= 0);
        for (size_t i = 0; i < ctx->n_viommus; i++)
                assert_true(ctx->viommus[i].viommu_id != 0 && ctx->viommus[i].vfmmio_offset != 0);
}

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

/* ---- what a VMM does ---- */

static VmContext shared_context(Kernel *k, const Shape *shape) {
        VmContext ctx;

        context_of(k, shape, &ctx);
        assert_ok(context_realize(k, &ctx, NULL, NULL));
        ctx.shared = true;
        return ctx;
}

static void objects_of_a_vmm(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        _cleanup_close_ int ram = ram_new();

        (void)state;
        for (unsigned n = 0; n < 5; n++) {
                VmContext ctx = shared_context(k, shapes + 1);
                KernelMapping m = mapping;
                uint32_t id, ids[300], hwpt;
                Problem p = {};

                m.fd = ram;
                switch (n) {
                case 0: /* an IOAS of its own, with memory in it, and a function moved there */
                        assert_ok(k->ops->ioas_alloc(k, ctx.iommufd, &id));
                        assert_ok(k->ops->ioas_map_file(k, ctx.iommufd, id, &m));
                        assert_ok(k->ops->cdev_attach(k, ctx.functions[0].cdev, id));
                        break;
                case 1: /* nest parents on the daemon's */
                        for (unsigned i = 0; i < 3; i++)
                                assert_ok(k->ops->hwpt_alloc_nest_parent(k, ctx.iommufd,
                                                                         ctx.functions[0].device_id,
                                                                         ctx.ioas_id, &hwpt));
                        break;
                case 2: { /* vIOMMUs on the daemon's nest parent */
                        KernelViommuRequest request = { .type = KERNEL_VIOMMU_TYPE_AMD,
                                                        .device_id = ctx.functions[1].device_id,
                                                        .hwpt_id = ctx.hwpt_id,
                                                        .data_len = 8 };
                        KernelViommu viommu;

                        for (unsigned i = 0; i < 4; i++)
                                assert_ok(k->ops->viommu_alloc(k, ctx.iommufd, &request, &viommu));
                        break;
                }
                case 3: /* very many, with holes among them */
                        for (unsigned i = 0; i < ELEMENTSOF(ids); i++)
                                assert_ok(k->ops->ioas_alloc(k, ctx.iommufd, ids + i));
                        for (unsigned i = 20; i < 220; i++)
                                assert_ok(k->ops->object_destroy(k, ctx.iommufd, ids[i]));
                        break;
                default: /* it has destroyed what was made for it */
                        assert_ok(k->ops->object_destroy(k, ctx.iommufd,
                                                         ctx.functions[0].vdevice_id));
                        assert_ok(k->ops->object_destroy(k, ctx.iommufd,
                                                         ctx.functions[1].vdevice_id));
                        assert_ok(k->ops->object_destroy(k, ctx.iommufd, ctx.viommus[0].viommu_id));
                }
                if (context_teardown(k, &ctx, &p) < 0)
                        fail_msg("%u: %s", n, p.text);
                assert_nothing_left(k, "objects of a VMM", n);
                context_done(&ctx);
        }
}

/* Makes an address space, a nest parent on it and a vIOMMU on that whose ids are more than @gap above the others'. Returns
 * the vIOMMU's offset. @own_stage2: else the vIOMMU stands on the daemon's nest parent. */
static uint64_t hide_viommu(Kernel *k, const VmContext *ctx, unsigned gap, bool own_stage2) {
        KernelViommuRequest request = { .type = KERNEL_VIOMMU_TYPE_AMD,
                                        .device_id = ctx->functions[0].device_id,
                                        .hwpt_id = ctx->hwpt_id,
                                        .data_len = 8 };
        uint32_t *ids = new0(uint32_t, gap), ioas;
        KernelViommu viommu;

        assert_non_null(ids);
        for (unsigned i = 0; i < gap; i++)
                assert_ok(k->ops->ioas_alloc(k, ctx->iommufd, ids + i));
        if (own_stage2) {
                assert_ok(k->ops->ioas_alloc(k, ctx->iommufd, &ioas));
                assert_ok(k->ops->hwpt_alloc_nest_parent(k, ctx->iommufd, request.device_id, ioas,
                                                         &request.hwpt_id));
        }
        assert_ok(k->ops->viommu_alloc(k, ctx->iommufd, &request, &viommu));
        for (unsigned i = 0; i < gap; i++)
                assert_ok(k->ops->object_destroy(k, ctx->iommufd, ids[i]));
        free(ids);
        return viommu.vfmmio_offset;
}

/* Somebody else keeps the iommufd, so that closing it ends nothing, and has put a vIOMMU where a short search ends before. */
static void objects_behind_a_gap(void **state) {
        static const unsigned gaps[] = { 300, 5000, 60000 };
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");

        (void)state;
        for_each_case(gap, gaps) for (unsigned n = 0; n < 4; n++) {
                bool own_stage2 = n & 1, unusable_id = n & 2;
                VmContext ctx = shared_context(k, shapes + 1);
                _cleanup_close_ int accomplice = fcntl(ctx.iommufd, F_DUPFD_CLOEXEC, 3);
                SimCounters c;
                Problem p = {};

                (void)hide_viommu(k, &ctx, *gap, own_stage2);
                if (unusable_id) { /* by a cdev that is closed under its vDEVICE */
                        ctx.functions[0].cdev = fd_close(ctx.functions[0].cdev);
                        sim_get_counters(k, &c);
                        assert_int_equal(c.tombstones, 1);
                }
                if (context_teardown(k, &ctx, &p) < 0)
                        fail_msg("gap %u, %u: %s", *gap, n, p.text);
                sim_get_counters(k, &c);
                if (c.viommus + c.hwpts + c.ioas > 0)
                        fail_msg("gap %u, %u: the accomplice has %lu vIOMMUs left", *gap, n,
                                 c.viommus);
                accomplice = fd_close(accomplice);
                assert_nothing_left(k, "behind a gap", n);
                context_done(&ctx);
        }
}

/* What is hidden and in use is found too, and told. */
static void page_behind_a_gap(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");

        (void)state;
        for (unsigned n = 0; n < 2; n++) {
                VmContext ctx = shared_context(k, shapes + 1);
                uint64_t offset = hide_viommu(k, &ctx, 1000, n);
                volatile void *page;
                Problem p = {};

                assert_ok(k->ops->vfmmio_map(k, ctx.iommufd, offset, &page));
                assert_error(context_teardown(k, &ctx, &p), EBUSY);
                assert_problem(&p, PROBLEM_BUSY, "still in use");
                assert_ok(k->ops->vfmmio_unmap(k, ctx.iommufd, offset, page));
                assert_ok(context_teardown(k, &ctx, &p));
                assert_nothing_left(k, "page behind a gap", n);
                context_done(&ctx);
        }
}

/* Where the search ends the kernel's word counts, if it can be believed: without vDEVICEs. */
static void object_behind_everything(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 6);
        uint32_t ids[66000];
        Problem p = {};

        (void)state;
        for_each_case(id, ids) assert_ok(k->ops->ioas_alloc(k, ctx.iommufd, id));
        for (size_t i = 0; i < ELEMENTSOF(ids) - 1; i++)
                assert_ok(k->ops->object_destroy(k, ctx.iommufd, ids[i]));
        assert_error(context_teardown(k, &ctx, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, "still in use");
        assert_ok(k->ops->object_destroy(k, ctx.iommufd, ids[ELEMENTSOF(ids) - 1]));
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "behind everything", 0);
        context_done(&ctx);
}

/* An object that is gone already is as good as destroyed. */
static void objects_are_gone_already(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 1);
        Problem p = {};

        (void)state;
        for (unsigned i = 0; i < 2; i++)
                assert_ok(k->ops->object_destroy(k, ctx.iommufd, ctx.functions[i].vdevice_id));
        assert_ok(k->ops->object_destroy(k, ctx.iommufd, ctx.viommus[0].viommu_id));
        assert_ok(context_unrealize_viommu(k, &ctx, ctx.viommus, &p));
        assert_true(ctx.viommus[0].viommu_id == 0 && ctx.functions[1].vdevice_id == 0);
        assert_ok(context_realize(k, &ctx, NULL, &p)); /* and can be made again */
        assert_built(k, &ctx);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "gone already", 0);
        context_done(&ctx);
}

static void page_is_mapped_by_somebody(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes);
        volatile void *page;
        Problem p = {};
        SimCounters c;
        uint64_t offset = ctx.viommus[0].vfmmio_offset;

        (void)state;
        assert_ok(k->ops->vfmmio_map(k, ctx.iommufd, offset, &page));
        assert_error(context_unrealize_viommu(k, &ctx, ctx.viommus, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, "ivhd0 is in use still");
        assert_int_equal(ctx.viommus[0].vfmmio_offset, offset);

        for (unsigned i = 0; i < 2; i++) { /* however often it is tried */
                p = (Problem){};
                assert_error(context_teardown(k, &ctx, &p), EBUSY);
                assert_problem(&p, PROBLEM_BUSY, "VF MMIO page is mapped");
                sim_get_counters(k, &c);
                assert_true(c.viommus == 1 && c.vdevices == 0 && c.open_cdevs == 0);
                assert_true(ctx.iommufd >= 0);
        }
        assert_ok(k->ops->vfmmio_unmap(k, ctx.iommufd, offset, page));
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "unmapped", 0);
        context_done(&ctx);
}

static void function_is_held_by_somebody(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 1);
        int held = dup(ctx.functions[1].cdev);
        Problem p = {};

        (void)state;
        assert_error(context_unrealize_function(k, &ctx, ctx.functions + 1, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, OTHER_FN " is still held by the VMM");
        assert_int_equal(ctx.functions[1].cdev, -1); /* the daemon's own is closed */
        p = (Problem){};
        assert_error(context_teardown(k, &ctx, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, OTHER_FN " is still held");

        fd_close(held);
        assert_ok(context_unrealize_function(k, &ctx, ctx.functions + 1, &p));
        assert_int_equal(ctx.functions[1].device_id, 0);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "closed", 0);
        context_done(&ctx);
}

/* Handover "vmm": the VMM binds; nobody tells the daemon the ids. */
static void vmm_binds_by_itself(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(
                k, &(Shape){ "", TIER_EMULATED, HANDOVER_VMM, { MAIN_FN, OTHER_FN } });
        int cdevs[2], theirs = dup(ctx.iommufd);
        uint32_t device;
        Problem p = {};

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                assert_ok(k->ops->cdev_open(k, &ctx.functions[i].address, cdevs + i));
                assert_ok(k->ops->cdev_bind(k, cdevs[i], theirs, NULL, &device));
        }
        assert_error(context_unrealize_function(k, &ctx, ctx.functions + 1, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, OTHER_FN " is still held by the VMM: unplug it there.");
        assert_ok(k->ops->cdev_detach(k, cdevs[1]));
        fd_close(cdevs[1]);
        assert_ok(context_unrealize_function(k, &ctx, ctx.functions + 1, &p));
        context_remove_function(&ctx, 1);

        p = (Problem){};
        assert_error(context_teardown(k, &ctx, &p), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, "1 kernel object(s) of the VM are still in use");
        fd_close(cdevs[0]);
        assert_ok(context_teardown(k, &ctx, &p));
        fd_close(theirs);
        assert_nothing_left(k, "closed", 0);
        context_done(&ctx);
}

/* Who could not ask has no answer: it is not let go of until somebody has been asked. */
static void nobody_could_be_asked(void **state) {
        static const char *const calls[] = { "cdev_open", "iommufd_open" };
        static const int errors[] = { ENOMEM, EMFILE, ENFILE, EINTR, EIO };
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, &(Shape){ "", TIER_EMULATED, HANDOVER_VMM, { MAIN_FN } });
        int cdev, theirs = TAKE_FD(ctx.iommufd); /* the daemon's is lost */
        uint32_t device;
        Problem p = {};

        (void)state;
        assert_ok(k->ops->cdev_open(k, &ctx.functions[0].address, &cdev));
        assert_ok(k->ops->cdev_bind(k, cdev, theirs, NULL, &device));
        assert_error(context_check_let_go(k, &ctx, &p), EBUSY);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                for (size_t j = 0; j < ELEMENTSOF(errors); j++) {
                        assert_ok(sim_inject_fault(k, calls[i], 1, errors[j]));
                        assert_error(context_check_let_go(k, &ctx, &p), EBUSY);
                        assert_problem(&p, PROBLEM_BUSY, MAIN_FN);
                        assert_ok(sim_clear_faults(k));
                }
        fd_close(cdev);
        assert_ok(context_check_let_go(k, &ctx, &p));
        fd_close(theirs);
        assert_nothing_left(k, "closed", 0);
        context_done(&ctx);
}

/* A vIOMMU that is listed still, with nothing behind it but a function that drains: nobody wants it made. */
static void viommu_that_nobody_wants(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx;
        Problem p = {};

        (void)state;
        context_of(k, &(Shape){ "", TIER_HARDWARE, HANDOVER_DAEMON, { MAIN_FN, "0000:41:00.0" } },
                   &ctx);
        assert_int_equal(ctx.n_viommus, 2);
        ctx.functions[1].draining = true;
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_int_not_equal(ctx.viommus[0].viommu_id, 0);
        assert_int_equal(ctx.viommus[1].viommu_id, 0);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "unwanted", 0);
        context_close(&ctx);
        context_done(&ctx);
}

/* Nobody else has a descriptor: closing the daemon's is the end of it, whatever the kernel said before. */
static void nobody_else_has_it(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 2);
        Problem p = {};

        (void)state;
        ctx.shared = false;
        for (unsigned i = 0; i < 16; i++)
                assert_ok(sim_inject_fault(k, "object_destroy", i + 1, EBUSY));
        assert_ok(context_teardown(k, &ctx, &p));
        assert_ok(sim_clear_faults(k));
        assert_nothing_left(k, "closed", 0);
        context_close(&ctx);
        context_done(&ctx);
}

/* After ConfirmContext the daemon has no descriptor of a function, and a vIOMMU is still made through it. */
static void handed_over(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 1);
        int theirs[2];
        Problem p = {};

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                ContextFunction *f = ctx.functions + i;

                theirs[i] = TAKE_FD(f->cdev);
                f->unplug_fd = fd_close(f->unplug_fd);
                f->handed_over = true;
        }
        assert_ok(context_unrealize_viommu(k, &ctx, ctx.viommus, &p));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_true(ctx.viommus[0].viommu_id != 0 && ctx.functions[1].vdevice_id != 0);

        /* One more function comes, and is bound by the daemon. */
        assert_ok(context_unrealize_viommu(k, &ctx, ctx.viommus, &p));
        assert_ok(context_add_function(&ctx, &(ContextFunction){ .address = address("0000:04:00.0"),
                                                                 .guest_id = { 0x300 },
                                                                 .cdev = -1,
                                                                 .unplug_fd = -1 }));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_true(ctx.functions[2].vdevice_id != 0);

        /* One that is leaving is left alone. */
        ctx.functions[1].draining = true;
        assert_ok(context_unrealize_viommu(k, &ctx, ctx.viommus, &p));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_int_equal(ctx.functions[1].vdevice_id, 0);

        fd_close(theirs[0]);
        fd_close(theirs[1]);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "handed over", 0);
        context_done(&ctx);
}

/* A VMM closes a function before anybody detaches it, and the next one to come gets its id. */
static void id_is_given_out_again(void **state) {
        const PciAddress other = address(OTHER_FN), next = address("0000:04:00.0");
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(k, shapes + 1);
        int theirs[2];
        uint32_t id = ctx.functions[0].device_id;
        Problem p = {};

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                theirs[i] = TAKE_FD(ctx.functions[i].cdev);
                ctx.functions[i].unplug_fd = fd_close(ctx.functions[i].unplug_fd);
                ctx.functions[i].handed_over = true;
        }
        fd_close(theirs[0]);
        assert_ok(context_add_function(&ctx, &(ContextFunction){ .address = next,
                                                                 .guest_id = { 0x300 },
                                                                 .cdev = -1,
                                                                 .unplug_fd = -1 }));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_int_equal(ctx.functions[2].device_id, id);
        assert_int_equal(ctx.functions[0].device_id, 0);
        assert_int_not_equal(ctx.functions[1].device_id, 0);

        /* Nothing is made for the one that has gone, neither by its own id nor by another's. */
        assert_ok(context_unrealize_viommu(k, &ctx, ctx.viommus, &p));
        assert_ok(context_realize(k, &ctx, NULL, &p));
        assert_int_equal(ctx.functions[0].vdevice_id, 0);
        assert_true(ctx.functions[1].vdevice_id != 0 && ctx.functions[2].vdevice_id != 0);

        /* And it can be detached. */
        assert_ok(context_unrealize_function(k, &ctx, ctx.functions, &p));
        context_remove_function(&ctx, 0);
        assert_int_not_equal(context_find_function(&ctx, &next)->cdev, -1);
        assert_error(context_unrealize_function(k, &ctx, context_find_function(&ctx, &other), &p),
                     EBUSY);

        fd_close(theirs[1]);
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "given out again", 0);
        context_done(&ctx);
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
                cmocka_unit_test(objects_of_a_vmm),
                cmocka_unit_test(objects_behind_a_gap),
                cmocka_unit_test(page_behind_a_gap),
                cmocka_unit_test(object_behind_everything),
                cmocka_unit_test(objects_are_gone_already),
                cmocka_unit_test(page_is_mapped_by_somebody),
                cmocka_unit_test(function_is_held_by_somebody),
                cmocka_unit_test(vmm_binds_by_itself),
                cmocka_unit_test(nobody_could_be_asked),
                cmocka_unit_test(viommu_that_nobody_wants),
                cmocka_unit_test(nobody_else_has_it),
                cmocka_unit_test(handed_over),
                cmocka_unit_test(id_is_given_out_again),
                cmocka_unit_test(refusals_of_the_kernel),
                cmocka_unit_test(both_sizes_of_user_data),
                cmocka_unit_test(node_belongs_to_root_for_a_moment),
                cmocka_unit_test(every_step_has_words),
                cmocka_unit_test(mappings),
                cmocka_unit_test(guest_memory),
                cmocka_unit_test(guest_memory_of_all_kinds),
                cmocka_unit_test(copies),
                cmocka_unit_test(lists_without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
