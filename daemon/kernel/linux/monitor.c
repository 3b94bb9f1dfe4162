/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Hot plug: an sd-device monitor on an event loop of its own, whose descriptor is what the daemon's loop polls.
 *
 * It listens to what udev has finished with, so that the permissions of device nodes are in place by then. An event says
 * only that something has changed; what it is, the next scan tells. If the socket runs over, events are lost but the ones
 * that filled it are not, and the scan that they cause comes after the loss.
 *
 * This needs AF_NETLINK in the network namespace of udev: a service with PrivateNetwork= sees no event at all, and no
 * error either.
 */

#include <systemd/sd-device.h>
#include <systemd/sd-event.h>

#include "kernel/linux/linux-private.h"

#define EVENTS_PER_DRAIN 1024

struct Monitor {
        sd_event *event;
        sd_device_monitor *monitor;
        bool changed;
};

Monitor *monitor_free(Monitor *m) {
        if (!m)
                return NULL;

        sd_device_monitor_unref(m->monitor);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
DEFINE_CLEANUP(Monitor, monitor_free);

static int on_device(sd_device_monitor *monitor _unused_, sd_device *device _unused_,
                     void *userdata) {
        Monitor *m = userdata;

        m->changed = true;
        return 0;
}

static int monitor_new(Monitor **ret) {
        static const char *const subsystems[] = { "pci", "vfio-dev", "iommu",
                                                  "misc" /* /dev/iommu */ };
        _cleanup_(monitor_freep) Monitor *m = new0(Monitor, 1);
        int r;

        if (!m)
                return -ENOMEM;
        r = sd_event_new(&m->event);
        if (r < 0)
                return r;
        r = sd_device_monitor_new(&m->monitor);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(subsystems); i++) {
                r = sd_device_monitor_filter_add_match_subsystem_devtype(m->monitor, subsystems[i],
                                                                         NULL);
                if (r < 0)
                        return r;
        }
        r = sd_device_monitor_attach_event(m->monitor, m->event);
        if (r < 0)
                return r;
        r = sd_device_monitor_start(m->monitor, on_device, m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

int linux_watch(Kernel *k, int *ret_fd) {
        LinuxKernel *l = linux_kernel(k);
        int r;

        if (!l->monitor) {
                r = monitor_new(&l->monitor);
                if (r < 0)
                        return r;
        }
        r = sd_event_get_fd(l->monitor->event);
        if (r < 0)
                return r;
        *ret_fd = r;
        return 0;
}

int linux_watch_drain(Kernel *k, bool *ret_changed) {
        Monitor *m = linux_kernel(k)->monitor;

        assert(m);

        /* What is left after so many keeps the descriptor readable. */
        for (size_t i = 0; i < EVENTS_PER_DRAIN; i++) {
                int r = sd_event_run(m->event, 0);

                if (r < 0)
                        return r;
                if (r == 0)
                        break;
        }

        *ret_changed = m->changed;
        m->changed = false;
        return 0;
}
