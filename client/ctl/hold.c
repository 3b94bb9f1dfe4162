/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl create --hold: the VM lives as long as this process and its bus name do.
 *
 * On the way out the VM is destroyed by a call, so that whoever waits for us knows that it is gone; were we killed, the
 * daemon would do the same when our name vanishes. By force, since the leash that would stand in the way is ours; once it is
 * another's, so is the VM, and it stays.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "lib/interrupt.h"
#include "lib/reply.h"

/* VmRemoved(s uuid, o vm, s reason) */
static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *uuid, *path, *reason;
        Ctl *ctl = userdata;

        (void)reterr;
        if (sd_bus_message_read(m, "sos", &uuid, &path, &reason) < 0)
                return 0;
        ctl->is_removed = true;
        (void)snprintf(ctl->removed_reason, sizeof(ctl->removed_reason), "%s", reason);
        return 0;
}

static int on_looked_for(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Ctl *ctl = userdata;

        (void)reterr;
        if (sd_bus_message_is_method_error(m, AVIOMMU_ERROR_PREFIX "NoSuchVm") > 0) {
                ctl->is_removed = true;
                (void)snprintf(ctl->removed_reason, sizeof(ctl->removed_reason), "lost");
        }
        return 1; /* for client_wait() to come back, though it was the answer's time that ran out */
}

/* Nobody hears of a VM whose descriptors were gone when the daemon came back. */
static void look_for_vm(Ctl *ctl) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = ctl->client.bus;

        if (sd_bus_message_new_method_call(bus, &m, AVIOMMU_BUS_NAME, AVIOMMU_PATH,
                                           AVIOMMU_MANAGER_INTERFACE, "GetVm") >= 0 &&
            sd_bus_message_set_auto_start(m, false) >= 0 &&
            sd_bus_message_append(m, "s", ctl->held_uuid) >= 0)
                (void)sd_bus_call_async(bus, NULL, m, on_looked_for, ctl, UINT64_MAX);
}

/* NameOwnerChanged(s name, s old, s new) */
static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *name, *before, *now;
        Ctl *ctl = userdata;

        (void)reterr;
        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
                return 0;
        ctl_notice(ctl, *now ? "aviommud is there again." : "aviommud has gone; still holding.");
        if (*now && ctl->held_uuid)
                look_for_vm(ctl);
        return 0;
}

int hold_prepare(Ctl *ctl, const char *uuid) {
        char match[512];
        int r;

        r = client_connect(&ctl->client, &ctl->failure);
        if (r < 0)
                return r;

        (void)snprintf(match, sizeof(match),
                       "type='signal',sender='" AVIOMMU_BUS_NAME "',path='" AVIOMMU_PATH
                       "',interface='" AVIOMMU_MANAGER_INTERFACE "',member='VmRemoved',arg0='%s'",
                       uuid);
        r = sd_bus_add_match_async(ctl->client.bus, NULL, match, on_removed, NULL, ctl);
        if (r >= 0)
                r = sd_bus_add_match_async(ctl->client.bus, NULL,
                                           "type='signal',sender='org.freedesktop.DBus',path='/org/"
                                           "freedesktop/DBus',interface='org.freedesktop.DBus',"
                                           "member='NameOwnerChanged',arg0='" AVIOMMU_BUS_NAME "'",
                                           on_owner_changed, NULL, ctl);
        return r < 0 ? failure_set_connection(&ctl->failure, r, ctl->client.address) : 0;
}

/* Whether stdin has come to its end. What is typed is thrown away. */
static bool stdin_has_ended(struct pollfd *p) {
        char buf[4096];
        ssize_t n;

        if (!p->revents)
                return false;
        n = read(STDIN_FILENO, buf, sizeof(buf));
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                return false;
        if (n == 0)
                return true;
        /* A terminal that belongs to others while we are in the background (EIO), or no stdin at all: only a signal ends
         * us then. */
        p->fd = -1;
        return false;
}

/* Destroys the VM, unless its life hangs on another by now. */
static int let_go(Ctl *ctl, const char *uuid) {
        static const ReplyField fields[] = { { "Leash", "s", 0, NULL } };
        CallOptions options = { .what = "looking at the VM", .uuid = uuid };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *leash = NULL;
        int r;

        r = client_get_properties(&ctl->client, VM_PATH(uuid), AVIOMMU_VM_INTERFACE, &options, &m,
                                  &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_fields(m, fields, ELEMENTSOF(fields), &leash);
        if (r < 0 || !leash)
                return failure_set_malformed(&ctl->failure, "GetAll of a VM");
        if (!streq(leash, "pidfd"))
                return vm_destroy(ctl, uuid, true);
        ctl_notice(ctl, "The VM hangs on another process by now, and stays.");
        return 0;
}

int hold_vm(Ctl *ctl, const char *uuid) {
        _cleanup_(interrupt_closep) int interrupt_fd = -1;
        struct pollfd fds[2];
        int r;

        interrupt_fd = interrupt_open();
        if (interrupt_fd < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, interrupt_fd, NULL,
                                   "Cannot wait for signals: %s", strerror(-interrupt_fd));
        (void)signal(SIGTTIN, SIG_IGN);
        fds[0] = (struct pollfd){ .fd = interrupt_fd, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };

        ctl->held_uuid = uuid;
        ctl_notice(ctl, "Holding the VM; Ctrl-C or the end of the input takes it down.");
        for (;;) {
                r = client_wait(&ctl->client, fds, ELEMENTSOF(fds), UINT64_MAX);
                if (r < 0)
                        return failure_set_connection(&ctl->failure, r, ctl->client.address);
                if (ctl->is_removed)
                        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -ENOENT,
                                           "`journalctl -u aviommud` has more.",
                                           "The VM was taken down by others (%s)",
                                           ctl->removed_reason);
                if ((fds[0].revents && interrupt_read(interrupt_fd) > 0) ||
                    stdin_has_ended(&fds[1]))
                        break;
        }

        interrupt_fd = interrupt_close(interrupt_fd);
        return let_go(ctl, uuid);
}
