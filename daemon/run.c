/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/log.h"
#include "core/policy-host.h"

/* As in the unit, for service managers that do not tell. */
#define FDSTORE_DEFAULT_MAX UINT64_C(32000)

/* How long the definitions of a boot may take before the service counts as started. */
#define READY_USEC UINT64_C(30000000)

#define START_PAUSE_SEC 5

/* Reads the configuration over the defaults. Logs what is wrong. Returns 0 or a negative errno. */
static int load_config(const ConfigSource *source, Config *ret) {
        Problem p = {};
        int r;

        config_init(ret);
        if (!source->path)
                return 0;
        r = config_load(source->path, log_config_warning, NULL, ret, &p);
        if (r == -ENOENT && !source->required && !problem_is_set(&p))
                return 0;
        if (r < 0)
                log_event(LOG_ERR, MESSAGE_CONFIG_REFUSED, NULL,
                          "Cannot use the configuration %s: %s", source->path,
                          problem_is_set(&p) ? p.text : strerror(-r));
        return r;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        (void)userdata;
        log_msg(LOG_INFO, "Received signal %u, stopping.", si->ssi_signo);
        return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Problem p = {};
        int r;

        (void)s;
        (void)si;
        r = manager_reload(userdata, &p);
        if (r < 0)
                log_event(LOG_ERR, MESSAGE_CONFIG_REFUSED, NULL, "The old configuration stays: %s",
                          problem_is_set(&p) ? p.text : strerror(-r));
        return 0;
}

static int new_event(sd_event **ret) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        sigset_t signals;
        int r;

        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGINT);
        (void)sigaddset(&signals, SIGHUP);
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
                log_event(LOG_WARNING, MESSAGE_HOST_LACKS, &(LogFields){ .reason = *p }, "%s", *p);
        inventory_problems_free(problems);
}

static const char *why_not_folder(int r) {
        switch (r) {
        case -EPERM:
                return "It has to be the daemon's own user's and closed to others (mode 0700)";
        case -EBUSY:
                return "Another aviommud uses it";
        default:
                return strerror(-r);
        }
}

/* Definitions are worth less than the VMs there are: without their folder the daemon runs all the same. */
static void open_definitions(const char *folder, ManagerGround *ret) {
        int r = folder ? state_store_open_lasting(folder, &ret->definition_files) : 0;

        if (r < 0)
                log_event(LOG_ERR, MESSAGE_DEFINITION_UNREAD,
                          &(LogFields){ .reason = why_not_folder(r) },
                          "Cannot use the folder %s: %s. There are no definitions, and none can be "
                          "made.",
                          folder, why_not_folder(r));
}

/* What outlives this process, besides the kernel. */
static int open_ground(const char *runtime_dir, ManagerGround *ret) {
        int r;

        r = fdstore_new(FDSTORE_DEFAULT_MAX, &ret->fdstore);
        if (r < 0)
                return r;
        if (!runtime_dir) {
                log_msg(LOG_NOTICE, "There is no runtime directory: what the daemon knows of VMs "
                                    "ends with it.");
                return 0;
        }
        r = state_store_open(runtime_dir, &ret->records);
        if (r < 0)
                log_event(LOG_ERR, MESSAGE_START_FAILED, NULL,
                          "Cannot use the runtime directory %s: %s", runtime_dir,
                          why_not_folder(r));
        else if (!fdstore_is_there(ret->fdstore))
                log_msg(LOG_NOTICE,
                        "No service manager keeps descriptors: VMs will not survive a restart.");
        return r;
}

static void ground_done(ManagerGround *ground) {
        ground->records = state_store_free(ground->records);
        ground->fdstore = fdstore_free(ground->fdstore);
        ground->definition_files = state_store_free(ground->definition_files);
        ground->kernel = kernel_free(ground->kernel);
}

static int start_manager(sd_event *event, ManagerGround *ground, const ConfigSource *source,
                         Manager **ret) {
        _cleanup_(manager_freep) Manager *manager = NULL;
        _cleanup_(config_done) Config config = {};
        int r;

        r = load_config(source, &config);
        if (r >= 0)
                r = manager_new(event, ground, &config, source->path, &manager);
        if (r < 0)
                return r;

        *ground = (ManagerGround){};
        config.policy = NULL; /* the manager's */
        r = manager_recover(manager);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, manager);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(manager);
        return 0;
}

static void say_ready(void *userdata) {
        (void)userdata;
        (void)sd_notify(false, "READY=1\nSTATUS=Serving.");
}

static int on_ready_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        (void)s;
        (void)usec;
        say_ready(userdata);
        return 0;
}

/* Units that come after this one find the VMs that are defined to be there; but a kernel that hangs does not keep the host from starting. */
static int serve(sd_event *event, Manager *manager) {
        int r;

        log_problems(manager);
        r = manager_autostart(manager, say_ready, NULL);
        if (r >= 0)
                r = sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, READY_USEC, 0,
                                               on_ready_timer, NULL);
        if (r < 0)
                say_ready(NULL);
        r = sd_event_loop(event);
        (void)sd_notify(false, "STOPPING=1");
        return r;
}

/* What keeps a daemon from starting keeps the next one, too, until somebody mends it. The service manager starts that at once, so that a daemon
 * that dies is back as fast: whoever cannot start waits before he says so. That the unit fails instead would cost what the service manager
 * keeps for it, where that is not preserved (before systemd 254). */
static void pause_before_next(int r) {
        sigset_t signals;

        if (!getenv("NOTIFY_SOCKET"))
                return;
        (void)sd_notifyf(false, "STATUS=Cannot start (%s), see the journal; to be tried again.",
                         strerror(-r));
        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGINT);
        (void)sigtimedwait(&signals, NULL, &(const struct timespec){ .tv_sec = START_PAUSE_SEC });
}

int run(Kernel *kernel, const ConfigSource *source, const Folders *folders, const char *address,
        int (*extra)(Bus *bus)) {
        _cleanup_(ground_done) ManagerGround ground = { .kernel = kernel };
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        Manager *manager = NULL;
        Bus bus = {};
        bool on_bus;
        int r;

        open_definitions(folders->definitions, &ground);
        r = open_ground(folders->runtime, &ground); /* before there are threads */
        if (r >= 0)
                r = new_event(&event);
        if (r >= 0)
                r = start_manager(event, &ground, source, &manager);
        if (r < 0) {
                log_event(LOG_ERR, MESSAGE_START_FAILED, &(LogFields){ .reason = strerror(-r) },
                          "Cannot start: %s", strerror(-r));
                pause_before_next(r);
                return r;
        }

        r = bus_start(&bus, manager, address, extra);
        on_bus = r >= 0;
        if (!on_bus)
                log_event(LOG_ERR, MESSAGE_START_FAILED, &(LogFields){ .reason = strerror(-r) },
                          "Cannot get on the bus as %s: %s", BUS_NAME, strerror(-r));
        else
                r = serve(event, manager);

        bus.stopping = true;
        manager_free(manager); /* answers what is open, so before the bus goes */
        bus_stop(&bus);
        if (!on_bus)
                pause_before_next(r);
        return r;
}
