/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finding out the kernel level of host IOMMUs with functions that are free for it. */

#include <errno.h>

#include "core/manager-private.h"

typedef struct Probing {
        Job job;
        Manager *manager;
        ProbeTarget *targets;
        size_t n_targets;
        void (*done)(void *userdata, const ProbeTarget *targets, size_t n_targets);
        void *userdata;
} Probing;

static void probing_run(Job *job) {
        Probing *probing = container_of(job, Probing, job);

        for (size_t i = 0; i < probing->n_targets; i++) {
                ProbeTarget *t = probing->targets + i;

                t->error = kernel_probe(probing->manager->kernel, &t->function,
                                        t->has_vf_token ? t->vf_token : NULL, &t->result);
        }
}

static void probing_done(Job *job) {
        Probing *probing = container_of(job, Probing, job);
        Manager *m = probing->manager;

        for (size_t i = 0; i < probing->n_targets; i++) {
                const ProbeTarget *t = probing->targets + i;
                const HostIommu *iommu = inventory_find_iommu(m->inventory, t->host_iommu);
                char reason[KERNEL_LEVEL_REASON_SIZE];
                KernelLevel level;

                claims_remove_one(m, &t->function);
                if (t->error < 0 || !iommu)
                        continue;
                level = kernel_level_decide(&iommu->info, &t->result, reason);
                if (level == KERNEL_LEVEL_UNKNOWN && iommu->level != KERNEL_LEVEL_UNKNOWN)
                        continue; /* it found out less than is known */
                inventory_set_level(m->inventory, t->host_iommu, level, reason);
                level_save(m, iommu);
                log_event(LOG_INFO, MESSAGE_KERNEL_LEVEL,
                          &(LogFields){ .iommu = iommu->info.name, .reason = reason },
                          "%s is at kernel level \"%s\": %s", iommu->info.name,
                          kernel_level_to_string(level), reason);
        }
        if (m->observer.host_changed)
                m->observer.host_changed(m->observer.userdata);
        probing->done(probing->userdata, probing->targets, probing->n_targets);
        free(probing->targets);
        free(probing);
}

int probing_start(Manager *m, Vm *vm, ProbeTarget *targets, size_t n_targets,
                  void (*done)(void *userdata, const ProbeTarget *targets, size_t n_targets),
                  void *userdata) {
        Probing *probing = new0(Probing, 1);
        size_t n = 0;
        int r = 0;

        if (!probing)
                return -ENOMEM;

        while (n < n_targets && r >= 0) {
                targets[n].error = -ECANCELED; /* if the pool stops before it comes to this */
                r = claims_add_one(m, vm, &targets[n].function);
                n += r >= 0;
        }
        if (r < 0) {
                while (n-- > 0)
                        claims_remove_one(m, &targets[n].function);
                free(probing);
                return r;
        }

        *probing = (Probing){
                .job = { .run = probing_run, .done = probing_done },
                .manager = m,
                .targets = targets,
                .n_targets = n_targets,
                .done = done,
                .userdata = userdata,
        };
        workers_submit(m->workers, &probing->job);
        return 0;
}

/* ---- on demand ---- */

typedef struct ProbeRequest {
        Manager *manager;
        uint32_t host_iommu;
        bool has_tried;
        PciAddress tried; /* the last function that was probed with */
        OperationAnswer answer;
        void *userdata;
} ProbeRequest;

/* A function that may be reset: on vfio-pci, free, without VFs, and alone in its group or with free ones only. */
static bool is_idle(Manager *m, const PciFunctionInfo *f) {
        const HostScan *scan = inventory_get_scan(m->inventory);

        if (f->is_bridge || !pci_function_is_on_vfio(f))
                return false;
        for (size_t i = 0; i < scan->n_functions; i++)
                if (pci_function_is_virtual_of(scan->functions + i, f) ||
                    (scan->functions[i].group == f->group &&
                     claims_find(m, &scan->functions[i].address)))
                        return false;
        return true;
}

static const PciFunctionInfo *find_next_idle(const ProbeRequest *request) {
        Manager *m = request->manager;
        const HostScan *scan = inventory_get_scan(m->inventory);

        for (size_t i = 0; i < scan->n_functions; i++) {
                const PciFunctionInfo *f = scan->functions + i;

                if (f->host_iommu == request->host_iommu && is_idle(m, f) &&
                    (!request->has_tried || pci_address_compare(&f->address, &request->tried) > 0))
                        return f;
        }
        return NULL;
}

static void on_probed(void *userdata, const ProbeTarget *targets, size_t n_targets);

/* Probes with the next function that is idle, if there is one. Returns 0 or -ENOMEM. */
static int probe_next(ProbeRequest *request, bool *ret_started) {
        const PciFunctionInfo *f = find_next_idle(request);
        ProbeTarget *target;
        int r;

        *ret_started = false;
        if (!f)
                return 0;
        target = new0(ProbeTarget, 1);
        if (!target)
                return -ENOMEM;
        *target = (ProbeTarget){ .host_iommu = request->host_iommu, .function = f->address };
        r = probing_start(request->manager, NULL, target, 1, on_probed, request);
        if (r < 0) {
                free(target);
                return r;
        }
        request->has_tried = true;
        request->tried = f->address;
        *ret_started = true;
        return 0;
}

/* One that cannot be bound (a VF whose token nobody told, a function that somebody else has) says nothing of the others. */
static void on_probed(void *userdata, const ProbeTarget *targets, size_t n_targets) {
        ProbeRequest *request = userdata;
        bool started = false;
        int r = 0;

        if (n_targets > 0 && targets->error >= 0 && targets->result.bind < 0 &&
            !request->manager->stopping)
                r = probe_next(request, &started);
        if (started)
                return;
        request->answer(request->userdata, r, NULL);
        free(request);
}

int manager_probe(Manager *m, uint32_t host_iommu, OperationAnswer answer, void *userdata,
                  Problem *p) {
        const HostScan *scan = inventory_get_scan(m->inventory);
        const HostIommu *iommu = inventory_find_iommu(m->inventory, host_iommu);
        char reason[KERNEL_LEVEL_REASON_SIZE];
        ProbeRequest *request;
        bool started;
        int r;

        if (m->stopping)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (!iommu)
                return problem_set(p, PROBLEM_NO_HOST_IOMMU, "There is no such host IOMMU.");

        request = new0(ProbeRequest, 1);
        if (!request)
                return -ENOMEM;
        *request = (ProbeRequest){
                .manager = m, .host_iommu = host_iommu, .answer = answer, .userdata = userdata
        };

        /* Where the scan tells the level already, as on another vendor's IOMMU, no function need be reset for it. */
        if (kernel_level_from_scan(&iommu->info, scan->iommufd_error, reason) !=
            KERNEL_LEVEL_UNKNOWN) {
                on_probed(request, NULL, 0);
                return 0;
        }

        r = probe_next(request, &started);
        if (r < 0)
                free(request);
        if (r < 0 || started)
                return r;

        if (iommu->level == KERNEL_LEVEL_UNKNOWN)
                inventory_set_level(
                        m->inventory, host_iommu, KERNEL_LEVEL_UNKNOWN,
                        "There is no idle function on vfio-pci behind it to probe with.");
        on_probed(request, NULL, 0);
        return 0;
}
