/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * /org/freedesktop/LogControl1, org.freedesktop.LogControl1 (systemd's org.freedesktop.LogControl1(5)): how much is logged and
 * where to, for "systemctl service-log-level". Anybody whom the bus lets through may read it; uid 0 alone changes it.
 */

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "bus/bus-objects.h"

#define LOG_CONTROL_PATH      "/org/freedesktop/LogControl1"
#define LOG_CONTROL_INTERFACE "org.freedesktop.LogControl1"

static int get_level(sd_bus *connection, const char *path, const char *interface,
                     const char *property, sd_bus_message *reply, void *userdata,
                     sd_bus_error *error) {
        (void)connection, (void)path, (void)interface, (void)property, (void)userdata, (void)error;
        return sd_bus_message_append(reply, "s", log_level_to_string(log_get_max_level()));
}

static int get_target(sd_bus *connection, const char *path, const char *interface,
                      const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        (void)connection, (void)path, (void)interface, (void)property, (void)userdata, (void)error;
        return sd_bus_message_append(reply, "s", log_target_to_string(log_get_target()));
}

static int get_identifier(sd_bus *connection, const char *path, const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error) {
        (void)connection, (void)path, (void)interface, (void)property, (void)userdata, (void)error;
        return sd_bus_message_append(reply, "s", program_invocation_short_name);
}

/* sd-bus would ask the bus who calls, and wait for the answer: on_message() takes every Set before it comes here. */
static int set_nothing(sd_bus *connection, const char *path, const char *interface,
                       const char *property, sd_bus_message *value, void *userdata,
                       sd_bus_error *error) {
        (void)connection, (void)path, (void)interface, (void)property, (void)value, (void)userdata,
                (void)error;
        return -EACCES;
}

static int refuse(BusCall *call, const char *what, const char *value, const char *allowed) {
        return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                           "\"%.64s\" is no %s; there are %s.", value, what, allowed);
}

static int set_level(BusCall *call, const char *value) {
        int level;

        if (log_level_from_string(value, &level) < 0)
                return refuse(call, "log level", value,
                              "emerg, alert, crit, err, warning, notice, info and debug");
        log_set_max_level(level);
        return 0;
}

static int set_target(BusCall *call, const char *value) {
        LogTarget target;

        if (log_target_from_string(value, &target) < 0)
                return refuse(call, "log target", value, "auto, journal, console and null");
        log_set_target(target);
        return 0;
}

static int handle_set(BusCall *call) {
        const char *interface, *property, *value;
        int r;

        if (call->uid != 0 && call->uid != geteuid())
                return problem_set(&call->problem, PROBLEM_ACCESS_DENIED,
                                   "What is logged, root alone may change.");
        r = sd_bus_message_read(call->message, "ss", &interface, &property);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "v", "s", &value);
        if (r < 0 || (*interface && !streq(interface, LOG_CONTROL_INTERFACE)))
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "Set wants the interface " LOG_CONTROL_INTERFACE
                                   ", a property of it, and a string.");
        if (streq(property, "LogLevel"))
                r = set_level(call, value);
        else if (streq(property, "LogTarget"))
                r = set_target(call, value);
        else
                r = problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                "\"%.64s\" cannot be set; LogLevel and LogTarget can.", property);
        if (r < 0)
                return r;
        bus_call_reply(call, NULL);
        return 0;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        if (!sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Set"))
                return 0;
        return bus_call_start(userdata, m, "LogControl1", handle_set, error);
}

static const sd_bus_vtable log_control_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_nothing, 0, 0),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_target, set_nothing, 0, 0),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, 0),
        SD_BUS_VTABLE_END,
};

int bus_log_control_register(Bus *bus) {
        int r;

        r = sd_bus_add_object(bus->bus, NULL, LOG_CONTROL_PATH, on_message, bus);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus->bus, NULL, LOG_CONTROL_PATH,
                                             LOG_CONTROL_INTERFACE, log_control_vtable, bus);
        return r < 0 ? r : 0;
}
