/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommud-sim: the same daemon on a simulated host, on any bus, for anybody. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "base/log.h"
#include "bus/bus-simulation.h"
#include "kernel/sim/sim.h"
#include "run.h"

typedef struct Arguments {
        const char *bus, *profile, *state, *config, *runtime_dir, *definitions;
} Arguments;

static void usage(FILE *f) {
        (void)fputs("usage: aviommud-sim --bus=ADDRESS --profile NAME|FILE [OPTION]...\n"
                    "aviommud on a simulated host, see aviommud-sim(1).\n"
                    "  --bus=ADDRESS       be on this bus\n"
                    "  --profile NAME|FILE simulate this host; a name is one of --list-profiles\n"
                    "  --state=FILE        keep the simulated kernel's state in FILE, which\n"
                    "                      outlives the daemon\n"
                    "  --runtime-dir=DIR   keep records of VMs in DIR (mode 0700), for the\n"
                    "                      next daemon\n"
                    "  --definitions=DIR   keep definitions of VMs in DIR (mode 0700), for good\n"
                    "  --config=FILE       read this configuration, or that below this folder\n"
                    "  --list-profiles     print the names of the profiles and exit\n"
                    "  --version           print the version and exit\n"
                    "  --help              print this and exit\n",
                    f);
}

/* Profiles are where they are installed, or in the source tree of a program that is not. */
static const char *profile_folder(void) {
        return access(AVIOMMU_PROFILE_DIR, R_OK) >= 0 ? AVIOMMU_PROFILE_DIR
                                                      : AVIOMMU_PROFILE_SOURCE_DIR;
}

static int list_profiles(void) {
        struct dirent **entries;
        int n = scandir(profile_folder(), &entries, NULL, alphasort);

        if (n < 0) {
                (void)fprintf(stderr, "aviommud-sim: cannot read %s: %s\n", profile_folder(),
                              strerror(errno));
                return -errno;
        }
        for (int i = 0; i < n; i++) {
                const char *dot = strrchr(entries[i]->d_name, '.');

                if (dot && streq(dot, ".json"))
                        (void)printf("%.*s\n", (int)(dot - entries[i]->d_name), entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        return 0;
}

/* Returns 1 to go on, 0 when all is done, a negative errno. */
static int parse_arguments(int argc, char **argv, Arguments *ret) {
        static const struct option options[] = {
                { "bus", required_argument, NULL, 'b' },
                { "profile", required_argument, NULL, 'p' },
                { "state", required_argument, NULL, 's' },
                { "runtime-dir", required_argument, NULL, 'r' },
                { "definitions", required_argument, NULL, 'd' },
                { "config", required_argument, NULL, 'c' },
                { "list-profiles", no_argument, NULL, 'l' },
                { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        int c;

        *ret = (Arguments){};
        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'b':
                        ret->bus = optarg;
                        break;
                case 'p':
                        ret->profile = optarg;
                        break;
                case 's':
                        ret->state = optarg;
                        break;
                case 'r':
                        ret->runtime_dir = optarg;
                        break;
                case 'd':
                        ret->definitions = optarg;
                        break;
                case 'c':
                        ret->config = optarg;
                        break;
                case 'l':
                        return list_profiles();
                case 'v':
                        (void)puts("aviommud-sim " AVIOMMU_VERSION);
                        return 0;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        if (optind < argc || !ret->bus || !ret->profile) {
                (void)fputs(
                        "aviommud-sim: --bus and --profile are needed, and nothing but options.\n",
                        stderr);
                usage(stderr);
                return -EINVAL;
        }
        return 1;
}

/* A word without a slash is a profile's name. */
static int find_profile(const char *profile, char **ret) {
        int r;

        assert(profile);
        r = strchr(profile, '/') ? asprintf(ret, "%s", profile)
                                 : asprintf(ret, "%s/%s.json", profile_folder(), profile);

        return r < 0 ? -ENOMEM : 0;
}

static int new_kernel(const Arguments *arguments, Kernel **ret) {
        _cleanup_free_ char *profile = NULL;
        _cleanup_close_ int state = -1;
        Problem p = {};
        int r;

        if (arguments->state) {
                state = open(arguments->state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                if (state < 0) {
                        r = -errno;
                        log_msg(LOG_ERR, "Cannot open %s: %s", arguments->state, strerror(-r));
                        return r;
                }
        }
        r = find_profile(arguments->profile, &profile);
        if (r >= 0)
                r = sim_kernel_new(profile, state, ret, &p);
        if (r < 0)
                log_msg(LOG_ERR, "Cannot simulate %s: %s", profile ?: arguments->profile,
                        problem_is_set(&p) ? p.text : strerror(-r));
        return r;
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

        r = new_kernel(&arguments, &kernel);
        if (r < 0)
                return EXIT_FAILURE;
        source = (ConfigSource){ .path = arguments.config, .required = true };
        folders = (Folders){ .runtime = arguments.runtime_dir,
                             .definitions = arguments.definitions };
        return run(kernel, &source, &folders, arguments.bus, bus_simulation_register) < 0
                       ? EXIT_FAILURE
                       : EXIT_SUCCESS;
}
