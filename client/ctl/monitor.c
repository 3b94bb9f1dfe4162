/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl monitor: a line for each signal of the Manager and for each coming and going of the daemon. The first line
 * says whether the daemon is there; from then on nothing is missed.
 *
 * What has changed of a VM or of the host comes with the PropertiesChanged that the daemon sends beside its own signals.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/interrupt.h"
#include "lib/reply.h"

typedef struct Event {
        const char *name, *uuid, *path, *reason; /* NULL: has none */

        /* vm-changed: what it is now, and what is being done */
        const char *state, *state_reason, *operation;

        /* host-changed */
        const char *kernel_level;
        uint32_t n_functions, n_host_iommus;
        StringList problems;
} Event;

static void event_json(const Event *e, const struct timespec *ts, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();

        doc_add_number(d, "time_usec",
                       (uint64_t)ts->tv_sec * 1000000 + (uint64_t)ts->tv_nsec / 1000);
        doc_add_string(d, "event", e->name);
        if (e->uuid)
                doc_add_string(d, "uuid", e->uuid);
        if (e->path)
                doc_add_string(d, "path", e->path);
        if (e->reason)
                doc_add_string(d, "reason", e->reason);
        if (e->state) {
                doc_add_string(d, "state", e->state);
                doc_add_string(d, "state_reason", strempty(e->state_reason));
                doc_add_string(d, "operation", strempty(e->operation));
        }
        if (e->kernel_level) {
                doc_add_string(d, "kernel_level", e->kernel_level);
                doc_add_number(d, "n_functions", e->n_functions);
                doc_add_number(d, "n_host_iommus", e->n_host_iommus);
                doc_add_strings(d, "problems", e->problems.items, e->problems.n);
        }
        output_doc(o, d);
}

/* Adds a word or a sentence to the line, if there is one. */
static void add_text(Output *o, const char *before, const char *text) {
        _cleanup_free_ char *harmless = alloc_check(text_escape_new(strempty(text)));

        if (*harmless)
                output_printf(o, "%s%s", before, harmless);
}

static void event_text(const Event *e, const struct timespec *ts, Output *o) {
        char when[64] = "";
        struct tm tm;

        if (localtime_r(&ts->tv_sec, &tm))
                (void)strftime(when, sizeof(when), "%F %T", &tm);
        output_printf(o, "%s.%03ld %s", when, ts->tv_nsec / 1000000, e->name);
        add_text(o, " ", e->uuid);
        add_text(o, " ", e->reason);
        add_text(o, " ", e->state);
        add_text(o, ": ", e->state_reason);
        add_text(o, ", ", e->operation);
        if (e->kernel_level) {
                add_text(o, " ", e->kernel_level);
                output_printf(o, ", %u functions, %u host IOMMUs, %zu problem%s", e->n_functions,
                              e->n_host_iommus, e->problems.n, e->problems.n == 1 ? "" : "s");
        }
        output_printf(o, "\n");
}

static void event_print(Ctl *ctl, const Event *e) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        if (ctl->out.json != JSON_OFF)
                event_json(e, &ts, &ctl->out);
        else
                event_text(e, &ts, &ctl->out);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Event e = {};
        int r = 0;

        (void)reterr;
        if (sd_bus_message_is_signal(m, AVIOMMU_MANAGER_INTERFACE, "VmAdded")) {
                e.name = "vm-added";
                r = sd_bus_message_read(m, "so", &e.uuid, &e.path);
        } else if (sd_bus_message_is_signal(m, AVIOMMU_MANAGER_INTERFACE, "VmRemoved")) {
                e.name = "vm-removed";
                r = sd_bus_message_read(m, "sos", &e.uuid, &e.path, &e.reason);
        } else if (sd_bus_message_is_signal(m, AVIOMMU_MANAGER_INTERFACE, "CapacityChanged"))
                e.name = "capacity-changed";
        else
                return 0;

        /* A signal of another form is none of ours. */
        if (r >= 0)
                event_print(userdata, &e);
        return 0;
}

/* (stu): the operation in flight, since when, and how many wait. */
static int read_operation(sd_bus_message *m, void *field) {
        const char **name = field;
        uint64_t start_usec;
        uint32_t n_waiting;

        return sd_bus_message_read(m, "(stu)", name, &start_usec, &n_waiting);
}

static const ReplyField vm_fields[] = {
        { "State", "s", offsetof(Event, state), NULL },
        { "StateReason", "s", offsetof(Event, state_reason), NULL },
        { "Operation", "(stu)", offsetof(Event, operation), read_operation },
};

static const ReplyField host_fields[] = {
        { "KernelLevel", "s", offsetof(Event, kernel_level), NULL },
        { "Problems", "as", offsetof(Event, problems), reply_read_strings },
        { "NFunctions", "u", offsetof(Event, n_functions), NULL },
        { "NHostIommus", "u", offsetof(Event, n_host_iommus), NULL },
};

static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *interface, *path = sd_bus_message_get_path(m);
        char uuid[UUID_STRING_SIZE];
        Event e = { .path = path };

        (void)reterr;
        if (sd_bus_message_read(m, "s", &interface) < 0)
                return 0;
        if (streq(interface, AVIOMMU_VM_INTERFACE) &&
            strncmp(path, AVIOMMU_VM_PATH, strlen(AVIOMMU_VM_PATH)) == 0 &&
            uuid_parse(path + strlen(AVIOMMU_VM_PATH), uuid) >= 0 &&
            reply_read_fields(m, vm_fields, ELEMENTSOF(vm_fields), &e) >= 0) {
                e.name = "vm-changed";
                e.uuid = uuid;
        } else if (streq(interface, AVIOMMU_MANAGER_INTERFACE) &&
                   reply_read_fields(m, host_fields, ELEMENTSOF(host_fields), &e) >= 0 &&
                   e.kernel_level) { /* else it is about amounts, which capacity-changed tells */
                e.name = "host-changed";
                e.path = NULL;
        }
        if (e.name)
                event_print(userdata, &e);
        string_list_done(&e.problems);
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *name, *before, *now;

        (void)reterr;
        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
                return 0;
        if (*before)
                event_print(userdata, &(Event){ .name = "daemon-gone" });
        if (*now)
                event_print(userdata, &(Event){ .name = "daemon-up" });
        return 0;
}

/* The first line. Asked after the matches are in place, answered in order with what they bring. */
static int print_presence(Ctl *ctl) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        static const CallOptions options = { .what = "asking the bus for aviommud" };
        int r, is_there;

        r = sd_bus_message_new_method_call(ctl->client.bus, &m, "org.freedesktop.DBus",
                                           "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                           "NameHasOwner");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", AVIOMMU_BUS_NAME);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, ctl->client.address);
        r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        if (r < 0)
                return r;
        if (sd_bus_message_read(reply, "b", &is_there) < 0)
                return failure_set_malformed(&ctl->failure, "NameHasOwner");
        event_print(ctl, &(Event){ .name = is_there ? "daemon-up" : "daemon-gone" });
        return 0;
}

static int monitor_start(Ctl *ctl) {
        int r;

        r = client_connect(&ctl->client, &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_add_match_async(ctl->client.bus, NULL,
                                   "type='signal',sender='" AVIOMMU_BUS_NAME "',path='" AVIOMMU_PATH
                                   "',interface='" AVIOMMU_MANAGER_INTERFACE "'",
                                   on_signal, NULL, ctl);
        if (r >= 0)
                r = sd_bus_add_match_async(
                        ctl->client.bus, NULL,
                        "type='signal',sender='" AVIOMMU_BUS_NAME "',path_namespace='" AVIOMMU_PATH
                        "',interface='" DBUS_PROPERTIES_INTERFACE "',member='PropertiesChanged'",
                        on_properties_changed, NULL, ctl);
        if (r >= 0)
                r = sd_bus_add_match_async(ctl->client.bus, NULL,
                                           "type='signal',sender='org.freedesktop.DBus',path='/org/"
                                           "freedesktop/DBus',interface='org.freedesktop.DBus',"
                                           "member='NameOwnerChanged',arg0='" AVIOMMU_BUS_NAME "'",
                                           on_owner_changed, NULL, ctl);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, ctl->client.address);
        return print_presence(ctl);
}

int verb_monitor(Ctl *ctl, int argc, char **argv) {
        _cleanup_(interrupt_closep) int interrupt_fd = -1;
        struct pollfd fds[2];
        int r;

        (void)argc;
        (void)argv;

        if (ctl->out.json != JSON_OFF) /* one a line, on a terminal too */
                ctl->out.json = JSON_SHORT;
        interrupt_fd = interrupt_open();
        if (interrupt_fd < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, interrupt_fd, NULL,
                                   "Cannot wait for signals: %s", strerror(-interrupt_fd));
        ctl->client.stop_fd = interrupt_fd;
        r = monitor_start(ctl);
        if (r == -EINTR && interrupt_read(interrupt_fd) > 0)
                return 0;
        if (r < 0)
                return r;

        fds[0] = (struct pollfd){ .fd = interrupt_fd, .events = POLLIN };
        /* No events: only that the other end of a pipe is closed. */
        fds[1] = (struct pollfd){ .fd = STDOUT_FILENO };
        for (;;) {
                r = output_flush_line(&ctl->out, &ctl->failure);
                if (r < 0 || ctl->out.is_closed)
                        return r;
                r = client_wait(&ctl->client, fds, ELEMENTSOF(fds), UINT64_MAX);
                if (r < 0)
                        return failure_set_connection(&ctl->failure, r, ctl->client.address);
                if ((fds[0].revents && interrupt_read(interrupt_fd) > 0) ||
                    (fds[1].revents & (POLLERR | POLLHUP)))
                        return 0;
        }
}
