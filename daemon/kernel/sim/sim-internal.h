/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the files of the simulated kernel share. sim.c holds the table of ops: it counts, delays, fails and calls the
 * functions below, which do one op each under the state's mutex. Functions that take a SimState expect the mutex held.
 */

#include <sys/types.h>

#include "kernel/sim/state.h"

/* The ops, in the order of their numbers: member of KernelOps, whether "any op" includes it */
#define SIM_OPS(X)                                                                                 \
        X(SCAN, scan, true)                                                                        \
        X(WATCH, watch, false)                                                                     \
        X(WATCH_DRAIN, watch_drain, false)                                                         \
        X(IOMMUFD_OPEN, iommufd_open, true)                                                        \
        X(IOMMUFD_ACCOUNT_PROCESS, iommufd_account_process, true)                                  \
        X(IOAS_ALLOC, ioas_alloc, true)                                                            \
        X(IOAS_MAP_FILE, ioas_map_file, true)                                                      \
        X(IOAS_UNMAP, ioas_unmap, true)                                                            \
        X(HWPT_ALLOC_NEST_PARENT, hwpt_alloc_nest_parent, true)                                    \
        X(VIOMMU_ALLOC, viommu_alloc, true)                                                        \
        X(HW_QUEUE_PROBE, hw_queue_probe, true)                                                    \
        X(VFMMIO_MAP, vfmmio_map, true)                                                            \
        X(VFMMIO_UNMAP, vfmmio_unmap, true)                                                        \
        X(VDEVICE_ALLOC, vdevice_alloc, true)                                                      \
        X(OBJECT_DESTROY, object_destroy, true)                                                    \
        X(OBJECT_PROBE, object_probe, true)                                                        \
        X(CDEV_OPEN, cdev_open, true)                                                              \
        X(CDEV_BIND, cdev_bind, true)                                                              \
        X(CDEV_ATTACH, cdev_attach, true)                                                          \
        X(CDEV_DETACH, cdev_detach, true)                                                          \
        X(CDEV_NOTIFY_REQUEST, cdev_notify_request, true)                                          \
        X(CDEV_IS, cdev_is, true)

typedef enum SimOp {
#define X(op, member, any) SIM_OP_##op,
        SIM_OPS(X)
#undef X
                _SIM_OP_MAX,
} SimOp;

static_assert(_SIM_OP_MAX <= SIM_OPS_MAX, "the state has no room for so many ops");

/* An eventfd that a holder of a cdev gave to be asked through. */
typedef struct SimRequest {
        uint32_t cdev, generation;
        int eventfd; /* a duplicate; -1: none here */
        bool asked;
} SimRequest;

/* The thread that turns changes of the state, by any process, into readable descriptors of this one. */
typedef struct SimWatcher {
        pthread_mutex_t
                mutex; /* guards the members below; never taken with the state's mutex held */
        bool running, stop;
        pthread_t thread;
        int changed_fd; /* eventfd, -1 until somebody watches */
        uint32_t change_seq;
        SimRequest *requests;
        size_t n_requests;
} SimWatcher;

typedef struct SimKernel {
        Kernel kernel;
        SimState *state;
        int state_fd; /* an open file description of our own, which holds no lock */
        dev_t dev;
        ino_t ino;
        SimHook hook;
        void *hook_userdata;
        SimWatcher watcher;
} SimKernel;

static inline SimKernel *sim_kernel(Kernel *k) {
        return container_of(k, SimKernel, kernel);
}

/* ---- state-file.c: creating, mapping, locking ---- */

/* As sim_kernel_new(); fills state, state_fd, dev and ino of @s. */
int sim_state_open(SimKernel *s, const char *profile, int state_fd, Problem *reterr_problem);
void sim_state_close(SimKernel *s);

SimKernel *sim_lock(SimKernel *s);
void sim_unlock(SimKernel *s);

static inline void sim_unlockp(SimKernel **s) {
        sim_unlock(*s);
}

/* Holds the state's mutex to the end of the scope. */
#define SIM_LOCKED(s) _cleanup_(sim_unlockp) _unused_ SimKernel *_locked = sim_lock(s)

/* Wakes the watchers of all processes. @changed: and tells them that the host has changed. */
void sim_wake(SimState *st, bool changed);

/* ---- pool.c: tables and number spaces ---- */

/* Takes an entry of @table (@max entries of @size bytes after entry 0) and zeroes it. Returns SIM_NIL when it is full. */
uint32_t sim_pool_take(SimPool *pool, void *table, size_t size, uint32_t max);
void sim_pool_give(SimPool *pool, void *table, size_t size, uint32_t entry);

#define POOL_TAKE(pool, table, max) sim_pool_take((pool), (table), sizeof(*(table)), (max))
#define POOL_GIVE(pool, table, n)   sim_pool_give((pool), (table), sizeof(*(table)), (n))

bool sim_bit_test(const uint64_t *bits, uint32_t n);
void sim_bit_set(uint64_t *bits, uint32_t n);
void sim_bit_clear(uint64_t *bits, uint32_t n);

/* The lowest clear bit in [from, to], or KERNEL_NONE. */
uint32_t sim_bit_lowest_clear(const uint64_t *bits, uint32_t from, uint32_t to);

/* The highest of 65536 bits that is clear in both, or KERNEL_NONE. */
uint32_t sim_bit_highest_clear(const uint64_t *a, const uint64_t *b);

/* ---- descriptor.c: what a descriptor stands for, and whether anyone still has it ---- */

typedef enum SimTag {
        SIM_TAG_CONTEXT = 1,
        SIM_TAG_CDEV = 2,
        SIM_TAG_PAGE = 3,
} SimTag;

/* Makes a descriptor that stands for an entry. -EMFILE, -ENFILE and whatever else open(2) says. */
int sim_descriptor_new(SimKernel *s, SimTag tag, uint32_t entry, uint32_t generation, int *ret_fd);

/* -EBADF: no descriptor, or one of something else. */
int sim_descriptor_identify(SimKernel *s, int fd, SimTag tag, uint32_t *ret_entry,
                            uint32_t *ret_generation);

/* Whether any process still has the descriptor (or mapping) that stands for an entry. */
bool sim_descriptor_is_held(SimKernel *s, SimTag tag, uint32_t entry);

/* The same for many entries at once: a snapshot that may be late with releases. NULL if there is none to be had, and
 * then each has to be asked for. Free with free(). */
typedef struct SimHeld {
        uint64_t contexts[SIM_CONTEXTS_MAX / 64 + 1], cdevs[SIM_CDEVS_MAX / 64 + 1];
} SimHeld;
SimHeld *sim_held_snapshot(SimKernel *s);

/* ---- context.c: iommufds, and taking back what was let go ---- */

int sim_iommufd_open(SimKernel *s, int *ret_fd);
int sim_iommufd_account_process(SimKernel *s, int fd);

/* The context behind an iommufd, as it was left: what was closed may still be bound. As sim_descriptor_identify(). */
int sim_context_find(SimKernel *s, int fd, uint32_t *ret);

/* The same, after its cdevs that were closed have been unbound. */
int sim_context_get(SimKernel *s, int fd, uint32_t *ret);

/* Unbinds those cdevs of a context that were closed. @held: may be NULL. */
void sim_context_reap_cdevs(SimKernel *s, uint32_t context, const SimHeld *held);

/* Unbinds what was closed, and releases the context if nobody has it any more. */
void sim_context_reap(SimKernel *s, uint32_t context, const SimHeld *held);

/* Takes back all that was let go. Returns how many contexts and cdevs that were. */
size_t sim_reap_all(SimKernel *s);

/* The same where it does not matter much: all when that is cheap or memory is short, and otherwise a few in turn. */
void sim_reap_some(SimKernel *s);

/* ---- object.c: ids and references ---- */

/* -ENOMEM. The object is newest of its context, with the lowest free id. */
int sim_object_new(SimState *st, uint32_t context, SimObjectType type, uint32_t *ret);

/* The object with this id, which is no tombstone, or SIM_NIL. */
uint32_t sim_object_find(SimState *st, uint32_t context, uint32_t id);

/* The same, and of this type. */
uint32_t sim_object_find_type(SimState *st, uint32_t context, uint32_t id, SimObjectType type);

/* Drops its references and gives back what it holds; nobody may refer to it any more. */
void sim_object_free(SimKernel *s, uint32_t object);

int sim_object_destroy(SimKernel *s, int fd, uint32_t id);
int sim_object_probe(SimKernel *s, int fd, KernelObjectKind kind, uint32_t id);

/* ---- ioas.c: mappings ---- */

int sim_ioas_alloc(SimKernel *s, int fd, uint32_t *ret);
int sim_ioas_map_file(SimKernel *s, int fd, uint32_t ioas, const KernelMapping *m);
int sim_ioas_unmap(SimKernel *s, int fd, uint32_t ioas, uint64_t iova, uint64_t length);
void sim_ioas_release(SimState *st, SimObject *ioas);

/* A HWPT begins or ceases to stand on the IOAS: its mappings are pinned as long as one does. -ENOMEM,
 * -EINVAL: a file that cannot be pinned; -EADDRINUSE: a mapping that is not made of whole pages */
int sim_ioas_pin(SimState *st, SimObject *ioas);
void sim_ioas_unpin(SimState *st, SimObject *ioas);

/* -EADDRINUSE: a mapping lies where the function's reserved regions are. */
int sim_ioas_check_reserved(SimState *st, const SimObject *ioas, const SimFunction *fn);

/* ---- hwpt.c ---- */

int sim_hwpt_alloc_nest_parent(SimKernel *s, int fd, uint32_t device, uint32_t ioas, uint32_t *ret);

/* A HWPT on @ioas: a host domain id, the mappings pinned. -ENOSPC, or as sim_ioas_pin() */
int sim_hwpt_new(SimKernel *s, uint32_t ioas, bool nest_parent, uint32_t *ret);
void sim_hwpt_release(SimState *st, SimObject *hwpt);

/* ---- viommu.c ---- */

int sim_viommu_alloc(SimKernel *s, int fd, const KernelViommuRequest *request, KernelViommu *ret);
int sim_hw_queue_probe(SimKernel *s, int fd, uint32_t viommu);
int sim_vdevice_alloc(SimKernel *s, int fd, uint32_t viommu, uint32_t device,
                      GuestDeviceId guest_id, uint32_t *ret);
int sim_vfmmio_map(SimKernel *s, int fd, uint64_t offset, volatile void **ret_page);
int sim_vfmmio_unmap(SimKernel *s, int fd, uint64_t offset, volatile void *page);
void sim_viommu_release(SimKernel *s, SimObject *viommu);
void sim_vdevice_release(SimState *st, uint32_t vdevice);

/* Whether a process maps its VF MMIO page. */
bool sim_viommu_is_mapped(SimKernel *s, const SimObject *viommu);

/* ---- cdev.c, attach.c: VFIO ---- */

int sim_cdev_open(SimKernel *s, const PciAddress *function, int *ret_fd);
int sim_cdev_bind(SimKernel *s, int cdev, int iommufd, const uint8_t *vf_token, uint32_t *ret);
int sim_cdev_attach(SimKernel *s, int cdev, uint32_t pt_id);
int sim_cdev_detach(SimKernel *s, int cdev);
int sim_cdev_notify_request(SimKernel *s, int cdev, int eventfd);
int sim_cdev_is(SimKernel *s, int cdev, const PciAddress *function);

int sim_cdev_get(SimKernel *s, int fd, uint32_t *ret);

/* What closing it does: detach, force-destroy the vDEVICE, unbind, and let a removal go on that waited for it. */
void sim_cdev_release(SimKernel *s, uint32_t cdev);

/* Releases the cdevs of a function that nobody has any more. */
void sim_function_reap(SimKernel *s, uint32_t function);
void sim_device_detach(SimKernel *s, SimObject *device);

/* ---- function.c: the host's functions ---- */

uint32_t sim_function_find(SimState *st, const PciAddress *address);
int sim_function_add(SimState *st, const PciFunctionInfo *info, uint32_t *ret);

/* Removes the function or changes its driver, as it waits to; no cdev of it may be open. */
void sim_function_settle(SimState *st, uint32_t function);
void sim_function_set_driver(SimState *st, SimFunction *fn, const char *driver);
int sim_function_reserve_ids(SimState *st, SimFunction *fn);

SimIommu *sim_iommu_find(SimState *st, uint32_t index);
SimSegment *sim_segment_get(SimState *st, uint16_t segment); /* NULL: no room for another */

/* ---- scan.c ---- */

int sim_scan(SimKernel *s, const PciAddress *only, size_t n_only, HostScan **ret);

/* ---- watch.c ---- */

void sim_watcher_init(SimWatcher *w);
void sim_watcher_stop(SimKernel *s);
int sim_watch(SimKernel *s, int *ret_fd);
int sim_watch_drain(SimKernel *s, bool *ret_changed);
int sim_watcher_register(SimKernel *s, uint32_t cdev, uint32_t generation, int eventfd);

/* ---- profile.c ---- */

int sim_profile_load(SimState *st, const char *path, Problem *reterr_problem);

/* ---- sim.c ---- */

/* The number of the op of that name, or -ENOENT. */
int sim_op_from_name(const char *name);
bool sim_op_is_any(SimOp op);
