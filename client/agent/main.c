/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommu-libvirt-agent: options, the configuration, and a loop. */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"

typedef struct Arguments {
        const char *config, *bus;
} Arguments;

static void usage(FILE *f) {
        (void)fputs(
                "usage: aviommu-libvirt-agent [OPTION]...\n"
                "Stands between libvirt and aviommud, see aviommu-libvirt-agent(8).\n"
                "  --config=FILE   read this configuration instead of " AVIOMMU_LIBVIRT_CONFIG_FILE
                "\n"
                "  --bus=ADDRESS   find aviommud on this bus instead of the system bus\n"
                "  --debug         say more\n"
                "  --version       print the version and exit\n"
                "  --help          print this and exit\n",
                f);
}

/* Returns 1 to go on, 0 when all is done, -EINVAL. */
static int parse_arguments(int argc, char **argv, Arguments *ret) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' }, { "bus", required_argument, NULL, 'b' },
                { "debug", no_argument, NULL, 'd' },        { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },         {},
        };
        int c;

        *ret = (Arguments){};
        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'c':
                        ret->config = optarg;
                        break;
                case 'b':
                        ret->bus = optarg;
                        break;
                case 'd':
                        log_set_max_level(LOG_DEBUG);
                        break;
                case 'v':
                        (void)puts("aviommu-libvirt-agent " AVIOMMU_VERSION);
                        return 0;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        if (optind < argc) {
                (void)fprintf(stderr, "aviommu-libvirt-agent: \"%s\" is not an option.\n",
                              argv[optind]);
                usage(stderr);
                return -EINVAL;
        }
        return 1;
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
                return negative_errno();

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

static int run(const Arguments *arguments, const LibvirtConfig *config) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        const AgentOptions options = { .config = config,
                                       .bus_address = arguments->bus,
                                       .runtime_folder = getenv("RUNTIME_DIRECTORY") };
        Agent *agent = NULL;
        int r;

        r = new_event(&event);
        if (r < 0) {
                log_msg(LOG_ERR, "Cannot start: %s", strerror(-r));
                return r;
        }
        r = agent_new(event, &options, &agent);
        if (r < 0)
                return r;
        (void)sd_notify(false, "READY=1");
        r = sd_event_loop(event);
        (void)sd_notify(false, "STOPPING=1");
        if (agent_free(agent) < 0) {
                log_msg(LOG_NOTICE, "libvirt does not come back to us, leaving all the same.");
                _exit(r == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
        }
        return r == 0 ? 0 : -EIO; /* the bus has gone away */
}

int main(int argc, char **argv) {
        LibvirtConfig config;
        Arguments arguments;
        char *error = NULL;
        const char *path;
        int r;

        r = parse_arguments(argc, argv, &arguments);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;

        libvirt_config_init(&config);
        path = arguments.config ?: AVIOMMU_LIBVIRT_CONFIG_FILE;
        r = arguments.config && access(path, F_OK) < 0 ? negative_errno()
                                                       : libvirt_config_read(path, &config, &error);
        if (r < 0 && error)
                log_msg(LOG_ERR, "Cannot use the configuration: %s", error);
        else if (r < 0)
                log_msg(LOG_ERR, "Cannot use the configuration %s: %s", path, strerror(-r));
        else
                r = run(&arguments, &config);
        free(error);
        libvirt_config_done(&config);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
