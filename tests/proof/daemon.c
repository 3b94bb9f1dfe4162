/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A daemon's life in a process: how it starts, runs, and ends. */

#include "proof/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_USEC UINT64_C(20000000)
#define SETTLE_USEC   UINT64_C(2000000)

static uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void flunk(World *w, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(w->shared->failure, sizeof(w->shared->failure), format, ap);
        va_end(ap);
        _exit(DAEMON_FLUNKED);
}

/* ---- start and stop ---- */

static void ground_done(ManagerGround *g) {
        state_store_free(g->records);
        fdstore_free(g->fdstore);
        kernel_free(g->kernel);
}

/*
 * Taking down a VM whose ids may have gaps asks for every one of the 65,536 ids there can be, and each call is a point at which it can fail or
 * die. Nothing here has an id that high, so the kernel is asked for a sample: the first and the last 64 and some in between. For the
 * others the answer is given at once, they are no points, and their number is told (Shared.n_unasked).
 */
#define IDS       UINT32_C(65536)
#define IDS_ENDS  UINT32_C(64)
#define IDS_APART UINT32_C(8192)

static const KernelOps *real_ops;
static uint64_t *n_unasked;

static bool is_asked(uint32_t id) {
        bool is = id <= IDS_ENDS || id >= IDS - IDS_ENDS || id % IDS_APART == 0;

        if (!is)
                (void)__atomic_add_fetch(n_unasked, 1, __ATOMIC_RELAXED);
        return is;
}

static int probe_sample(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t id) {
        return is_asked(id) ? real_ops->object_probe(k, iommufd, kind, id) : -ENOENT;
}

static int destroy_sample(Kernel *k, int iommufd, uint32_t id) {
        return is_asked(id) ? real_ops->object_destroy(k, iommufd, id) : -ENOENT;
}

static void shorten_sweeps(World *w, Kernel *k) {
        static KernelOps ops;

        n_unasked = &w->shared->n_unasked;
        real_ops = k->ops;
        ops = *k->ops;
        ops.object_probe = probe_sample;
        ops.object_destroy = destroy_sample;
        k->ops = &ops;
}

int daemon_start(World *w) {
        ManagerGround ground = {};
        Config config;
        int r;

        config_init(&config);
        config.workers = 1; /* so that the order of steps is the same every time */
        config.detach_timeout_usec = 200000;
        if (w->instances > 0)
                config.instances_per_iommu = w->instances;
        if (w->admission_timeout_usec > 0)
                config.admission_timeout_usec = w->admission_timeout_usec;

        r = fdstore_new(SERVICE_MANAGER_FDS_MAX, &ground.fdstore);
        if (r >= 0)
                r = state_store_open(w->records, &ground.records);
        if (r >= 0)
                r = sim_kernel_new(NULL, w->state, &ground.kernel, NULL);
        if (r >= 0) {
                w->kernel = ground.kernel;
                shorten_sweeps(w, ground.kernel);
                sim_set_hook(ground.kernel, steps_hook, ground.kernel);
                r = sd_event_new(&w->event);
        }
        if (r >= 0)
                r = manager_new(w->event, &ground, &config, NULL, &w->manager);
        if (r < 0) {
                w->event = sd_event_unref(w->event);
                ground_done(&ground);
                return r;
        }
        r = manager_recover(w->manager);
        if (r < 0)
                daemon_stop(w);
        return r;
}

void daemon_stop(World *w) {
        w->manager = manager_free(w->manager);
        w->event = sd_event_unref(w->event);
        w->kernel = NULL;
}

/* ---- the loop ---- */

void daemon_run_until(World *w, const bool *flag) {
        uint64_t until = now_usec() + PATIENCE_USEC;

        while (!*flag) {
                if (sd_event_run(w->event, 10000) < 0)
                        flunk(w, "the loop fails");
                if (now_usec() > until) {
                        snapshot(w, w->shared->now);
                        flunk(w, "it takes too long, and this is how it stands:\n%s",
                              w->shared->now);
                }
        }
}

void daemon_run_for(World *w, uint64_t usec) {
        uint64_t until = now_usec() + usec, now;

        while ((now = now_usec()) < until)
                if (sd_event_run(w->event, until - now) < 0)
                        flunk(w, "the loop fails");
}

/* What is to be tried again, a record or a descriptor that did not go, waits for this timer. */
bool daemon_is_idle(const World *w) {
        if (w->manager->record_timer)
                return false;
        for (size_t i = 0; i < w->manager->n_vms; i++)
                if (w->manager->vms[i]->operation)
                        return false;
        return workers_get_pending(w->manager->workers) == 0;
}

void daemon_run_until_idle(World *w) {
        for (uint64_t until = now_usec() + PATIENCE_USEC; !daemon_is_idle(w);) {
                if (sd_event_run(w->event, 10000) < 0)
                        flunk(w, "the loop fails");
                if (now_usec() > until)
                        flunk(w, "the daemon does not come to rest");
        }
}

bool daemon_settle(World *w, bool (*is)(World *w, void *userdata), void *userdata) {
        for (uint64_t until = now_usec() + SETTLE_USEC;;) {
                /* What is ready to be handled is handled first. */
                while (sd_event_run(w->event, 0) > 0)
                        ;
                if (daemon_is_idle(w) && is(w, userdata))
                        return true;
                if (now_usec() > until) {
                        snapshot(w, w->shared->now);
                        return false;
                }
                if (sd_event_run(w->event, 1000) < 0)
                        flunk(w, "the loop fails");
        }
}

/* ---- the end ---- */

/* The tokens of all reservations: the caller may never have been told. */
static void unreserve_all(World *w) {
        DIR *d = opendir(w->records);
        struct dirent *e;

        if (!d)
                flunk(w, "no directory of records");
        while ((e = readdir(d)))
                if (strncmp(e->d_name, "reservation-", strlen("reservation-")) == 0)
                        (void)manager_unreserve(w->manager, e->d_name + strlen("reservation-"), 0,
                                                NULL);
        (void)closedir(d);
}

static void destroy_all(World *w) {
        for (size_t i = 0; i < w->manager->n_vms; i++)
                if (vm_is_alive(w->manager->vms[i]) && !w->manager->vms[i]->operation)
                        (void)vm_destroy(w->manager->vms[i], true, NULL, NULL, NULL, NULL);
}

static void check_accounts(World *w) {
        size_t n;
        const LedgerAccount *a = ledger_get_accounts(w->manager->ledger, &n);

        for (size_t i = 0; i < n; i++)
                if (a[i].used > 0)
                        flunk(w, "%lu %s of %s are charged still, and there are no VMs", a[i].used,
                              resource_kind_to_string(a[i].kind),
                              RESOURCE_SCOPE_STRING(a[i].kind, a[i].scope));
        if (w->manager->claims)
                flunk(w, "functions are claimed still, and there are no VMs");
}

void daemon_end_all(World *w) {
        const Manager *m = w->manager;
        uint64_t until = now_usec() + PATIENCE_USEC;
        unsigned n_fds = 0;

        for (int i = 0; i < VMMS; i++)
                if (!w->shared->vmm_ended[i])
                        vmm_kill(w, i);
        manager_name_vanished(w->manager, CALLER);
        unreserve_all(w);
        do {
                destroy_all(w);
                if (now_usec() > until) {
                        snapshot(w, w->shared->now);
                        flunk(w, "not all can be ended:\n%s", w->shared->now);
                }
                if (sd_event_run(w->event, 1000) < 0)
                        flunk(w, "the loop fails");
        } while (m->n_vms > 0 || m->n_prepared > 0 || m->n_reservations > 0 || !daemon_is_idle(w));
        check_accounts(w);

        daemon_stop(w);
        for (int fd = 0; fd < 1024; fd++)
                n_fds += fcntl(fd, F_GETFD) >= 0;
        if (n_fds != w->n_fds)
                flunk(w, "the daemon has %u descriptors at its end, and had %u", n_fds, w->n_fds);
}
