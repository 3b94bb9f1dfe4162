/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The admission decision: hosts × requests → verdict, sentence, demands, guest device ids. And what a host's capacities are.
 * Everything here is plain data; no kernel is asked.
 */

#include "core/admission-function.h"
#include "core/admission.h"
#include "host.h"
#include "ledger/quota.h"
#include "oom.h"
#include "unit.h"

#define GIB        (UINT64_C(1) << 30)
#define TABLE      VIOMMU_TABLE_BYTES
#define HELD_MAX   4
#define FNS_MAX    6
#define DEMAND_MAX 10

/* ---- the world ---- */

typedef struct World {
        Inventory *inventory;
        Ledger *ledger;
        Config config;
        AdmissionView view;
        struct {
                PciAddress function;
                const char *holder;
        } held[HELD_MAX];
        size_t n_held;
} World;

static const char *get_holder(void *userdata, const PciAddress *function) {
        const World *w = userdata;

        for (size_t i = 0; i < w->n_held; i++)
                if (pci_address_equal(&w->held[i].function, function))
                        return w->held[i].holder;
        return NULL;
}

/*
 * ivhd0 and ivhd1 share segment 0 on node 0, ivhd2 has segment 1 on node 1. Behind ivhd0: functions alone, a group of two
 * behind a bridge, functions of host drivers, of none, on vfio-pci without a device node, outside groups.
 */
static HostScan *standard_scan(void) {
        HostScan *scan = host_scan_new(256 * GIB);

        (void)host_add_node(scan, 0, 128 * GIB, 64 * GIB);
        (void)host_add_node(scan, 1, 128 * GIB, KERNEL_BYTES_UNKNOWN);
        (void)host_add_iommu(scan, 0, "0000:40:00.2", 0);
        (void)host_add_iommu(scan, 1, "0000:80:00.2", 0);
        (void)host_add_iommu(scan, 2, "0001:40:00.2", 1);
        (void)host_add_function(scan, "0000:41:00.0", 0, 1, "vfio-pci");
        (void)host_add_function(scan, "0000:41:00.1", 0, 2, "vfio-pci");
        host_add_function(scan, "0000:42:00.0", 0, 3, "pcieport")->is_bridge = true;
        (void)host_add_function(scan, "0000:43:00.0", 0, 3, "vfio-pci");
        (void)host_add_function(scan, "0000:43:00.1", 0, 3, "vfio-pci");
        (void)host_add_function(scan, "0000:44:00.0", 0, 4, "nvme");
        (void)host_add_function(scan, "0000:45:00.0", 0, 5, "");
        host_add_function(scan, "0000:46:00.0", 0, 6, "vfio-pci")->cdev = KERNEL_NONE;
        (void)host_add_function(scan, "0000:47:00.0", KERNEL_NONE, KERNEL_NONE, "vfio-pci");
        (void)host_add_function(scan, "0000:48:00.0", 0, KERNEL_NONE, "vfio-pci");
        (void)host_add_function(scan, "0000:49:00.0", 9, 10, "vfio-pci");
        (void)host_add_function(scan, "0000:81:00.0", 1, 7, "vfio-pci");
        (void)host_add_function(scan, "0001:41:00.0", 2, 8, "vfio-pci");
        (void)host_add_function(scan, "0001:42:00.0", 2, 11, "mlx5_core");
        return scan;
}

static void world_init_on(World *w, HostScan *scan, KernelLevel level) {
        *w = (World){};
        config_init(&w->config);
        assert_ok(inventory_new(&w->inventory));
        assert_ok(inventory_apply(w->inventory, &scan));
        for (uint32_t i = 0; i < 3; i++)
                inventory_set_level(w->inventory, i, level, "As probed.");
        assert_ok(ledger_new(&w->ledger));
        assert_ok(capacity_update(w->ledger, w->inventory, &w->config));
        w->view = (AdmissionView){ .inventory = w->inventory,
                                   .ledger = w->ledger,
                                   .config = &w->config,
                                   .get_holder = get_holder,
                                   .userdata = w };
}

static void world_init(World *w) {
        world_init_on(w, standard_scan(), KERNEL_LEVEL_ACCELERATED);
}

static void world_done(World *w) {
        inventory_free(w->inventory);
        ledger_free(w->ledger);
}

static void world_hold(World *w, const char *function, const char *holder) {
        w->held[w->n_held].function = address(function);
        w->held[w->n_held++].holder = holder;
}

/* ---- requests ---- */

typedef struct Fn {
        const char *address;
        const char *guest; /* NULL: to be chosen */
        bool managed;
} Fn;

static void request_init(VmRequest *request, VmTier tier, VmHandover handover, const Fn *fns) {
        vm_request_init(request);
        request->tier = tier;
        request->has_tier = true;
        request->handover = handover;
        request->has_handover = true;
        for (size_t i = 0; i < FNS_MAX && fns[i].address; i++) {
                FunctionRequest f = { .address = address(fns[i].address),
                                      .managed = fns[i].managed };

                if (fns[i].guest) {
                        f.has_guest_id = true;
                        f.guest_id = guest_id(fns[i].guest);
                }
                assert_ok(vm_request_add_function(request, &f));
        }
}

static void assert_demands(const DemandSet *set, const Demand *expected, const char *name) {
        size_t n = 0;

        for (; n < DEMAND_MAX && expected[n].amount > 0; n++) {
                uint64_t amount = 0;

                for (size_t i = 0; i < set->n_demands; i++)
                        if (set->demands[i].kind == expected[n].kind &&
                            set->demands[i].scope == expected[n].scope)
                                amount = set->demands[i].amount;
                if (amount != expected[n].amount)
                        fail_msg("%s: %s of %s: %lu instead of %lu", name,
                                 resource_kind_to_string(expected[n].kind),
                                 RESOURCE_SCOPE_STRING(expected[n].kind, expected[n].scope), amount,
                                 expected[n].amount);
        }
        assert_int_equal(set->n_demands, n);
}

/* ---- a new VM ---- */

#define HW           TIER_HARDWARE, HANDOVER_DAEMON
#define HW_VMM       TIER_HARDWARE, HANDOVER_VMM
#define EMU          TIER_EMULATED, HANDOVER_VMM
#define EMU_DAEMON   TIER_EMULATED, HANDOVER_DAEMON
#define VIRTIO_NONE  TIER_VIRTIO, HANDOVER_NONE
#define INSTANCE(i)  { RESOURCE_INSTANCES, i, 1 }
#define TRANS(s, n)  { RESOURCE_TRANS_DEVIDS, s, n }
#define TABLES(n, k) { RESOURCE_CONTIGUOUS_MEMORY, n, (k) * TABLE }
#define DOMAINS(n)   { RESOURCE_DOMAIN_IDS, 0, n }
#define PINNED(n)    { RESOURCE_PINNED_MEMORY, 0, n }

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
                  { "01:00.0", "01:01.0", "01:02.0" },
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
                  { "01:02.0", "01:01.0", "01:00.0", "01:03.0" },
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

/* ---- levels and tiers ---- */

static void levels(void **state) {
        static const struct {
                KernelLevel level;
                bool plumbing;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { KERNEL_LEVEL_ACCELERATED, false, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_ACCELERATED, true, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_PLUMBING, true, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_PLUMBING, false, PROBLEM_TIER_UNAVAILABLE, "AllowPlumbing=yes" },
                { KERNEL_LEVEL_NESTING, false, PROBLEM_TIER_UNAVAILABLE, "is at \"nesting\"" },
                { KERNEL_LEVEL_NESTING, true, PROBLEM_TIER_UNAVAILABLE, "is at \"nesting\"" },
                { KERNEL_LEVEL_NONE, false, PROBLEM_TIER_UNAVAILABLE, "is at \"none\"" },
                { KERNEL_LEVEL_NONE, true, PROBLEM_TIER_UNAVAILABLE, "is at \"none\"" },
                { KERNEL_LEVEL_UNKNOWN, false, PROBLEM_LEVEL_UNKNOWN, "aviommuctl host --probe" },
                { KERNEL_LEVEL_UNKNOWN, true, PROBLEM_LEVEL_UNKNOWN, "As probed." },
        };

        (void)state;
        for_each_case(c, cases) for (VmHandover handover = HANDOVER_DAEMON;
                                     handover <= HANDOVER_VMM;
                                     handover++) for (unsigned n_functions = 0; n_functions < 2;
                                                      n_functions++) {
                const Fn fns[FNS_MAX] = { { n_functions ? "0000:41:00.0" : NULL } };
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                world_init_on(&w, standard_scan(), c->level);
                w.config.allow_plumbing = c->plumbing;
                request_init(&request, TIER_HARDWARE, handover, fns);
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->kind == PROBLEM_NONE)
                        assert_ok(r);
                else {
                        assert_error(r, problem_kind_to_errno(c->kind));
                        assert_problem(&p, c->kind, c->says);
                }
                admission_done(&a);
                vm_request_done(&request);

                /* The other tiers need no level. */
                request_init(&request, TIER_EMULATED, handover, fns);
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

/* What counts is the IOMMU that a function is behind, not the best of the host. */
static void levels_differ(void **state) {
        static const struct {
                const char *function;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "0000:41:00.0", PROBLEM_TIER_UNAVAILABLE, "on ivhd0, which is at \"nesting\"" },
                { "0000:81:00.0", PROBLEM_NONE, NULL },
                { "0001:41:00.0", PROBLEM_LEVEL_UNKNOWN, "ivhd2 is not known: Not yet." },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                world_init(&w);
                inventory_set_level(w.inventory, 0, KERNEL_LEVEL_NESTING, "Old.");
                inventory_set_level(w.inventory, 2, KERNEL_LEVEL_UNKNOWN, "Not yet.");
                request_init(&request, HW, (Fn[FNS_MAX]){ { c->function } });
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->kind == PROBLEM_NONE)
                        assert_ok(r);
                else {
                        assert_true(r < 0);
                        assert_problem(&p, c->kind, c->says);
                }
                admission_done(&a);
                vm_request_done(&request);

                /* With no function at all one good IOMMU is enough. */
                request_init(&request, HW, (Fn[FNS_MAX]){});
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

static void tiers_of_hosts(void **state) {
        static const struct {
                const char *name;
                int n_iommus;
                IommuVendor vendors[2];
                KernelLevel levels[2];
                int iommufd_error;
                VmTier tier;
                VmHandover handover;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "no IOMMU", 0, {}, {}, 0, HW, PROBLEM_TIER_UNAVAILABLE, "none that is switched" },
                { "no IOMMU, another tier", 0, {}, {}, 0, EMU, PROBLEM_NONE, NULL },
                { "Intel's",
                  1,
                  { IOMMU_VENDOR_INTEL },
                  {},
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd0, which is at \"none\"" },
                { "Intel's and AMD's",
                  2,
                  { IOMMU_VENDOR_INTEL, IOMMU_VENDOR_AMD },
                  { KERNEL_LEVEL_NONE, KERNEL_LEVEL_NESTING },
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd1, which is at \"nesting\"" },
                { "AMD's before Intel's",
                  2,
                  { IOMMU_VENDOR_AMD, IOMMU_VENDOR_INTEL },
                  { KERNEL_LEVEL_NESTING, KERNEL_LEVEL_NONE },
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd0, which is at \"nesting\"" },
                { "one may do",
                  2,
                  {},
                  { KERNEL_LEVEL_NESTING, KERNEL_LEVEL_UNKNOWN },
                  0,
                  HW,
                  PROBLEM_LEVEL_UNKNOWN,
                  "ivhd1 is not known" },
                { "one does",
                  2,
                  {},
                  { KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_ACCELERATED },
                  0,
                  HW,
                  PROBLEM_NONE,
                  NULL },
                { "no iommufd",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "No such file or directory. The hardware tier cannot be had without it." },
                { "no iommufd, emulated",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -EACCES,
                  EMU,
                  PROBLEM_TIER_UNAVAILABLE,
                  "Handover \"vmm\" wants an iommufd, but /dev/iommu cannot be opened: Permission "
                  "denied. Ask for handover \"none\"." },
                { "no iommufd, made by the daemon",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  EMU_DAEMON,
                  PROBLEM_TIER_UNAVAILABLE,
                  "Handover \"daemon\"" },
                { "no iommufd wanted",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  VIRTIO_NONE,
                  PROBLEM_NONE,
                  NULL },
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = host_scan_new(64 * GIB);
                Problem p = {};
                World w;
                int r;

                scan->iommufd_error = c->iommufd_error;
                for (int i = 0; i < c->n_iommus; i++)
                        host_add_iommu(scan, (uint32_t)i, i ? "0000:80:00.2" : "0000:40:00.2", 0)
                                ->vendor = c->vendors[i];
                world_init_on(&w, scan, KERNEL_LEVEL_NONE);
                for (uint32_t i = 0; i < 2; i++)
                        inventory_set_level(w.inventory, i, c->levels[i], "So.");

                r = admission_check_tier(&w.view, c->tier, c->handover, &p);
                if (c->kind == PROBLEM_NONE) {
                        if (r < 0)
                                fail_msg("%s: %s", c->name, p.text);
                } else {
                        if (r == 0)
                                fail_msg("%s: admitted", c->name);
                        assert_problem(&p, c->kind, c->says);
                }
                world_done(&w);
        }
}

static void what_wants_a_probe(void **state) {
        static const struct {
                const char *function;
                VmTier tier;
                KernelLevel level;
                bool wants;
        } cases[] = {
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, true },
                { "0000:43:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, true },
                { "0000:41:00.0", TIER_EMULATED, KERNEL_LEVEL_UNKNOWN, false },
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_ACCELERATED, false },
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_NONE, false },
                { "0000:42:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* a bridge */
                { "0000:44:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* nvme's */
                { "0000:46:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* no node */
                { "0000:47:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* no IOMMU */
                { "0000:99:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* not there */
                { "0000:81:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* held */
        };

        (void)state;
        for_each_case(c, cases) {
                PciAddress a = address(c->function);
                uint32_t iommu = 77;
                World w;

                world_init_on(&w, standard_scan(), c->level);
                world_hold(&w, "0000:81:00.0", "VM other");
                if (admission_wants_probe(&w.view, c->tier, &a, &iommu) != c->wants)
                        fail_msg("%s", c->function);
                assert_int_equal(iommu, c->wants ? 0 : 77);
                world_done(&w);
        }
}

/* ---- amounts ---- */

static void amounts(void **state) {
        static const struct {
                const char *name;
                ResourceKind kind;
                uint32_t scope;
                uint64_t capacity; /* just too little */
                ProblemKind problem;
                uint64_t wanted;
        } cases[] = {
                { "instances", RESOURCE_INSTANCES, 2, 0, PROBLEM_NO_FREE_INSTANCE, 1 },
                { "TransDevIDs", RESOURCE_TRANS_DEVIDS, 0, 1, PROBLEM_NO_FREE_TRANS_DEVID, 2 },
                { "tables", RESOURCE_CONTIGUOUS_MEMORY, 0, 2 * TABLE - 1,
                  PROBLEM_NO_CONTIGUOUS_MEMORY, 2 * TABLE },
                { "domain ids", RESOURCE_DOMAIN_IDS, 0, 30, PROBLEM_NO_FREE_DOMAIN_ID, 31 },
                { "memory", RESOURCE_PINNED_MEMORY, 0, GIB - 1, PROBLEM_NO_PINNABLE_MEMORY, GIB },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;

                world_init(&w);
                request_init(&request, HW,
                             (Fn[FNS_MAX]){
                                     { "0000:41:00.0" }, { "0000:81:00.0" }, { "0001:41:00.0" } });
                request.guest_domains = 10;
                request.memory = GIB;
                assert_ok(ledger_set_capacity(w.ledger, c->kind, c->scope, c->capacity));
                assert_error(admission_decide_vm(&w.view, &request, &a, &p), EDQUOT);
                assert_problem(&p, c->problem, "Wanted ");
                assert_int_equal(p.wanted, c->wanted);
                assert_int_equal(p.available, c->capacity);

                assert_ok(ledger_set_capacity(w.ledger, c->kind, c->scope, c->wanted));
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

/* The ledger may have it while the node has no large blocks. */
static void blocks_of_a_node(void **state) {
        static const struct {
                uint32_t node; /* of the IOMMU */
                uint64_t free;
                bool admitted;
        } cases[] = {
                { 0, 2 * TABLE, true }, { 0, TABLE, false },
                { 0, 0, false },        { 0, KERNEL_BYTES_UNKNOWN, true }, /* the kernel will say */
                { 5, 0, true }, /* a node that the scan does not know */
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = standard_scan();
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                scan->nodes[0].free_contiguous_bytes = c->free;
                scan->iommus[0].numa_node = scan->iommus[1].numa_node = c->node;
                world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
                assert_ok(ledger_set_capacity(w.ledger, RESOURCE_CONTIGUOUS_MEMORY, 5, GIB));
                request_init(&request, HW, (Fn[FNS_MAX]){ { "0000:41:00.0" }, { "0000:81:00.0" } });
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->admitted)
                        assert_ok(r);
                else {
                        assert_error(r, EDQUOT);
                        assert_problem(&p, PROBLEM_NO_CONTIGUOUS_MEMORY,
                                       "Wanted 3072 KiB of contiguous memory on NUMA node0");
                        assert_int_equal(p.available, c->free);
                }
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

static void where_charges_lie(void **state) {
        HostScan *scan = standard_scan();
        ContextViommu v;
        World w;

        (void)state;
        scan->iommus[0].numa_node = KERNEL_NONE; /* counts as the first node's */
        scan->nodes[0].node = 4;
        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        v = admission_viommu_on(w.inventory, inventory_find_iommu(w.inventory, 0));
        assert_true(v.host_iommu == 0 && v.segment == 0 && v.numa_node == 4 && v.viommu_id == 0 &&
                    v.vfmmio_offset == 0);
        v = admission_viommu_on(w.inventory, inventory_find_iommu(w.inventory, 2));
        assert_true(v.host_iommu == 2 && v.segment == 1 && v.numa_node == 1);
        world_done(&w);

        scan = standard_scan();
        scan->iommus[0].numa_node = KERNEL_NONE;
        scan->n_nodes = 0;
        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        v = admission_viommu_on(w.inventory, inventory_find_iommu(w.inventory, 0));
        assert_int_equal(v.numa_node, 0);
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
                  "01:01.0" },
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
                                               request.n_functions, &a, &p);
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
        assert_ok(admission_decide_functions(&w.view, &ctx, 1, &request, 1, &a, NULL));
        assert_true(a.additions.functions[0].has_vf_token);
        assert_memory_equal(a.additions.functions[0].vf_token, "fifteen letters", 16);
        admission_done(&a);
        world_done(&w);
}

/* ---- what a request says by itself ---- */

static void requests_are_completed(void **state) {
        static const struct {
                const char *name;
                bool has_tier;
                VmTier tier;
                int handover; /* -1: not said */
                int domains;  /* -1: not said */
                LeashKind leash;
                bool pidfd;
                Fn functions[FNS_MAX];
                ProblemKind kind;
                const char *says;
                VmHandover completed_handover;
                uint32_t completed_domains;
        } cases[] = {
                { "hardware",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_DAEMON,
                  64 },
                { "emulated",
                  true,
                  TIER_EMULATED,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  true,
                  {},
                  0,
                  NULL,
                  HANDOVER_VMM,
                  0 },
                { "virtio",
                  true,
                  TIER_VIRTIO,
                  -1,
                  -1,
                  LEASH_CALLER,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_VMM,
                  0 },
                { "hardware by the VMM",
                  true,
                  TIER_HARDWARE,
                  HANDOVER_VMM,
                  1,
                  LEASH_PIDFD,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_VMM,
                  1 },
                { "virtio by the daemon",
                  true,
                  TIER_VIRTIO,
                  HANDOVER_DAEMON,
                  -1,
                  LEASH_PIDFD,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_DAEMON,
                  0 },
                { "accounting",
                  true,
                  TIER_EMULATED,
                  HANDOVER_NONE,
                  -1,
                  LEASH_PIDFD,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_NONE,
                  0 },
                { "many domains",
                  true,
                  TIER_HARDWARE,
                  -1,
                  65535,
                  LEASH_PIDFD,
                  false,
                  {},
                  0,
                  NULL,
                  HANDOVER_DAEMON,
                  65535 },
                { "no tier",
                  false,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  false,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "names no tier",
                  0,
                  0 },
                { "hardware without iommufd",
                  true,
                  TIER_HARDWARE,
                  HANDOVER_NONE,
                  -1,
                  LEASH_PIDFD,
                  false,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "needs an iommufd",
                  0,
                  0 },
                { "domains without vIOMMU",
                  true,
                  TIER_VIRTIO,
                  -1,
                  5,
                  LEASH_PIDFD,
                  false,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "leave it out for tier \"virtio\"",
                  0,
                  0 },
                { "no domains",
                  true,
                  TIER_HARDWARE,
                  -1,
                  0,
                  LEASH_PIDFD,
                  false,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "guest-domains is 0",
                  0,
                  0 },
                { "too many domains",
                  true,
                  TIER_HARDWARE,
                  -1,
                  65536,
                  LEASH_PIDFD,
                  false,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "guest-domains is 65536",
                  0,
                  0 },
                { "two leashes",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_CALLER,
                  true,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "not both",
                  0,
                  0 },
                { "too many functions",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  false,
                  { { "0000:41:00.0" },
                    { "0000:41:00.1" },
                    { "0000:41:00.2" },
                    { "0000:41:00.3" } },
                  PROBLEM_LIMITS_EXCEEDED,
                  "Wanted 4 functions, a VM may have 3",
                  0,
                  0 },
                { "as many as there may be",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  false,
                  { { "0000:41:00.0" }, { "0000:41:00.1" }, { "0000:41:00.2" } },
                  0,
                  NULL,
                  HANDOVER_DAEMON,
                  64 },
                { "a function twice",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_PIDFD,
                  false,
                  { { "0000:41:00.0" }, { "0000:41:00.1" }, { "0000:41:00.0" } },
                  PROBLEM_INVALID_ARGUMENT,
                  "0000:41:00.0 is named twice",
                  0,
                  0 },
        };

        (void)state;
        for_each_case(c, cases) {
                VmRequest request;
                Problem p = {};
                Config config;
                int r;

                config_init(&config);
                config.max_functions_per_vm = 3;
                request_init(&request, c->tier, HANDOVER_NONE, c->functions);
                request.has_tier = c->has_tier;
                request.has_handover = c->handover >= 0;
                if (c->handover >= 0)
                        request.handover = (VmHandover)c->handover;
                request.has_guest_domains = c->domains >= 0;
                if (c->domains >= 0)
                        request.guest_domains = (uint32_t)c->domains;
                request.leash = c->leash;
                if (c->pidfd)
                        request.leash_pidfd = dup(0);

                r = admission_complete_request(&request, &config, &p);
                if (c->kind == PROBLEM_NONE) {
                        if (r < 0)
                                fail_msg("%s: %s", c->name, p.text);
                        assert_true(request.has_handover);
                        assert_int_equal(request.handover, c->completed_handover);
                        assert_int_equal(request.guest_domains, c->completed_domains);
                        /* Once completed it stays as it is. */
                        assert_ok(admission_complete_request(&request, &config, &p));
                        assert_int_equal(request.handover, c->completed_handover);
                        assert_int_equal(request.guest_domains, c->completed_domains);
                } else {
                        if (r != -problem_kind_to_errno(c->kind))
                                fail_msg("%s: %i", c->name, r);
                        assert_problem(&p, c->kind, c->says);
                }
                vm_request_done(&request);
                assert_int_equal(request.leash_pidfd, -1);
        }
}

/* ---- capacities ---- */

static uint64_t capacity(const World *w, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *all = ledger_get_accounts(w->ledger, &n),
                            *a = quota_find_account(all, n, kind, scope);

        return a ? a->capacity : UINT64_MAX;
}

static void capacities(void **state) {
        World w;

        (void)state;
        world_init(&w);
        for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(capacity(&w, RESOURCE_INSTANCES, i), 64);
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 3), UINT64_MAX);
        /* id 0, two IOMMUs, 13 functions of segment 0; id 0, one IOMMU, two functions of segment 1 */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 1 - 2 - 12 - 256);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), 65536 - 1 - 1 - 2 - 256);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 0), 128 * GIB / 100 * 5);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 1), 128 * GIB / 100 * 5);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 65535 - 4096);
        assert_int_equal(capacity(&w, RESOURCE_PINNED_MEMORY, 0), 256 * GIB / 100 * 90);

        w.config = (Config){ .instances_per_iommu = 0,
                             .contiguous_memory_per_node_percent = 100,
                             .domain_ids_reserved = 65535,
                             .pinned_memory_percent = 0,
                             .hotplug_devids_reserved = 0 };
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 0), 0);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 15);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 0), 128 * GIB / 100 * 100);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 0);
        assert_int_equal(capacity(&w, RESOURCE_PINNED_MEMORY, 0), 0);
        world_done(&w);
}

/* Whatever has an id of the segment counts, and counts once. */
static void trans_devids(void **state) {
        HostScan *scan = host_scan_new(0);
        PciFunctionInfo *f;
        World w;

        (void)state;
        (void)host_add_iommu(scan, 0, "0000:40:00.2", 0);
        (void)host_add_iommu(scan, 1, "0000:80:00.2", 0);
        host_add_iommu(scan, 2, "0000:c0:00.2", 0)->has_address = false; /* only its segment */
        host_add_iommu(scan, 3, "0005:40:00.2", 0)->vendor = IOMMU_VENDOR_INTEL;

        /* A function that is also listed, as some kernels do, an alias of its own id, of another's, of nobody's, of 0. */
        (void)host_add_function(scan, "0000:40:00.2", 0, 1, "");
        f = host_add_function(scan, "0000:41:00.0", 0, 2, "");
        f->n_aliases = 4;
        f->aliases[0] = 0x4100;
        f->aliases[1] = 0x4101;
        f->aliases[2] = 0x4208;
        f->aliases[3] = 0;
        (void)host_add_function(scan, "0000:41:00.1", 0, 3, "");
        /* An alias is the same id in another segment, but not the same thing. */
        f = host_add_function(scan, "0001:41:00.0", KERNEL_NONE, 4, "");
        f->n_aliases = 1;
        f->aliases[0] = 0x5555;
        (void)host_add_function(scan, "0000:00:00.0", 0, 5, ""); /* id 0 is never given out */

        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        /* 0, 4002, 8002, 4100, 4101, 4208 */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 6 - 256);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), UINT64_MAX); /* no IOMMU there */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 5), UINT64_MAX); /* none of AMD's */
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 3), UINT64_MAX);

        w.config.hotplug_devids_reserved = 65535;
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 0);
        w.config.hotplug_devids_reserved = 65529;
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 1);
        world_done(&w);
}

/* What has gone keeps its account, with nothing in it, for somebody may still be charged there. */
static void what_has_gone(void **state) {
        HostScan *scan = host_scan_new(GIB);
        _cleanup_(demand_set_done) DemandSet one = {};
        Receipt *receipt;
        World w;

        (void)state;
        world_init(&w);
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 2, 1));
        assert_ok(ledger_charge(w.ledger, &one, &receipt, NULL));
        assert_ok(inventory_apply(w.inventory, &scan));
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(capacity(&w, RESOURCE_INSTANCES, i), 0);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), 0);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 1), 0);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 65535 - 4096);
        receipt_done(receipt);
        world_done(&w);
}

/* What is taken and what is given back are the same. */
static void prices(void **state) {
        const ContextViommu v = { .host_iommu = 3, .segment = 1, .numa_node = 2 };
        _cleanup_(demand_set_done) DemandSet set = {};

        (void)state;
        assert_ok(charge_for_vm(&set, 0));
        assert_demands(&set, (Demand[DEMAND_MAX]){ DOMAINS(1) }, "a VM");
        assert_ok(charge_for_viommu(&set, &v, 7));
        assert_ok(charge_for_function(&set, TIER_HARDWARE));
        assert_ok(charge_for_function(&set, TIER_EMULATED));
        assert_ok(charge_for_function(&set, TIER_VIRTIO));
        assert_demands(&set,
                       (Demand[DEMAND_MAX]){ DOMAINS(10), INSTANCE(3), TRANS(1, 1), TABLES(2, 1) },
                       "all");
        assert_int_equal(VIOMMU_TABLE_BYTES, 1536 << 10);
}

/* ---- want of memory ---- */

static void want_of_memory(void **state) {
        Admission a = ADMISSION_NULL;
        VmRequest request;
        VmContext ctx;
        Problem p = {};
        World w;
        int r;

        (void)state;
        world_init(&w);
        request_init(&request, HW,
                     (Fn[FNS_MAX]){ { "0000:41:00.0" }, { "0000:81:00.0" }, { "0001:41:00.0" } });
        request.memory = GIB;
        request.guest_domains = 5;
        OOM_SWEEP(nth, {
                r = admission_decide_vm(&w.view, &request, &a, &p);
                assert_true(r == 0 || r == -ENOMEM);
                assert_false(problem_is_set(&p));
                if (r < 0)
                        assert_null(a.additions.functions);
        });
        assert_int_equal(a.additions.n_functions, 3);
        admission_done(&a);

        for (VmTier tier = TIER_HARDWARE; tier <= TIER_EMULATED; tier++) {
                context_init(&ctx, tier, HANDOVER_DAEMON);
                OOM_SWEEP(nth, {
                        r = admission_decide_functions(&w.view, &ctx, 5, request.functions,
                                                       request.n_functions, &a, &p);
                        assert_true(r == 0 || r == -ENOMEM);
                        if (r < 0)
                                assert_null(a.additions.functions);
                });
                admission_done(&a);
        }

        OOM_SWEEP(nth, {
                r = capacity_update(w.ledger, w.inventory, &w.config);
                assert_true(r == 0 || r == -ENOMEM);
        });
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 2), 64);

        OOM_SWEEP(nth, {
                Ledger *l = NULL;

                if (ledger_new(&l) >= 0) {
                        r = capacity_update(l, w.inventory, &w.config);
                        assert_true(r == 0 || r == -ENOMEM);
                }
                ledger_free(l);
        });

        OOM_SWEEP(nth, {
                VmRequest other;

                vm_request_init(&other);
                r = vm_request_add_function(&other, request.functions);
                assert_true(r == -ENOMEM || other.n_functions == 1);
                vm_request_done(&other);
        });
        vm_request_done(&request);
        world_done(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(admitted),
                cmocka_unit_test(refused),
                cmocka_unit_test(many_in_a_group),
                cmocka_unit_test(no_guest_id_left),
                cmocka_unit_test(levels),
                cmocka_unit_test(levels_differ),
                cmocka_unit_test(tiers_of_hosts),
                cmocka_unit_test(what_wants_a_probe),
                cmocka_unit_test(amounts),
                cmocka_unit_test(blocks_of_a_node),
                cmocka_unit_test(where_charges_lie),
                cmocka_unit_test(more_functions),
                cmocka_unit_test(tokens_are_passed_on),
                cmocka_unit_test(requests_are_completed),
                cmocka_unit_test(capacities),
                cmocka_unit_test(trans_devids),
                cmocka_unit_test(what_has_gone),
                cmocka_unit_test(prices),
                cmocka_unit_test(want_of_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
