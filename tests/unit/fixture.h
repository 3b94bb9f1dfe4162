/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A manager on a simulated host, with a real event loop and real workers, and no bus: requests that wait for their answer,
 * a gate that holds a kernel call up, and what has to hold when all is over.
 */

#include <pthread.h>

#include "unit.h"

#include "core/manager.h"
#include "kernel/sim/sim.h"

#define RAM_BYTES (UINT64_C(4) << 20)

/* Functions of the profile "epyc-2p". */
#define FN_A     "0000:01:00.0" /* behind ivhd0, alone in its group */
#define FN_B     "0000:03:00.0" /* likewise */
#define FN_C     "0000:41:00.0" /* behind ivhd1 */
#define FN_D     "0001:01:00.0" /* behind ivhd2 */
#define FN_HOST  "0000:07:00.0" /* nvme's */
#define FN_PAIR  "0000:10:00.0", "0000:10:00.1"
#define FN_GUARD "0000:51:00.1" /* a VF whose PF is on vfio-pci */

typedef struct Answer {
        bool given;
        int r;
        Problem problem;
} Answer;

/* An OperationAnswer: stores it, and sees to it that it comes once. */
void answer_store(void *userdata, int r, const Problem *problem);

/* Holds up the nth call of an op until it is opened. */
typedef struct Gate {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        const char *op; /* NULL: any; ">op": after it */
        unsigned countdown;
        bool reached, open;
} Gate;

typedef struct Fixture {
        sd_event *event;
        Kernel *kernel; /* the manager's */
        Manager *manager;
        Config config;
        Gate gate;
        Problem problem; /* of the last request */
        unsigned n_added, n_removed, n_changed, n_capacity, n_host;
        char reason[32]; /* of the last VmRemoved */
        int ram;
} Fixture;

/* @config: NULL for the defaults, with short timeouts. */
void fx_init(Fixture *f, const char *profile, const Config *config);

/* Frees the manager, which asserts the ledger's balance. */
void fx_done(Fixture *f);

/* Runs the loop until @flag is true; fails after a long time. */
void fx_run_until(Fixture *f, const bool *flag);
/* Runs the loop for a while. */
void fx_run_for(Fixture *f, uint64_t usec);
/* Runs the loop until the VM is gone. */
void fx_run_until_gone(Fixture *f, const char *name);

sd_id128_t fx_uuid(const char *name);
Vm *fx_vm(const Fixture *f, const char *name);
VmState fx_state(const Fixture *f, const char *name);

/* A request, for fx_create_request() or the manager itself. */
void fx_request(VmRequest *request, const char *name, VmTier tier, VmHandover handover,
                const char *const *functions);
#define FNS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

/* Each makes a request, waits for its answer, and returns what that says; @f->problem has the words. */
int fx_create(Fixture *f, const char *name, VmTier tier, VmHandover handover,
              const char *const *functions);
int fx_create_request(Fixture *f, VmRequest *request, const char *caller);
int fx_attach(Fixture *f, const char *name, const char *const *functions);
int fx_attach_with(Fixture *f, const char *name, const char *const *functions, uint64_t memory);
int fx_detach(Fixture *f, const char *name, const char *function);
int fx_map(Fixture *f, const char *name, uint64_t iova, uint64_t length);
int fx_unmap(Fixture *f, const char *name, uint64_t iova, uint64_t length);
int fx_viommu_create(Fixture *f, const char *name, uint32_t iommu);
int fx_viommu_destroy(Fixture *f, const char *name, uint32_t iommu);
int fx_open(Fixture *f, const char *name, const char *function);
int fx_confirm(Fixture *f, const char *name);
int fx_destroy(Fixture *f, const char *name, bool force);
int fx_prepare(Fixture *f, const char *name, const char *caller);
int fx_probe(Fixture *f, uint32_t iommu);

int fx_leash(Fixture *f, const char *name, int pidfd);

/* A gate for the next @nth call of @op. fx_gate_reached() runs the loop until a call waits there, or @answer has come. */
void fx_gate_set(Fixture *f, const char *op, unsigned nth);
bool fx_gate_reached(Fixture *f, const Answer *answer);
void fx_gate_open(Fixture *f);

uint64_t fx_used(const Fixture *f, ResourceKind kind, uint32_t scope);

/* No VM, nothing charged, nothing claimed, nothing in the kernel. */
void fx_assert_clean(Fixture *f);

/* A child that waits for its end. */
pid_t child_new(int *ret_pidfd);
void child_end(pid_t pid);
