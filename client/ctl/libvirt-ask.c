/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain, the request that the hook would make for it, and what the daemon says to that.
 */
#include "ctl/libvirt.h"

#include <unistd.h>

#include "lib/alloc.h"

/* What is not persistent shows as it runs: of the functions that its request names some may have been unplugged. */
void subject_read(Subject *s) {
        const LibvirtDomain *l = &s->libvirt;
        int r;

        r = l->is_running && !l->is_persistent
                    ? domain_parse_started(l->xml, strlen(l->xml), &s->domain, &s->unreadable)
                    : domain_parse(l->xml, strlen(l->xml), &s->domain, &s->unreadable);
        if (r >= 0 && s->domain.bad_request) {
                s->unreadable = TAKE_PTR(s->domain.bad_request);
                domain_done(&s->domain);
        } else if (r >= 0)
                domain_decide(&s->domain, &s->config, &s->decision);
        else if (!s->unreadable)
                s->unreadable = alloc_printf("It cannot be read: %s", strerror(-r));
}

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

static bool lacks_context(const Plan *p) {
        return !p->is_admitted && streq(plan_error(p), "NoPreparedContext");
}

/*
 * The hook takes over what the agent has had prepared, as root may. To another user the daemon says that there is none for him; but what it
 * says to a request for any context tells whether somebody else has one there. Then the hook is admitted if all else is well, which is
 * asked without it.
 */
static int ask_as_root(Ctl *ctl, const Subject *s, Plan *p) {
        _cleanup_(plan_done) Plan any = {};
        int r;

        ctl->request.is_prepared = false;
        r = ask(ctl, s, &any);
        if (r < 0 || !lacks_context(&any))
                return r;
        ctl->request.handover = "none";
        r = ask(ctl, s, p);
        if (r >= 0 && p->is_admitted)
                p->handover = s->decision.handover;
        return r;
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

        q->is_prepared = streq(q->handover, "vmm");

        r = ask_with_name(ctl, s, &p);
        if (r >= 0 && lacks_context(&p) && !s->is_users && geteuid() != 0)
                r = ask_as_root(ctl, s, &p);
        if (r < 0)
                return r;
        *ret = p;
        p = (Plan){};
        return 0;
}
