/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus.h"

#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "bus/bus-objects.h"
#include "bus/bus-path.h"

#define CAPACITY_INTERVAL_USEC UINT64_C(100000)
#define CAPACITY_ACCURACY_USEC UINT64_C(5000)

/* ---- what the manager tells ---- */

static void emit_vm_signal(Bus *bus, const Vm *vm, const char *signal) {
        (void)sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_NAME ".Manager", signal, "so",
                                 SD_ID128_TO_UUID_STRING(vm->uuid), BUS_VM_PATH(vm->uuid));
}

static void on_vm_added(void *userdata, const Vm *vm) {
        emit_vm_signal(userdata, vm, "VmAdded");
}

static void on_vm_removed(void *userdata, const Vm *vm, const char *reason) {
        Bus *bus = userdata;

        (void)sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_NAME ".Manager", "VmRemoved", "sos",
                                 SD_ID128_TO_UUID_STRING(vm->uuid), BUS_VM_PATH(vm->uuid), reason);
}

static void on_vm_changed(void *userdata, const Vm *vm) {
        emit_vm_signal(userdata, vm, "VmChanged");
        bus_vm_emit_changed(userdata, vm);
}

static void send_capacity_changed(Bus *bus) {
        bus->capacity_pending = false;
        (void)sd_event_now(bus->manager->event, CLOCK_MONOTONIC, &bus->capacity_sent_usec);
        bus_manager_emit_capacity_changed(bus);
}

static int on_capacity_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Bus *bus = userdata;

        (void)s;
        (void)usec;
        if (bus->capacity_pending)
                send_capacity_changed(bus);
        return 0;
}

/* At once when it is quiet, else when the interval is over. */
static void on_capacity_changed(void *userdata) {
        Bus *bus = userdata;
        uint64_t now = 0, next = bus->capacity_sent_usec + CAPACITY_INTERVAL_USEC;

        (void)sd_event_now(bus->manager->event, CLOCK_MONOTONIC, &now);
        if (now >= next) {
                send_capacity_changed(bus);
                return;
        }
        if (!bus->capacity_pending) {
                bus->capacity_pending = true;
                (void)sd_event_source_set_time(bus->capacity_timer, next);
                (void)sd_event_source_set_enabled(bus->capacity_timer, SD_EVENT_ONESHOT);
        }
}

static void on_host_changed(void *userdata) {
        bus_host_emit_changed(userdata);
        bus_manager_emit_host_changed(userdata);
}

/* ---- what the bus tells ---- */

/* The one match that serves every caller: names that have vanished. */
static int on_name_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *old_owner, *new_owner;
        Bus *bus = userdata;
        int r;

        (void)error;
        r = sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner);
        if (r < 0 || *new_owner || !bus_is_caller(bus, name))
                return 0;

        authz_name_vanished(bus->authz, name);
        manager_name_vanished(bus->manager, name);
        bus_calls_name_vanished(bus, name);
        return 0;
}

/* A name on which something hangs since before the daemon started: it may have vanished meanwhile. */
typedef struct NameCheck {
        Bus *bus;
        char name[];
} NameCheck;

static int on_name_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        NameCheck *check = userdata;

        (void)error;
        if (sd_bus_message_is_method_error(m, "org.freedesktop.DBus.Error.NameHasNoOwner")) {
                manager_name_vanished(check->bus->manager, check->name);
                bus_calls_name_vanished(check->bus, check->name);
        }
        return 0;
}

static void check_name(void *userdata, const char *name) {
        Bus *bus = userdata;
        size_t size = strlen(name) + 1;
        sd_bus_slot *slot;
        NameCheck *check;
        int r;

        if (bus_is_caller(bus, name)) /* asked already */
                return;
        check = malloc(sizeof(NameCheck) + size);
        r = check ? bus_caller_expect(bus, name) : -ENOMEM;
        if (r >= 0) {
                check->bus = bus;
                memcpy(check->name, name, size);
                r = sd_bus_call_method_async(bus->bus, &slot, "org.freedesktop.DBus",
                                             "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                             "GetNameOwner", on_name_owner, check, "s", name);
        }
        if (r < 0) {
                free(check);
                log_msg(LOG_WARNING, "Cannot ask for the bus name %s, on which VMs hang: %s", name,
                        strerror(-r));
                return;
        }
        (void)sd_bus_slot_set_destroy_callback(slot, free);
        (void)sd_bus_slot_set_floating(slot, true);
        sd_bus_slot_unref(slot);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Bus *bus = userdata;

        (void)m;
        (void)error;
        log_event(LOG_ERR, MESSAGE_BUS_LOST, NULL,
                  "The connection to the bus is lost, starting again.");
        return sd_event_exit(bus->manager->event, -ECONNRESET);
}

/* ---- life ---- */

static int connect_bus(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_description(bus, "aviommud");
        if (r >= 0 && address)
                r = sd_bus_set_address(bus, address);
        else if (r >= 0)
                r = sd_bus_set_address(bus, getenv("DBUS_SYSTEM_BUS_ADDRESS")
                                                    ?: "unix:path=/run/dbus/system_bus_socket");
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_set_connected_signal(bus, false);
        if (r >= 0) /* the loop ends first, and then those who still wait are answered */
                r = sd_bus_set_close_on_exit(bus, false);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}

static int register_objects(Bus *bus) {
        int r;

        r = bus_manager_register(bus);
        if (r >= 0)
                r = bus_host_register(bus);
        if (r >= 0)
                r = bus_vm_register(bus);
        if (r >= 0)
                r = bus_viommu_register(bus);
        if (r >= 0)
                r = bus_log_control_register(bus);
        return r;
}

static int add_matches(Bus *bus) {
        int r;

        /* arg2 is the new owner: only names that vanish. */
        r = sd_bus_add_match(
                bus->bus, NULL,
                "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                on_name_owner_changed, bus);
        if (r >= 0)
                r = sd_bus_match_signal(bus->bus, NULL, "org.freedesktop.DBus.Local",
                                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                        "Disconnected", on_disconnected, bus);
        return r < 0 ? r : 0;
}

int bus_start(Bus *bus, Manager *manager, const char *address, int (*extra)(Bus *bus)) {
        sd_id128_t id;
        int r;

        bus->manager = manager;
        r = connect_bus(address, &bus->bus);
        if (r < 0)
                return r;
        r = authz_new(bus->bus, &bus->authz);
        if (r >= 0)
                r = sd_event_add_time(manager->event, &bus->capacity_timer, CLOCK_MONOTONIC, 0,
                                      CAPACITY_ACCURACY_USEC, on_capacity_timer, bus);
        if (r >= 0)
                r = sd_event_source_set_enabled(bus->capacity_timer, SD_EVENT_OFF);
        if (r >= 0)
                r = register_objects(bus);
        if (r >= 0 && extra)
                r = extra(bus);
        if (r >= 0)
                r = add_matches(bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;

        manager->observer = (ManagerObserver){
                .vm_added = on_vm_added,
                .vm_removed = on_vm_removed,
                .vm_changed = on_vm_changed,
                .capacity_changed = on_capacity_changed,
                .host_changed = on_host_changed,
                .userdata = bus,
        };

        r = sd_bus_get_bus_id(bus->bus, &id);
        if (r < 0)
                return r;
        r = manager_set_bus(manager, id);
        if (r < 0)
                return r;
        manager_list_callers(manager, check_name, bus);
        r = sd_bus_request_name(bus->bus, BUS_NAME, 0);
        return r < 0 ? r : 0;
}

void bus_stop(Bus *bus) {
        if (!bus->bus)
                return;

        bus->authz = authz_free(bus->authz);
        bus_calls_end(bus);
        sd_event_source_disable_unref(bus->capacity_timer);
        (void)sd_bus_detach_event(bus->bus);
        bus->bus = sd_bus_flush_close_unref(bus->bus);
}
