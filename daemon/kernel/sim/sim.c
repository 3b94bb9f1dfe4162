/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <time.h>

#include "kernel/sim/sim-internal.h"

/*
 * The table of ops. Each does the same four things around what its op really does: it calls the hook, counts the call,
 * sleeps and fails as ordered, and asks once more after taking back what was let go, if that may be why the op failed.
 */

static const struct {
        const char *name;
        bool any;
} ops[_SIM_OP_MAX] = {
#define X(op, member, is_any) [SIM_OP_##op] = { #member, is_any },
        SIM_OPS(X)
#undef X
};

int sim_op_from_name(const char *name) {
        for (int i = 0; i < _SIM_OP_MAX; i++)
                if (streq(ops[i].name, name))
                        return i;

        return -ENOENT;
}

bool sim_op_is_any(SimOp op) {
        return ops[op].any;
}

/* Counts the call. Returns the error of a fault that it meets, or 0. */
static int call_count(SimKernel *s, SimOp op, uint64_t *ret_delay_usec) {
        SimState *st = s->state;
        int error = 0;

        SIM_LOCKED(s);

        st->calls[op]++;
        *ret_delay_usec = st->delay_usec[op];
        for (size_t i = 0; i < SIM_FAULTS_MAX; i++) {
                SimFault *fault = &st->faults[i];

                if (fault->countdown == 0 || (fault->any_op ? !ops[op].any : fault->op != op))
                        continue;
                if (--fault->countdown == 0)
                        error = fault->error;
        }

        return error;
}

static int enter(SimKernel *s, SimOp op) {
        uint64_t delay_usec;
        int error;

        if (s->hook)
                s->hook(s->hook_userdata, ops[op].name, true);

        error = call_count(s, op, &delay_usec);
        if (delay_usec > 0) {
                struct timespec ts = {
                        .tv_sec = (time_t)(delay_usec / 1000000),
                        .tv_nsec = (long)(delay_usec % 1000000 * 1000),
                };

                while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
                        ;
        }

        return -error;
}

static int leave(SimKernel *s, SimOp op, int r) {
        if (s->hook)
                s->hook(s->hook_userdata, ops[op].name, false);

        return r;
}

/* Whether an op that ran into a limit, or into somebody else, is worth another try. */
static bool again(SimKernel *s, int r, bool *tried) {
        if (*tried || (r != -ENOSPC && r != -ENOMEM && r != -EBUSY))
                return false;

        *tried = true;
        SIM_LOCKED(s);
        return sim_reap_all(s) > 0;
}

#define RUN(k, op, call)                                                                           \
        ({                                                                                         \
                SimKernel *s = sim_kernel(k);                                                      \
                bool _tried = false;                                                               \
                int _r = enter(s, (op));                                                           \
                if (_r >= 0)                                                                       \
                        do                                                                         \
                                _r = (call);                                                       \
                        while (again(s, _r, &_tried));                                             \
                leave(s, (op), _r);                                                                \
        })

static void op_free(Kernel *k) {
        SimKernel *s = sim_kernel(k);

        if (s->state)
                sim_watcher_stop(s);
        sim_state_close(s);
        free(s);
}

static int op_scan(Kernel *k, const PciAddress *only, size_t n_only, HostScan **ret) {
        return RUN(k, SIM_OP_SCAN, sim_scan(s, only, n_only, ret));
}

static int op_watch(Kernel *k, int *ret_fd) {
        return RUN(k, SIM_OP_WATCH, sim_watch(s, ret_fd));
}

static int op_watch_drain(Kernel *k, bool *ret_changed) {
        return RUN(k, SIM_OP_WATCH_DRAIN, sim_watch_drain(s, ret_changed));
}

static int op_iommufd_open(Kernel *k, int *ret_iommufd) {
        return RUN(k, SIM_OP_IOMMUFD_OPEN, sim_iommufd_open(s, ret_iommufd));
}

static int op_iommufd_account_process(Kernel *k, int iommufd) {
        return RUN(k, SIM_OP_IOMMUFD_ACCOUNT_PROCESS, sim_iommufd_account_process(s, iommufd));
}

static int op_ioas_alloc(Kernel *k, int iommufd, uint32_t *ret_ioas_id) {
        return RUN(k, SIM_OP_IOAS_ALLOC, sim_ioas_alloc(s, iommufd, ret_ioas_id));
}

static int op_ioas_map_file(Kernel *k, int iommufd, uint32_t ioas_id,
                            const KernelMapping *mapping) {
        return RUN(k, SIM_OP_IOAS_MAP_FILE, sim_ioas_map_file(s, iommufd, ioas_id, mapping));
}

static int op_ioas_unmap(Kernel *k, int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t length) {
        return RUN(k, SIM_OP_IOAS_UNMAP, sim_ioas_unmap(s, iommufd, ioas_id, iova, length));
}

static int op_hwpt_alloc_nest_parent(Kernel *k, int iommufd, uint32_t device_id, uint32_t ioas_id,
                                     uint32_t *ret_hwpt_id) {
        return RUN(k, SIM_OP_HWPT_ALLOC_NEST_PARENT,
                   sim_hwpt_alloc_nest_parent(s, iommufd, device_id, ioas_id, ret_hwpt_id));
}

static int op_viommu_alloc(Kernel *k, int iommufd, const KernelViommuRequest *request,
                           KernelViommu *ret) {
        return RUN(k, SIM_OP_VIOMMU_ALLOC, sim_viommu_alloc(s, iommufd, request, ret));
}

static int op_hw_queue_probe(Kernel *k, int iommufd, uint32_t viommu_id) {
        return RUN(k, SIM_OP_HW_QUEUE_PROBE, sim_hw_queue_probe(s, iommufd, viommu_id));
}

static int op_vfmmio_map(Kernel *k, int iommufd, uint64_t offset, volatile void **ret_page) {
        return RUN(k, SIM_OP_VFMMIO_MAP, sim_vfmmio_map(s, iommufd, offset, ret_page));
}

static int op_vfmmio_unmap(Kernel *k, int iommufd, uint64_t offset, volatile void *page) {
        return RUN(k, SIM_OP_VFMMIO_UNMAP, sim_vfmmio_unmap(s, iommufd, offset, page));
}

static int op_vdevice_alloc(Kernel *k, int iommufd, uint32_t viommu_id, uint32_t device_id,
                            GuestDeviceId guest_id, uint32_t *ret_vdevice_id) {
        return RUN(k, SIM_OP_VDEVICE_ALLOC,
                   sim_vdevice_alloc(s, iommufd, viommu_id, device_id, guest_id, ret_vdevice_id));
}

static int op_object_destroy(Kernel *k, int iommufd, uint32_t object_id) {
        return RUN(k, SIM_OP_OBJECT_DESTROY, sim_object_destroy(s, iommufd, object_id));
}

static int op_object_probe(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t object_id) {
        return RUN(k, SIM_OP_OBJECT_PROBE, sim_object_probe(s, iommufd, kind, object_id));
}

static int op_cdev_open(Kernel *k, const PciAddress *function, int *ret_cdev) {
        return RUN(k, SIM_OP_CDEV_OPEN, sim_cdev_open(s, function, ret_cdev));
}

static int op_cdev_bind(Kernel *k, int cdev, int iommufd, const uint8_t *vf_token,
                        uint32_t *ret_device_id) {
        return RUN(k, SIM_OP_CDEV_BIND, sim_cdev_bind(s, cdev, iommufd, vf_token, ret_device_id));
}

static int op_cdev_attach(Kernel *k, int cdev, uint32_t pt_id) {
        return RUN(k, SIM_OP_CDEV_ATTACH, sim_cdev_attach(s, cdev, pt_id));
}

static int op_cdev_detach(Kernel *k, int cdev) {
        return RUN(k, SIM_OP_CDEV_DETACH, sim_cdev_detach(s, cdev));
}

static int op_cdev_notify_request(Kernel *k, int cdev, int eventfd) {
        return RUN(k, SIM_OP_CDEV_NOTIFY_REQUEST, sim_cdev_notify_request(s, cdev, eventfd));
}

static int op_cdev_is(Kernel *k, int cdev, const PciAddress *function) {
        return RUN(k, SIM_OP_CDEV_IS, sim_cdev_is(s, cdev, function));
}

static const KernelOps sim_kernel_ops = { .name = "simulated",
                                          .free = op_free,
#define X(op, member, is_any) .member = op_##member,
                                          SIM_OPS(X)
#undef X
};

int sim_kernel_new(const char *profile, int state_fd, Kernel **ret, Problem *reterr_problem) {
        _cleanup_(kernel_freep) Kernel *k = NULL;
        SimKernel *s;
        int r;

        s = new0(SimKernel, 1);
        if (!s)
                return -ENOMEM;

        k = &s->kernel;
        k->ops = &sim_kernel_ops;
        sim_watcher_init(&s->watcher);
        r = sim_state_open(s, profile, state_fd, reterr_problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(k);
        return 0;
}
