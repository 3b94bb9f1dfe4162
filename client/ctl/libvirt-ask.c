/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request that the hook would make, and what the daemon says to it.
 */
#include "ctl/libvirt.h"

#include "lib/alloc.h"

static void add_functions(Request *q, const Domain *d, DomainTier tier) {
        for (size_t i = 0; i < d->n_functions; i++) {
                const DomainFunction *has = d->functions + i;
                RequestFunction f = { .is_managed = has->managed };

                pci_address_format(&has->address, f.address);
                if (has->has_guest_id && tier == DOMAIN_TIER_HARDWARE)
                        guest_device_id_format(has->guest_id, f.guest_device_id);
                q->functions = alloc_grow(q->functions, q->n_functions, sizeof(RequestFunction));
                q->functions[q->n_functions++] = f;
        }
}

/* Replaces *p by the answer to what is asked now. */
static int ask(Ctl *ctl, const Subject *s, Plan *p) {
        plan_done(p);
        *p = (Plan){};
        return plan_ask(ctl, s->libvirt.uuid, p);
}

/* libvirt allows names that the daemon does not, and another VM may have it: the hook leaves such a one out. */
static int ask_with_name(Ctl *ctl, const Subject *s, Plan *p) {
        bool has_name = ctl->request.name;
        int r;

        r = ask(ctl, s, p);
        if (!has_name || (r < 0 ? !streq(ctl->failure.name, "InvalidArgument")
                                : p->is_admitted || !streq(plan_error(p), "VmExists")))
                return r;
        ctl->request.name = NULL;
        return ask(ctl, s, p);
}

int subject_plan(Ctl *ctl, const Subject *s, DomainTier tier, Plan *ret) {
        _cleanup_(plan_done) Plan p = {};
        const Domain *d = &s->domain;
        Request *q = &ctl->request;
        int r;

        request_done(q);
        q->name = d->name;
        q->tier = domain_tier_to_string(tier);
        q->handover = s->decision.handover;
        q->tenant = d->tenant;
        add_functions(q, d, tier);
        q->memory_bytes = d->n_functions > 0 ? d->memory : 0;
        q->has_memory = q->memory_bytes > 0;

        r = ask_with_name(ctl, s, &p);
        if (r < 0)
                return r;
        *ret = p;
        p = (Plan){};
        return 0;
}
