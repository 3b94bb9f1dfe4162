/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a service costs that does nothing: takes its descriptors with their names, gets on a bus under a name, and says READY. The measure of how
 * long a daemon's start takes (bench-recovery).
 *
 *      empty-service ADDRESS
 */

#include <stdlib.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/macro.h"

int main(int argc, char **argv) {
        sd_event *event = NULL;
        sd_bus *bus = NULL;
        char **names = NULL;
        int r;

        if (argc != 2)
                return 2;
        r = sd_listen_fds_with_names(true, &names);
        if (r >= 0)
                r = sd_event_default(&event);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, argv[1]);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_request_name(bus, "org.example.Empty", 0);
        if (r >= 0)
                r = sd_notify(false, "READY=1");
        if (r >= 0)
                r = sd_event_loop(event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
