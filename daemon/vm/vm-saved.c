/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/vm-saved.h"

#include <errno.h>
#include <stdio.h>

#define AMOUNT_MAX (UINT64_C(1) << 56) /* so that sums cannot overflow */

/* ---- to a record ---- */

static void word_copy(char *to, size_t size, const char *word) {
        int n = snprintf(to, size, "%s", word);

        assert(n >= 0 && (size_t)n < size);
}

static RecordFunction function_save(const ContextFunction *f) {
        RecordFunction record = {
                .address = f->address,
                .host_iommu = f->host_iommu,
                .group = f->group,
                .guest_id = f->guest_id,
                .has_vf_token = f->has_vf_token,
                .managed = f->managed,
                .pending = f->pending,
                .draining = f->draining,
                .attached = f->attached,
                .handed_over = f->handed_over,
                .device_id = f->device_id,
                .vdevice_id = f->vdevice_id,
                .stored = f->stored,
        };

        if (f->has_vf_token)
                memcpy(record.vf_token, f->vf_token, sizeof(record.vf_token));
        return record;
}

static int lists_save(const VmContext *ctx, VmRecord *ret) {
        ret->functions = new0(RecordFunction, MAX(ctx->n_functions, (size_t)1));
        ret->viommus = new0(RecordViommu, MAX(ctx->n_viommus, (size_t)1));
        ret->mappings = new0(RecordMapping, MAX(ctx->n_mappings, (size_t)1));
        if (!ret->functions || !ret->viommus || !ret->mappings)
                return -ENOMEM;

        ret->n_functions = ctx->n_functions;
        for (size_t i = 0; i < ctx->n_functions; i++)
                ret->functions[i] = function_save(ctx->functions + i);
        ret->n_viommus = ctx->n_viommus;
        for (size_t i = 0; i < ctx->n_viommus; i++) {
                const ContextViommu *v = ctx->viommus + i;

                ret->viommus[i] = (RecordViommu){ .host_iommu = v->host_iommu,
                                                  .segment = v->segment,
                                                  .numa_node = v->numa_node,
                                                  .viommu_id = v->viommu_id,
                                                  .vfmmio_offset = v->vfmmio_offset,
                                                  .pending = v->pending,
                                                  .draining = v->draining };
        }
        ret->n_mappings = ctx->n_mappings;
        for (size_t i = 0; i < ctx->n_mappings; i++) {
                const ContextMapping *m = ctx->mappings + i;

                ret->mappings[i] = (RecordMapping){ .iova = m->iova,
                                                    .length = m->length,
                                                    .pending = m->pending,
                                                    .draining = m->draining };
        }
        return 0;
}

int demand_set_save(const DemandSet *set, RecordCharge **ret, size_t *ret_n) {
        RecordCharge *charges = new0(RecordCharge, MAX(set->n_demands, (size_t)1));

        if (!charges)
                return -ENOMEM;
        for (size_t i = 0; i < set->n_demands; i++) {
                const Demand *d = set->demands + i;

                word_copy(charges[i].resource, sizeof(charges[i].resource),
                          resource_kind_to_string(d->kind));
                charges[i].scope = d->scope;
                charges[i].amount = d->amount;
        }
        *ret = charges;
        *ret_n = set->n_demands;
        return 0;
}

static int charges_save(const VmSnapshot *s, VmRecord *ret) {
        _cleanup_(demand_set_done) DemandSet set = {};
        int r;

        r = receipt_get_demands(s->vm->receipt, &set);
        if (r >= 0)
                r = receipt_get_demands(s->more, &set);
        return r < 0 ? r : demand_set_save(&set, &ret->charges, &ret->n_charges);
}

int vm_save(const VmSnapshot *s, VmRecord *ret) {
        const VmContext *ctx = s->context;
        const Vm *vm = s->vm;
        uint64_t memory = MAX(vm->memory, s->memory); /* cppcheck breaks on it in an initializer */
        VmRecord record = {
                .uuid = vm->uuid,
                .owner_uid = vm->owner_uid,
                .deadline_usec = s->deadline_usec,
                .shared = ctx->shared,
                .confirmed = ctx->confirmed,
                .confirming = ctx->confirming,
                .memory = memory,
                .guest_domains = vm->guest_domains,
                .ioas_id = ctx->ioas_id,
                .hwpt_id = ctx->hwpt_id,
                .iommufd_stored = ctx->iommufd_stored,
                .leash_stored = s->leash_stored,
        };
        int r;

        word_copy(record.name, sizeof(record.name), vm->name);
        word_copy(record.state, sizeof(record.state), vm_state_to_string(s->state));
        word_copy(record.end_reason, sizeof(record.end_reason), vm->end_reason ?: "");
        word_copy(record.state_reason, sizeof(record.state_reason), vm->state_reason);
        word_copy(record.tier, sizeof(record.tier), vm_tier_to_string(ctx->tier));
        word_copy(record.handover, sizeof(record.handover), vm_handover_to_string(ctx->handover));
        word_copy(record.leash, sizeof(record.leash), leash_kind_to_string(s->leash));
        word_copy(record.leash_caller, sizeof(record.leash_caller), s->leash_caller ?: "");
        word_copy(record.tenant, sizeof(record.tenant), vm->tenant);
        if (!sd_id128_is_null(vm->reservation))
                (void)sd_id128_to_string(vm->reservation, record.reservation);

        r = lists_save(ctx, &record);
        if (r >= 0)
                r = charges_save(s, &record);
        if (r < 0) {
                vm_record_done(&record);
                return r;
        }

        *ret = record;
        return 0;
}

/* ---- from a record ---- */

int demand_set_load(const RecordCharge *charges, size_t n, DemandSet *ret) {
        _cleanup_(demand_set_done) DemandSet set = {};

        for (size_t i = 0; i < n; i++) {
                const RecordCharge *c = charges + i;
                ResourceKind kind;
                int r;

                if (resource_kind_from_string(c->resource, &kind) < 0 || c->amount > AMOUNT_MAX)
                        return -EBADMSG;
                r = demand_set_add(&set, kind, c->scope, c->amount);
                if (r < 0)
                        return r == -EOVERFLOW ? -EBADMSG : r;
        }

        *ret = set;
        set = (DemandSet){};
        return 0;
}

static int lists_load(const VmRecord *record, VmContext *ctx) {
        int r = 0;

        for (size_t i = 0; i < record->n_functions && r >= 0; i++) {
                const RecordFunction *f = record->functions + i;
                ContextFunction function = {
                        .address = f->address,
                        .host_iommu = f->host_iommu,
                        .group = f->group,
                        .guest_id = f->guest_id,
                        .has_vf_token = f->has_vf_token,
                        .managed = f->managed,
                        .pending = f->pending,
                        .draining = f->draining,
                        .cdev = -1,
                        .unplug_fd = -1,
                        .handed_over = f->handed_over,
                        .attached = f->attached,
                        .device_id = f->device_id,
                        .vdevice_id = f->vdevice_id,
                        .stored = f->stored,
                };

                memcpy(function.vf_token, f->vf_token, sizeof(function.vf_token));
                r = context_find_function(ctx, &f->address) ? -EBADMSG
                                                            : context_add_function(ctx, &function);
        }
        for (size_t i = 0; i < record->n_viommus && r >= 0; i++) {
                const RecordViommu *v = record->viommus + i;

                r = context_find_viommu(ctx, v->host_iommu)
                            ? -EBADMSG
                            : context_add_viommu(
                                      ctx, &(ContextViommu){ .host_iommu = v->host_iommu,
                                                             .segment = v->segment,
                                                             .numa_node = v->numa_node,
                                                             .viommu_id = v->viommu_id,
                                                             .vfmmio_offset = v->vfmmio_offset,
                                                             .pending = v->pending,
                                                             .draining = v->draining });
        }
        for (size_t i = 0; i < record->n_mappings && r >= 0; i++) {
                const RecordMapping *m = record->mappings + i;

                if (m->length == 0 || m->iova + (m->length - 1) < m->iova)
                        return -EBADMSG;
                r = context_add_mapping(ctx, m->iova, m->length);
                if (r == -EEXIST)
                        return -EBADMSG;
                if (r < 0)
                        return r;
                ctx->mappings[i].pending = m->pending;
                ctx->mappings[i].draining = m->draining;
                if (!m->pending)
                        ctx->mapped_bytes += m->length;
        }
        return r;
}

void vm_saved_done(VmSaved *saved) {
        demand_set_done(&saved->charges);
}

int vm_load(Manager *manager, sd_event *event, LeashEnded ended, const VmRecord *record, Vm **ret,
            VmSaved *ret_saved) {
        _cleanup_(vm_freep) Vm *vm = NULL;
        sd_id128_t reservation = SD_ID128_NULL;
        VmSaved saved = {};
        VmHandover handover;
        VmTier tier;
        int r;

        if (vm_tier_from_string(record->tier, &tier) < 0 ||
            vm_handover_from_string(record->handover, &handover) < 0 ||
            vm_state_from_string(record->state, &saved.state) < 0 ||
            leash_kind_from_string(record->leash, &saved.leash) < 0 ||
            (record->end_reason[0] && !vm_end_reason_find(record->end_reason)) ||
            (record->tenant[0] && !tenant_is_valid(record->tenant)) ||
            (record->reservation[0] &&
             sd_id128_from_string(record->reservation, &reservation) < 0) ||
            saved.state == VM_RELEASED)
                return -EBADMSG;

        r = vm_new(manager, event, record->uuid, record->name, ended, &vm);
        if (r < 0)
                return r;
        vm->owner_uid = record->owner_uid;
        memcpy(vm->tenant, record->tenant, sizeof(vm->tenant));
        vm->reservation = reservation;
        vm->memory = record->memory;
        vm->guest_domains = record->guest_domains;
        vm->end_reason = vm_end_reason_find(record->end_reason);
        memcpy(vm->state_reason, record->state_reason, sizeof(vm->state_reason));
        context_init(&vm->context, tier, handover);
        vm->context.shared = record->shared;
        vm->context.confirmed = record->confirmed;
        vm->context.confirming = record->confirming;
        vm->context.ioas_id = record->ioas_id;
        vm->context.hwpt_id = record->hwpt_id;
        vm->context.iommufd_stored = record->iommufd_stored;
        vm->leash_stored = record->leash_stored;

        r = lists_load(record, &vm->context);
        if (r >= 0)
                r = demand_set_load(record->charges, record->n_charges, &saved.charges);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(vm);
        *ret_saved = saved;
        return 0;
}
