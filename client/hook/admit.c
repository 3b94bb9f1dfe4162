/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Admission: candidate by candidate, until the daemon takes one. libvirt's order of calls is not always prepare and then release: a libvirtd
 * that dies between them leaves a VM that nobody runs, and the daemon may end under any of them.
 */
#include "hook/hook.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "hook/vm.h"

#define ROUNDS_MAX      16
#define ABSENT_MAX      4
#define ABSENT_NAMED    2 /* so often with the name */
#define LOOK_AGAIN_USEC ((uint64_t)50000)
#define ABSENT_USEC     ((uint64_t)5000)
/* A process that has just ended: the daemon may not have seen it yet. */
#define LEASH_END_USEC ((uint64_t)1000000)

/* What to ask for, one after the other. */
typedef struct Attempts {
        VmRequest requests[_DOMAIN_TIER_MAX + 1];
        size_t n, n_wanted; /* those from @n_wanted on only count what the domain takes */
} Attempts;

static void add_attempt(Attempts *a, DomainTier tier, const char *handover) {
        for (size_t i = 0; i < a->n; i++)
                if (a->requests[i].tier == tier && streq(a->requests[i].handover, handover))
                        return;
        a->requests[a->n++] = (VmRequest){ .tier = tier, .handover = handover, .leash_pidfd = -1 };
}

static Attempts attempts_of(const Hook *h) {
        const DomainDecision *d = &h->decision;
        Attempts a = {};

        for (size_t i = 0; i < d->n_candidates; i++)
                add_attempt(&a, d->candidates[i], d->handover);
        a.n_wanted = d->verdict == DOMAIN_CANDIDATES ? a.n : 0;
        /* One that may run in any case is counted at least. */
        if (h->asks == HOOK_ASKS_NOT || h->domain.runs_otherwise)
                add_attempt(&a, DOMAIN_TIER_VIRTIO, "none");
        return a;
}

/* ---- a VM of that UUID is there ---- */

typedef enum Obstacle {
        OBSTACLE_CLEARED,
        OBSTACLE_ABSENT,  /* there is no VM of this UUID (any more): another may have the name */
        OBSTACLE_IS_OURS, /* it is what is asked for */
        OBSTACLE_STAYS,
} Obstacle;

/* What the agent counts of a running domain hangs on libvirt's word. The same libvirt, the host's, says here that the domain does not
 * run, as it would not start it; so the agent saw an end too late, and its next reports would say so. */
static bool is_of_earlier_life(const VmView *v) {
        return streq(strempty(v->handover), "none") && geteuid() == 0;
}

static bool is_alive(const VmView *v) {
        const char *state = strempty(v->state);

        return !streq(state, "draining") && !streq(state, "released") &&
               !streq(state, "quarantined");
}

static const char *leash_words(const char *leash) {
        return streq(leash, "pidfd")        ? "a process that is alive"
               : streq(leash, "caller")     ? "a caller on the bus"
               : streq(leash, "definition") ? "its definition"
                                            : "what the agent reports";
}

/* What an earlier start has left is taken down, whatever hangs on a process is not touched. */
static int clear_obstacle(Hook *h, const VmRequest *request, Obstacle *ret, Failure *reterr) {
        uint64_t since = now_usec();

        *ret = OBSTACLE_STAYS;
        for (;;) {
                _cleanup_(vm_view_done) VmView v = {};
                bool alive, by_agent, is_stale;
                int r;

                r = vm_look(h, &v, reterr);
                if (r < 0 && failure_is_no_vm(reterr)) {
                        *ret = OBSTACLE_ABSENT;
                        return 0;
                }
                if (r < 0)
                        return r;

                alive = is_alive(&v);
                if (alive && streq(strempty(v.operation), "create")) {
                        /* Somebody else's CreateVm: let it come to its end. */
                        if (hook_pause(h, LOOK_AGAIN_USEC))
                                continue;
                        return failure_set(reterr, CLIENT_EXIT_TIMED_OUT, -ETIMEDOUT, NULL,
                                           "VM %s is still being made for another start of it",
                                           h->uuid);
                }
                by_agent = alive && streq(strempty(v.leash), "agent");
                if (by_agent && request->is_running) {
                        /* It was quicker; a process is better than its word. */
                        *ret = OBSTACLE_IS_OURS;
                        return vm_set_leash(h, request->leash_pidfd, reterr);
                }
                is_stale = by_agent && is_of_earlier_life(&v);
                if (alive && !is_stale && !streq(strempty(v.leash), "none")) {
                        if (now_usec() - since < LEASH_END_USEC && hook_pause(h, LOOK_AGAIN_USEC))
                                continue;
                        return failure_set(reterr, CLIENT_EXIT_FAILED, -EEXIST, NULL,
                                           "VM %s (%s) runs already, its life hangs on %s. End "
                                           "that first; \"aviommuctl show %s\" tells more.",
                                           h->uuid, strempty(v.name), leash_words(v.leash),
                                           h->uuid);
                }
                /* Its iommufd is the one that libvirt has got for this start; another would be a stranger. */
                if (alive && !is_stale && streq(request->handover, "vmm") &&
                    vm_view_is_of(&v, h, request)) {
                        *ret = OBSTACLE_IS_OURS;
                        return 0;
                }
                r = vm_destroy(h, is_stale, reterr);
                if (r < 0 && !failure_is_no_vm(reterr)) {
                        if (streq(reterr->name, "WrongState") &&
                            hook_pause(h, LOOK_AGAIN_USEC)) /* it has got a leash meanwhile */
                                continue;
                        return r;
                }
                *ret = OBSTACLE_CLEARED;
                return 0;
        }
}

/* A name is for people, and another VM may have it: whoever may create one, and one of this domain's own that is in quarantine under the
 * UUID that it had before it was defined anew. None of them keeps it from starting. */
static int admit_one(Hook *h, const VmRequest *wanted, Failure *reterr) {
        VmRequest request = *wanted;
        unsigned n_absent = 0;
        int r = -EIO;

        for (int round = 0; round < ROUNDS_MAX; round++) {
                Obstacle obstacle;
                Failure f = {};

                r = vm_create(h, &request, reterr);
                if (r >= 0)
                        return 0;
                if (streq(reterr->name, "Cancelled")) /* another start of it was quicker */
                        continue;
                if (!streq(reterr->name, "VmExists"))
                        return r;

                r = clear_obstacle(h, &request, &obstacle, &f);
                if (r < 0 || obstacle == OBSTACLE_STAYS) {
                        *reterr = f;
                        return r;
                }
                if (obstacle == OBSTACLE_IS_OURS)
                        return 0;
                r = -EEXIST;
                if (obstacle != OBSTACLE_ABSENT)
                        continue;
                /* Another start may have come and gone between; time and again it is the name that is taken. */
                if (++n_absent >= ABSENT_MAX || !hook_pause(h, n_absent * ABSENT_USEC))
                        return r;
                request.nameless = n_absent >= ABSENT_NAMED;
        }
        return r;
}

/* ---- before it runs ---- */

static const char *tier_prefix(DomainTier tier, char buf[static 16]) {
        (void)snprintf(buf, 16, "%s%s", tier < _DOMAIN_TIER_MAX ? domain_tier_to_string(tier) : "",
                       tier < _DOMAIN_TIER_MAX ? ": " : "");
        return buf;
}
#define TIER_PREFIX(tier) tier_prefix((tier), (char[16]){})

static void add_reasons(const DomainDecision *d, Lines *l) {
        for (size_t i = 0; i < d->n_reasons; i++)
                lines_add(l, "%s%s", TIER_PREFIX(d->reasons[i].tier), d->reasons[i].text);
}

/* Sentences come with a full stop and without. */
static int sentence_length(const char *text) {
        size_t n = strlen(text);

        while (n > 0 && text[n - 1] == '.')
                n--;
        return (int)n;
}

/* Says why it may not run, or that it runs and does not have what it should. */
static HookOutcome say_outcome(Hook *h, HookOutcome outcome, const Lines *reasons,
                               const Failure *f) {
        HookCase c = { h->task, outcome, h->asks, h->domain.runs_otherwise, &h->config };
        const char *name = strempty(h->domain.name), *text = strempty(reasons->text);
        bool runs = hook_judge(&c) == HOOK_EXIT_RUN, asks = h->asks != HOOK_ASKS_NOT;
        _cleanup_(lines_done) Lines l = {};

        if (outcome == HOOK_REFUSED && runs)
                hook_warn("Domain %s runs %s:\n%s", name,
                          asks ? "without the vIOMMU that it would like"
                               : "without being accounted for",
                          text);
        else if (outcome == HOOK_REFUSED) {
                if (asks)
                        lines_add(&l, "Domain %s cannot have the vIOMMU that it asks for:", name);
                lines_add(&l, "%s", text);
                hook_say(l.text ?: "Out of memory.");
        } else if (outcome == HOOK_NO_CONTEXT) {
                lines_add(&l,
                          asks ? "Domain %s cannot have the vIOMMU that it asks for:"
                               : "Domain %s is to run on a context of aviommud's, and has none:",
                          name);
                lines_add(&l, "%s", text);
                lines_add(&l, "The agent prepares it and gives it to libvirt: "
                              "\"systemctl status aviommu-libvirt-agent\" tells more.");
                hook_say(l.text ?: "Out of memory.");
        } else if (outcome == HOOK_DOWN && runs)
                hook_warn("%.*s. Domain %s starts all the same, not accounted for (%s in %s).",
                          sentence_length(f->text), f->text, name,
                          asks ? "DaemonDownAsked=run" : "DaemonDownUnasked=run", h->config_path);
        else if (outcome == HOOK_DOWN) {
                lines_add(&l, "%.*s. Domain %s %s, so it does not start (%s in %s).",
                          sentence_length(f->text), f->text, name,
                          asks ? "asks for a vIOMMU" : "has PCI hostdevs",
                          asks ? "DaemonDownAsked=refuse" : "DaemonDownUnasked=refuse",
                          h->config_path);
                lines_add(&l, "\"systemctl status aviommud\" tells more.");
                hook_say(l.text ?: "Out of memory.");
        } else if (outcome == HOOK_DENIED && !runs) {
                lines_add(&l, "Domain %s asks for a vIOMMU, and uid %u may not have one: %s", name,
                          (unsigned)geteuid(), f->text);
                hook_say(l.text ?: "Out of memory.");
        }
        /* A user whose domains ask nothing is not told of aviommud with every start. */
        return outcome;
}

HookOutcome hook_admit(Hook *h) {
        Attempts attempts = attempts_of(h);
        _cleanup_(lines_done) Lines reasons = {};
        HookOutcome outcome = HOOK_REFUSED;
        Failure f = {};

        if (h->decision.verdict == DOMAIN_LEFT_ALONE)
                return HOOK_DONE;
        add_reasons(&h->decision, &reasons);
        if (h->decision.verdict == DOMAIN_REFUSED)
                return say_outcome(h, HOOK_REFUSED, &reasons, &f);

        for (size_t i = 0; i < attempts.n; i++) {
                const VmRequest *q = attempts.requests + i;
                int r;

                r = admit_one(h, q, &f);
                if (r >= 0) {
                        /* Counted, but it asked for more. */
                        if (i >= attempts.n_wanted && h->asks != HOOK_ASKS_NOT)
                                (void)say_outcome(h, HOOK_REFUSED, &reasons, &f);
                        else if (reasons.text && h->asks != HOOK_ASKS_NOT)
                                hook_note("Domain %s is admitted on the tier %s, for these were "
                                          "passed over:\n%s",
                                          strempty(h->domain.name), domain_tier_to_string(q->tier),
                                          reasons.text);
                        return HOOK_DONE;
                }
                outcome = hook_outcome_of(&f, r);
                if (outcome != HOOK_REFUSED && outcome != HOOK_NO_CONTEXT)
                        break;
                if (i < attempts.n_wanted || h->asks == HOOK_ASKS_NOT)
                        lines_add(&reasons, "%s%s", TIER_PREFIX(q->tier), f.text);
                /* libvirt would give QEMU what it has, on whatever tier. */
                if (outcome == HOOK_NO_CONTEXT)
                        break;
        }
        return say_outcome(h, outcome, &reasons, &f);
}

/* ---- before it is known whether it will run ---- */

/* What may be otherwise when prepare comes: it takes down what an earlier start has left, and the agent prepares a context until then. */
static bool is_for_now(const Failure *f) {
        return streq(f->name, "VmExists") || streq(f->name, "NoPreparedContext") ||
               streq(f->name, "KernelLevelUnknown");
}

/* libvirt calls for a domain of somebody's file, which may have the UUID of one that runs, and for one that is only to be defined here. If it
 * starts, prepare comes, and that says what there is to say. */
HookOutcome hook_ask(Hook *h) {
        Attempts attempts = attempts_of(h);
        _cleanup_(lines_done) Lines reasons = {};
        HookOutcome outcome = HOOK_REFUSED;
        HookCase c = { h->task, HOOK_REFUSED, h->asks, h->domain.runs_otherwise, &h->config };
        Failure f = {};

        if (h->decision.verdict != DOMAIN_REFUSED &&
            (attempts.n_wanted == 0 || hook_judge(&c) == HOOK_EXIT_RUN))
                return HOOK_DONE;
        add_reasons(&h->decision, &reasons);
        for (size_t i = 0; i < attempts.n_wanted; i++) {
                const VmRequest *q = attempts.requests + i;
                int r;

                r = vm_plan(h, q, &f);
                if (r >= 0 || is_for_now(&f))
                        return HOOK_DONE;
                outcome = hook_outcome_of(&f, r);
                if (outcome != HOOK_REFUSED)
                        break;
                lines_add(&reasons, "%s%s", TIER_PREFIX(q->tier), f.text);
        }
        c.outcome = outcome;
        return hook_judge(&c) == HOOK_EXIT_RUN ? outcome : say_outcome(h, outcome, &reasons, &f);
}

/* ---- before it runs, once more ---- */

/* Of a network whose forward mode is hostdev libvirt takes a function between prepare and this. The VM that prepare has made gets it; where
 * there was none to make, or another's is in the way, it is as if this were prepare. */
HookOutcome hook_complete(Hook *h) {
        _cleanup_(lines_done) Lines reasons = {};
        _cleanup_(vm_view_done) VmView v = {};
        HookOutcome outcome;
        Failure f = {};
        int r;

        if (h->decision.verdict == DOMAIN_LEFT_ALONE || !h->domain.has_interfaces)
                return HOOK_DONE;
        if (h->decision.verdict == DOMAIN_REFUSED)
                return hook_admit(h);
        r = vm_look(h, &v, &f);
        if (r < 0 ? failure_is_no_vm(&f)
                  : !is_alive(&v) || !streq(strempty(v.leash), "none") ||
                            !vm_view_is_within(&v, &h->domain))
                return hook_admit(h);
        if (r >= 0)
                r = vm_attach(h, &v, &f);
        if (r >= 0)
                return HOOK_DONE;
        outcome = hook_outcome_of(&f, r);
        lines_add(&reasons, "%s", f.text);
        return say_outcome(h, outcome, &reasons, &f);
}

/* ---- when it runs already ---- */

int hook_admit_late(Hook *h, int pidfd, Failure *reterr) {
        VmRequest q = {
                .handover = "none", /* an iommufd that it has is not the daemon's any more */
                .is_running = true,
                .leash_pidfd = pidfd,
        };
        DomainLate late;
        int r;

        domain_decide_late(&h->domain, &h->config, &late);
        if (!late.is_counted)
                return 0;
        q.tier = late.tier;
        r = admit_one(h, &q, reterr);
        if (r >= 0 && *late.objection)
                hook_warn("Domain %s should not run as it does: %s", strempty(h->domain.name),
                          late.objection);
        return r;
}
