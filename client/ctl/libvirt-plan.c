/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl libvirt plan: the plan of the request that the hook would make.
 */
#include "ctl/libvirt.h"

#include <errno.h>

#include "lib/alloc.h"

/* All reasons, one after the other. */
static int refused(Ctl *ctl, const Subject *s) {
        const DomainDecision *d = &s->decision;
        _cleanup_free_ char *all = alloc_printf("%s", "");

        for (size_t i = 0; i < d->n_reasons; i++) {
                char *longer = alloc_printf("%s%s%s", all, i > 0 ? " " : "", d->reasons[i].text);

                free(all);
                all = longer;
        }
        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EOPNOTSUPP,
                           "`aviommuctl libvirt check` says it in full.", "%s", all);
}

/* Asks for each candidate as the hook does, until one is admitted. */
static int plan_candidates(Ctl *ctl, const Subject *s) {
        const DomainDecision *d = &s->decision;
        _cleanup_(plan_done) Plan p = {};
        int r;

        for (size_t i = 0; i < d->n_candidates && !p.is_admitted; i++) {
                plan_done(&p);
                p = (Plan){};
                r = subject_plan(ctl, s, d->candidates[i], &p);
                if (r < 0)
                        return r;
        }
        plan_show(&p, s->libvirt.uuid, &ctl->out);
        return p.is_admitted ? 0 : plan_refused(ctl, &p, s->libvirt.uuid);
}

int verb_libvirt_plan(Ctl *ctl, int argc, char **argv) {
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        _cleanup_(subject_done) Subject s = {};
        int r;

        (void)argc;

        r = libvirt_open(ctl, false, &lv);
        if (r >= 0)
                r = subject_get(ctl, lv, argv[0], &s);
        if (r < 0)
                return r;
        if (s.unreadable)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EINVAL,
                                   "aviommu-libvirt(5) has the form of a request.", "%s",
                                   s.unreadable);
        if (s.decision.verdict == DOMAIN_REFUSED)
                return refused(ctl, &s);
        if (s.decision.n_candidates > 0)
                return plan_candidates(ctl, &s);

        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "uuid", s.libvirt.uuid);
                doc_add_null(d, "admitted");
                output_doc(&ctl->out, d);
        } else
                ctl_notice(ctl, "The hook asks for nothing: aviommud has nothing to do with the "
                                "domain.");
        return 0;
}
