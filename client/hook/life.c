/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a running domain's life hangs on, and its end. Nothing here fails for libvirt: it would kill the domain for it, or not care.
 */
#include "hook/hook.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "hook/qemu.h"
#include "hook/vm.h"

#define LOOK_AGAIN_USEC ((uint64_t)50000)
#define LEASH_END_USEC  ((uint64_t)2000000) /* for the daemon to notice that the process has ended */

/* Whether there is something to be said. To a user who may not use aviommud, and asks nothing of it, there is not. */
static bool is_worth_a_word(const Hook *h, const Failure *f, int error) {
        return h->asks != HOOK_ASKS_NOT || hook_outcome_of(f, error) != HOOK_DENIED;
}

void hook_leash(Hook *h) {
        _cleanup_close_ int pidfd = -1;
        Failure f = {};
        int r;

        if (h->decision.verdict == DOMAIN_LEFT_ALONE)
                return;

        pidfd = qemu_open(h->run_dir, h->name, h->uuid, &f);
        if (pidfd < 0) {
                /* Of a user's libvirt nothing was admitted, unless it asked. */
                if (h->asks != HOOK_ASKS_NOT || geteuid() == 0)
                        hook_warn("The QEMU of domain %s is not found, so aviommud will take its "
                                  "VM for one that was not started: %s.",
                                  h->name, f.text);
                return;
        }
        r = vm_set_leash(h, pidfd, &f);
        if (r < 0 && failure_is_no_vm(&f)) {
                /* Its start took longer than AdmissionTimeoutSec=, or the daemon came after it. */
                r = hook_admit_late(h, pidfd, &f);
                if (r < 0 && is_worth_a_word(h, &f, r))
                        hook_warn("Domain %s runs without being accounted for: %s", h->name,
                                  f.text);
                return;
        }
        if (r < 0 && is_worth_a_word(h, &f, r))
                hook_warn("aviommud does not know when domain %s ends: %s", h->name, f.text);
}

/*
 * The daemon takes a VM down by itself when the process of its leash ends, and libvirt says so at about the same time. One whose process is
 * alive was not started by libvirt: then this is the end of a start that was refused because of it. But the agent's word is libvirt's, which
 * says here that the domain is gone.
 */
static int take_back(Hook *h, Failure *reterr) {
        bool may_force = h->task == HOOK_RELEASE && !streq(h->reason, "failed");
        uint64_t since = now_usec();

        for (;;) {
                _cleanup_(vm_view_done) VmView v = {};
                bool force;
                int r;

                r = vm_destroy(h, false, reterr);
                if (r >= 0 || !streq(reterr->name, "WrongState"))
                        return r;
                r = vm_look(h, &v, reterr);
                if (r < 0)
                        return r;
                force = may_force && streq(strempty(v.leash), "agent");
                if (force)
                        return vm_destroy(h, true, reterr);
                if (h->task == HOOK_TAKE_BACK) /* release comes next */
                        return 0;
                if (now_usec() - since > LEASH_END_USEC || !hook_pause(h, LOOK_AGAIN_USEC))
                        return failure_set(reterr, CLIENT_EXIT_FAILED, -EBUSY, NULL,
                                           "what its life hangs on (%s) is still there; it goes "
                                           "with that, or by \"aviommuctl destroy --force %s\".",
                                           strempty(v.leash), h->uuid);
        }
}

void hook_take_back(Hook *h) {
        Failure f = {};
        int r;

        /* Not by the decision: what is configured may have changed since it was admitted. */
        if (h->asks == HOOK_ASKS_NOT && h->domain.n_functions == 0)
                return;
        r = take_back(h, &f);
        if (r < 0 && !failure_is_no_vm(&f) && is_worth_a_word(h, &f, r))
                hook_warn("aviommud still has the VM of domain %s: %s", h->name, f.text);
}
