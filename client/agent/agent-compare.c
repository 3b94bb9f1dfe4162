/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Charging what was plugged in or out while a domain runs. One call after the other; in between anything may have happened, so
 * each answer is followed by the next step only while the domain still runs.
 *
 * A domain that aviommud does not know is admitted after the fact. What it has cannot be taken from it, so it is counted only, and
 * hangs on what is reported; the hook, which knows its process, gives it a better leash when it comes by.
 */

#include "agent/agent-private.h"
#include "agent/charges.h"

struct Comparison {
        Agent *agent;
        Followed *domain; /* NULL: it is no longer followed */
        DomainFunction *has;
        size_t n_has;
        Charged *charged;
        size_t n_charged;
        uint64_t memory; /* bytes; 0: not known, or not ours to say */
        DomainLate late;
        bool nameless;   /* its name does not do for aviommud */
        bool being_made; /* another's CreateVm is on its way */
        ChargePlan plan;
        size_t n_detached, n_attached; /* steps that are done */
        bool singly;                   /* all at once was refused */
        bool unsettled;
        Comparison *next;
};

static Comparison *comparison_free(Comparison *c) {
        for (Comparison **p = &c->agent->comparisons; *p; p = &(*p)->next)
                if (*p == c) {
                        *p = c->next;
                        break;
                }
        if (c->domain)
                c->domain->comparison = NULL;
        charge_plan_done(&c->plan);
        free(c->charged);
        free(c->has);
        free(c);
        return NULL;
}

void comparison_abandon(Comparison *c) {
        c->domain = NULL;
}

void comparisons_free(Agent *agent) {
        while (agent->comparisons)
                comparison_free(agent->comparisons);
}

static void comparison_end(Comparison *c) {
        Followed *f = c->domain;
        Agent *agent = c->agent;

        if (f) {
                follow_compared(&f->follow, !c->unsettled);
                if (!c->unsettled)
                        followed_content(f);
        }
        agent->n_calls--;
        comparison_free(c);
        agent_wake(agent);
}

static void comparison_step(Comparison *c);

static void on_detached(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                        sd_bus_message *reply) {
        Comparison *c = userdata;
        const Charged *charged = &c->charged[c->plan.detach[c->n_detached++]];
        const char *address = PCI_ADDRESS_STRING(&charged->address);

        (void)uuid;
        (void)reply;
        if (!c->domain)
                ;
        else if (!error)
                followed_log(c->domain, LOG_INFO, "PCI function %s was unplugged.", address);
        else if (streq(aviommud_error_name(error), "Busy"))
                /* It is on its way out, and comes back when QEMU closes it. */
                followed_log(c->domain, LOG_INFO, "PCI function %s was unplugged: %s", address,
                             strempty(error->message));
        else if (!streq(aviommud_error_name(error), "NoSuchFunction")) {
                c->unsettled = true;
                followed_complain(c->domain, LOG_ERR,
                                  "PCI function %s was unplugged, but aviommud does not let go of "
                                  "it: %s",
                                  address, strempty(error->message));
        }
        comparison_step(c);
}

static void on_attached(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                        sd_bus_message *reply) {
        Comparison *c = userdata;
        size_t n = c->singly ? 1 : c->plan.n_attach;

        (void)uuid;
        (void)reply;
        if (error && n > 1) {
                c->singly = true;
                comparison_step(c);
                return;
        }
        for (size_t i = 0; i < n && c->domain; i++) {
                const DomainFunction *function = &c->has[c->plan.attach[c->n_attached + i]];
                const char *address = PCI_ADDRESS_STRING(&function->address);

                if (!error) {
                        followed_log(c->domain, LOG_INFO, "PCI function %s was plugged in.",
                                     address);
                        continue;
                }
                c->unsettled = true;
                followed_complain(c->domain, LOG_ERR,
                                  "PCI function %s was plugged in, and aviommud refuses to count "
                                  "it (unplug it, or make room): %s",
                                  address, strempty(error->message));
        }
        c->n_attached += n;
        comparison_step(c);
}

static void comparison_step(Comparison *c) {
        const Followed *f = c->domain;
        Aviommud *a = c->agent->aviommud;
        int r = 0;

        if (!f || !f->follow.running)
                comparison_end(c);
        else if (c->n_detached < c->plan.n_detach)
                r = aviommud_detach(a, f->uuid, &c->charged[c->plan.detach[c->n_detached]].address,
                                    on_detached, c);
        else if (c->n_attached < c->plan.n_attach)
                r = aviommud_attach(a, f->uuid, c->has, c->plan.attach + c->n_attached,
                                    c->singly ? 1 : c->plan.n_attach, c->memory, on_attached, c);
        else
                comparison_end(c);
        if (r < 0) {
                c->unsettled = true;
                comparison_end(c);
        }
}

/* Reads v of a(ssss). Returns 0, -EBADMSG, -ENOMEM. */
static int read_functions(Comparison *c, sd_bus_message *m) {
        const char *address, *host_iommu, *guest_id, *state;
        int r;

        if (sd_bus_message_enter_container(m, 'v', "a(ssss)") <= 0 ||
            sd_bus_message_enter_container(m, 'a', "(ssss)") < 0)
                return -EBADMSG;
        while ((r = sd_bus_message_read(m, "(ssss)", &address, &host_iommu, &guest_id, &state)) >
               0) {
                Charged *grown = reallocarray(c->charged, c->n_charged + 1, sizeof(*c->charged));

                if (!grown)
                        return -ENOMEM;
                c->charged = grown;
                grown[c->n_charged] = (Charged){ .leaving = streq(state, "draining") };
                if (pci_address_parse(address, &grown[c->n_charged].address) < 0)
                        return -EBADMSG;
                c->n_charged++;
        }
        return r < 0 || sd_bus_message_exit_container(m) < 0 || sd_bus_message_exit_container(m) < 0
                       ? -EBADMSG
                       : 0;
}

/* Other tiers than hardware have no such ids, and aviommud minds. */
static void forget_guest_ids(Comparison *c) {
        for (size_t i = 0; i < c->n_has; i++)
                c->has[i].has_guest_id = false;
}

static int read_tier(Comparison *c, sd_bus_message *m) {
        const char *tier;

        if (sd_bus_message_read(m, "v", "s", &tier) < 0)
                return -EBADMSG;
        if (!streq(tier, domain_tier_to_string(DOMAIN_TIER_HARDWARE)))
                forget_guest_ids(c);
        return 0;
}

/* What the daemon maps it charges by itself. */
static int read_handover(Comparison *c, sd_bus_message *m) {
        const char *handover;

        if (sd_bus_message_read(m, "v", "s", &handover) < 0)
                return -EBADMSG;
        if (streq(handover, "daemon"))
                c->memory = 0;
        return 0;
}

static int read_state(Comparison *c, sd_bus_message *m) {
        const char *state;

        if (sd_bus_message_read(m, "v", "s", &state) < 0)
                return -EBADMSG;
        c->being_made = streq(state, "admitted");
        return 0;
}

/* Reads a{sv}. Returns 0, -EBADMSG, -ENOMEM. */
static int read_vm(Comparison *c, sd_bus_message *m) {
        const char *property;
        int r;

        if (sd_bus_message_enter_container(m, 'a', "{sv}") <= 0)
                return -EBADMSG;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                if (sd_bus_message_read(m, "s", &property) < 0)
                        return -EBADMSG;
                if (streq(property, "Functions"))
                        r = read_functions(c, m);
                else if (streq(property, "Tier"))
                        r = read_tier(c, m);
                else if (streq(property, "State"))
                        r = read_state(c, m);
                else if (streq(property, "Handover"))
                        r = read_handover(c, m);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r < 0)
                        return r == -ENOMEM ? r : -EBADMSG;
                if (sd_bus_message_exit_container(m) < 0)
                        return -EBADMSG;
        }
        return r < 0 ? -EBADMSG : 0;
}

/* ---- a domain that aviommud does not know ---- */

static void look(Comparison *c);
static void admit(Comparison *c);

static void on_admitted(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                        sd_bus_message *reply) {
        Comparison *c = userdata;
        const char *name = error ? aviommud_error_name(error) : "", *domain;

        (void)uuid;
        (void)reply;
        if (!c->domain || !c->domain->follow.running) {
                comparison_end(c); /* reports do not name it, which ends it */
                return;
        }
        domain = strempty(c->domain->name);
        if (!c->nameless && streq(name, "InvalidArgument")) {
                c->nameless = true;
                admit(c);
                return;
        }
        if (!c->nameless && streq(name, "VmExists")) {
                /* The hook was quicker, or another VM has the name. */
                c->nameless = true;
                look(c);
                return;
        }
        if (error) {
                c->unsettled = true;
                followed_complain(
                        c->domain, LOG_ERR,
                        "Domain %s runs with PCI functions, and aviommud refuses to count "
                        "them (unplug them, or make room): %s",
                        domain, strempty(error->message));
        } else {
                c->domain->is_unknown = false;
                followed_log(c->domain, LOG_INFO,
                             "Domain %s runs with PCI functions, which are counted from now on.",
                             domain);
                if (*c->late.objection)
                        followed_complain(c->domain, LOG_WARNING,
                                          "Domain %s should not run with its PCI functions: %s",
                                          domain, c->late.objection);
        }
        comparison_end(c);
}

static void admit(Comparison *c) {
        const Followed *f = c->domain;
        AviommudVm vm = { .name = c->nameless || !f->name || !*f->name ? NULL : f->name,
                          .tenant = c->late.tenant,
                          .tier = c->late.tier,
                          .functions = c->has,
                          .memory = c->memory };
        int r;

        if (!f->follow.running) {
                comparison_end(c);
                return;
        }
        forget_guest_ids(c);
        charge_plan_done(&c->plan);
        r = charge_plan(c->has, c->n_has, NULL, 0, &c->plan);
        if (r >= 0) {
                vm.indexes = c->plan.attach;
                vm.n = c->plan.n_attach;
                r = aviommud_create(c->agent->aviommud, f->uuid, &vm, on_admitted, c);
        }
        if (r < 0) {
                followed_complain(c->domain, LOG_ERR, "Cannot ask aviommud to count domain %s: %s",
                                  strempty(f->name), strerror(-r));
                c->unsettled = true;
                comparison_end(c);
        }
}

static void not_charged(Comparison *c, const sd_bus_error *error) {
        const char *name = aviommud_error_name(error);
        bool is_known = !streq(name, "NoSuchVm") && !streq(name, SD_BUS_ERROR_UNKNOWN_OBJECT);

        if (c->domain && !is_known && c->n_has > 0 && c->late.is_counted) {
                if (c->domain->is_unknown) {
                        admit(c);
                        return;
                }
                /* It may just have ended, and the hook taken all back: libvirt is asked once more, now that this is known. */
                c->domain->is_unknown = true;
                c->unsettled = true;
                agent_look(c->agent, c->domain->uuid);
                comparison_end(c);
                return;
        }
        c->unsettled = is_known;
        if (c->domain && c->n_has > 0)
                followed_log(c->domain, LOG_DEBUG, "Its PCI functions are not counted: %s",
                             strempty(error->message));
        comparison_end(c);
}

/* ---- what is charged ---- */

static void on_charged(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                       sd_bus_message *reply) {
        Comparison *c = userdata;
        int r;

        (void)uuid;
        if (error) {
                not_charged(c, error);
                return;
        }
        if (!c->domain) {
                comparison_end(c);
                return;
        }
        c->domain->is_unknown = false;
        charge_plan_done(&c->plan);
        r = read_vm(c, reply);
        if (r >= 0)
                r = charge_plan(c->has, c->n_has, c->charged, c->n_charged, &c->plan);
        if (r < 0) {
                followed_complain(c->domain, LOG_ERR, "Cannot compare its PCI functions: %s",
                                  strerror(-r));
                c->unsettled = true;
                comparison_end(c);
                return;
        }
        if (c->being_made) {
                c->unsettled = true; /* it shows no functions yet, and will be announced */
                comparison_end(c);
                return;
        }
        c->unsettled = c->plan.waits;
        comparison_step(c);
}

static void look(Comparison *c) {
        int r = aviommud_get_vm(c->agent->aviommud, c->domain->uuid, on_charged, c);

        if (r < 0) {
                c->unsettled = true;
                comparison_end(c);
        }
}

void compare_begin(Agent *agent, Followed *f) {
        Comparison *c = new0(Comparison, 1);
        int r = -ENOMEM;

        follow_begin(&f->follow, FOLLOW_COMPARE);
        if (c) {
                *c = (Comparison){ .agent = agent,
                                   .n_has = f->n_functions,
                                   .memory = f->memory,
                                   .late = f->late };
                c->has = functions_copy(f->functions, f->n_functions);
                c->next = agent->comparisons;
                agent->comparisons = c;
                r = c->has ? aviommud_get_vm(agent->aviommud, f->uuid, on_charged, c) : -ENOMEM;
        }
        if (r < 0) {
                if (c)
                        comparison_free(c);
                followed_complain(f, LOG_ERR, "Cannot ask aviommud for its PCI functions: %s",
                                  strerror(-r));
                follow_compared(&f->follow, false);
                return;
        }
        c->domain = f;
        f->comparison = c;
        agent->n_calls++;
}
