/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lives of VMs, as the manager leads them when nothing goes wrong but the requests themselves. */

#include "fixture.h"

#include <inttypes.h>
#include <pwd.h>
#include <sys/mman.h>

#define HW     TIER_HARDWARE, HANDOVER_DAEMON
#define EMU    TIER_EMULATED, HANDOVER_VMM
#define LEGACY TIER_VIRTIO, HANDOVER_NONE

static void counters(const Fixture *f, SimCounters *c) {
        sim_get_counters(f->kernel, c);
}

/* ---- whole lives ---- */

static void life_of_a_hardware_vm(void **state) {
        SimCounters c;
        Fixture f;
        int pidfd;
        pid_t vmm = child_new(&pidfd);

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_B, FN_C)));
        assert_int_equal(f.n_added, 1);
        assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        assert_true(f.n_capacity > 0);
        counters(&f, &c);
        assert_true(c.contexts == 1 && c.viommus == 2 && c.vdevices == 3);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);
        assert_int_equal(fx_used(&f, RESOURCE_TRANS_DEVIDS, 0), 2);
        assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 1 + 2 * 64);

        /* One more, behind a third IOMMU; and the group of two. */
        assert_ok(fx_attach(&f, "vm", FNS(FN_D)));
        assert_ok(fx_attach(&f, "vm", FNS(FN_PAIR)));
        counters(&f, &c);
        assert_true(c.viommus == 3 && c.vdevices == 6);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 2), 1);

        assert_ok(fx_map(&f, "vm", 0, RAM_BYTES));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES);

        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_int_equal(fx_state(&f, "vm"), VM_BOUND);
        assert_ok(fx_open(&f, "vm", NULL));
        assert_ok(fx_open(&f, "vm", FN_A));
        assert_true(fx_vm(&f, "vm")->context.shared);

        /* Detached before handover: gone at once, and its vIOMMU with the last one on it. */
        assert_ok(fx_detach(&f, "vm", FN_D));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 2), 0);
        assert_ok(fx_detach(&f, "vm", FN_B));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
        counters(&f, &c);
        assert_true(c.viommus == 2 && c.vdevices == 4);

        assert_ok(fx_confirm(&f, "vm"));
        assert_true(fx_vm(&f, "vm")->context.confirmed);
        assert_error(fx_open(&f, "vm", FN_A), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "ConfirmContext has passed it on");

        assert_ok(fx_unmap(&f, "vm", 0, RAM_BYTES));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 0);

        /* Its VMM lives: it has to be insisted on. */
        assert_error(fx_destroy(&f, "vm", false), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "is alive and has its context");
        assert_ok(fx_destroy(&f, "vm", true));
        assert_int_equal(f.n_removed, 1);
        assert_string_equal(f.reason, "destroyed");
        assert_true(f.n_changed > 0);
        fx_assert_clean(&f);
        fx_done(&f);
        child_end(vmm);
        fd_close(pidfd);
}

static void life_of_a_vmm_vm(void **state) {
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", EMU, FNS(FN_A)));
        counters(&f, &c);
        assert_true(c.contexts == 1 && c.bound_functions == 0 && c.ioas == 0);
        assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 2);
        assert_ok(fx_attach(&f, "vm", FNS(FN_B)));
        assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 3);
        assert_ok(fx_open(&f, "vm", NULL));
        assert_error(fx_open(&f, "vm", FN_A), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "the VMM opens it itself");
        assert_error(fx_confirm(&f, "vm"), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "nothing to confirm");
        assert_error(fx_map(&f, "vm", 0, 4096), EBADFD);
        assert_error(fx_unmap(&f, "vm", 0, 4096), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "its VMM maps memory itself");
        assert_error(fx_viommu_create(&f, "vm", 0), EBADFD);
        assert_error(fx_viommu_destroy(&f, "vm", 0), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "only for tier \"hardware\"");
        assert_ok(fx_detach(&f, "vm", FN_A));
        assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 2);
        assert_ok(fx_destroy(&f, "vm", false)); /* nobody is at the other end */
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A VMM pins all of the memory with the first function, and lets go of it with the last. */
static void memory_of_the_vmm(void **state) {
        static const VmHandover handovers[] = { HANDOVER_VMM, HANDOVER_NONE };
        const uint64_t too_much = UINT64_C(1) << 55;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (size_t i = 0; i < ELEMENTSOF(handovers); i++) {
                VmRequest request;

                assert_ok(fx_create(&f, "vm", TIER_VIRTIO, handovers[i], FNS()));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 0);

                assert_error(fx_attach_with(&f, "vm", FNS(FN_A), too_much), EDQUOT);
                assert_problem(&f.problem, PROBLEM_NO_PINNABLE_MEMORY, "of pinned memory");
                assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 0);
                assert_int_equal(fx_vm(&f, "vm")->memory, 0);
                assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 1);

                assert_ok(fx_attach_with(&f, "vm", FNS(FN_A), 3 * RAM_BYTES));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 3 * RAM_BYTES);
                assert_ok(fx_attach_with(&f, "vm", FNS(FN_B), RAM_BYTES)); /* never less */
                assert_ok(fx_attach(&f, "vm", FNS(FN_C)));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 3 * RAM_BYTES);
                assert_ok(fx_attach_with(&f, "vm", FNS(FN_D), 4 * RAM_BYTES));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 4 * RAM_BYTES);

                assert_ok(fx_detach(&f, "vm", FN_A));
                assert_ok(fx_detach(&f, "vm", FN_B));
                assert_ok(fx_detach(&f, "vm", FN_C));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 4 * RAM_BYTES);
                assert_ok(fx_detach(&f, "vm", FN_D));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 0);
                /* What it has is known. */
                assert_ok(fx_attach(&f, "vm", FNS(FN_A)));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 4 * RAM_BYTES);
                assert_ok(fx_destroy(&f, "vm", true));

                /* What is asked for at first is charged at once, and once. */
                fx_request(&request, "vm", TIER_VIRTIO, handovers[i], FNS());
                request.memory = 2 * RAM_BYTES;
                assert_ok(fx_create_request(&f, &request, NULL));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 2 * RAM_BYTES);
                assert_ok(fx_attach_with(&f, "vm", FNS(FN_A), 2 * RAM_BYTES));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 2 * RAM_BYTES);
                assert_ok(fx_detach(&f, "vm", FN_A));
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 0);
                assert_ok(fx_destroy(&f, "vm", true));
        }

        /* What the daemon maps it charges itself. */
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_attach_with(&f, "vm", FNS(FN_C), RAM_BYTES), EINVAL);
        assert_problem(&f.problem, PROBLEM_INVALID_ARGUMENT, "charged by MapMemory");
        assert_ok(fx_destroy(&f, "vm", true));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void life_of_a_legacy_vm(void **state) {
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", LEGACY, FNS(FN_A)));
        counters(&f, &c);
        assert_true(sim_counters_are_zero(&c));
        assert_error(fx_open(&f, "vm", NULL), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "there is no context to open");
        assert_ok(fx_attach(&f, "vm", FNS(FN_C)));
        assert_ok(fx_detach(&f, "vm", FN_A));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void emulated_by_the_daemon(void **state) {
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", TIER_EMULATED, HANDOVER_DAEMON, FNS(FN_A, FN_C)));
        assert_ok(fx_map(&f, "vm", 0, RAM_BYTES));
        counters(&f, &c);
        assert_true(c.ioas == 1 && c.bound_functions == 2 && c.viommus == 0);
        assert_ok(fx_detach(&f, "vm", FN_A));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* For whom no connection speaks, the host says in which groups he is; of whom one does, the bus has said it. */
static void groups_of_who_is_not_there(void **state) {
        const struct passwd *user = getpwuid(1);
        char text[128], path[64];
        static const struct {
                const char *tenant;
                uid_t uid;
                bool named; /* groups that the bus has named */
                int error;
        } cases[] = {
                { "his", 1, false, 0 },
                { "his", 1, true, EACCES },
                { "his", 1, false, 0 }, /* which is known now */
                { "anothers", 1, false, EACCES },
                { "anothers", 0, false, 0 },
                { "his", 4000000001, false, EACCES }, /* nobody */
        };
        const gid_t none[] = { 4000000002 };
        Fixture f;
        int fd = memfd_create("config", MFD_CLOEXEC);

        (void)state;
        if (!user) {
                print_message("This host has no user of the number 1\n");
                skip();
        }
        (void)snprintf(text, sizeof(text),
                       "[Tenant his]\nGroups=%u\n[Tenant anothers]\nGroups=%u\n", user->pw_gid,
                       4000000000U);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(config_read_file(&f.manager->config, path, NULL));
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                int r;

                fx_request(&request, "vm", LEGACY, FNS());
                (void)snprintf(request.tenant, sizeof(request.tenant), "%s", c->tenant);
                if (c->named)
                        assert_ok(vm_request_set_groups(&request, none, ELEMENTSOF(none)));
                r = manager_plan_vm(f.manager, &request, c->uid, &a, NULL, &p);
                if (r != -c->error)
                        fail_msg("case %zu: %i, %s", (size_t)(c - cases), r, p.text);
                admission_done(&a);
                vm_request_done(&request);
        }
        fx_done(&f);
        fd_close(fd);
}

static void many_at_once(void **state) {
        static const char *const names[] = { "one", "two", "three", "four", "five", "six" };
        static const char *const functions[] = { FN_A, FN_B,           FN_C,
                                                 FN_D, "0002:01:00.0", "0003:01:00.0" };
        Answer answers[ELEMENTSOF(names)] = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (unsigned i = 0; i < ELEMENTSOF(names); i++) {
                VmRequest request;

                fx_request(&request, names[i], HW, FNS(functions[i]));
                assert_ok(manager_create_vm(f.manager, &request, i, ":1.1", answer_store,
                                            answers + i, NULL));
                assert_null(request.functions); /* taken over */
        }
        for (unsigned i = 0; i < ELEMENTSOF(names); i++) {
                fx_run_until(&f, &answers[i].given);
                assert_ok(answers[i].r);
                assert_int_equal(fx_vm(&f, names[i])->owner_uid, i);
                assert_ptr_equal(manager_find_vm_by_name(f.manager, names[i]), fx_vm(&f, names[i]));
        }
        assert_int_equal(f.manager->n_vms, ELEMENTSOF(names));

        /* Listed in the order of their UUIDs. */
        for (size_t i = 0; i < f.manager->n_vms; i++) {
                assert_true(i == 0 || memcmp(&f.manager->vms[i - 1]->uuid, &f.manager->vms[i]->uuid,
                                             sizeof(sd_id128_t)) < 0);
                assert_int_equal(manager_first_after(f.manager, f.manager->vms[i]->uuid), i + 1);
        }
        assert_int_equal(manager_first_after(f.manager, SD_ID128_NULL), 0);
        assert_int_equal(manager_first_after(f.manager, fx_uuid("zzz")), ELEMENTSOF(names));
        assert_int_equal(manager_first_after(f.manager, fx_uuid("g")), 2); /* five, four */
        assert_null(manager_find_vm_by_name(f.manager, "seven"));

        for (unsigned i = 0; i < ELEMENTSOF(names); i += 2)
                assert_ok(fx_destroy(&f, names[i], false));
        assert_int_equal(f.manager->n_vms, 3);
        fx_done(&f); /* the others go with the daemon */
}

/* More than the first array of VMs holds. */
static void very_many(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        for (unsigned i = 0; i < 50; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "vm%02u", i * 7 % 50);
                assert_ok(fx_create(&f, name, LEGACY, FNS()));
        }
        assert_int_equal(f.manager->n_vms, 50);
        assert_int_equal(fx_used(&f, RESOURCE_DOMAIN_IDS, 0), 50);
        for (unsigned i = 0; i < 50; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "vm%02u", i);
                assert_string_equal(f.manager->vms[i]->name, name);
        }
        fx_done(&f);
}

/* ---- refused creations ---- */

static void creation_is_refused(void **state) {
        int pipes[2], dead;
        pid_t corpse = child_new(&dead);
        VmRequest request;
        Config config;
        Fixture f;

        (void)state;
        child_end(corpse);
        assert_ok(pipe(pipes));
        config_init(&config);
        config.max_vms = 2;
        fx_init(&f, "epyc-2p", &config);

        assert_error(fx_create(&f, "vm", HW, FNS(FN_HOST)), ENXIO);
        assert_problem(&f.problem, PROBLEM_FUNCTION_NOT_BOUND, "nvme");
        assert_error(fx_create(&f, "vm", HW, FNS("0000:99:00.0")), ENODEV);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A, FN_A)), EINVAL);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A, FN_GUARD)), EACCES); /* by the probe */
        assert_problem(&f.problem, PROBLEM_VF_TOKEN, FN_GUARD);
        assert_ok(fx_probe(&f, 1));
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A, FN_GUARD)), EACCES);
        assert_problem(&f.problem, PROBLEM_VF_TOKEN, FN_GUARD);
        fx_assert_clean(&f);

        fx_request(&request, "vm", HW, FNS());
        request.leash_pidfd = dup(pipes[0]);
        assert_error(fx_create_request(&f, &request, NULL), EINVAL);
        assert_problem(&f.problem, PROBLEM_NOT_A_PIDFD, "pidfd_open");
        fx_request(&request, "vm", HW, FNS());
        request.leash_pidfd = dup(dead);
        assert_error(fx_create_request(&f, &request, NULL), ESRCH);
        assert_problem(&f.problem, PROBLEM_VMM_GONE, "ended already");
        fx_assert_clean(&f);

        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_create(&f, "vm", HW, FNS(FN_B)), EEXIST);
        assert_problem(&f.problem, PROBLEM_VM_EXISTS, "(vm) is admitted already, and is realized");
        fx_request(&request, "other", HW, FNS(FN_B));
        free(request.name);
        request.name = strdup("vm");
        assert_error(fx_create_request(&f, &request, NULL), EEXIST);
        assert_problem(&f.problem, PROBLEM_VM_EXISTS, "Another VM is named \"vm\"");
        assert_error(fx_create(&f, "other", HW, FNS(FN_A)), EBUSY);
        assert_problem(&f.problem, PROBLEM_FUNCTION_IN_USE, "belongs to VM vm");

        assert_ok(fx_create(&f, "other", HW, FNS(FN_B)));
        assert_error(fx_create(&f, "third", HW, FNS(FN_C)), EDQUOT);
        assert_problem(&f.problem, PROBLEM_LIMITS_EXCEEDED, "There are 2 VMs, MaxVms= allows 2");
        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_create(&f, "third", HW, FNS(FN_A))); /* there is room again */
        assert_int_equal(f.n_added, 3);
        fx_done(&f);
        fd_close(dead);
        fd_close(pipes[0]);
        fd_close(pipes[1]);
}

/* A VM without a name is called by its UUID. */
static void names(void **state) {
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        fx_request(&request, "vm", LEGACY, FNS());
        free(TAKE_PTR(request.name));
        assert_ok(fx_create_request(&f, &request, NULL));
        assert_string_equal(fx_vm(&f, "vm")->name, SD_ID128_TO_UUID_STRING(fx_uuid("vm")));
        fx_done(&f);
}

/* Fill the ledger and fail one more: nothing is lost, and the next release makes room. */
static void used_up(void **state) {
        static const char *const functions[] = { FN_A, FN_B, "0000:04:00.0", "0000:05:00.0" };
        char name[] = "vm0";
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.instances_per_iommu = 3;
        fx_init(&f, "epyc-2p", &config);
        for (unsigned i = 0; i < 3; i++, name[2]++)
                assert_ok(fx_create(&f, name, HW, FNS(functions[i])));
        for (unsigned i = 0; i < 3; i++) {
                assert_error(fx_create(&f, "more", HW, FNS(functions[3])), EDQUOT);
                assert_problem(&f.problem, PROBLEM_NO_FREE_INSTANCE, "0 of 3 are left");
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 3);
        }
        assert_ok(fx_create(&f, "elsewhere", HW, FNS(FN_C)));
        assert_error(fx_attach(&f, "elsewhere", FNS(functions[3])), EDQUOT);
        assert_ok(fx_destroy(&f, "vm1", false));
        assert_ok(fx_attach(&f, "elsewhere", FNS(functions[3])));
        assert_error(fx_create(&f, "more", HW, FNS(functions[1])), EDQUOT);
        assert_ok(fx_detach(&f, "elsewhere", functions[3]));
        assert_ok(fx_create(&f, "more", HW, FNS(functions[1])));
        fx_done(&f);
}

/* The kernel has fewer than the ledger thinks. */
static void kernel_is_used_up(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(sim_set_limit(f.kernel, SIM_LIMIT_GUEST_IDS, 0, 1));
        assert_error(fx_create(&f, "more", HW, FNS(FN_B)), ENOSPC);
        assert_problem(&f.problem, PROBLEM_NO_FREE_INSTANCE, "although the ledger has");
        assert_error(fx_create(&f, "more", HW, FNS(FN_C, FN_B)), ENOSPC); /* after one was made */
        assert_ok(fx_create(&f, "more", HW, FNS(FN_C)));
        assert_error(fx_attach(&f, "more", FNS(FN_B)), ENOSPC);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
        assert_int_equal(fx_vm(&f, "more")->context.n_functions, 1);
        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_attach(&f, "more", FNS(FN_B)));
        assert_ok(fx_destroy(&f, "more", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- Plan ---- */

static void plan_is_the_same_decision(void **state) {
        Admission a = ADMISSION_NULL;
        VmRequest request;
        Problem p = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (uint32_t i = 0; i < 8; i++)
                assert_ok(fx_probe(&f, i));
        fx_request(&request, "vm", HW, FNS(FN_A, FN_C));
        assert_ok(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p));
        assert_int_equal(a.additions.n_viommus, 2);
        admission_done(&a);
        vm_request_done(&request);
        fx_assert_clean(&f);

        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
        fx_request(&request, "vm", HW, FNS(FN_B));
        assert_error(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p), EEXIST);
        request.uuid = fx_uuid("other");
        assert_error(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p), EEXIST); /* the name */
        free(TAKE_PTR(request.name));
        assert_ok(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p));
        admission_done(&a);
        request.has_tier = false;
        assert_error(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p), EINVAL);
        vm_request_done(&request);
        fx_request(&request, "other", HW, FNS(FN_A));
        assert_error(manager_plan_vm(f.manager, &request, 0, &a, NULL, &p), EBUSY);
        assert_problem(&p, PROBLEM_FUNCTION_IN_USE, "VM vm");
        vm_request_done(&request);
        fx_done(&f);
}

/* ---- memory ---- */

static void memory_is_charged_beyond_the_request(void **state) {
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_request(&request, "vm", HW, FNS(FN_A));
        request.memory = RAM_BYTES + 4096;
        assert_ok(fx_create_request(&f, &request, NULL));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES + 4096);
        assert_ok(fx_map(&f, "vm", 0, RAM_BYTES));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES + 4096);
        assert_ok(fx_map(&f, "vm", RAM_BYTES, RAM_BYTES)); /* partly beyond */
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 2 * RAM_BYTES);
        assert_ok(fx_map(&f, "vm", 2 * RAM_BYTES, 4096)); /* wholly beyond */
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 2 * RAM_BYTES + 4096);
        assert_ok(fx_unmap(&f, "vm", 0, RAM_BYTES));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES + 4096);
        assert_ok(fx_unmap(&f, "vm", RAM_BYTES, RAM_BYTES));
        assert_ok(fx_unmap(&f, "vm", 2 * RAM_BYTES, 4096));
        assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES + 4096);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void bad_memory(void **state) {
        static const struct {
                uint64_t iova, length, offset;
                int error;
                ProblemKind kind;
        } cases[] = {
                { 0, 0, 0, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { 1, 4096, 0, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { 0, 4095, 0, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { 0, 4096, 1, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { UINT64_MAX - 4095, 8192, 0, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { 0, 4096, UINT64_MAX - 4095, EINVAL, PROBLEM_INVALID_ARGUMENT },
                { 1 << 30, 4 * RAM_BYTES + 4096, 0, EINVAL, PROBLEM_NOT_MAPPABLE }, /* short file */
                { 0, 4096, 4 * RAM_BYTES, EINVAL, PROBLEM_NOT_MAPPABLE },
                { 0x100000, 4096, 0, EEXIST, PROBLEM_MEMORY_OVERLAP },
                { 0xfee00000, 4096, 0, 0, PROBLEM_NONE }, /* the kernel's to judge */
        };
        KernelMapping m = { .fd = 1 << 20, .length = 4096 };
        Answer answer = {};
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.max_mappings_per_vm = 3;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_map(&f, "vm", 0x100000, 4096));
        for_each_case(c, cases) {
                KernelMapping bad = { .fd = f.ram,
                                      .iova = c->iova,
                                      .length = c->length,
                                      .offset = c->offset,
                                      .writable = true };
                Answer said = {};
                int r;

                r = vm_map_memory(fx_vm(&f, "vm"), &bad, NULL, answer_store, &said, &said.problem);
                if (r == 0) {
                        fx_run_until(&f, &said.given);
                        r = said.r;
                }
                if (c->kind == PROBLEM_NONE)
                        continue;
                if (r != -c->error)
                        fail_msg("0x%" PRIx64 " from 0x%" PRIx64 ": %i", c->length, c->iova, r);
                assert_problem(&said.problem, c->kind, "");
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), 4096);
        }
        assert_error(vm_map_memory(fx_vm(&f, "vm"), &m, NULL, answer_store, &answer, NULL), EBADF);

        assert_error(fx_unmap(&f, "vm", 0x100000, 8192), ENOENT);
        assert_problem(&f.problem, PROBLEM_NO_SUCH_MAPPING, "0x100000");
        while (fx_vm(&f, "vm")->context.n_mappings < 3)
                assert_ok(fx_map(&f, "vm", fx_vm(&f, "vm")->context.n_mappings << 30, 4096));
        assert_error(fx_map(&f, "vm", UINT64_C(5) << 30, 4096), EDQUOT);
        assert_problem(&f.problem, PROBLEM_LIMITS_EXCEEDED, "has 3 mappings");
        fx_done(&f);
}

static void memory_is_used_up(void **state) {
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.pinned_memory_percent = 0;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_map(&f, "vm", 0, RAM_BYTES), EDQUOT);
        assert_problem(&f.problem, PROBLEM_NO_PINNABLE_MEMORY, "Wanted 4 MiB");
        fx_done(&f);
}

/* ---- vIOMMUs by themselves ---- */

static void viommus_come_and_go(void **state) {
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_B, FN_C)));
        assert_error(fx_viommu_create(&f, "vm", 0), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "has a vIOMMU on ivhd0 already");
        assert_error(fx_viommu_create(&f, "vm", 2), ENODEV);
        assert_problem(&f.problem, PROBLEM_NO_HOST_IOMMU, "no function behind ivhd2");
        assert_error(fx_viommu_create(&f, "vm", 99), ENODEV);
        assert_error(fx_viommu_destroy(&f, "vm", 2), ENOENT);
        assert_problem(&f.problem, PROBLEM_NO_SUCH_VIOMMU, "no vIOMMU on ivhd2");

        for (unsigned i = 0; i < 3; i++) {
                assert_ok(fx_viommu_destroy(&f, "vm", 0));
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 0);
                counters(&f, &c);
                assert_true(c.viommus == 1 && c.vdevices == 1 && c.bound_functions == 3);
                assert_ok(fx_viommu_create(&f, "vm", 0));
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
                counters(&f, &c);
                assert_true(c.viommus == 2 && c.vdevices == 3);
        }

        /* Refused by the kernel, and by the ledger. */
        assert_ok(fx_viommu_destroy(&f, "vm", 0));
        assert_ok(sim_set_limit(f.kernel, SIM_LIMIT_GUEST_IDS, 0, 0));
        assert_error(fx_viommu_create(&f, "vm", 0), ENOSPC);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 0);
        assert_ok(ledger_set_capacity(f.manager->ledger, RESOURCE_INSTANCES, 0, 0));
        assert_error(fx_viommu_create(&f, "vm", 0), EDQUOT);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A VMM that has the page mapped keeps the vIOMMU, and its charge. */
static void viommu_is_in_use(void **state) {
        volatile void *page;
        uint64_t offset;
        Fixture f;
        int iommufd;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
        iommufd = fx_vm(&f, "vm")->context.iommufd;
        offset = context_find_viommu(&fx_vm(&f, "vm")->context, 1)->vfmmio_offset;
        assert_ok(f.kernel->ops->vfmmio_map(f.kernel, iommufd, offset, &page));

        assert_error(fx_viommu_destroy(&f, "vm", 1), EBUSY);
        assert_problem(&f.problem, PROBLEM_BUSY, "ivhd1 is in use still");
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);
        assert_ok(fx_detach(&f, "vm", FN_C)); /* the function goes, the vIOMMU cannot */
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);

        assert_ok(f.kernel->ops->vfmmio_unmap(f.kernel, iommufd, offset, page));
        assert_ok(fx_viommu_destroy(&f, "vm", 1));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_attach(&f, "vm", FNS(FN_C)));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- attaching ---- */

static void attachments_refused(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_create(&f, "other", HW, FNS(FN_B)));
        assert_error(fx_attach(&f, "vm", FNS(FN_A)), EBUSY);
        assert_problem(&f.problem, PROBLEM_FUNCTION_IN_USE, "belongs already to VM vm");
        assert_error(fx_attach(&f, "vm", FNS(FN_B)), EBUSY);
        assert_error(fx_attach(&f, "vm", FNS("0000:10:00.0")), EXDEV);
        assert_ok(fx_probe(&f, 1));
        assert_error(fx_attach(&f, "vm", FNS(FN_GUARD)), EACCES);
        assert_error(fx_attach(&f, "vm", FNS(FN_C, FN_GUARD)), EACCES); /* the first was bound */
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 1);
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_attach(&f, "other", FNS(FN_C))); /* and is free */
        assert_error(fx_detach(&f, "vm", FN_B), ENODEV);
        assert_problem(&f.problem, PROBLEM_NO_SUCH_FUNCTION, "VM vm has no function");
        assert_error(fx_open(&f, "vm", FN_B), ENODEV);
        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_destroy(&f, "other", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void tokens(void **state) {
        FunctionRequest guarded = { .address = address(FN_GUARD),
                                    .has_vf_token = true,
                                    .vf_token = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
                                                  0xff } };
        Answer answer = {};
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_request(&request, "vm", HW, FNS());
        assert_ok(vm_request_add_function(&request, &guarded));
        assert_ok(fx_create_request(&f, &request, NULL)); /* probed with it too */
        assert_ok(fx_detach(&f, "vm", FN_GUARD));
        assert_ok(vm_attach_functions(fx_vm(&f, "vm"), &guarded, 1, 0, NULL, answer_store, &answer,
                                      NULL));
        fx_run_until(&f, &answer.given);
        assert_ok(answer.r);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- handing over ---- */

static void handing_over_in_order(void **state) {
        int pidfd;
        pid_t vmm = child_new(&pidfd);
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_confirm(&f, "vm"), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "has no leash");
        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_error(fx_confirm(&f, "vm"), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "Nobody has opened the context");
        assert_ok(fx_open(&f, "vm", NULL));
        assert_ok(fx_confirm(&f, "vm"));
        assert_ok(fx_confirm(&f, "vm")); /* again is no harm */
        /* A function that comes later is the daemon's until the next confirmation. */
        assert_ok(fx_attach(&f, "vm", FNS(FN_B)));
        assert_ok(fx_open(&f, "vm", FN_B));
        assert_ok(fx_confirm(&f, "vm"));
        assert_error(fx_open(&f, "vm", FN_B), EBADFD);
        child_end(vmm);
        fx_run_until_gone(&f, "vm");
        assert_string_equal(f.reason, "vmm-exited");
        fx_assert_clean(&f);
        fx_done(&f);
        fd_close(pidfd);
}

static void detached_after_handover(void **state) {
        int pidfd, theirs[2];
        pid_t vmm = child_new(&pidfd);
        Answer answer = {};
        PciAddress a = address(FN_A);
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_B)));
        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_ok(fx_open(&f, "vm", FN_A));
        for (unsigned i = 0; i < 2; i++)
                theirs[i] = dup(fx_vm(&f, "vm")->context.functions[i].cdev);
        assert_ok(fx_confirm(&f, "vm"));

        /* The VMM does not let go: busy, after a time; and draining. */
        assert_error(fx_detach(&f, "vm", FN_A), EBUSY);
        assert_problem(&f.problem, PROBLEM_BUSY, "is still held by the VMM");
        assert_true(context_find_function(&fx_vm(&f, "vm")->context, &a)->draining);
        assert_error(fx_create(&f, "other", HW, FNS(FN_A)), EBUSY); /* and charged */

        /* It lets go while it is being waited for. */
        assert_ok(vm_detach_function(fx_vm(&f, "vm"), &a, NULL, answer_store, &answer, NULL));
        fx_run_for(&f, 50000);
        assert_false(answer.given);
        fd_close(theirs[0]);
        fx_run_until(&f, &answer.given);
        assert_ok(answer.r);
        assert_null(context_find_function(&fx_vm(&f, "vm")->context, &a));
        assert_ok(fx_create(&f, "other", HW, FNS(FN_A)));

        fd_close(theirs[1]);
        assert_ok(fx_detach(&f, "vm", FN_B));
        assert_ok(fx_destroy(&f, "vm", true));
        assert_ok(fx_destroy(&f, "other", false));
        fx_assert_clean(&f);
        fx_done(&f);
        child_end(vmm);
        fd_close(pidfd);
}

/* ---- leashes ---- */

static void no_leash_in_time(void **state) {
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.admission_timeout_usec = 50000;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        fx_run_until_gone(&f, "vm");
        assert_string_equal(f.reason, "no-leash");
        fx_assert_clean(&f);
        fx_done(&f);
}

static void leashes_of_the_request(void **state) {
        int pidfd;
        pid_t vmm = child_new(&pidfd);
        VmRequest request;
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.admission_timeout_usec = 50000;
        fx_init(&f, "epyc-2p", &config);
        fx_request(&request, "pidfd", HW, FNS(FN_A));
        request.leash_pidfd = dup(pidfd);
        assert_ok(fx_create_request(&f, &request, ":1.7"));
        fx_request(&request, "caller", HW, FNS(FN_B));
        request.leash = LEASH_CALLER;
        assert_ok(fx_create_request(&f, &request, ":1.7"));
        fx_request(&request, "nobody", LEGACY, FNS());
        request.leash = LEASH_CALLER; /* but there is none: the clock runs */
        assert_ok(fx_create_request(&f, &request, NULL));
        assert_int_equal(fx_state(&f, "pidfd"), VM_BOUND);
        assert_int_equal(fx_state(&f, "caller"), VM_BOUND);
        assert_int_equal(fx_state(&f, "nobody"), VM_REALIZED);
        fx_run_until_gone(&f, "nobody");
        assert_string_equal(f.reason, "no-leash");

        manager_name_vanished(f.manager, ":1.70");
        manager_name_vanished(f.manager, ":1.7");
        fx_run_until_gone(&f, "caller");
        assert_string_equal(f.reason, "caller-gone");
        assert_int_equal(fx_state(&f, "pidfd"), VM_BOUND);
        child_end(vmm);
        fx_run_until_gone(&f, "pidfd");
        assert_string_equal(f.reason, "vmm-exited");
        fx_assert_clean(&f);
        fx_done(&f);
        fd_close(pidfd);
}

static void leashes_refused(void **state) {
        int pidfd, dead, pipes[2];
        pid_t vmm = child_new(&pidfd), corpse = child_new(&dead);
        Fixture f;

        (void)state;
        child_end(corpse);
        assert_ok(pipe(pipes));
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_leash(&f, "vm", pipes[0]), EINVAL);
        assert_problem(&f.problem, PROBLEM_NOT_A_PIDFD, "no pidfd");
        assert_error(fx_leash(&f, "vm", 1 << 20), EINVAL);
        assert_error(fx_leash(&f, "vm", dead), ESRCH);
        assert_problem(&f.problem, PROBLEM_VMM_GONE, "ended already");
        assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_ok(fx_leash(&f, "vm", pidfd)); /* another one in its place */

        assert_ok(vm_destroy(fx_vm(&f, "vm"), true, NULL, NULL, NULL, NULL));
        assert_int_equal(fx_state(&f, "vm"), VM_DRAINING);
        assert_error(fx_leash(&f, "vm", pidfd), EBADFD);
        assert_problem(&f.problem, PROBLEM_WRONG_STATE, "is draining, so it takes no leash");
        fx_run_until_gone(&f, "vm");
        fx_assert_clean(&f);
        fx_done(&f);
        child_end(vmm);
        fd_close(pidfd);
        fd_close(dead);
        fd_close(pipes[0]);
        fd_close(pipes[1]);
}

/* Several leave at once. */
static void one_name_holds_many(void **state) {
        static const char *const names[] = { "one", "two", "three", "four" };
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        for_each_case(name, names) {
                VmRequest request;

                fx_request(&request, *name, LEGACY, FNS());
                request.leash = LEASH_CALLER;
                assert_ok(fx_create_request(&f, &request, ":1.7"));
        }
        manager_name_vanished(f.manager, ":1.7");
        for_each_case(name, names) fx_run_until_gone(&f, *name);
        assert_int_equal(f.n_removed, 4);
        fx_assert_clean(&f);
        fx_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(life_of_a_hardware_vm),
                cmocka_unit_test(life_of_a_vmm_vm),
                cmocka_unit_test(memory_of_the_vmm),
                cmocka_unit_test(life_of_a_legacy_vm),
                cmocka_unit_test(emulated_by_the_daemon),
                cmocka_unit_test(groups_of_who_is_not_there),
                cmocka_unit_test(many_at_once),
                cmocka_unit_test(very_many),
                cmocka_unit_test(creation_is_refused),
                cmocka_unit_test(names),
                cmocka_unit_test(used_up),
                cmocka_unit_test(kernel_is_used_up),
                cmocka_unit_test(plan_is_the_same_decision),
                cmocka_unit_test(memory_is_charged_beyond_the_request),
                cmocka_unit_test(bad_memory),
                cmocka_unit_test(memory_is_used_up),
                cmocka_unit_test(viommus_come_and_go),
                cmocka_unit_test(viommu_is_in_use),
                cmocka_unit_test(attachments_refused),
                cmocka_unit_test(tokens),
                cmocka_unit_test(handing_over_in_order),
                cmocka_unit_test(detached_after_handover),
                cmocka_unit_test(no_leash_in_time),
                cmocka_unit_test(leashes_of_the_request),
                cmocka_unit_test(leashes_refused),
                cmocka_unit_test(one_name_holds_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
