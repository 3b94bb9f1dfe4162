/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "contract.h"

#ifdef CONTRACT_WITH_SIM
#include "kernel/sim/sim.h"
#endif

/* What the host under test has, and the steps that most cases begin with. */

ContractHost contract_host;

static bool is_idle(const PciFunctionInfo *fn) {
        return !fn->is_bridge && fn->cdev != KERNEL_NONE && fn->group != KERNEL_NONE &&
               fn->host_iommu != KERNEL_NONE && streq(fn->driver, "vfio-pci");
}

/* Whether vfio-pci has the PF of a VF: binding the VF would then want a token. */
static bool wants_token(const HostScan *scan, const PciFunctionInfo *fn) {
        for (size_t i = 0; fn->is_virtual && i < scan->n_functions; i++)
                if (pci_address_equal(&scan->functions[i].address, &fn->physical_function))
                        return streq(scan->functions[i].driver, "vfio-pci");

        return false;
}

static size_t count_group(const HostScan *scan, uint32_t group, bool *ret_host_driver,
                          const PciFunctionInfo **ret_other, const PciFunctionInfo *fn) {
        size_t n = 0;

        *ret_host_driver = false;
        *ret_other = NULL;
        for (size_t i = 0; i < scan->n_functions; i++) {
                const PciFunctionInfo *other = &scan->functions[i];

                if (other->group != group || other->is_bridge)
                        continue;
                n++;
                if (other != fn && is_idle(other))
                        *ret_other = other;
                if (other->driver[0] != '\0' && !streq(other->driver, "vfio-pci"))
                        *ret_host_driver = true;
        }

        return n;
}

static void classify(ContractHost *host, const PciFunctionInfo *fn, uint32_t *host_iommu) {
        const PciFunctionInfo *other;
        bool host_driver;
        size_t n = count_group(host->scan, fn->group, &host_driver, &other, fn);

        if (wants_token(host->scan, fn)) {
                host->guarded = fn->address;
                host->guard = fn->physical_function;
                host->has_guarded = true;
        } else if (host->unplug_command &&
                   pci_address_equal(&fn->address, &host->unplug_function)) {
                return; /* its case comes last */
        } else if (host_driver) {
                host->shared = fn->address;
                host->has_shared = true;
        } else if (n > 1 && other && !host->has_pair) {
                host->pair[0] = fn->address;
                host->pair[1] = other->address;
                host->has_pair = true;
        } else if (n == 1 && (*host_iommu == KERNEL_NONE || *host_iommu == fn->host_iommu)) {
                if (host->n_functions < CONTRACT_FUNCTIONS_MAX)
                        host->functions[host->n_functions++] = fn->address;
                *host_iommu = fn->host_iommu;
        } else if (n == 1 && !host->has_elsewhere) {
                host->elsewhere = fn->address;
                host->has_elsewhere = true;
        }
}

static int probe_type(const Context *c, uint32_t type) {
        KernelViommuRequest request = { .type = type, .device_id = c->device, .data_len = 8 };
        KernelViommu viommu;

        return OP->viommu_alloc(K, c->iommufd, &request, &viommu);
}

static void probe_objects(ContractHost *host, Context *c) {
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = c->device,
                .data_len = host->data_len,
        };
        int r;

        if (OP->ioas_alloc(K, c->iommufd, &c->ioas) < 0)
                return;
        host->nests = OP->hwpt_alloc_nest_parent(K, c->iommufd, c->device, c->ioas, &c->hwpt) >= 0;

        request.hwpt_id = c->hwpt;
        if (!host->nests || !host->checks_type)
                return;

        r = OP->viommu_alloc(K, c->iommufd, &request, &c->viommu);
        if (r == -EINVAL) {
                host->data_len = request.data_len = 16;
                r = OP->viommu_alloc(K, c->iommufd, &request, &c->viommu);
        }
        if (r >= 0)
                host->has_hw_queues = OP->hw_queue_probe(K, c->iommufd, c->viommu.viommu_id) >= 0;
}

int contract_discover(ContractHost *host) {
        uint32_t host_iommu = KERNEL_NONE;
        Context c = CONTEXT_NONE;
        int r;

        host->data_len = 8;
        r = OP->scan(K, NULL, 0, &host->scan);
        if (r < 0)
                return r;
        for (size_t i = 0; i < host->scan->n_functions; i++)
                if (is_idle(&host->scan->functions[i]))
                        classify(host, &host->scan->functions[i], &host_iommu);
        if (host->n_functions == 0)
                return 0;

        r = OP->iommufd_open(K, &c.iommufd);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = bind_to(&host->functions[0], c.iommufd, &c.cdev, &c.device);
        if (r >= 0) {
                int amd = probe_type(&c, KERNEL_VIOMMU_TYPE_AMD),
                    bogus = probe_type(&c, KERNEL_VIOMMU_TYPE_BOGUS);

                host->any_type = amd == -ENOENT && bogus == -ENOENT;
                host->checks_type = amd == -ENOENT && bogus == -EOPNOTSUPP;
                probe_objects(host, &c);
        }

        context_close(&c);
        return r;
}

#ifdef CONTRACT_WITH_SIM
static int check_simulated(void) {
        SimCounters n;

        sim_get_counters(K, &n);
        if (sim_counters_are_zero(&n))
                return 0;

        print_error("a case left something behind: %lu contexts, %lu vIOMMUs, %lu cdevs\n",
                    (unsigned long)n.contexts, (unsigned long)n.viommus,
                    (unsigned long)n.open_cdevs);
        return -1;
}
#endif

static int check_instances_file(const char *path) {
        FILE *f = fopen(path, "re");
        int n = -1;

        if (!f)
                return -1;
        if (fscanf(f, "%i", &n) != 1)
                n = -1;
        (void)fclose(f);
        if (n != 0)
                print_error("%s says %i after a case\n", path, n);
        return n == 0 ? 0 : -1;
}

int contract_teardown(void **state) {
        (void)state;
#ifdef CONTRACT_WITH_SIM
        if (contract_host.simulated)
                return check_simulated();
#endif
        return contract_host.instances_file ? check_instances_file(contract_host.instances_file)
                                            : 0;
}

int contract_unplug(const PciAddress *function) {
#ifdef CONTRACT_WITH_SIM
        if (contract_host.simulated)
                return sim_unplug(K, function);
#endif
        if (!contract_host.unplug_command ||
            !pci_address_equal(function, &contract_host.unplug_function))
                return -EOPNOTSUPP;

        return system(contract_host.unplug_command) == 0 ? 0 : -EIO;
}

/* The kernel does not limit who has CAP_IPC_LOCK. */
static int limit_process(uint64_t bytes) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        struct rlimit limit;

        if (syscall(SYS_capget, &header, data) < 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
                return -errno;

        limit.rlim_cur = bytes == UINT64_MAX ? limit.rlim_max : bytes;
        if (bytes == UINT64_MAX)
                data[0].effective |= data[0].permitted & (1U << CAP_IPC_LOCK);
        else
                data[0].effective &= ~(1U << CAP_IPC_LOCK);

        return setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || syscall(SYS_capset, &header, data) < 0
                       ? -errno
                       : 0;
}

int contract_limit_pinned(uint64_t bytes) {
#ifdef CONTRACT_WITH_SIM
        if (contract_host.simulated)
                return sim_set_limit(K, SIM_LIMIT_PINNED_BYTES, KERNEL_NONE, bytes);
#endif
        return limit_process(bytes);
}

int memory_new(uint64_t bytes) {
        int fd = memfd_create("contract", MFD_CLOEXEC);

        if (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0)
                fd = fd_close(fd);
        return fd;
}

int bind_to(const PciAddress *function, int iommufd, int *ret_cdev, uint32_t *ret_device) {
        int cdev, r;

        r = OP->cdev_open(K, function, &cdev);
        if (r < 0)
                return r;
        r = OP->cdev_bind(K, cdev, iommufd, NULL, ret_device);
        if (r < 0) {
                (void)fd_close(cdev);
                return r;
        }

        *ret_cdev = cdev;
        return 0;
}

Context context_open(void) {
        Context c = CONTEXT_NONE;

        if (contract_host.scan->iommufd_error < 0)
                contract_skip("there is no iommufd");

        assert_ok(OP->iommufd_open(K, &c.iommufd));
        return c;
}

Context context_bind(size_t function) {
        Context c = context_open();

        if (contract_host.n_functions <= function) {
                context_close(&c);
                contract_skip("too few idle functions on vfio-pci, alone in their groups");
        }

        assert_ok(bind_to(&contract_host.functions[function], c.iommufd, &c.cdev, &c.device));
        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));
        return c;
}

Context context_nest(size_t function) {
        Context c = context_bind(function);

        if (!contract_host.nests) {
                context_close(&c);
                contract_skip("this kernel gives no nest parents");
        }

        assert_ok(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.ioas, &c.hwpt));
        return c;
}

Context context_viommu(size_t function) {
        Context c = context_nest(function);
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = c.device,
                .hwpt_id = c.hwpt,
                .data_len = contract_host.data_len,
        };

        if (!contract_host.any_type && !contract_host.checks_type) {
                context_close(&c);
                contract_skip("this kernel allocates no vIOMMU");
        }

        assert_ok(OP->viommu_alloc(K, c.iommufd, &request, &c.viommu));
        return c;
}

Context context_viommu_real(size_t function) {
        if (!contract_host.checks_type)
                contract_skip("this kernel has no AMD vIOMMU");

        return context_viommu(function);
}

void context_close(Context *c) {
        (void)fd_close(c->cdev);
        (void)fd_close(c->iommufd);
        (void)fd_close(c->ram);
        *c = CONTEXT_NONE;
}
