/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The admission decision: hosts × requests → verdict, sentence, demands, guest device ids. For a new VM, and for more functions. */

#include "admission.h"

static void admitted(void **state) {
        static const struct {
                const char *name;
                VmTier tier;
                VmHandover handover;
                Fn functions[FNS_MAX];
                uint64_t memory;
                uint32_t guest_domains;
                Demand demands[DEMAND_MAX];
                const char *guest_ids[FNS_MAX];
                size_t n_viommus;
        } cases[] = {
                { "nothing but itself", HW, {}, 0, 64, { DOMAINS(1) }, {}, 0 },
                { "memory", HW, {}, 3 * GIB, 64, { DOMAINS(1), PINNED(3 * GIB) }, {}, 0 },
                { "one function",
                  HW,
                  { { "0000:41:00.0" } },
                  GIB,
                  64,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(65), PINNED(GIB) },
                  { "01:00.0" },
                  1 },
                { "two behind one IOMMU share a vIOMMU",
                  HW,
                  { { "0000:41:00.0" }, { "0000:41:00.1" } },
                  0,
                  10,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(11) },
                  { "01:00.0", "01:01.0" },
                  1 },
                { "one behind each",
                  HW,
                  { { "0001:41:00.0" }, { "0000:81:00.0" }, { "0000:41:00.0" } },
                  0,
                  10,
                  { INSTANCE(0), INSTANCE(1), INSTANCE(2), TRANS(0, 2), TRANS(1, 1), TABLES(0, 2),
                    TABLES(1, 1), DOMAINS(31) },
                  { "01:00.0", "02:00.0", "03:00.0" },
                  3 },
                { "a whole group, its bridge left out",
                  HW,
                  { { "0000:43:00.1" }, { "0000:43:00.0" } },
                  0,
                  1,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(2) },
                  { "01:00.0", "01:01.0" },
                  1 },
                { "guest ids around those given",
                  HW,
                  { { "0000:41:00.0" },
                    { "0000:41:00.1", "01:01.0" },
                    { "0000:81:00.0", "01:00.0" },
                    { "0001:41:00.0" } },
                  0,
                  1,
                  { INSTANCE(0), INSTANCE(1), INSTANCE(2), TRANS(0, 2), TRANS(1, 1), TABLES(0, 2),
                    TABLES(1, 1), DOMAINS(4) },
                  { "02:00.0", "01:01.0", "01:00.0", "03:00.0" },
                  3 },
                { "guest ids of any kind",
                  HW,
                  { { "0000:41:00.0", "00:00.0" }, { "0000:41:00.1", "ff:1f.7" } },
                  0,
                  1,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(2) },
                  { "00:00.0", "ff:1f.7" },
                  1 },
                { "hardware, made by the VMM",
                  HW_VMM,
                  { { "0000:41:00.0" } },
                  0,
                  64,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(65) },
                  { "01:00.0" },
                  1 },
                { "managed, so not bound yet",
                  HW_VMM,
                  { { "0000:44:00.0", NULL, true } },
                  0,
                  64,
                  { INSTANCE(0), TRANS(0, 1), TABLES(0, 1), DOMAINS(65) },
                  { "01:00.0" },
                  1 },
                { "emulated",
                  EMU,
                  { { "0000:41:00.0" }, { "0001:41:00.0" } },
                  GIB,
                  0,
                  { DOMAINS(3), PINNED(GIB) },
                  { "00:00.0", "00:00.0" },
                  0 },
                { "emulated, made by the daemon",
                  EMU_DAEMON,
                  { { "0000:41:00.0" } },
                  0,
                  0,
                  { DOMAINS(2) },
                  { "00:00.0" },
                  0 },
                { "emulated, managed",
                  EMU,
                  { { "0000:45:00.0", NULL, true } },
                  0,
                  0,
                  { DOMAINS(2) },
                  { "00:00.0" },
                  0 },
                { "legacy VFIO has no device node",
                  VIRTIO_NONE,
                  { { "0000:46:00.0" } },
                  0,
                  0,
                  { DOMAINS(2) },
                  { "00:00.0" },
                  0 },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                size_t n = 0;

                world_init(&w);
                request_init(&request, c->tier, c->handover, c->functions);
                request.memory = c->memory;
                request.guest_domains = c->guest_domains;

                if (admission_decide_vm(&w.view, &request, &a, &p) != 0)
                        fail_msg("%s: %s", c->name, p.text);
                assert_false(problem_is_set(&p));
                assert_demands(&a.demands, c->demands, c->name);
                assert_int_equal(a.guest_domains, c->guest_domains);
                assert_int_equal(a.additions.tier, c->tier);
                assert_int_equal(a.additions.handover, c->handover);
                assert_int_equal(a.additions.iommufd, -1);
                assert_int_equal(a.additions.n_viommus, c->n_viommus);
                for (; n < FNS_MAX && c->functions[n].address; n++) {
                        const ContextFunction *f = a.additions.functions + n;
                        const PciFunctionInfo *info = inventory_find_function(w.inventory,
                                                                              &f->address);

                        assert_string_equal(PCI_ADDRESS_STRING(&f->address),
                                            c->functions[n].address);
                        if (!streq(GUEST_DEVICE_ID_STRING(f->guest_id), c->guest_ids[n]))
                                fail_msg("%s: %s is %s in the guest", c->name,
                                         c->functions[n].address,
                                         GUEST_DEVICE_ID_STRING(f->guest_id));
                        assert_int_equal(f->host_iommu, info->host_iommu);
                        assert_int_equal(f->group, info->group);
                        assert_int_equal(f->managed, c->functions[n].managed);
                        assert_true(f->cdev == -1 && f->unplug_fd == -1 && f->device_id == 0 &&
                                    f->vdevice_id == 0 && !f->attached && !f->draining);
                        assert_int_equal(!!context_find_viommu(&a.additions, f->host_iommu),
                                         c->tier == TIER_HARDWARE);
                }
                assert_int_equal(a.additions.n_functions, n);

                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

static void refused(void **state) {
        static const struct {
                const char *name;
                VmTier tier;
                VmHandover handover;
                Fn functions[FNS_MAX];
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "no such function",
                  HW,
                  { { "0000:99:00.0" } },
                  PROBLEM_NO_SUCH_FUNCTION,
                  "no PCI function 0000:99:00.0" },
                { "a bridge",
                  HW,
                  { { "0000:42:00.0" } },
                  PROBLEM_INVALID_ARGUMENT,
                  "0000:42:00.0 is a bridge" },
                { "held",
                  HW,
                  { { "0000:81:00.0" } },
                  PROBLEM_FUNCTION_IN_USE,
                  "0000:81:00.0 belongs to VM other." },
                { "behind no IOMMU",
                  HW,
                  { { "0000:47:00.0" } },
                  PROBLEM_NO_HOST_IOMMU,
                  "0000:47:00.0 is behind no IOMMU" },
                { "in no group", HW, { { "0000:48:00.0" } }, PROBLEM_NO_HOST_IOMMU, "confined" },
                { "behind an unknown IOMMU",
                  EMU,
                  { { "0000:49:00.0" } },
                  PROBLEM_NO_HOST_IOMMU,
                  "0000:49:00.0" },
                { "a host driver's",
                  HW,
                  { { "0000:44:00.0" } },
                  PROBLEM_FUNCTION_NOT_BOUND,
                  "is on nvme: run 'driverctl set-override 0000:44:00.0 vfio-pci'" },
                { "nobody's",
                  EMU,
                  { { "0000:45:00.0" } },
                  PROBLEM_FUNCTION_NOT_BOUND,
                  "is on no driver" },
                { "without iommufd it has to be bound too",
                  VIRTIO_NONE,
                  { { "0000:44:00.0" } },
                  PROBLEM_FUNCTION_NOT_BOUND,
                  "is on nvme" },
                { "without a device node",
                  HW,
                  { { "0000:46:00.0" } },
                  PROBLEM_FUNCTION_NOT_BOUND,
                  "CONFIG_VFIO_DEVICE_CDEV" },
                { "without a device node, for a VMM",
                  EMU,
                  { { "0000:46:00.0" } },
                  PROBLEM_FUNCTION_NOT_BOUND,
                  "no VFIO device node" },
                { "managed, but wanted now",
                  HW,
                  { { "0000:44:00.0", NULL, true } },
                  PROBLEM_INVALID_ARGUMENT,
                  "managed" },
                { "a part of a group",
                  HW,
                  { { "0000:43:00.0" } },
                  PROBLEM_GROUP_NOT_WHOLE,
                  "shares IOMMU group 3 with 0000:43:00.1, not given" },
                { "a part of a held group",
                  HW,
                  { { "0000:41:00.0" }, { "0001:41:00.1" } },
                  PROBLEM_FUNCTION_IN_USE,
                  "0001:41:00.1 shares IOMMU group 8 with 0001:41:00.0, which belongs to VM "
                  "another." },
                { "the same guest id twice",
                  HW,
                  { { "0000:41:00.0", "02:00.0" }, { "0000:41:00.1", "02:00.0" } },
                  PROBLEM_DUPLICATE_GUEST_ID,
                  "0000:41:00.1 and 0000:41:00.0 cannot both be 02:00.0" },
                { "a guest id where there is none",
                  EMU,
                  { { "0000:41:00.0", "02:00.0" } },
                  PROBLEM_INVALID_ARGUMENT,
                  "which only the hardware tier has" },
                { "the second is refused",
                  HW,
                  { { "0000:41:00.0" }, { "0000:99:00.0" } },
                  PROBLEM_NO_SUCH_FUNCTION,
                  "0000:99:00.0" },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                HostScan *scan = standard_scan();
                VmRequest request;
                Problem p = {};
                World w;

                (void)host_add_function(scan, "0001:41:00.1", 2, 8, "vfio-pci");
                world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
                world_hold(&w, "0000:81:00.0", "VM other");
                world_hold(&w, "0001:41:00.0", "VM another");
                request_init(&request, c->tier, c->handover, c->functions);
                if (admission_decide_vm(&w.view, &request, &a, &p) !=
                    -problem_kind_to_errno(c->kind))
                        fail_msg("%s: not refused", c->name);
                assert_problem(&p, c->kind, c->says);
                assert_int_equal(a.additions.n_functions, 0); /* nothing comes back */
                assert_null(a.demands.demands);
                /* Who does not want the words need not take them. */
                assert_error(admission_decide_vm(&w.view, &request, &a, NULL),
                             problem_kind_to_errno(c->kind));
                vm_request_done(&request);
                world_done(&w);
        }
}

/* Opening a PF resets its VFs, which may be another VM's. */
static void physical_function_of_others(void **state) {
        static const struct {
                Fn functions[FNS_MAX];
                VmHandover handover;
                bool own, token, admitted;
        } cases[] = {
                { { { "0000:4a:00.0" } }, HANDOVER_DAEMON, .admitted = false },
                { { { "0000:4a:00.0" } }, HANDOVER_VMM, .admitted = false },
                { { { "0000:4a:00.0", NULL, true } }, HANDOVER_VMM, .admitted = false },
                { { { "0000:4a:00.0" } }, HANDOVER_VMM, .own = true, .admitted = true },
                { { { "0000:4a:00.0" } }, HANDOVER_VMM, .token = true, .admitted = true },
                /* The kernel has its VFs ask for the token. */
                { { { "0000:4a:00.2" } }, HANDOVER_VMM, .admitted = true },
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = standard_scan();
                Admission a = ADMISSION_NULL;
                VmRequest request;
                VmContext ctx;
                Problem p = {};
                World w;
                int r;

                (void)host_add_function(scan, "0000:4a:00.0", 0, 60, "vfio-pci");
                for (unsigned i = 1; i < 3; i++) {
                        char text[PCI_ADDRESS_STRING_SIZE];
                        PciFunctionInfo *vf;

                        (void)snprintf(text, sizeof(text), "0000:4a:00.%c", '0' + (int)i);
                        vf = host_add_function(scan, text, 0, 60 + i, "vfio-pci");
                        vf->is_virtual = true;
                        vf->physical_function = address("0000:4a:00.0");
                }
                world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
                world_hold(&w, "0000:4a:00.1", "VM other");
                context_init(&ctx, TIER_EMULATED, c->handover);
                if (c->own)
                        assert_ok(context_add_function(
                                &ctx, &(ContextFunction){ .address = address("0000:4a:00.1"),
                                                          .cdev = -1,
                                                          .unplug_fd = -1 }));
                request_init(&request, TIER_EMULATED, c->handover, c->functions);
                request.functions[0].has_vf_token = c->token;
                r = admission_decide_functions(&w.view, &ctx, 0, request.functions,
                                               request.n_functions, 0, &a, &p);
                if (c->admitted)
                        assert_ok(r);
                else {
                        assert_error(r, EBUSY);
                        assert_problem(&p, PROBLEM_FUNCTION_IN_USE,
                                       "0000:4a:00.0 is the PF of 0000:4a:00.1, which belongs to "
                                       "VM other");
                }
                admission_done(&a);
                vm_request_done(&request);
                context_done(&ctx);
                world_done(&w);
        }
}

/* A large group is named as far as the sentence goes. */
static void many_in_a_group(void **state) {
        HostScan *scan = standard_scan();
        Admission a = ADMISSION_NULL;
        VmRequest request;
        Problem p = {};
        World w;

        (void)state;
        for (unsigned i = 0; i < 31; i++) {
                char text[PCI_ADDRESS_STRING_SIZE];

                (void)snprintf(text, sizeof(text), "0000:50:%02x.0", i);
                (void)host_add_function(scan, text, 0, 50, "vfio-pci");
        }
        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        request_init(&request, HW, (Fn[FNS_MAX]){ { "0000:50:04.0" } });
        assert_error(admission_decide_vm(&w.view, &request, &a, &p), EXDEV);
        assert_problem(&p, PROBLEM_GROUP_NOT_WHOLE, "with 0000:50:00.0 0000:50:01.0 0000:50:02.0 ");
        assert_contains(p.text, "name all of it at once.");
        assert_null(strstr(p.text, "0000:50:04.0 0000"));
        vm_request_done(&request);
        world_done(&w);
}

/* All the guest device ids that the daemon would choose are given away: none is left to choose. */
static void no_guest_id_left(void **state) {
        VmContext existing, added;
        FunctionRequest request = { .address = address("0000:41:00.0") };
        Problem p = {};
        World w;

        (void)state;
        world_init(&w);
        context_init(&existing, HW);
        context_init(&added, HW);
        for (uint32_t bdf = 0x100; bdf <= UINT16_MAX; bdf += 8) {
                ContextFunction f = { .address = { .segment = 7,
                                                   .bus = (uint8_t)(bdf >> 8),
                                                   .devfn = (uint8_t)bdf },
                                      .guest_id = { (uint16_t)bdf } };

                if (bdf == 0xfff8) { /* the last one */
                        assert_ok(admission_plan_functions(&w.view, &existing, &request, 1, &added,
                                                           &p));
                        assert_int_equal(added.functions[0].guest_id.bdf, 0xfff8);
                        context_done(&added);
                }
                assert_ok(context_add_function(&existing, &f));
        }
        assert_error(admission_plan_functions(&w.view, &existing, &request, 1, &added, &p), EEXIST);
        assert_problem(&p, PROBLEM_DUPLICATE_GUEST_ID, "no guest device id left");
        context_done(&existing);
        context_done(&added);
        world_done(&w);
}

/* ---- more functions for a VM ---- */

static void more_functions(void **state) {
        static const struct {
                const char *name;
                VmTier tier;
                VmHandover handover;
                const char *has[3]; /* with guest ids from 01:00.0 on, all behind ivhd0 */
                Fn functions[FNS_MAX];
                ProblemKind kind;
                const char *says;
                Demand demands[DEMAND_MAX];
                const char *guest_id; /* of the first */
        } cases[] = {
                { "behind a new IOMMU",
                  HW,
                  { "0000:41:00.0" },
                  { { "0001:41:00.0" } },
                  PROBLEM_NONE,
                  NULL,
                  { INSTANCE(2), TRANS(1, 1), TABLES(1, 1), DOMAINS(20) },
                  "02:00.0" },
                { "on the vIOMMU that is there",
                  HW,
                  { "0000:41:00.0" },
                  { { "0000:41:00.1" } },
                  PROBLEM_NONE,
                  NULL,
                  {},
                  "01:01.0" },
                { "a group at once",
                  HW,
                  { "0000:41:00.0" },
                  { { "0000:43:00.1", "05:00.0" }, { "0000:43:00.0" } },
                  PROBLEM_NONE,
                  NULL,
                  {},
                  "05:00.0" },
                { "emulated",
                  EMU,
                  { "0000:41:00.0" },
                  { { "0000:41:00.1" } },
                  PROBLEM_NONE,
                  NULL,
                  { DOMAINS(1) },
                  "00:00.0" },
                { "the rest of a group it has",
                  HW,
                  { "0000:43:00.0" },
                  { { "0000:43:00.1" } },
                  PROBLEM_NONE,
                  NULL,
                  {},
                  "01:01.0" },
                { "it has it",
                  HW,
                  { "0000:41:00.0" },
                  { { "0000:41:00.0" } },
                  PROBLEM_FUNCTION_IN_USE,
                  "0000:41:00.0 belongs already to VM this.",
                  {},
                  NULL },
                { "twice",
                  HW,
                  {},
                  { { "0000:41:00.0" }, { "0000:41:00.0" } },
                  PROBLEM_INVALID_ARGUMENT,
                  "0000:41:00.0 is named twice.",
                  {},
                  NULL },
                { "a guest id that it has",
                  HW,
                  { "0000:41:00.0" },
                  { { "0000:41:00.1", "01:00.0" } },
                  PROBLEM_DUPLICATE_GUEST_ID,
                  "0000:41:00.1 and 0000:41:00.0 cannot both be 01:00.0",
                  {},
                  NULL },
                { "too many",
                  HW,
                  { "0000:41:00.0", "0000:43:00.0", "0000:43:00.1" },
                  { { "0000:41:00.1" }, { "0000:81:00.0" } },
                  PROBLEM_LIMITS_EXCEEDED,
                  "has 3 functions and wants 2 more, but may have 4",
                  {},
                  NULL },
                { "as many as there may be",
                  HW,
                  { "0000:41:00.0", "0000:43:00.0", "0000:43:00.1" },
                  { { "0000:41:00.1" } },
                  PROBLEM_NONE,
                  NULL,
                  {},
                  "01:03.0" },
                { "an IOMMU that is too old",
                  HW,
                  { "0000:41:00.0" },
                  { { "0000:81:00.0" } },
                  PROBLEM_TIER_UNAVAILABLE,
                  "ivhd1",
                  {},
                  NULL },
                { "more than is left",
                  HW,
                  {},
                  { { "0000:41:00.0" } },
                  PROBLEM_NO_FREE_INSTANCE,
                  "0 of 0",
                  {},
                  NULL },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                VmContext ctx;
                Problem p = {};
                World w;
                int r;

                world_init(&w);
                w.config.max_functions_per_vm = 4;
                inventory_set_level(w.inventory, 1, KERNEL_LEVEL_NESTING, "Old.");
                context_init(&ctx, c->tier, c->handover);
                for (size_t i = 0; i < ELEMENTSOF(c->has) && c->has[i]; i++) {
                        ContextFunction f = { .address = address(c->has[i]),
                                              .group = streq(c->has[i], "0000:41:00.0") ? 1 : 3,
                                              .guest_id = { (uint16_t)(0x100 + 8 * i) } };

                        assert_ok(context_add_function(&ctx, &f));
                        world_hold(&w, c->has[i], "VM this");
                }
                if (ctx.n_functions > 0 && c->tier == TIER_HARDWARE)
                        assert_ok(context_add_viommu(&ctx, &(ContextViommu){}));
                else if (c->kind == PROBLEM_NO_FREE_INSTANCE)
                        assert_ok(ledger_set_capacity(w.ledger, RESOURCE_INSTANCES, 0, 0));

                request_init(&request, c->tier, c->handover, c->functions);
                r = admission_decide_functions(&w.view, &ctx, 20, request.functions,
                                               request.n_functions, 0, &a, &p);
                if (c->kind == PROBLEM_NONE) {
                        if (r < 0)
                                fail_msg("%s: %s", c->name, p.text);
                        assert_demands(&a.demands, c->demands, c->name);
                        assert_int_equal(a.additions.n_functions, request.n_functions);
                        assert_string_equal(
                                GUEST_DEVICE_ID_STRING(a.additions.functions[0].guest_id),
                                c->guest_id);
                } else {
                        if (r != -problem_kind_to_errno(c->kind))
                                fail_msg("%s: %i %s", c->name, r, p.text);
                        assert_problem(&p, c->kind, c->says);
                        assert_null(a.demands.demands);
                }
                admission_done(&a);
                vm_request_done(&request);
                context_done(&ctx);
                world_done(&w);
        }
}

static void tokens_are_passed_on(void **state) {
        FunctionRequest request = { .address = address("0000:41:00.0"),
                                    .has_vf_token = true,
                                    .vf_token = "fifteen letters" };
        Admission a = ADMISSION_NULL;
        VmContext ctx;
        World w;

        (void)state;
        world_init(&w);
        context_init(&ctx, HW);
        assert_ok(admission_decide_functions(&w.view, &ctx, 1, &request, 1, 0, &a, NULL));
        assert_true(a.additions.functions[0].has_vf_token);
        assert_memory_equal(a.additions.functions[0].vf_token, "fifteen letters", 16);
        admission_done(&a);
        world_done(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(admitted),
                cmocka_unit_test(refused),
                cmocka_unit_test(physical_function_of_others),
                cmocka_unit_test(many_in_a_group),
                cmocka_unit_test(no_guest_id_left),
                cmocka_unit_test(more_functions),
                cmocka_unit_test(tokens_are_passed_on),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
