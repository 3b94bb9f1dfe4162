/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* CreateViommu and Viommu.Destroy: the vIOMMU of a host IOMMU taken away and made again while its functions stay attached. */

#include <errno.h>

#include "core/manager-private.h"

typedef struct ViommuOperation {
        Operation op;
        uint32_t host_iommu;
        DemandSet freed;
} ViommuOperation;

static int check_context(const Operation *op, Problem *p) {
        if (op->work.tier == TIER_HARDWARE && op->work.handover == HANDOVER_DAEMON)
                return 0;
        return problem_set(p, PROBLEM_WRONG_STATE,
                           "VM %s has tier \"%s\" and handover \"%s\": the daemon makes vIOMMUs "
                           "only for tier \"hardware\" with "
                           "handover \"daemon\".",
                           op->vm->name, vm_tier_to_string(op->work.tier),
                           vm_handover_to_string(op->work.handover));
}

static int create_decide(Operation *op, Problem *p) {
        ViommuOperation *create = container_of(op, ViommuOperation, op);
        Manager *m = op->vm->manager;
        AdmissionView view = manager_get_view(m);
        const QuotaSubject subject = vm_quota_subject(op->vm);
        const HostIommu *iommu = inventory_find_iommu(m->inventory, create->host_iommu);
        _cleanup_(demand_set_done) DemandSet demands = {};
        ContextViommu v;
        bool behind = false;
        int r;

        r = check_context(op, p);
        if (r < 0)
                return r;
        for (size_t i = 0; i < op->work.n_functions; i++)
                behind |= op->work.functions[i].host_iommu == create->host_iommu &&
                          !op->work.functions[i].draining;
        if (!iommu || !behind)
                return problem_set(
                        p, PROBLEM_NO_HOST_IOMMU,
                        "VM %s has no function behind ivhd%u, and a vIOMMU is made through one.",
                        op->vm->name, create->host_iommu);
        if (context_find_viommu(&op->work, create->host_iommu))
                return problem_set(p, PROBLEM_WRONG_STATE, "VM %s has a vIOMMU on ivhd%u already.",
                                   op->vm->name, create->host_iommu);

        v = admission_viommu_on(iommu);
        v.pending = true;
        r = charge_for_viommu(&demands, &v, op->vm->guest_domains);
        if (r >= 0)
                r = admission_check_contiguous(&view, &demands, p);
        if (r >= 0)
                r = quotas_decide(&view, &subject, &(QuotaWish){ .demands = &demands }, p);
        if (r >= 0)
                r = ledger_charge(m->ledger, &demands, &op->receipt, p);
        return r < 0 ? r : context_add_viommu(&op->work, &v);
}

static int create_run(Operation *op, Kernel *k, Problem *p) {
        return context_realize(k, &op->work, &op->cancelled, p);
}

static int create_undo(Operation *op, Kernel *k) {
        uint32_t host_iommu = container_of(op, ViommuOperation, op)->host_iommu;
        ContextViommu *v = context_find_viommu(&op->work, host_iommu);
        int r;

        v->pending = false;
        r = context_unrealize_viommu(k, &op->work, v, NULL);
        if (r >= 0)
                context_remove_viommu(&op->work, host_iommu);
        return r;
}

static void create_done(Operation *op) {
        if (op->result >= 0 || op->stuck)
                receipt_merge(op->vm->receipt, &op->receipt);
        else
                op->receipt = receipt_done(op->receipt);
}

static int destroy_decide(Operation *op, Problem *p) {
        ViommuOperation *destroy = container_of(op, ViommuOperation, op);
        ContextViommu *v = context_find_viommu(&op->work, destroy->host_iommu);
        int r;

        r = check_context(op, p);
        if (r < 0)
                return r;
        if (!v)
                return problem_set(p, PROBLEM_NO_SUCH_VIOMMU, "VM %s has no vIOMMU on ivhd%u.",
                                   op->vm->name, destroy->host_iommu);
        if (!op->answer && !context_viommu_is_unused(&op->work, v)) /* any more */
                return problem_set(p, PROBLEM_WRONG_STATE, "The vIOMMU on ivhd%u is in use again.",
                                   destroy->host_iommu);
        v->draining = true;
        return 0;
}

static int destroy_run(Operation *op, Kernel *k, Problem *p) {
        ViommuOperation *destroy = container_of(op, ViommuOperation, op);
        ContextViommu *v = context_find_viommu(&op->work, destroy->host_iommu);
        int r;

        r = charge_for_viommu(&destroy->freed, v, op->vm->guest_domains);
        if (r >= 0)
                r = context_unrealize_viommu(k, &op->work, v, p);
        if (r >= 0)
                context_remove_viommu(&op->work, destroy->host_iommu);
        return r;
}

static void destroy_done(Operation *op) {
        ViommuOperation *destroy = container_of(op, ViommuOperation, op);
        ContextViommu *left = context_find_viommu(&op->vm->context, destroy->host_iommu);

        if (left && op->decided)
                left->draining = false;
        if (op->result >= 0)
                receipt_give_back(op->vm->receipt, &destroy->freed);
}

static void forget(Operation *op) {
        demand_set_done(&container_of(op, ViommuOperation, op)->freed);
}

static int submit(Vm *vm, const char *name, uint32_t host_iommu, OperationDecide decide,
                  OperationRun run, OperationUndo undo, OperationDone done, const char *caller,
                  OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        r = operation_new(sizeof(ViommuOperation), vm, name, caller, &op);
        if (r < 0)
                return r;

        container_of(op, ViommuOperation, op)->host_iommu = host_iommu;
        op->decide = decide;
        op->run = run;
        op->undo = undo;
        op->done = done;
        op->grants = undo;
        op->destroy = forget;
        return operation_submit_for(&op, answer, userdata, p);
}

int vm_create_viommu(Vm *vm, uint32_t host_iommu, const char *caller, OperationAnswer answer,
                     void *userdata, Problem *p) {
        return submit(vm, "create-viommu", host_iommu, create_decide, create_run, create_undo,
                      create_done, caller, answer, userdata, p);
}

int vm_destroy_viommu(Vm *vm, uint32_t host_iommu, const char *caller, OperationAnswer answer,
                      void *userdata, Problem *p) {
        return submit(vm, "destroy-viommu", host_iommu, destroy_decide, destroy_run, NULL,
                      destroy_done, caller, answer, userdata, p);
}
