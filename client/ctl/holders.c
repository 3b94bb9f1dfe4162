/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl holders: who has /dev/iommu open. The daemon cannot know: it may not look at others' processes, and root can open
 * the device beside it. So this looks into /proc itself, as whoever runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd-util.h"
#include "ctl/ctl.h"
#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/holders.h"
#include "lib/table.h"

#define DEVICE "/dev/iommu"

/* The daemon's process id; 0 when it is not there. Does not start it. */
static int find_daemon(Ctl *ctl, pid_t *ret) {
        static const CallOptions options = { .what = "asking the bus for aviommud" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        uint32_t pid;
        int r;

        *ret = 0;
        r = client_connect(&ctl->client, &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(ctl->client.bus, &m, "org.freedesktop.DBus",
                                           "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                           "GetConnectionUnixProcessID");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", AVIOMMU_BUS_NAME);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, ctl->client.address);
        r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        if (r < 0)
                return ctl->failure.exit_code == CLIENT_EXIT_UNREACHABLE ? 0 : r;
        if (sd_bus_message_read(reply, "u", &pid) < 0)
                return failure_set_malformed(&ctl->failure, "GetConnectionUnixProcessID");
        *ret = (pid_t)pid;
        return 0;
}

static void holders_json(const HolderScan *s, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < s->n; i++) {
                const Holder *h = &s->items[i];
                Doc *x = doc_new_object();

                doc_add_number(x, "pid", (uint64_t)h->pid);
                doc_add_number(x, "uid", h->uid);
                doc_add_string(x, "command", h->command);
                doc_add_number(x, "n_open", h->n_open);
                doc_add_number(x, "n_granted", h->n_granted);
                doc_add_string(x, "kind", holder_kind_to_string(h->kind));
                doc_add(array, NULL, x);
        }
        doc_add(d, "holders", array);
        doc_add_number(d, "n_processes_unread", s->n_unread);
        output_doc(o, d);
}

static void print_holders(const HolderScan *s, Output *o) {
        static const TableColumn columns[] = {
                { "PID", TABLE_RIGHT },     { "UID", TABLE_RIGHT | TABLE_LESS },
                { "COMMAND", TABLE_TRUNC }, { "OPEN", TABLE_RIGHT },
                { "GRANTED", TABLE_RIGHT }, { "KIND", 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < s->n; i++) {
                const Holder *h = &s->items[i];

                TABLE_ADD(t, FORMAT_COUNT((uint64_t)h->pid), FORMAT_COUNT(h->uid), h->command,
                          FORMAT_COUNT(h->n_open), FORMAT_COUNT(h->n_granted),
                          holder_kind_to_string(h->kind));
                table_colour(t, 5,
                             h->kind == HOLDER_OTHER     ? TABLE_ATTENTION
                             : h->kind == HOLDER_UNKNOWN ? TABLE_FAINT
                                                         : TABLE_GOOD);
        }
        table_print(t, o);
}

int verb_holders(Ctl *ctl, int argc, char **argv) {
        _cleanup_(holder_scan_done) HolderScan scan = {};
        HolderScope scope = { .node = DEVICE, .service_manager = HOLDERS_SERVICE_MANAGER };
        _cleanup_close_ int proc_fd = -1;
        struct stat st;
        int r;

        (void)argc;
        (void)argv;

        r = find_daemon(ctl, &scope.daemon);
        if (r < 0)
                return r;
        if (stat(DEVICE, &st) < 0 || !S_ISCHR(st.st_mode))
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENODEV,
                                   "`modprobe iommufd` makes it, where the kernel has "
                                   "CONFIG_IOMMUFD.",
                                   "There is no " DEVICE " here that anybody could have open");
        scope.device = st.st_rdev;
        scope.proc_fd = proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = proc_fd < 0 ? negative_errno() : holders_scan(&scope, &scan);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                   "Cannot look into /proc: %s", strerror(-r));

        if (ctl->out.json != JSON_OFF)
                holders_json(&scan, &ctl->out);
        else if (scan.n > 0)
                print_holders(&scan, &ctl->out);
        else
                ctl_notice(ctl, "Nobody that can be seen has " DEVICE " open.");
        /* A list with holes is no answer to who else is there. */
        if (scan.n_unread > 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_DENIED, -EACCES, "Run it as root.",
                                   "The descriptors of %zu processes may not be looked at",
                                   scan.n_unread);
        return 0;
}
