/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-call.h"

#include <errno.h>
#include <inttypes.h>

#include "base/hash.h"
#include "base/log.h"
#include "bus/bus-error.h"
#include "bus/bus-path.h"

/* What is kept for a caller who may not call yet. The longest request, for MaxFunctionsPerVm=1024, has less than this. */
#define MESSAGE_BYTES_MAX       ((size_t)256 * 1024)
#define LARGE_MESSAGE_BYTES_MAX ((size_t)2048 * 1024)

/* Somebody who has called, for as long as his name lives. */
struct Caller {
        char *name;
        size_t n_calls;
        bool gone;
        UT_hash_handle hh;
};

static Caller *caller_find(const Bus *bus, const char *name) {
        Caller *caller;

        HASH_FIND_STR(bus->callers, name, caller);
        return caller;
}

static Caller *caller_get(Bus *bus, const char *name) {
        Caller *caller = caller_find(bus, name);

        if (caller)
                return caller;
        caller = new0(Caller, 1);
        if (!caller)
                return NULL;
        caller->name = strdup(name);
        if (caller->name)
                HASH_ADD_KEYPTR(hh, bus->callers, caller->name, strlen(caller->name), caller);
        if (!caller->name || !caller->hh.tbl) {
                free(caller->name);
                free(caller);
                return NULL;
        }
        return caller;
}

static void caller_forget(Bus *bus, Caller *caller) {
        HASH_DEL(bus->callers, caller);
        free(caller->name);
        free(caller);
}

static void bus_call_free(BusCall *call) {
        *call->link = call->next;
        if (call->next)
                call->next->link = call->link;
        call->caller->n_calls--;
        if (call->caller->gone && call->caller->n_calls == 0)
                caller_forget(call->bus, call->caller);
        sd_bus_message_unref(call->message);
        free(call);
}

/* ---- whose it is ---- */

static uid_t find_owner_of_vm(const BusCall *call) {
        const Vm *vm = NULL;
        sd_id128_t uuid;

        if (bus_path_parse_vm(sd_bus_message_get_path(call->message), &uuid, NULL) >= 0)
                vm = manager_find_vm(call->bus->manager, uuid);
        return vm ? vm->owner_uid : ACCESS_NO_OWNER;
}

/* Who owns what the call is about, at this moment. Reads the message from its beginning. */
static uid_t find_owner(BusCall *call) {
        const Manager *m = call->bus->manager;
        sd_id128_t uuid;
        const char *text;

        if (call->method->subject == ACCESS_OF_HOST)
                return ACCESS_NO_OWNER;
        if (call->method->subject == ACCESS_OF_VM)
                return find_owner_of_vm(call);
        if (sd_bus_message_rewind(call->message, true) < 0 ||
            sd_bus_message_read(call->message, "s", &text) < 0)
                return ACCESS_NO_OWNER;
        if (call->method->subject == ACCESS_OF_RESERVATION)
                return manager_get_reservation_owner(m, text);
        if (sd_id128_from_string(text, &uuid) < 0)
                return ACCESS_NO_OWNER;
        return call->method->subject == ACCESS_OF_PREPARED ? manager_get_prepared_owner(m, uuid)
                                                           : manager_get_definition_owner(m, uuid);
}

static AccessDemand choose(void *userdata, uid_t uid) {
        BusCall *call = userdata;

        call->demand = access_decide(call->method, uid, find_owner(call));
        return call->demand;
}

/* While polkit thought, it may have gone and come again as somebody else's, of whom nobody was asked. */
static int check_owner(BusCall *call) {
        uid_t owner;

        if (call->demand.n_actions == 0)
                return 0;
        owner = find_owner(call);
        if (owner == call->demand.owner || owner == ACCESS_NO_OWNER)
                return 0;
        return problem_set(&call->problem, PROBLEM_BUSY,
                           "What %s is about has become uid %u's while polkit was asked: call "
                           "again.",
                           sd_bus_message_get_member(call->message), owner);
}

/* ---- on its way ---- */

static void on_authorized(void *userdata, int r, const AuthzCaller *who, const Problem *problem) {
        BusCall *call = userdata;

        call->uid = who->uid;
        call->who = who;
        if (r >= 0 && call->caller->gone) /* nobody is left to do it for, or to take it back */
                r = -ECANCELED;
        if (r < 0) {
                bus_call_fail(call, r, problem);
                return;
        }
        log_event(LOG_DEBUG, NULL, NULL, "%s of %s by %s, uid %u.",
                  sd_bus_message_get_member(call->message), sd_bus_message_get_path(call->message),
                  bus_call_get_sender(call), who->uid);
        r = check_owner(call);
        if (r >= 0)
                r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = call->handler(call);
        if (r < 0)
                bus_call_fail(call, r, &call->problem);
}

/* Takes what the rest of the current container has in bytes, roughly, from *left. Returns -E2BIG when that is too much. */
static int measure_items(sd_bus_message *m, size_t *left) {
        const char *contents;
        uint64_t value;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                size_t n = sizeof(value);

                if (strchr("arve", type)) {
                        r = sd_bus_message_enter_container(m, type, contents);
                        if (r >= 0)
                                r = measure_items(m, left);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                } else {
                        r = sd_bus_message_read_basic(m, type, &value);
                        if (r >= 0 && strchr("sog", type))
                                n += strlen((const char *)(uintptr_t)value);
                }
                if (r < 0)
                        return r;
                if (n > *left)
                        return -E2BIG;
                *left -= n;
        }
        return r;
}

static int check_size(sd_bus_message *m, size_t max_bytes, Problem *p) {
        size_t left = max_bytes;
        int r;

        r = measure_items(m, &left);
        if (r == -E2BIG)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, max_bytes + 1, max_bytes,
                                           "The arguments of %s are longer than %zu KiB.",
                                           sd_bus_message_get_member(m), max_bytes / 1024);
        if (r >= 0)
                r = sd_bus_message_rewind(m, true);
        return r < 0 ? r : 0;
}

static int start(Bus *bus, sd_bus_message *m, const char *interface, BusHandler handler,
                 size_t max_bytes, sd_bus_error *error) {
        const AccessMethod *method = access_find(interface, sd_bus_message_get_member(m));
        const char *sender = sd_bus_message_get_sender(m);
        uint64_t limit = bus->manager->config.max_operations_per_caller;
        Caller *caller = sender ? caller_get(bus, sender) : NULL;
        Problem p = {};
        BusCall *call;
        int r;

        if (!caller)
                return sender ? -ENOMEM : -EACCES;
        if (!method) {
                r = problem_set(&p, PROBLEM_ACCESS_DENIED, "Nobody may call %s.",
                                sd_bus_message_get_member(m));
                return bus_error_set(error, r, &p);
        }
        if (caller->n_calls >= limit) {
                r = problem_set_amounts(&p, PROBLEM_LIMITS_EXCEEDED, caller->n_calls + 1, limit,
                                        "%s has %zu calls open already (MaxOperationsPerCaller=): "
                                        "wait for their answers.",
                                        sender, caller->n_calls);
                return bus_error_set(error, r, &p);
        }
        r = check_size(m, max_bytes, &p);
        if (r < 0)
                return bus_error_set(error, r, &p);

        call = new0(BusCall, 1);
        if (!call)
                return -ENOMEM;
        *call = (BusCall){
                .bus = bus, .caller = caller, .method = method, .handler = handler, .uid = (uid_t)-1
        };
        call->message = sd_bus_message_ref(m);
        caller->n_calls++;
        call->next = bus->calls;
        call->link = &bus->calls;
        if (call->next)
                call->next->link = &call->next;
        bus->calls = call;

        r = authz_check(bus->authz, m, choose, on_authorized, call);
        if (r < 0) {
                bus_call_free(call);
                return r;
        }
        return 1;
}

int bus_call_start(Bus *bus, sd_bus_message *m, const char *interface, BusHandler handler,
                   sd_bus_error *error) {
        return start(bus, m, interface, handler, MESSAGE_BYTES_MAX, error);
}

int bus_call_start_large(Bus *bus, sd_bus_message *m, const char *interface, BusHandler handler,
                         sd_bus_error *error) {
        return start(bus, m, interface, handler, LARGE_MESSAGE_BYTES_MAX, error);
}

int bus_call_name_groups(const BusCall *call, VmRequest *request) {
        return vm_request_set_groups(request, call->who->groups, call->who->n_groups);
}

const char *bus_call_get_sender(const BusCall *call) {
        return sd_bus_message_get_sender(call->message);
}

void bus_call_reply(BusCall *call, sd_bus_message *reply) {
        int r;

        r = reply ? sd_bus_send(NULL, reply, NULL)
                  : sd_bus_reply_method_return(call->message, NULL);
        if (r < 0)
                (void)sd_bus_reply_method_errno(call->message, r, NULL);
        bus_call_free(call);
}

void bus_call_fail(BusCall *call, int r, const Problem *problem) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Problem p = {};

        /* What the end of the loop keeps from being done fails in ways that say nothing to the caller. */
        if (!(problem && problem_is_set(problem)) && call->bus->stopping) {
                r = problem_set(&p, PROBLEM_CANCELLED, "The daemon is stopping.");
                problem = &p;
        }
        (void)bus_error_set(&error, r, problem);
        log_event(LOG_DEBUG, NULL, &(LogFields){ .reason = error.name }, "%s of %s by %s fails: %s",
                  sd_bus_message_get_member(call->message), sd_bus_message_get_path(call->message),
                  bus_call_get_sender(call), error.message);
        (void)sd_bus_reply_method_error(call->message, &error);
        bus_call_free(call);
}

void bus_call_answer_empty(void *userdata, int r, const Problem *problem) {
        if (r < 0)
                bus_call_fail(userdata, r, problem);
        else
                bus_call_reply(userdata, NULL);
}

int bus_call_get_vm(BusCall *call, Vm **ret) {
        const char *path = sd_bus_message_get_path(call->message);
        sd_id128_t uuid;
        Vm *vm = NULL;

        if (bus_path_parse_vm(path, &uuid, NULL) >= 0)
                vm = manager_find_vm(call->bus->manager, uuid);
        if (!vm)
                return problem_set(&call->problem, PROBLEM_NO_SUCH_VM,
                                   "There is no VM at %s (any more).", path);
        *ret = vm;
        return 0;
}

int bus_call_get_viommu(BusCall *call, Vm **ret_vm, uint32_t *ret_host_iommu) {
        const char *path = sd_bus_message_get_path(call->message);
        sd_id128_t uuid;
        uint32_t host_iommu;
        int r;

        r = bus_call_get_vm(call, ret_vm);
        if (r < 0)
                return r;
        if (bus_path_parse_vm(path, &uuid, &host_iommu) < 0 ||
            !context_find_viommu(&(*ret_vm)->context, host_iommu))
                return problem_set(&call->problem, PROBLEM_NO_SUCH_VIOMMU,
                                   "There is no vIOMMU at %s (any more).", path);
        *ret_host_iommu = host_iommu;
        return 0;
}

int bus_read_address(sd_bus_message *m, PciAddress *ret, Problem *reterr_problem) {
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (pci_address_parse(s, ret) < 0)
                return problem_set(reterr_problem, PROBLEM_INVALID_ADDRESS,
                                   "\"%.64s\" is no PCI address of the form SSSS:BB:DD.F.", s);
        return 0;
}

int bus_caller_expect(Bus *bus, const char *name) {
        return caller_get(bus, name) ? 0 : -ENOMEM;
}

bool bus_is_caller(const Bus *bus, const char *name) {
        return caller_find(bus, name);
}

void bus_calls_name_vanished(Bus *bus, const char *name) {
        Caller *caller = caller_find(bus, name);

        if (!caller)
                return;
        caller->gone = true;
        if (caller->n_calls == 0)
                caller_forget(bus, caller);
}

void bus_calls_end(Bus *bus) {
        Problem p = {};

        (void)problem_set(&p, PROBLEM_CANCELLED, "The daemon is stopping.");
        while (bus->calls)
                bus_call_fail(bus->calls, -ECANCELED, &p);
        for (Caller *caller = bus->callers, *next; caller; caller = next) {
                next = caller->hh.next;
                caller_forget(bus, caller);
        }
}
