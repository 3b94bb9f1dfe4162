/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A VM's context that a VMM has had: objects that it made, pages that somebody mapped, functions that it closed. */

#include "context-shapes.h"

#include <fcntl.h>

#include "vm/unplug-watch.h"

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

/* The functions of a group go one by one: that the VMM has the others keeps none from counting as let go of. */
static void vmm_lets_go_of_a_part_of_a_group(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        VmContext ctx = shared_context(
                k, &(Shape){ "", TIER_EMULATED, HANDOVER_VMM, { "0000:10:00.0", "0000:10:00.1" } });
        int cdevs[2], theirs = dup(ctx.iommufd);
        uint32_t device;
        Problem p = {};

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                assert_ok(k->ops->cdev_open(k, &ctx.functions[i].address, cdevs + i));
                assert_ok(k->ops->cdev_bind(k, cdevs[i], theirs, NULL, &device));
        }
        for (unsigned i = 2; i-- > 0;) {
                assert_error(context_unrealize_function(k, &ctx, ctx.functions + i, &p), EBUSY);
                assert_problem(&p, PROBLEM_BUSY, "is still held by the VMM: unplug it there.");
                p = (Problem){};
                fd_close(cdevs[i]);
                assert_ok(context_unrealize_function(k, &ctx, ctx.functions + i, &p));
        }
        assert_ok(context_teardown(k, &ctx, &p));
        fd_close(theirs);
        assert_nothing_left(k, "closed", 0);
        context_done(&ctx);
}

static int (*usual_probe)(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t id);

/* Until Linux 6.13 the request that tells of any object knows nested HWPTs only, which nobody here has. */
static int probe_before_6_13(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t id) {
        return kind == KERNEL_OBJECT_ANY ? -ENOENT : usual_probe(k, iommufd, kind, id);
}

/* What the VMM made is found there too, and so is whether it has a function still. */
static void objects_that_are_not_told_of(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        const KernelOps *ops = k->ops;
        KernelOps old = *ops;
        VmContext ctx = shared_context(k, &(Shape){ "", TIER_EMULATED, HANDOVER_VMM, { MAIN_FN } });
        int cdev, theirs = dup(ctx.iommufd);
        uint32_t device, ioas, hwpt;
        Problem p = {};

        (void)state;
        usual_probe = ops->object_probe;
        old.object_probe = probe_before_6_13;
        k->ops = &old;
        assert_ok(k->ops->ioas_alloc(k, theirs, &ioas));
        assert_ok(k->ops->cdev_open(k, &ctx.functions[0].address, &cdev));
        assert_ok(k->ops->cdev_bind(k, cdev, theirs, NULL, &device));
        assert_ok(k->ops->hwpt_alloc_nest_parent(k, theirs, device, ioas, &hwpt));
        fd_close(theirs);

        /* A function that has left vfio-pci cannot be asked itself. */
        for (unsigned i = 0; i < 2; i++) {
                assert_ok(sim_inject_fault(k, "cdev_open", 1, ENOENT));
                p = (Problem){};
                if (i == 0) {
                        assert_error(context_unrealize_function(k, &ctx, ctx.functions, &p), EBUSY);
                        fd_close(cdev);
                } else
                        assert_ok(context_unrealize_function(k, &ctx, ctx.functions, &p));
        }
        assert_ok(context_teardown(k, &ctx, &p));
        assert_nothing_left(k, "not told of", 0);
        k->ops = ops;
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(objects_of_a_vmm),
                cmocka_unit_test(objects_behind_a_gap),
                cmocka_unit_test(page_behind_a_gap),
                cmocka_unit_test(object_behind_everything),
                cmocka_unit_test(objects_are_gone_already),
                cmocka_unit_test(page_is_mapped_by_somebody),
                cmocka_unit_test(function_is_held_by_somebody),
                cmocka_unit_test(vmm_binds_by_itself),
                cmocka_unit_test(vmm_lets_go_of_a_part_of_a_group),
                cmocka_unit_test(objects_that_are_not_told_of),
                cmocka_unit_test(nobody_could_be_asked),
                cmocka_unit_test(viommu_that_nobody_wants),
                cmocka_unit_test(nobody_else_has_it),
                cmocka_unit_test(handed_over),
                cmocka_unit_test(id_is_given_out_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
