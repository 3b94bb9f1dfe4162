/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "contract.h"

#include <getopt.h>

#ifdef CONTRACT_WITH_LINUX
#include "kernel/linux/linux.h"
#endif
#ifdef CONTRACT_WITH_SIM
#include "kernel/sim/sim.h"
#endif

/* Runs the contract cases on one kernel. Exit codes: 0 all passed or skipped, 1 some failed, 2 no kernel to run on. */

typedef struct Options {
        const char *kernel, *profile;
} Options;

static int usage(FILE *f) {
        (void)fprintf(
                f, "usage: contract --kernel=sim|linux [OPTION]...\n"
                   "  --profile FILE          the host to simulate (sim)\n"
                   "  --max-guest-ids N       how many Guest IDs each IOMMU has; with sim it is "
                   "set to that\n"
                   "  --instances-file FILE   reads as 0 while the kernel holds no vIOMMU (linux)\n"
                   "  --unplug-function ADDRESS, --unplug-command COMMAND\n"
                   "                          a function for the unplug case, and what unplugs it "
                   "(linux)\n"
                   "Needs idle functions on vfio-pci; cases that lack something are skipped and "
                   "say so.\n");
        return 2;
}

#ifdef CONTRACT_WITH_SIM
static int new_sim(const Options *o, Kernel **ret) {
        Problem problem = {};
        int r;

        r = sim_kernel_new(o->profile, -1, ret, &problem);
        if (r < 0) {
                (void)fprintf(stderr, "contract: %s\n",
                              problem.text[0] ? problem.text : strerror(-r));
                return r;
        }
        contract_host.simulated = true;
        if (contract_host.max_guest_ids > 0)
                (void)sim_set_limit(*ret, SIM_LIMIT_GUEST_IDS, KERNEL_NONE,
                                    contract_host.max_guest_ids);
        return 0;
}
#endif

static int new_kernel(const Options *o, Kernel **ret) {
#ifdef CONTRACT_WITH_SIM
        if (streq(o->kernel, "sim"))
                return new_sim(o, ret);
#endif
#ifdef CONTRACT_WITH_LINUX
        if (streq(o->kernel, "linux"))
                return linux_kernel_new(ret);
#endif
        (void)fprintf(stderr, "contract: this program was built without the kernel \"%s\"\n",
                      o->kernel);
        return -EOPNOTSUPP;
}

static int parse(int argc, char **argv, Options *o) {
        static const struct option options[] = {
                { "kernel", required_argument, NULL, 'k' },
                { "profile", required_argument, NULL, 'p' },
                { "max-guest-ids", required_argument, NULL, 'm' },
                { "instances-file", required_argument, NULL, 'i' },
                { "unplug-function", required_argument, NULL, 'f' },
                { "unplug-command", required_argument, NULL, 'c' },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'k':
                        o->kernel = optarg;
                        break;
                case 'p':
                        o->profile = optarg;
                        break;
                case 'm':
                        contract_host.max_guest_ids = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'i':
                        contract_host.instances_file = optarg;
                        break;
                case 'c':
                        contract_host.unplug_command = optarg;
                        break;
                case 'f':
                        if (pci_address_parse(optarg, &contract_host.unplug_function) < 0)
                                return -EINVAL;
                        break;
                case 'h':
                        (void)usage(stdout);
                        exit(0);
                default:
                        return -EINVAL;
                }

        return optind == argc && o->kernel ? 0 : -EINVAL;
}

static void describe(const ContractHost *h) {
        print_message("kernel \"%s\": %zu host IOMMUs, %zu functions; idle: %zu%s%s%s%s; %s%s\n",
                      h->kernel->ops->name, h->scan->n_iommus, h->scan->n_functions, h->n_functions,
                      h->has_pair ? ", a group of two" : "",
                      h->has_elsewhere ? ", one behind another IOMMU" : "",
                      h->has_shared ? ", one beside a host driver" : "",
                      h->has_guarded ? ", one behind a VF token" : "",
                      h->nests ? "nest parents, " : "no nest parents, ",
                      h->has_hw_queues ? "accelerated"
                      : h->checks_type ? "plumbing"
                      : h->any_type    ? "any vIOMMU type taken"
                                       : "no vIOMMU");
}

int main(int argc, char **argv) {
        Options o = {};
        int r, failed = 0;

        if (parse(argc, argv, &o) < 0)
                return usage(stderr);
        if (new_kernel(&o, &contract_host.kernel) < 0)
                return 2;

        r = contract_discover(&contract_host);
        if (r < 0) {
                (void)fprintf(stderr, "contract: the host cannot be looked at: %s\n", strerror(-r));
                return 2;
        }
        describe(&contract_host);

        failed += contract_run_iommufd();
        failed += contract_run_ioas();
        failed += contract_run_vfio();
        failed += contract_run_viommu();
        failed += contract_run_lifetime();
        failed += contract_run_unplug();

        contract_host.scan = host_scan_free(contract_host.scan);
        contract_host.kernel = kernel_free(contract_host.kernel);
        return failed > 0 ? 1 : 0;
}
