/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommud: the daemon on the running Linux. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "kernel/linux/linux.h"
#include "run.h"

typedef struct Arguments {
        const char *config, *bus;
} Arguments;

static void usage(FILE *f) {
        (void)fputs("usage: aviommud [OPTION]...\n"
                    "Arbitrates the IOMMUs of this host for virtual machines, see aviommud(8).\n"
                    "  --config=PATH   read this file alone instead of " AVIOMMU_CONFIG_FILE "\n"
                    "                  and its drop-ins, or, of a folder, those below it\n"
                    "  --bus=ADDRESS   be on this bus instead of the system bus\n"
                    "  --version       print the version and exit\n"
                    "  --help          print this and exit\n",
                    f);
}

/* Returns 1 to go on, 0 when all is done, -EINVAL. */
static int parse_arguments(int argc, char **argv, Arguments *ret) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "bus", required_argument, NULL, 'b' },
                { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                {},
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
                case 'v':
                        (void)puts("aviommud " AVIOMMU_VERSION);
                        return 0;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        if (optind < argc) {
                (void)fprintf(stderr, "aviommud: \"%s\" is not an option.\n", argv[optind]);
                usage(stderr);
                return -EINVAL;
        }
        return 1;
}

int main(int argc, char **argv) {
        Arguments arguments;
        Kernel *kernel;
        ConfigSource source;
        Folders folders;
        int r;

        r = parse_arguments(argc, argv, &arguments);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;

        source = (ConfigSource){ .path = arguments.config ?: "/", .required = arguments.config };
        r = linux_kernel_new(&kernel);
        if (r < 0) {
                log_event(LOG_ERR, MESSAGE_START_FAILED, &(LogFields){ .reason = strerror(-r) },
                          "Cannot look at this host: %s", strerror(-r));
                return EXIT_FAILURE;
        }
        folders = (Folders){ .runtime = getenv("RUNTIME_DIRECTORY"),
                             .definitions = getenv("STATE_DIRECTORY") };
        return run(kernel, &source, &folders, arguments.bus, NULL) < 0 ? EXIT_FAILURE
                                                                       : EXIT_SUCCESS;
}
