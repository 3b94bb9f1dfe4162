/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What outlives a daemon: a simulated kernel, a directory of records, a service manager with its fd store, and VMMs. All of it
 * belongs to the parent, in which no daemon ever runs: each is a child that is forked (or the parent itself, for sweeps without
 * deaths), is given what the last one left, takes it on, and ends in its own way.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "unit/service-manager.h"

#include "core/manager.h"
#include "kernel/sim/sim.h"
#include "proof/steps.h"

/* Functions of proof.json. */
#define FN_A      "0000:01:00.0" /* behind ivhd0 */
#define FN_B      "0000:02:00.0" /* likewise */
#define FN_PAIR_0 "0000:10:00.0" /* of one group, behind ivhd0 */
#define FN_PAIR_1 "0000:10:00.1"
#define FN_C      "0001:01:00.0" /* behind ivhd1 */
#define FN_D      "0001:02:00.0" /* likewise */
#define FN_E      "0001:03:00.0"
#define FN_F      "0001:04:00.0"

#define HW       TIER_HARDWARE, HANDOVER_DAEMON
#define EMU      TIER_EMULATED, HANDOVER_VMM
#define EMU_MADE TIER_EMULATED, HANDOVER_DAEMON
#define LEGACY   TIER_EMULATED, HANDOVER_NONE

#define CALLER    ":1.1"
#define RAM_BYTES (UINT64_C(2) << 20)

#define VMMS 3

/* A process that stands for a VMM. It keeps what it is given, and ends when it is killed. */
typedef struct Vmm {
        pid_t pid;
        int pidfd, socket;
        uint32_t sequence;
} Vmm;

#define SNAPSHOT_SIZE 8192

/* What daemon and parent tell each other, and what is left when the daemon dies. */
typedef struct Shared {
        char before[SNAPSHOT_SIZE], after[SNAPSHOT_SIZE]; /* the act of a scenario */
        char now[SNAPSHOT_SIZE];
        char step[STEPS_NAME_SIZE]; /* at which it died */
        uint64_t n_steps;
        uint64_t nth, n_failed, n_beyond; /* of a sweep of faults */
        uint64_t n_unasked;               /* object ids that the kernel was not asked for */
        bool vmm_ended[VMMS];
        bool stage; /* for a scenario's own use */
        char token[RESERVATION_TOKEN_SIZE];
        char failure[3 * SNAPSHOT_SIZE];
} Shared;

typedef struct World {
        /* the parent's */
        int state;    /* of the simulated kernel */
        Kernel *look; /* at it */
        ServiceManager *service;
        char records[64];
        int ram;
        Vmm vmms[VMMS];
        Shared *shared;
        unsigned n_fds; /* of a daemon that has not begun */

        /* the daemon's */
        sd_event *event;
        Kernel *kernel;
        Manager *manager;
        uint64_t admission_timeout_usec; /* 0: a long one */
        uint64_t instances;              /* per host IOMMU, 0: as by default */
        Problem problem;                 /* of the last request */
} World;

/* ---- the parent ---- */

/* Ends the program when it cannot be made. */
void world_init(World *w, const char *profile);
void world_done(World *w);

/* Brings up fresh VMMs, and ends and reaps them. */
void world_begin(World *w);
void world_end(World *w);
/* Brings up those that have ended. */
void world_revive(World *w);

/* That kernel, fd store and directory are empty; returns NULL, or what is left, in words of shared->failure. */
const char *world_check_empty(World *w);

/* Empties them, after something has gone wrong. */
void world_purge(World *w);

/* Runs @run in a child that is a daemon to be. Returns its exit code; 128 and more: killed by a signal. */
int world_run(World *w, void (*run)(World *w, void *userdata), void *userdata);

/* ---- a daemon ---- */

/* Starts one in this process. Returns what manager_new() or manager_recover() gave. */
int daemon_start(World *w);
/* Ends it in order: what it holds stays with the service manager. */
void daemon_stop(World *w);

/* Says what is wrong and ends the process with DAEMON_FLUNKED. */
#define DAEMON_FLUNKED 99
_Noreturn void flunk(World *w, const char *format, ...) _printf_(2, 3);

/* Runs the loop until *flag, or flunks. */
void daemon_run_until(World *w, const bool *flag);
void daemon_run_for(World *w, uint64_t usec);

/* Whether nothing is going on: no operation, no job, nothing that is to be tried again. */
bool daemon_is_idle(const World *w);
void daemon_run_until_idle(World *w);

/* Runs the loop until nothing is going on and @is says that it may stay so. Returns whether it came to that; if not, w->shared->now says
 * how it stands. */
bool daemon_settle(World *w, bool (*is)(World *w, void *userdata), void *userdata);

/* Ends all VMMs, destroys and gives back all that there is, stops the daemon, and sees to it that nothing is left. */
void daemon_end_all(World *w);

/* The state of the daemon and of what it holds, as text: a line each, without numbers that mean nothing. */
void snapshot(World *w, char ret[static SNAPSHOT_SIZE]);

/* Whether that name in the directory of records is to do with VMs: kernel levels stay when all VMs are gone. */
bool is_record_of_vms(const char *name);

/* ---- requests: each waits for its answer ---- */

typedef struct Answer {
        bool given;
        int r;
        Problem problem;
} Answer;

void answer_store(void *userdata, int r, const Problem *problem);

/* Waits for the answer of a request that was made with @r. */
int daemon_finish(World *w, int r, Answer *answer);
#define DAEMON_REQUEST(w, call)                                                                    \
        ({                                                                                         \
                Answer answer = {};                                                                \
                daemon_finish((w), (call), &answer);                                               \
        })

sd_id128_t vm_uuid(const char *name);
Vm *daemon_vm(const World *w, const char *name);

/* Reads an address that is good. */
PciAddress fn(const char *address);

#define FNS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

typedef struct CreateArgs {
        const char *name;
        VmTier tier;
        VmHandover handover;
        const char *const *functions;
        int vmm; /* its leash: index + 1; 0: none */
        bool leash_caller;
        uint64_t memory;
        const char *token;
} CreateArgs;

void create_request(const World *w, const CreateArgs *args, VmRequest *ret);
int do_create(World *w, const CreateArgs *args);
int do_attach(World *w, const char *name, const char *const *functions, uint64_t memory);
int do_detach(World *w, const char *name, const char *function);
int do_viommu_create(World *w, const char *name, uint32_t iommu);
int do_viommu_destroy(World *w, const char *name, uint32_t iommu);
int do_map(World *w, const char *name, uint64_t iova, uint64_t length);
int do_unmap(World *w, const char *name, uint64_t iova, uint64_t length);
/* What is opened goes to the VMM, if there is one. @function: NULL for the iommufd. */
int do_open(World *w, const char *name, const char *function, int vmm);
int do_confirm(World *w, const char *name);
int do_leash(World *w, const char *name, int vmm);
int do_destroy(World *w, const char *name, bool force);
int do_reclaim(World *w, const char *name);
/* Has it destroyed while it is made, and waits for both answers. Returns the destroying one. */
int do_create_and_destroy(World *w, const CreateArgs *args);
int do_prepare(World *w, const char *name);
int do_probe(World *w, uint32_t iommu);
int do_reserve(World *w, const CreateArgs *args);
int do_unreserve(World *w);

/* ---- VMMs ---- */

void vmm_give(World *w, int vmm, int fd, bool is_iommufd);
void vmm_close_cdevs(World *w, int vmm);
/* Binds a function to its iommufd by itself, and attaches it to an IOAS of its own. */
void vmm_bind(World *w, int vmm, const char *function);
/* Counts the objects on its iommufd; false: it has none, or has ended. */
bool vmm_look(World *w, int vmm, unsigned *ret_objects, unsigned *ret_devices);
/* Kills it and waits until it is gone. */
void vmm_kill(World *w, int vmm);
