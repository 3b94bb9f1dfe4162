/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "context-shapes.h"

#include <sys/mman.h>

#include "vm/unplug-watch.h"

const uint8_t guard_token[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };

Kernel *host_new(const char *profile) {
        char path[512];
        Problem p = {};
        Kernel *k;

        (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, profile);
        if (sim_kernel_new(path, -1, &k, &p) < 0)
                fail_msg("%s", p.text);
        return k;
}

int ram_new(void) {
        int fd = memfd_create("ram", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_ok(ftruncate(fd, (off_t)RAM_BYTES));
        return fd;
}

void assert_nothing_left(Kernel *k, const char *when, unsigned n) {
        SimCounters c;

        sim_get_counters(k, &c);
        if (!sim_counters_are_zero(&c))
                fail_msg("%s %u: left are %lu contexts, %lu cdevs, %lu ioas, %lu hwpts, %lu "
                         "viommus, "
                         "%lu vdevices, %lu mappings",
                         when, n, c.contexts, c.open_cdevs, c.ioas, c.hwpts, c.viommus, c.vdevices,
                         c.mappings);
}

const Shape shapes[N_SHAPES] = {
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

void context_of(Kernel *k, const Shape *shape, VmContext *ctx) {
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

const KernelMapping mapping = { .fd = -1, .length = RAM_BYTES, .writable = true };

int live(Kernel *k, VmContext *ctx, int ram, const atomic_bool *cancelled, Problem *p) {
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

void assert_built(Kernel *k, const VmContext *ctx) {
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

VmContext shared_context(Kernel *k, const Shape *shape) {
        VmContext ctx;

        context_of(k, shape, &ctx);
        assert_ok(context_realize(k, &ctx, NULL, NULL));
        ctx.shared = true;
        return ctx;
}
