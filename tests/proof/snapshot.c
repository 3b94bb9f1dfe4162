/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What there is, as lines of text that can be compared: VMs with all that they have, the ledger, claims, what the kernel counts, what
 * is stored and on record, and what the VMMs have. Ids that the kernel chose, tokens and deadlines are left out.
 */

#include "proof/world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 160
#define LINE_SIZE 512

typedef struct Lines {
        char text[LINES_MAX][LINE_SIZE];
        size_t n;
} Lines;

static _printf_(2, 3) void add(Lines *l, const char *format, ...) {
        va_list ap;

        assert(l->n < LINES_MAX);
        va_start(ap, format);
        (void)vsnprintf(l->text[l->n++], LINE_SIZE, format, ap);
        va_end(ap);
}

static _printf_(2, 3) void append(Lines *l, const char *format, ...) {
        char *line = l->text[l->n - 1];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(line + strlen(line), LINE_SIZE - strlen(line), format, ap);
        va_end(ap);
}

static int compare(const void *a, const void *b) {
        return strcmp(a, b);
}

/* ---- charges ---- */

static uint64_t amount_of(const DemandSet *set, ResourceKind kind, uint32_t scope) {
        for (size_t i = 0; i < set->n_demands; i++)
                if (set->demands[i].kind == kind && set->demands[i].scope == scope)
                        return set->demands[i].amount;
        return 0;
}

/* What a VM has, priced anew. */
static void price(const Vm *vm, DemandSet *ret) {
        const VmContext *ctx = &vm->context;

        (void)charge_for_vm(ret, vm->memory);
        if (ctx->mapped_bytes > vm->memory)
                (void)demand_set_add(ret, RESOURCE_PINNED_MEMORY, 0,
                                     ctx->mapped_bytes - vm->memory);
        for (size_t i = 0; i < ctx->n_functions; i++)
                (void)charge_for_function(ret, ctx->tier);
        for (size_t i = 0; i < ctx->n_viommus; i++)
                (void)charge_for_viommu(ret, ctx->viommus + i, vm->guest_domains);
}

static void add_charges(Lines *l, const Vm *vm) {
        DemandSet has = {}, should = {};

        if (vm->receipt)
                (void)receipt_get_demands(vm->receipt, &has);
        price(vm, &should);
        for (size_t i = 0; i < has.n_demands; i++) {
                const Demand *d = has.demands + i;

                if (d->amount != amount_of(&should, d->kind, d->scope))
                        add(l, "vm %s is charged %lu %s of %s, and has %lu", vm->name, d->amount,
                            resource_kind_to_string(d->kind),
                            RESOURCE_SCOPE_STRING(d->kind, d->scope),
                            amount_of(&should, d->kind, d->scope));
        }
        for (size_t i = 0; i < should.n_demands; i++) {
                const Demand *d = should.demands + i;

                if (d->amount > 0 && amount_of(&has, d->kind, d->scope) == 0)
                        add(l, "vm %s is not charged for its %lu %s", vm->name, d->amount,
                            resource_kind_to_string(d->kind));
        }
        demand_set_done(&has);
        demand_set_done(&should);
}

/* That an account's use is what VMs hold, where nothing else can hold anything. */
static void add_ledger(Lines *l, const Manager *m) {
        DemandSet sum = {};
        size_t n;
        const LedgerAccount *a = ledger_get_accounts(m->ledger, &n);

        for (size_t i = 0; i < m->n_vms; i++)
                if (m->vms[i]->receipt)
                        (void)receipt_get_demands(m->vms[i]->receipt, &sum);
        for (size_t i = 0; i < n; i++) {
                uint64_t held = amount_of(&sum, a[i].kind, a[i].scope);

                if (a[i].used > 0)
                        add(l, "ledger %lu %s of %s", a[i].used, resource_kind_to_string(a[i].kind),
                            RESOURCE_SCOPE_STRING(a[i].kind, a[i].scope));
                if (m->n_reservations == 0 && held != a[i].used)
                        append(l, ", but VMs hold %lu", held);
        }
        demand_set_done(&sum);
}

/* ---- VMs ---- */

static void add_functions(Lines *l, const Vm *vm) {
        for (size_t i = 0; i < vm->context.n_functions; i++) {
                const ContextFunction *f = vm->context.functions + i;

                add(l, "vm %s has %s as %04x behind %d%s%s%s%s%s%s%s%s%s", vm->name,
                    PCI_ADDRESS_STRING(&f->address), f->guest_id.bdf, (int)f->host_iommu,
                    f->pending ? " pending" : "", f->draining ? " draining" : "",
                    f->cdev >= 0 ? " cdev" : "", f->unplug_fd >= 0 ? " watched" : "",
                    f->handed_over ? " handed-over" : "", f->attached ? " attached" : "",
                    f->device_id ? " bound" : "", f->vdevice_id ? " vdevice" : "",
                    f->managed ? " managed" : "");
        }
}

static void add_vm(Lines *l, const Vm *vm) {
        const VmContext *ctx = &vm->context;

        add(l, "vm %s is %s: %s, %s, owner %u, memory %lu, domains %u, leash %s%s%s%s%s%s%s%s",
            vm->name, vm_state_to_string(vm->state), vm_tier_to_string(ctx->tier),
            vm_handover_to_string(ctx->handover), vm->owner_uid, vm->memory, vm->guest_domains,
            leash_kind_to_string(vm->leash.kind), vm->leash.deadline_usec ? " with a clock" : "",
            ctx->shared ? ", shared" : "", ctx->confirmed ? ", confirmed" : "",
            ctx->confirming ? ", confirming" : "", ctx->iommufd >= 0 ? ", iommufd" : "",
            ctx->ioas_id ? ", ioas" : "", ctx->hwpt_id ? ", hwpt" : "");
        add_functions(l, vm);
        for (size_t i = 0; i < ctx->n_viommus; i++)
                add(l, "vm %s has a vIOMMU on %u of segment %u and node %u%s%s%s", vm->name,
                    ctx->viommus[i].host_iommu, ctx->viommus[i].segment, ctx->viommus[i].numa_node,
                    ctx->viommus[i].viommu_id ? "" : " that is not there",
                    ctx->viommus[i].pending ? " pending" : "",
                    ctx->viommus[i].draining ? " draining" : "");
        for (size_t i = 0; i < ctx->n_mappings; i++)
                add(l, "vm %s has mapped %lu at 0x%lx%s%s", vm->name, ctx->mappings[i].length,
                    ctx->mappings[i].iova, ctx->mappings[i].pending ? " pending" : "",
                    ctx->mappings[i].draining ? " draining" : "");
        add_charges(l, vm);
}

/* ---- the rest ---- */

static void add_kernel(Lines *l, const World *w) {
        SimCounters c;

        sim_get_counters(w->kernel, &c);
        add(l,
            "kernel: %lu contexts, %lu cdevs, %lu bound, %lu ioas, %lu devices, %lu hwpts, %lu "
            "viommus, %lu vdevices",
            c.contexts, c.open_cdevs, c.bound_functions, c.ioas, c.devices, c.hwpts, c.viommus,
            c.vdevices);
        add(l,
            "kernel: %lu guest ids, %lu devids, %lu domains, %lu contiguous, %lu mappings of %lu, "
            "%lu pinned",
            c.guest_ids, c.trans_devids, c.host_domain_ids, c.contiguous_bytes, c.mappings,
            c.mapped_bytes, c.pinned_bytes);
}

static void add_records(Lines *l, const World *w) {
        DIR *d = opendir(w->records);
        struct dirent *e;

        assert(d);
        while ((e = readdir(d))) {
                if (!is_record_of_vms(e->d_name))
                        continue;
                if (strncmp(e->d_name, "reservation-", 12) == 0)
                        add(l, "record of a reservation");
                else
                        add(l, "record %s", e->d_name);
        }
        (void)closedir(d);
}

static void add_vmms(Lines *l, World *w) {
        for (int i = 0; i < VMMS; i++) {
                unsigned n_objects, n_devices;

                if (vmm_look(w, i, &n_objects, &n_devices))
                        add(l, "VMM %i has %u objects, %u of them devices", i, n_objects,
                            n_devices);
        }
}

void snapshot(World *w, char ret[static SNAPSHOT_SIZE]) {
        static Lines l; /* one at a time: on the loop's thread */
        const Manager *m = w->manager;
        char *p = ret;

        l.n = 0;
        steps_barrier(); /* what the service manager is to let go of, the kernel counts until it has */
        for (size_t i = 0; i < m->n_vms; i++)
                add_vm(&l, m->vms[i]);
        for (const Claim *c = m->claims; c; c = c->hh.next)
                add(&l, "claim on %s by %s", PCI_ADDRESS_STRING(&c->function),
                    c->vm            ? c->vm->name
                    : c->reservation ? "a reservation"
                                     : "the daemon");
        add_ledger(&l, m);
        add(&l, "%zu prepared, %zu reservations, %lu stored", m->n_prepared, m->n_reservations,
            fdstore_get_count(m->fdstore));
        add_kernel(&l, w);
        add_records(&l, w);
        add_vmms(&l, w);

        qsort(l.text, l.n, LINE_SIZE, compare);
        *p = '\0';
        for (size_t i = 0; i < l.n; i++)
                p += snprintf(p, (size_t)(ret + SNAPSHOT_SIZE - p), "%s\n", l.text[i]);
        assert(p < ret + SNAPSHOT_SIZE);
}
