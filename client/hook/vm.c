/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/vm.h"

#include <errno.h>
#include <time.h>

/* A daemon that went away while it worked on a call is started again by systemd in a moment. */
#define TRIES            3
#define RETRY_AFTER_USEC ((uint64_t)200000)

/* ---- calls ---- */

bool hook_pause(Hook *h, uint64_t usec) {
        uint64_t left = watch_left(&h->watch), wait = MIN(usec, left);
        struct timespec ts = { .tv_sec = (time_t)(wait / 1000000),
                               .tv_nsec = (long)(wait % 1000000) * 1000 };

        (void)nanosleep(&ts, NULL);
        return left > usec;
}

HookOutcome hook_outcome_of(const Failure *f, int error) {
        switch (f->exit_code) {
        case CLIENT_EXIT_TIMED_OUT:
                return HOOK_DOWN;
        case CLIENT_EXIT_UNREACHABLE:
                return error == -EACCES || error == -EPERM ? HOOK_DENIED : HOOK_DOWN;
        case CLIENT_EXIT_DENIED:
                return HOOK_DENIED;
        default:
                return streq(f->name, "NoPreparedContext") ? HOOK_NO_CONTEXT : HOOK_REFUSED;
        }
}

static int no_time(Hook *h, Failure *reterr) {
        return failure_set(reterr, CLIENT_EXIT_TIMED_OUT, -ETIMEDOUT, NULL,
                           "No answer from aviommud within %s", HOOK_TIMEOUT(h));
}

static bool went_away(const Failure *f) {
        return f->exit_code == CLIENT_EXIT_UNREACHABLE &&
               streq(f->name, DBUS_ERROR_PREFIX "NoReply");
}

/* A connection that is lost is of no more use. Nothing is flushed: it could not end. */
static void disconnect(Client *c) {
        c->bus = sd_bus_close_unref(c->bus);
}

typedef int (*Build)(Hook *h, const void *what, sd_bus_message *m);

/* Makes a call, and again when the daemon went away under it: all that the hook calls can be called twice. */
static int call(Hook *h, const char *path, const char *interface, const char *member, Build build,
                const void *what, sd_bus_message **ret_reply, Failure *reterr) {
        CallOptions options = { .uuid = h->uuid, .is_change = true };
        int r = -EIO;

        for (int i = 0; i < TRIES; i++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

                h->client.timeout_usec = watch_left(&h->watch);
                if (h->client.timeout_usec == 0)
                        return no_time(h, reterr);
                r = client_new_call(&h->client, path, interface, member, &m, reterr);
                if (r < 0)
                        return r;
                r = build(h, what, m);
                if (r < 0)
                        return failure_set(reterr, CLIENT_EXIT_FAILED, r, NULL,
                                           "The call %s cannot be made: %s", member, strerror(-r));
                r = client_call(&h->client, m, &options, ret_reply, reterr);
                if (r >= 0)
                        return 0;
                if (reterr->exit_code == CLIENT_EXIT_TIMED_OUT)
                        return no_time(h, reterr);
                if (!went_away(reterr))
                        break;
                if (sd_bus_is_open(h->client.bus) <= 0)
                        disconnect(&h->client);
                if (!hook_pause(h, RETRY_AFTER_USEC))
                        break;
        }
        return r;
}

static int call_vm(Hook *h, const char *member, Build build, const void *what, Failure *reterr) {
        return call(h, VM_PATH(h->uuid), AVIOMMU_VM_INTERFACE, member, build, what, NULL, reterr);
}

/* ---- CreateVm ---- */

typedef struct CreateCall {
        const VmRequest *request;
        bool with_name, any_context;
} CreateCall;

static int open_function(const DomainFunction *f, sd_bus_message *m) {
        int r;

        r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&f->address));
        return r < 0 ? r : sd_bus_message_open_container(m, 'a', "{sv}");
}

static int append_function(const DomainFunction *f, const VmRequest *q, sd_bus_message *m) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
        if (r >= 0)
                r = open_function(f, m);
        if (r >= 0 && (f->managed || q->is_running))
                r = sd_bus_message_append(m, "{sv}", "managed", "b", true);
        /* The other tiers have no such ids, and the daemon minds. */
        if (r >= 0 && f->has_guest_id && q->tier == DOMAIN_TIER_HARDWARE)
                r = sd_bus_message_append(m, "{sv}", "guest-device-id", "s",
                                          GUEST_DEVICE_ID_STRING(f->guest_id));
        for (int i = 0; i < 2 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_functions(const Domain *d, const VmRequest *q, sd_bus_message *m) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "functions");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
        for (size_t i = 0; i < d->n_functions && r >= 0; i++)
                r = append_function(d->functions + i, q, m);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static uint64_t pinned_memory(const Domain *d) {
        return d->n_functions > 0 ? d->memory : 0; /* VFIO pins all of it, without VFIO none is */
}

static int build_create(Hook *h, const void *what, sd_bus_message *m) {
        const CreateCall *create = what;
        const VmRequest *q = create->request;
        const Domain *d = &h->domain;
        int r;

        r = sd_bus_message_append(m, "s", h->uuid);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}", "tier", "s",
                                          domain_tier_to_string(q->tier), "handover", "s",
                                          q->handover);
        if (r >= 0 && create->with_name)
                r = sd_bus_message_append(m, "{sv}", "name", "s", d->name);
        if (r >= 0 && d->tenant)
                r = sd_bus_message_append(m, "{sv}", "tenant", "s", d->tenant);
        if (r >= 0 && d->n_functions > 0)
                r = append_functions(d, q, m);
        if (r >= 0 && pinned_memory(d) > 0)
                r = sd_bus_message_append(m, "{sv}", "memory", "t", pinned_memory(d));
        /* QEMU has the one that the agent gave to libvirt, and the ledger is to know no other. */
        if (r >= 0 && streq(q->handover, "vmm") && !create->any_context)
                r = sd_bus_message_append(m, "{sv}", "prepared", "b", true);
        if (r >= 0 && q->leash_pidfd >= 0)
                r = sd_bus_message_append(m, "{sv}", "leash-pidfd", "h", q->leash_pidfd);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

int vm_create(Hook *h, const VmRequest *request, Failure *reterr) {
        CreateCall create = { .request = request,
                              .with_name = !request->nameless && h->domain.name &&
                                           *h->domain.name };
        int r;

        r = call(h, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "CreateVm", build_create, &create,
                 NULL, reterr);
        if (r < 0 && create.with_name && streq(reterr->name, "InvalidArgument")) {
                /* libvirt allows names that the daemon does not, and those of VMs are for people only. */
                create.with_name = false;
                r = call(h, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "CreateVm", build_create,
                         &create, NULL, reterr);
        }
        return r;
}

typedef struct PlanView {
        bool is_admitted;
        const char *error, *text;
} PlanView;

int vm_plan(Hook *h, const VmRequest *request, Failure *reterr) {
        static const ReplyField fields[] = {
                { "admitted", "b", offsetof(PlanView, is_admitted), NULL },
                { "error", "s", offsetof(PlanView, error), NULL },
                { "message", "s", offsetof(PlanView, text), NULL },
        };
        CreateCall create = { .request = request, .any_context = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        PlanView v = {};
        int r;

        r = call(h, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "Plan", build_create, &create, &m,
                 reterr);
        if (r < 0)
                return r;
        r = reply_read_fields(m, fields, ELEMENTSOF(fields), &v);
        if (r < 0)
                return failure_set_malformed(reterr, "Plan");
        return v.is_admitted ? 0 : failure_set_bus(reterr, strempty(v.error), v.text, NULL);
}

/* ---- the others ---- */

static int build_leash(Hook *h, const void *what, sd_bus_message *m) {
        (void)h;
        return sd_bus_message_append(m, "h", *(const int *)what);
}

int vm_set_leash(Hook *h, int pidfd, Failure *reterr) {
        return call_vm(h, "SetLeash", build_leash, &pidfd, reterr);
}

static int build_destroy(Hook *h, const void *what, sd_bus_message *m) {
        (void)h;
        return *(const bool *)what ? sd_bus_message_append(m, "a{sv}", 1, "force", "b", true)
                                   : sd_bus_message_append(m, "a{sv}", 0);
}

int vm_destroy(Hook *h, bool force, Failure *reterr) {
        return call_vm(h, "Destroy", build_destroy, &force, reterr);
}

static int build_look(Hook *h, const void *what, sd_bus_message *m) {
        (void)h;
        (void)what;
        return sd_bus_message_append(m, "s", AVIOMMU_VM_INTERFACE);
}

static int read_operation(sd_bus_message *m, void *field) {
        int r;

        r = reply_check(sd_bus_message_enter_container(m, 'r', "stu"));
        if (r >= 0)
                r = reply_check(sd_bus_message_read_basic(m, 's', field));
        if (r >= 0)
                r = reply_check(sd_bus_message_skip(m, "tu"));
        if (r >= 0)
                r = reply_check(sd_bus_message_exit_container(m));
        return r;
}

int vm_look(Hook *h, VmView *ret, Failure *reterr) {
        static const ReplyField fields[] = {
                { "Name", "s", offsetof(VmView, name), NULL },
                { "Tenant", "s", offsetof(VmView, tenant), NULL },
                { "Tier", "s", offsetof(VmView, tier), NULL },
                { "Handover", "s", offsetof(VmView, handover), NULL },
                { "State", "s", offsetof(VmView, state), NULL },
                { "Leash", "s", offsetof(VmView, leash), NULL },
                { "Operation", "(stu)", offsetof(VmView, operation), read_operation },
                { "Functions", "a(ssss)", offsetof(VmView, functions), reply_read_vm_functions },
                { "Charges", "a(sst)", offsetof(VmView, charges), reply_read_charges },
        };
        _cleanup_(vm_view_done) VmView v = {};
        int r;

        r = call(h, VM_PATH(h->uuid), DBUS_PROPERTIES_INTERFACE, "GetAll", build_look, NULL,
                 &v.message, reterr);
        if (r < 0)
                return r;
        r = reply_read_fields(v.message, fields, ELEMENTSOF(fields), &v);
        if (r < 0)
                return failure_set_malformed(reterr, "GetAll");

        *ret = v;
        v = (VmView){};
        return 0;
}

void vm_view_done(VmView *v) {
        vm_function_list_done(&v->functions);
        charge_list_done(&v->charges);
        v->message = sd_bus_message_unref(v->message);
}

static bool has_function(const VmView *v, const PciAddress *address) {
        for (size_t i = 0; i < v->functions.n; i++) {
                PciAddress a;

                if (pci_address_parse(v->functions.items[i].address, &a) >= 0 &&
                    pci_address_equal(&a, address))
                        return true;
        }
        return false;
}

bool vm_view_is_within(const VmView *v, const Domain *d) {
        size_t n = 0;

        for (size_t i = 0; i < d->n_functions; i++)
                n += has_function(v, &d->functions[i].address);
        return n == v->functions.n;
}

/* ---- AttachDevice ---- */

static const DomainFunction *next_missing(const Domain *d, const VmView *v, size_t *i) {
        while (*i < d->n_functions) {
                const DomainFunction *f = d->functions + (*i)++;

                if (!has_function(v, &f->address))
                        return f;
        }
        return NULL;
}

/* They are with libvirt, on vfio-pci already or nearly so. */
static int build_attach(Hook *h, const void *what, sd_bus_message *m) {
        const VmRequest q = { .tier = _DOMAIN_TIER_MAX, .is_running = true };
        const Domain *d = &h->domain;
        const DomainFunction *f;
        size_t i = 0;
        int r;

        r = open_function(next_missing(d, what, &i), m);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}", "managed", "b", true, "memory", "t",
                                          pinned_memory(d));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "with");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
        while (r >= 0 && (f = next_missing(d, what, &i)))
                r = append_function(f, &q, m);
        for (int k = 0; k < 4 && r >= 0; k++)
                r = sd_bus_message_close_container(m);
        return r;
}

int vm_attach(Hook *h, const VmView *v, Failure *reterr) {
        return next_missing(&h->domain, v, &(size_t){ 0 })
                       ? call_vm(h, "AttachDevice", build_attach, v, reterr)
                       : 0;
}

/* ---- comparison ---- */

bool vm_view_is_of(const VmView *v, const Hook *h, const VmRequest *request) {
        const Domain *d = &h->domain;
        uint64_t pinned = 0;

        if (!streq(strempty(v->tier), domain_tier_to_string(request->tier)) ||
            !streq(strempty(v->handover), request->handover) ||
            !streq(strempty(v->tenant), strempty(d->tenant)) || v->functions.n != d->n_functions)
                return false;
        for (size_t i = 0; i < d->n_functions; i++)
                if (!has_function(v, &d->functions[i].address))
                        return false;
        for (size_t i = 0; i < v->charges.n; i++)
                if (streq(v->charges.items[i].kind, "pinned-memory"))
                        pinned += v->charges.items[i].amount;
        return pinned == pinned_memory(d);
}
