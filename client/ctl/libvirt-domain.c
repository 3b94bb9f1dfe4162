/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/libvirt.h"

#include <errno.h>

#include "lib/alloc.h"

int config_get(Ctl *ctl, LibvirtConfig *ret) {
        const char *path = ctl->config ?: AVIOMMU_LIBVIRT_CONFIG_FILE;
        _cleanup_free_ char *error = NULL;
        int r;

        libvirt_config_init(ret);
        r = libvirt_config_read(path, ret, &error);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r,
                                   "aviommu-libvirt(5) says what may be in it.",
                                   "The configuration cannot be read: %s", error ?: strerror(-r));
        return 0;
}

int subject_get(Ctl *ctl, Libvirt *lv, const char *what, Subject *ret) {
        _cleanup_(subject_done) Subject s = {};
        int r;

        r = config_get(ctl, &s.config);
        if (r >= 0)
                r = libvirt_find(ctl, lv, what, &s.libvirt);
        if (r < 0)
                return r;
        s.is_users = libvirt_is_users(lv);
        subject_read(&s);
        *ret = s;
        s = (Subject){};
        return 0;
}

void subject_done(Subject *s) {
        libvirt_domain_done(&s->libvirt);
        libvirt_config_done(&s->config);
        domain_done(&s->domain);
        free(s->unreadable);
        *s = (Subject){};
}

/* ---- words ---- */

char *subject_asks(const Subject *s) {
        const Domain *d = &s->domain;
        char *all;

        if (!d->asks)
                return alloc_printf("-");
        all = alloc_printf("%s", d->is_auto ? "auto" : "");
        for (size_t i = 0; i < d->n_tiers; i++) {
                char *longer = alloc_printf("%s%s%s", all, i > 0 ? ", then " : "",
                                            domain_tier_to_string(d->tiers[i]));

                free(all);
                all = longer;
        }
        return all;
}

/* ---- its name, for the shell ---- */

static void add_name(const char *name, bool is_running, void *userdata) {
        candidates_add(userdata, name, is_running ? "running" : "shut off");
}

int libvirt_complete(Ctl *ctl, const char *name, const Candidates *c) {
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        int r;

        (void)name; /* DOMAIN: there is nothing else */
        r = libvirt_open(ctl, false, &lv);
        if (r < 0)
                return r;
        return libvirt_for_each_name(ctl, lv, add_name, (void *)c);
}
