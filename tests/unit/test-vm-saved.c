/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A VM to its record and back: what comes out is what went in, and what no VM can be is refused. */

#include "unit.h"

#include "oom.h"
#include "vm/vm-saved.h"

static void on_ended(Leash *leash, const char *reason) {
        (void)leash;
        (void)reason;
        fail();
}

static const ContextFunction functions[] = {
        { .address = { 0, 0x41, 0x08 },
          .host_iommu = 1,
          .group = 7,
          .guest_id = { 0x0208 },
          .has_vf_token = true,
          .vf_token = "0123456789abcde",
          .attached = true,
          .cdev = -1,
          .unplug_fd = -1,
          .device_id = 2,
          .vdevice_id = 9 },
        { .address = { 1, 0x03, 0 },
          .host_iommu = KERNEL_NONE,
          .group = KERNEL_NONE,
          .managed = true,
          .pending = true,
          .cdev = -1,
          .unplug_fd = -1 },
        { .address = { 0, 0x42, 0 },
          .draining = true,
          .handed_over = true,
          .cdev = -1,
          .unplug_fd = -1,
          .device_id = 3 },
};
static const ContextViommu viommus[] = {
        { .host_iommu = 1,
          .segment = 0,
          .numa_node = 1,
          .viommu_id = 5,
          .vfmmio_offset = UINT64_MAX - 4095 },
        { .host_iommu = 2, .segment = 1, .numa_node = KERNEL_NONE, .pending = true },
        { .host_iommu = 3, .draining = true, .viommu_id = 11 },
};

/* A VM in which every member says something. */
static Vm *vm_full(Ledger *ledger) {
        DemandSet set = {};
        Vm *vm;

        assert_ok(vm_new(
                NULL, NULL,
                SD_ID128_MAKE(01, 02, 03, 04, 05, 06, 07, 08, 09, 10, 11, 12, 13, 14, 15, 16),
                "web \"1\" \xc3\xa4", on_ended, &vm));
        vm->owner_uid = 64055;
        (void)strcpy(vm->tenant, "acme");
        vm->reservation = SD_ID128_MAKE(ff, 02, 03, 04, 05, 06, 07, 08, 09, 10, 11, 12, 13, 14, 15,
                                        16);
        vm->memory = UINT64_C(1) << 40;
        vm->guest_domains = 12;
        vm->end_reason = VM_END_NO_LEASH;
        (void)snprintf(vm->state_reason, sizeof(vm->state_reason), "held by\nsomebody");
        context_init(&vm->context, TIER_HARDWARE, HANDOVER_DAEMON);
        vm->context.shared = vm->context.confirmed = vm->context.confirming = true;
        vm->context.ioas_id = 1;
        vm->context.hwpt_id = 4;
        for (size_t i = 0; i < ELEMENTSOF(functions); i++)
                assert_ok(context_add_function(&vm->context, functions + i));
        for (size_t i = 0; i < ELEMENTSOF(viommus); i++)
                assert_ok(context_add_viommu(&vm->context, viommus + i));
        assert_ok(context_add_mapping(&vm->context, 0, 4096));
        assert_ok(context_add_mapping(&vm->context, UINT64_MAX - 4095, 4096));
        assert_ok(context_add_mapping(&vm->context, 8192, 4096));
        vm->context.mappings[0].pending = false;
        vm->context.mappings[2].pending = false;
        vm->context.mappings[2].draining = true;

        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 1));
        assert_ok(demand_set_add(&set, RESOURCE_PINNED_MEMORY, 0, UINT64_C(1) << 40));
        assert_ok(ledger_restore(ledger, &set, &vm->receipt));
        demand_set_done(&set);
        return vm;
}

static VmSnapshot snapshot_of(const Vm *vm) {
        return (VmSnapshot){ .vm = vm,
                             .context = &vm->context,
                             .state = VM_QUARANTINED,
                             .leash = LEASH_CALLER,
                             .leash_caller = ":1.42",
                             .deadline_usec = UINT64_MAX };
}

static void there_and_back(void **state) {
        _cleanup_(vm_record_done) VmRecord record = {}, second = {};
        _cleanup_free_ char *text = NULL, *text_again = NULL;
        VmSnapshot snapshot, again;
        DemandSet more_set = {};
        Receipt *more;
        VmSaved saved;
        Ledger *ledger;
        Vm *vm, *back;

        (void)state;
        assert_ok(ledger_new(&ledger));
        vm = vm_full(ledger);
        assert_ok(demand_set_add(&more_set, RESOURCE_INSTANCES, 1, 2));
        assert_ok(ledger_restore(ledger, &more_set, &more));
        snapshot = snapshot_of(vm);
        snapshot.more = more;
        snapshot.memory = vm->memory + 4096; /* AttachDevice has raised it */
        assert_ok(vm_save(&snapshot, &record));
        assert_string_equal(record.leash_caller, ":1.42");
        assert_true(record.deadline_usec == UINT64_MAX);
        assert_true(record.memory == vm->memory + 4096);
        vm->memory = record.memory;

        assert_ok(vm_load(NULL, NULL, on_ended, &record, &back, &saved));
        assert_int_equal(saved.state, VM_QUARANTINED);
        assert_int_equal(saved.leash, LEASH_CALLER);
        assert_int_equal(saved.charges.n_demands, 2);
        assert_int_equal(saved.charges.demands[0].amount,
                         3); /* what an operation adds counts too */
        assert_true(sd_id128_equal(back->uuid, vm->uuid));
        assert_string_equal(back->name, vm->name);
        assert_string_equal(back->state_reason, vm->state_reason);
        assert_int_equal(back->owner_uid, vm->owner_uid);
        assert_string_equal(back->tenant, "acme");
        assert_true(sd_id128_equal(back->reservation, vm->reservation));
        assert_ptr_equal(back->end_reason, vm_end_reason_find(VM_END_NO_LEASH));
        assert_true(back->memory == vm->memory && back->guest_domains == vm->guest_domains);
        assert_int_equal(back->state, VM_ADMITTED);
        assert_null(back->receipt);
        assert_int_equal(back->context.n_mappings, 3);
        for (size_t i = 0; i < back->context.n_functions; i++)
                assert_true(back->context.functions[i].cdev == -1 &&
                            back->context.functions[i].unplug_fd == -1);
        again = snapshot;
        again.context = &back->context;
        assert_ok(vm_save(&again, &second));
        assert_ok(vm_record_format(&record, &text));
        assert_ok(vm_record_format(&second, &text_again));
        assert_string_equal(text, text_again);              /* the lists */
        assert_int_equal(back->context.mapped_bytes, 8192); /* the pending one is not there yet */
        assert_true(back->context.shared && back->context.confirmed && back->context.confirming);
        assert_true(back->context.ioas_id == 1 && back->context.hwpt_id == 4);
        assert_int_equal(back->context.iommufd, -1);

        vm_saved_done(&saved);
        demand_set_done(&more_set);
        receipt_done(more);
        vm_free(back);
        vm_free(vm);
        ledger_free(ledger);
}

/* A name and reasons as long as they can be. */
static void longest(void **state) {
        _cleanup_(vm_record_done) VmRecord record = {};
        char name[VM_NAME_MAX + 1] = "";
        VmSnapshot snapshot;
        Vm *vm;

        (void)state;
        memset(name, 'n', VM_NAME_MAX);
        assert_ok(vm_new(NULL, NULL, SD_ID128_NULL, name, on_ended, &vm));
        memset(vm->state_reason, 'r', sizeof(vm->state_reason) - 1);
        snapshot = snapshot_of(vm);
        snapshot.leash_caller = NULL;
        assert_ok(vm_save(&snapshot, &record));
        assert_string_equal(record.name, name);
        assert_string_equal(record.state_reason, vm->state_reason);
        assert_string_equal(record.leash_caller, "");
        vm_free(vm);
}

/* ---- what no VM can be ---- */

static void twice_function(VmRecord *r) {
        r->functions[1].address = r->functions[0].address;
}

static void twice_viommu(VmRecord *r) {
        r->viommus[1].host_iommu = r->viommus[0].host_iommu;
}

static void overlap(VmRecord *r) {
        r->mappings[1].iova = r->mappings[0].iova;
}

static void empty_mapping(VmRecord *r) {
        r->mappings[0].length = 0;
}

static void beyond_the_end(VmRecord *r) {
        r->mappings[1].length = 8192;
}

static void much(VmRecord *r) {
        r->charges[0].amount = (UINT64_C(1) << 56) + 1;
}

/* Each is an amount that there may be; their sum is none. */
static void much_in_all(VmRecord *r) {
        const RecordCharge charge = r->charges[0];

        r->n_charges = 512;
        r->charges = reallocarray(r->charges, r->n_charges, sizeof(RecordCharge));
        assert_non_null(r->charges);
        for (size_t i = 0; i < r->n_charges; i++) {
                r->charges[i] = charge;
                r->charges[i].amount = UINT64_C(1) << 56;
        }
}

#define WORD(member)                                                                               \
        static void bad_##member(VmRecord *r) {                                                    \
                (void)snprintf(r->member, sizeof(r->member), "nonsense");                          \
        }
WORD(tier)
WORD(handover)
WORD(state)
WORD(leash)
WORD(end_reason)

static void bad_tenant(VmRecord *r) {
        (void)snprintf(r->tenant, sizeof(r->tenant), "no tenant");
}

static void bad_reservation(VmRecord *r) {
        (void)snprintf(r->reservation, sizeof(r->reservation), "no token");
}

static void bad_resource(VmRecord *r) {
        (void)snprintf(r->charges[0].resource, sizeof(r->charges[0].resource), "nonsense");
}

static void released(VmRecord *r) {
        (void)snprintf(r->state, sizeof(r->state), "released");
}

static void refused(void **state) {
        static void (*const breaks[])(VmRecord *) = {
                twice_function, twice_viommu, overlap,     empty_mapping,
                beyond_the_end, much,         bad_tier,    bad_handover,
                bad_state,      bad_leash,    bad_tenant,  bad_end_reason,
                bad_resource,   released,     much_in_all, bad_reservation,
        };
        Ledger *ledger;

        (void)state;
        assert_ok(ledger_new(&ledger));
        for (size_t i = 0; i < ELEMENTSOF(breaks); i++) {
                Vm *vm = vm_full(ledger), *back = NULL;
                VmSnapshot snapshot = snapshot_of(vm);
                VmRecord record;
                VmSaved saved;
                int r;

                assert_ok(vm_save(&snapshot, &record));
                breaks[i](&record);
                r = vm_load(NULL, NULL, on_ended, &record, &back, &saved);
                if (r != -EBADMSG || back)
                        fail_msg("case %zu: %i", i, r);
                vm_record_done(&record);
                vm_free(vm);
        }
        ledger_free(ledger);
}

/* A record of before there were tenants. */
static void without_tenant(void **state) {
        VmSnapshot snapshot;
        VmRecord record;
        VmSaved saved;
        Ledger *ledger;
        Vm *vm, *back;

        (void)state;
        assert_ok(ledger_new(&ledger));
        vm = vm_full(ledger);
        snapshot = snapshot_of(vm);
        assert_ok(vm_save(&snapshot, &record));
        record.tenant[0] = record.reservation[0] = '\0';
        assert_ok(vm_load(NULL, NULL, on_ended, &record, &back, &saved));
        assert_string_equal(back->tenant, "");
        assert_true(sd_id128_is_null(back->reservation));
        vm_saved_done(&saved);
        vm_record_done(&record);
        vm_free(back);
        vm_free(vm);
        ledger_free(ledger);
}

static void without_memory(void **state) {
        Ledger *ledger;
        Vm *vm;

        (void)state;
        assert_ok(ledger_new(&ledger));
        vm = vm_full(ledger);
        OOM_SWEEP(nth, {
                const VmSnapshot snapshot = snapshot_of(vm);
                VmRecord record = {};
                VmSaved saved = {};
                Vm *back = NULL;
                int r = vm_save(&snapshot, &record);

                if (r >= 0)
                        r = vm_load(NULL, NULL, on_ended, &record, &back, &saved);
                assert_true(r == 0 || r == -ENOMEM);
                assert_true(!!back == (r == 0));
                vm_saved_done(&saved);
                vm_record_done(&record);
                vm_free(back);
        });
        vm_free(vm);
        ledger_free(ledger);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(there_and_back), cmocka_unit_test(longest),
                cmocka_unit_test(refused),        cmocka_unit_test(without_tenant),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
