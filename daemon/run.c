/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"

int load_config(const char *path, bool system, Config *ret) {
        const char *file = path ?: system ? AVIOMMU_CONFIG_FILE : NULL;
        Problem p = {};
        int r;

        config_init(ret);
        if (!file)
                return 0;
        r = config_read_file(ret, file, &p);
        if (r == -ENOENT && !path)
                return 0;
        if (r < 0)
                log_msg(LOG_ERR, "Cannot use the configuration: %s%s",
                        problem_is_set(&p) ? p.text : file,
                        problem_is_set(&p) ? "" : " cannot be read.");
        return r;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        (void)userdata;
        log_msg(LOG_INFO, "Received signal %u, stopping.", si->ssi_signo);
        return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int new_event(sd_event **ret) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        sigset_t signals;
        int r;

        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGINT);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;

        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, on_signal, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(event, true);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(event);
        return 0;
}

/* Says once what the host lacks; the daemon runs all the same. */
static void log_problems(const Manager *m) {
        char **problems;

        if (inventory_describe_problems(m->inventory, &problems) < 0)
                return;
        for (char **p = problems; *p; p++)
                log_msg(LOG_WARNING, "%s", *p);
        inventory_problems_free(problems);
}

int run(Kernel *kernel, const Config *config, const char *address, int (*extra)(Bus *bus)) {
        _cleanup_(kernel_freep) Kernel *mine = kernel;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        Manager *manager = NULL;
        Bus bus = {};
        int r;

        r = new_event(&event);
        if (r >= 0)
                r = manager_new(event, kernel, config, &manager);
        if (r < 0) {
                log_msg(LOG_ERR, "Cannot start: %s", strerror(-r));
                return r;
        }
        TAKE_PTR(mine);

        r = bus_start(&bus, manager, address, extra);
        if (r < 0)
                log_msg(LOG_ERR, "Cannot get on the bus as %s: %s", BUS_NAME, strerror(-r));
        else {
                log_problems(manager);
                (void)sd_notify(false, "READY=1\nSTATUS=Serving.");
                r = sd_event_loop(event);
                (void)sd_notify(false, "STOPPING=1");
        }

        manager_free(manager); /* answers what is open, so before the bus goes */
        bus_stop(&bus);
        return r;
}
