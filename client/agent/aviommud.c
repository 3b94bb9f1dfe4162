/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/aviommud.h"

#include "lib/names.h"

/* Probing, and functions that a VMM has to let go of, may take their time. */
#define CALL_TIMEOUT_USEC UINT64_C(300000000)

struct Aviommud {
        sd_bus *bus;
        AviommudObserver observer;
        bool there;
};

typedef struct Call {
        AviommudAnswer answer;
        void *userdata;
        sd_id128_t uuid;
} Call;

/* ---- calls ---- */

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *reterr) {
        const Call *call = userdata;

        (void)reterr;
        call->answer(call->userdata, call->uuid, sd_bus_message_get_error(reply), reply);
        return 0;
}

/* Sends @m, which it takes. */
static int send(Aviommud *a, sd_id128_t uuid, sd_bus_message *m, AviommudAnswer answer,
                void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = m;
        Call *call = new0(Call, 1);
        sd_bus_slot *slot;
        int r;

        if (!call)
                return -ENOMEM;
        *call = (Call){ .answer = answer, .userdata = userdata, .uuid = uuid };
        r = sd_bus_call_async(a->bus, &slot, message, on_answer, call, CALL_TIMEOUT_USEC);
        if (r < 0) {
                free(call);
                return r;
        }
        (void)sd_bus_slot_set_destroy_callback(slot, free);
        (void)sd_bus_slot_set_floating(slot, true);
        (void)sd_bus_slot_unref(slot);
        return 0;
}

static int new_manager_call(Aviommud *a, const char *member, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(a->bus, ret, AVIOMMU_BUS_NAME, AVIOMMU_PATH,
                                              AVIOMMU_MANAGER_INTERFACE, member);
}

static int new_vm_call(Aviommud *a, sd_id128_t uuid, const char *interface, const char *member,
                       sd_bus_message **ret) {
        char path[sizeof(AVIOMMU_VM_PATH) + SD_ID128_STRING_MAX] = AVIOMMU_VM_PATH;

        (void)sd_id128_to_string(uuid, path + strlen(path));
        return sd_bus_message_new_method_call(a->bus, ret, AVIOMMU_BUS_NAME, path, interface,
                                              member);
}

static int call_about(Aviommud *a, const char *member, sd_id128_t uuid, AviommudAnswer answer,
                      void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_manager_call(a, member, &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", SD_ID128_TO_UUID_STRING(uuid));
        return r < 0 ? r : send(a, uuid, TAKE_PTR(m), answer, userdata);
}

int aviommud_prepare(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata) {
        return call_about(a, "PrepareContext", uuid, answer, userdata);
}

int aviommud_forget(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata) {
        return call_about(a, "ForgetContext", uuid, answer, userdata);
}

int aviommud_get_vm(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_vm_call(a, uuid, DBUS_PROPERTIES_INTERFACE, "GetAll", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", AVIOMMU_VM_INTERFACE);
        return r < 0 ? r : send(a, uuid, TAKE_PTR(m), answer, userdata);
}

static int append_options(sd_bus_message *m, const DomainFunction *function) {
        int r;

        r = sd_bus_message_append(m, "{sv}", "managed", "b", true);
        if (r >= 0 && function->has_guest_id)
                r = sd_bus_message_append(m, "{sv}", "guest-device-id", "s",
                                          GUEST_DEVICE_ID_STRING(function->guest_id));
        return r;
}

static int append_function(sd_bus_message *m, const DomainFunction *function) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&function->address));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_options(m, function);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* {key: functions} */
static int append_functions(sd_bus_message *m, const char *key, const DomainFunction *functions,
                            const size_t *indexes, size_t n) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
        for (size_t i = 0; i < n && r >= 0; i++)
                r = append_function(m, &functions[indexes[i]]);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* Those whose XML does not say how much say nothing. */
static int append_memory(sd_bus_message *m, uint64_t memory) {
        return memory > 0 ? sd_bus_message_append(m, "{sv}", "memory", "t", memory) : 0;
}

int aviommud_create(Aviommud *a, sd_id128_t uuid, const AviommudVm *vm, AviommudAnswer answer,
                    void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_manager_call(a, "CreateVm", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", SD_ID128_TO_UUID_STRING(uuid));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}", "tier", "s",
                                          domain_tier_to_string(vm->tier), "handover", "s", "none",
                                          "leash", "s", "agent");
        if (r >= 0 && vm->name)
                r = sd_bus_message_append(m, "{sv}", "name", "s", vm->name);
        if (r >= 0 && *vm->tenant)
                r = sd_bus_message_append(m, "{sv}", "tenant", "s", vm->tenant);
        if (r >= 0)
                r = append_functions(m, "functions", vm->functions, vm->indexes, vm->n);
        if (r >= 0)
                r = append_memory(m, vm->memory);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : send(a, uuid, TAKE_PTR(m), answer, userdata);
}

int aviommud_attach(Aviommud *a, sd_id128_t uuid, const DomainFunction *functions,
                    const size_t *indexes, size_t n, uint64_t memory, AviommudAnswer answer,
                    void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const DomainFunction *first = &functions[indexes[0]];
        int r;

        r = new_vm_call(a, uuid, AVIOMMU_VM_INTERFACE, "AttachDevice", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&first->address));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_options(m, first);
        if (r >= 0 && n > 1)
                r = append_functions(m, "with", functions, indexes + 1, n - 1);
        if (r >= 0)
                r = append_memory(m, memory);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : send(a, uuid, TAKE_PTR(m), answer, userdata);
}

int aviommud_detach(Aviommud *a, sd_id128_t uuid, const PciAddress *address, AviommudAnswer answer,
                    void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_vm_call(a, uuid, AVIOMMU_VM_INTERFACE, "DetachDevice", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(address));
        return r < 0 ? r : send(a, uuid, TAKE_PTR(m), answer, userdata);
}

int aviommud_report(Aviommud *a, const sd_id128_t *uuids, size_t n, AviommudAnswer answer,
                    void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_manager_call(a, "ReportVms", &m);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < n && r >= 0; i++)
                r = sd_bus_message_append(m, "s", SD_ID128_TO_UUID_STRING(uuids[i]));
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : send(a, SD_ID128_NULL, TAKE_PTR(m), answer, userdata);
}

const char *aviommud_error_name(const sd_bus_error *error) {
        const char *name = strempty(error->name);
        size_t n = strlen(AVIOMMU_ERROR_PREFIX);

        return strncmp(name, AVIOMMU_ERROR_PREFIX, n) == 0 ? name + n : name;
}

/* ---- what it says by itself ---- */

static void set_presence(Aviommud *a, bool there) {
        a->there = there;
        a->observer.presence(a->observer.userdata, there);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *name, *before, *now;
        Aviommud *a = userdata;

        (void)reterr;
        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
                return 0;
        if (a->there)
                set_presence(a, false);
        if (*now)
                set_presence(a, true);
        return 0;
}

/* Asked after the match is in place: whatever changes later is told by it. */
static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Aviommud *a = userdata;

        (void)reterr;
        if (!sd_bus_message_is_method_error(m, NULL) && !a->there)
                set_presence(a, true);
        return 0;
}

static int on_vm(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const Aviommud *a = userdata;
        const char *text, *path, *reason;
        sd_id128_t uuid;

        (void)reterr;
        if (sd_bus_message_read(m, "so", &text, &path) < 0 || sd_id128_from_string(text, &uuid) < 0)
                return 0;
        if (streq(sd_bus_message_get_member(m), "VmAdded"))
                a->observer.vm_added(a->observer.userdata, uuid);
        else if (sd_bus_message_read(m, "s", &reason) >= 0)
                a->observer.vm_removed(a->observer.userdata, uuid, reason);
        return 0;
}

static int listen(Aviommud *a) {
        static const char *const members[] = { "VmAdded", "VmRemoved" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                r = sd_bus_match_signal_async(a->bus, NULL, AVIOMMU_BUS_NAME, AVIOMMU_PATH,
                                              AVIOMMU_MANAGER_INTERFACE, members[i], on_vm, NULL,
                                              a);
                if (r < 0)
                        return r;
        }
        r = sd_bus_add_match_async(a->bus, NULL,
                                   "type='signal',sender='org.freedesktop.DBus',path='/org/"
                                   "freedesktop/DBus',interface='org.freedesktop.DBus',"
                                   "member='NameOwnerChanged',arg0='" AVIOMMU_BUS_NAME "'",
                                   on_owner_changed, NULL, a);
        if (r < 0)
                return r;
        return sd_bus_call_method_async(a->bus, NULL, "org.freedesktop.DBus",
                                        "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                        "GetNameOwner", on_owner, a, "s", AVIOMMU_BUS_NAME);
}

static int connect_to(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        if (!address)
                return sd_bus_open_system(ret);
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

int aviommud_open(sd_event *event, const char *address, const AviommudObserver *observer,
                  Aviommud **ret) {
        _cleanup_(aviommud_closep) Aviommud *a = new0(Aviommud, 1);
        const char *name;
        int r;

        if (!a)
                return -ENOMEM;
        a->observer = *observer;
        r = connect_to(address, &a->bus);
        if (r >= 0)
                r = sd_bus_get_unique_name(a->bus, &name); /* waits for the bus to know us */
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(a->bus, true);
        if (r >= 0)
                r = sd_bus_attach_event(a->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = listen(a);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

Aviommud *aviommud_close(Aviommud *a) {
        if (!a)
                return NULL;
        if (a->bus) {
                (void)sd_bus_detach_event(a->bus);
                a->bus = sd_bus_close_unref(a->bus);
        }
        free(a);
        return NULL;
}
