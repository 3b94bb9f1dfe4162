/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests to the daemon of this process: each waits for its answer. */

#include "proof/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd-util.h"

#define FUNCTIONS_MAX 16

void answer_store(void *userdata, int r, const Problem *problem) {
        Answer *answer = userdata;

        assert(!answer->given && r <= 0);
        answer->given = true;
        answer->r = r;
        if (problem)
                answer->problem = *problem;
}

int daemon_finish(World *w, int r, Answer *answer) {
        if (r > 0 || (r < 0 && answer->given))
                flunk(w, "a request was answered twice or oddly");
        w->problem = answer->problem;
        if (r < 0)
                return r;
        daemon_run_until(w, &answer->given);
        w->problem = answer->problem;
        if (answer->r == 0 && problem_is_set(&answer->problem))
                flunk(w, "a request succeeded with a problem: %s", answer->problem.text);
        return answer->r;
}

sd_id128_t vm_uuid(const char *name) {
        sd_id128_t id = {};

        memcpy(id.bytes, name, MIN(strlen(name), sizeof(id.bytes)));
        return id;
}

Vm *daemon_vm(const World *w, const char *name) {
        return manager_find_vm(w->manager, vm_uuid(name));
}

PciAddress fn(const char *address) {
        PciAddress a = {};

        if (pci_address_parse(address, &a) < 0)
                abort();
        return a;
}

/* Want of memory is a matter of the daemon's, not of what is asked of it: this allocates by what is not made to fail. */
static char *copy(const char *s) {
        return s ? strndup(s, 256) : NULL;
}

void create_request(const World *w, const CreateArgs *args, VmRequest *ret) {
        vm_request_init(ret);
        ret->uuid = vm_uuid(args->name);
        ret->name = copy(args->name);
        ret->tier = args->tier;
        ret->has_tier = true;
        ret->handover = args->handover;
        ret->has_handover = true;
        ret->memory = args->memory;
        ret->has_guest_domains = args->tier == TIER_HARDWARE;
        ret->guest_domains = ret->has_guest_domains ? 8 : 0;
        ret->reservation = copy(args->token);
        if (args->leash_caller)
                ret->leash = LEASH_CALLER;
        if (args->vmm > 0) {
                ret->leash = LEASH_PIDFD;
                ret->leash_pidfd = fd_dup(w->vmms[args->vmm - 1].pidfd);
        }
        ret->functions = aligned_alloc(16, FUNCTIONS_MAX * sizeof(FunctionRequest));
        assert(ret->functions);
        for (const char *const *f = args->functions; f && *f; f++) {
                assert(ret->n_functions < FUNCTIONS_MAX);
                ret->functions[ret->n_functions++] = (FunctionRequest){ .address = fn(*f) };
        }
}

int do_create(World *w, const CreateArgs *args) {
        VmRequest request;
        int r;

        create_request(w, args, &request);
        r = DAEMON_REQUEST(w, manager_create_vm(w->manager, &request, 0, CALLER, answer_store,
                                                &answer, &answer.problem));
        vm_request_done(&request);
        return r;
}

int do_attach(World *w, const char *name, const char *const *functions, uint64_t memory) {
        FunctionRequest requests[8] = {};
        size_t n = 0;

        for (; functions[n]; n++)
                requests[n].address = fn(functions[n]);
        return DAEMON_REQUEST(w,
                              vm_attach_functions(daemon_vm(w, name), requests, n, memory, CALLER,
                                                  answer_store, &answer, &answer.problem));
}

int do_detach(World *w, const char *name, const char *function) {
        PciAddress a = fn(function);

        return DAEMON_REQUEST(w, vm_detach_function(daemon_vm(w, name), &a, CALLER, answer_store,
                                                    &answer, &answer.problem));
}

int do_viommu_create(World *w, const char *name, uint32_t iommu) {
        return DAEMON_REQUEST(w, vm_create_viommu(daemon_vm(w, name), iommu, CALLER, answer_store,
                                                  &answer, &answer.problem));
}

int do_viommu_destroy(World *w, const char *name, uint32_t iommu) {
        return DAEMON_REQUEST(w, vm_destroy_viommu(daemon_vm(w, name), iommu, CALLER, answer_store,
                                                   &answer, &answer.problem));
}

int do_map(World *w, const char *name, uint64_t iova, uint64_t length) {
        KernelMapping m = { .fd = w->ram, .iova = iova, .length = length, .writable = true };

        return DAEMON_REQUEST(w, vm_map_memory(daemon_vm(w, name), &m, CALLER, answer_store,
                                               &answer, &answer.problem));
}

int do_unmap(World *w, const char *name, uint64_t iova, uint64_t length) {
        return DAEMON_REQUEST(w, vm_unmap_memory(daemon_vm(w, name), iova, length, CALLER,
                                                 answer_store, &answer, &answer.problem));
}

int do_open(World *w, const char *name, const char *function, int vmm) {
        PciAddress a = function ? fn(function) : (PciAddress){};
        const Vm *vm;
        int r;

        r = DAEMON_REQUEST(w, vm_open_context(daemon_vm(w, name), function ? &a : NULL, CALLER,
                                              answer_store, &answer, &answer.problem));
        if (r < 0)
                return r;
        vm = daemon_vm(w, name);
        if (vmm < 0 || w->shared->vmm_ended[vmm])
                return 0;
        vmm_give(w, vmm,
                 function ? context_find_function(&vm->context, &a)->cdev : vm->context.iommufd,
                 !function);
        return 0;
}

int do_confirm(World *w, const char *name) {
        return DAEMON_REQUEST(w, vm_confirm_context(daemon_vm(w, name), CALLER, answer_store,
                                                    &answer, &answer.problem));
}

int do_leash(World *w, const char *name, int vmm) {
        return DAEMON_REQUEST(w, vm_set_leash(daemon_vm(w, name), w->vmms[vmm].pidfd, CALLER,
                                              answer_store, &answer, &answer.problem));
}

int do_destroy(World *w, const char *name, bool force) {
        return DAEMON_REQUEST(w, vm_destroy(daemon_vm(w, name), force, CALLER, answer_store,
                                            &answer, &answer.problem));
}

int do_reclaim(World *w, const char *name) {
        return DAEMON_REQUEST(
                w, vm_reclaim(daemon_vm(w, name), CALLER, answer_store, &answer, &answer.problem));
}

int do_create_and_destroy(World *w, const CreateArgs *args) {
        Answer created = {};
        VmRequest request;
        int r, destroyed;

        create_request(w, args, &request);
        r = manager_create_vm(w->manager, &request, 0, CALLER, answer_store, &created,
                              &created.problem);
        vm_request_done(&request);
        if (r < 0)
                return r;
        destroyed = do_destroy(w, args->name, true);
        (void)daemon_finish(w, r, &created);
        if (destroyed < 0 &&
            daemon_vm(w, args->name)) /* nobody had taken the wish: it has been made */
                destroyed = do_destroy(w, args->name, true);
        return destroyed;
}

int do_prepare(World *w, const char *name) {
        return DAEMON_REQUEST(w, manager_prepare_context(w->manager, vm_uuid(name), CALLER, 0,
                                                         answer_store, &answer, &answer.problem));
}

int do_probe(World *w, uint32_t iommu) {
        return DAEMON_REQUEST(
                w, manager_probe(w->manager, iommu, answer_store, &answer, &answer.problem));
}

int do_reserve(World *w, const CreateArgs *args) {
        VmRequest request;
        int r;

        create_request(w, args, &request);
        free(request.name); /* a reservation has none */
        request.name = NULL;
        r = manager_reserve(w->manager, &request, UINT64_C(3600000000), 0, w->shared->token, NULL);
        vm_request_done(&request);
        return r;
}

int do_unreserve(World *w) {
        return manager_unreserve(w->manager, w->shared->token, 0, NULL);
}
