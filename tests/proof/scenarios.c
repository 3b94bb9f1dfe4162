/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof/scenarios.h"

#include <stdio.h>
#include <unistd.h>

#define MUST(call)                                                                                 \
        do {                                                                                       \
                int _r = (call);                                                                   \
                if (_r < 0)                                                                        \
                        flunk(w, "%s: %s", #call, strerror(-_r));                                  \
        } while (0)

#define CREATE(w, ...) do_create((w), &(CreateArgs){ __VA_ARGS__ })

/* ---- setups ---- */

/* A VM that nothing is done to, with all that a VM can have. Its VMM is the last one. */
static void calm(World *w) {
        MUST(CREATE(w, .name = "calm", HW, .functions = FNS(FN_D), .vmm = VMMS,
                    .memory = RAM_BYTES));
        MUST(do_map(w, "calm", 0, RAM_BYTES));
        MUST(do_open(w, "calm", NULL, VMMS - 1));
        MUST(do_open(w, "calm", FN_D, VMMS - 1));
        MUST(do_confirm(w, "calm"));
}

static void hw(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", HW, .functions = FNS(FN_A, FN_C), .vmm = 1));
}

static void hw_two_behind_one(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", HW, .functions = FNS(FN_A, FN_B), .vmm = 1));
}

static void hw_no_leash(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", HW, .functions = FNS(FN_A, FN_C)));
}

static void hw_mapped(World *w) {
        hw(w);
        MUST(do_map(w, "vm", 0, RAM_BYTES));
}

static void hw_no_viommu(World *w) {
        hw_mapped(w);
        MUST(do_viommu_destroy(w, "vm", 0));
}

static void hw_open(World *w) {
        hw_mapped(w);
        MUST(do_open(w, "vm", NULL, 0));
        MUST(do_open(w, "vm", FN_A, 0));
}

static void hw_open_no_viommu(World *w) {
        hw_open(w);
        MUST(do_viommu_destroy(w, "vm", 0));
}

static void hw_confirmed(World *w) {
        hw_mapped(w);
        MUST(do_open(w, "vm", NULL, 0));
        MUST(do_open(w, "vm", FN_A, 0));
        MUST(do_open(w, "vm", FN_C, 0));
        MUST(do_confirm(w, "vm"));
}

/* Somebody else than the VMM has a function. */
static void hw_leaked(World *w) {
        hw_mapped(w);
        MUST(do_open(w, "vm", NULL, 1));
        MUST(do_open(w, "vm", FN_A, 1));
}

static void prepared(World *w) {
        calm(w);
        MUST(do_prepare(w, "vm"));
}

static void emulated(World *w) {
        prepared(w);
        MUST(CREATE(w, .name = "vm", EMU, .functions = FNS(FN_A, FN_B), .vmm = 1));
        MUST(do_open(w, "vm", NULL, 0));
}

/* The daemon has made the context, with a page table of the kernel's own that both functions are on. */
static void emulated_made(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", EMU_MADE, .functions = FNS(FN_A, FN_B), .vmm = 1));
}

static void emulated_bound(World *w) {
        emulated(w);
        vmm_bind(w, 0, FN_A);
}

static void legacy_bare(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", LEGACY, .vmm = 1));
}

static void legacy(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", LEGACY, .functions = FNS(FN_A), .vmm = 1,
                    .memory = RAM_BYTES));
}

static void by_caller(World *w) {
        calm(w);
        MUST(CREATE(w, .name = "vm", HW, .functions = FNS(FN_A), .leash_caller = true));
        MUST(CREATE(w, .name = "vn", LEGACY, .functions = FNS(FN_B), .leash_caller = true));
}

static void probed(World *w) {
        calm(w);
        MUST(do_probe(w, 0));
        MUST(do_probe(w, 1));
}

static void reserved(World *w) {
        probed(w);
        MUST(do_reserve(w, &(CreateArgs){ .name = "vm", HW, .functions = FNS(FN_A, FN_C) }));
}

/* No function tells who has used it up. */
static void reserved_bare(World *w) {
        calm(w);
        MUST(do_reserve(w, &(CreateArgs){ .name = "vm", EMU, .memory = RAM_BYTES }));
}

/* ---- acts ---- */

static int create_hardware(World *w) {
        return CREATE(w, .name = "vm", HW, .functions = FNS(FN_A, FN_B, FN_C), .vmm = 1,
                      .memory = RAM_BYTES);
}

static int create_without_leash(World *w) {
        return CREATE(w, .name = "vm", HW, .functions = FNS(FN_C));
}

static int create_by_caller(World *w) {
        return CREATE(w, .name = "vm", HW, .functions = FNS(FN_B), .leash_caller = true);
}

static int create_prepared(World *w) {
        return CREATE(w, .name = "vm", EMU, .functions = FNS(FN_A), .vmm = 1);
}

static int create_unprepared(World *w) {
        return CREATE(w, .name = "vm", EMU, .functions = FNS(FN_A, FN_C), .vmm = 1);
}

static int create_none(World *w) {
        return CREATE(w, .name = "vm", LEGACY, .functions = FNS(FN_A), .vmm = 1,
                      .memory = RAM_BYTES);
}

static int create_with_token(World *w) {
        return CREATE(w, .name = "vm", HW, .functions = FNS(FN_A, FN_C), .vmm = 1,
                      .token = w->shared->token);
}

static int create_with_bare_token(World *w) {
        return CREATE(w, .name = "vm", EMU, .vmm = 1, .memory = RAM_BYTES,
                      .token = w->shared->token);
}

static int attach_group(World *w) {
        return do_attach(w, "vm", FNS(FN_PAIR_0, FN_PAIR_1), 0);
}

static int attach_elsewhere(World *w) {
        return do_attach(w, "vm", FNS(FN_E), 0);
}

static int attach_with_memory(World *w) {
        return do_attach(w, "vm", FNS(FN_E), 2 * RAM_BYTES);
}

static int detach(World *w) {
        return do_detach(w, "vm", FN_C);
}

static int detach_one_of_two(World *w) {
        return do_detach(w, "vm", FN_B);
}

static int detach_last(World *w) {
        return do_detach(w, "vm", FN_A);
}

static int on_let_go(sd_event_source *s, uint64_t usec, void *userdata) {
        (void)s;
        (void)usec;
        vmm_close_cdevs(userdata, 0);
        return 0;
}

static void let_go(World *w) {
        vmm_close_cdevs(w, 0);
}

/* The VMM lets go after the daemon has asked for the first time. */
static int detach_held(World *w) {
        sd_event_source *source = NULL;
        int r;

        MUST(sd_event_add_time_relative(w->event, &source, CLOCK_MONOTONIC, 3000000, 0, on_let_go,
                                        w));
        r = do_detach(w, "vm", FN_A);
        sd_event_source_disable_unref(source);
        return r;
}

static int viommu_destroy(World *w) {
        return do_viommu_destroy(w, "vm", 0);
}

static int viommu_create(World *w) {
        return do_viommu_create(w, "vm", 0);
}

static int map(World *w) {
        return do_map(w, "vm", RAM_BYTES, RAM_BYTES);
}

static int unmap(World *w) {
        return do_unmap(w, "vm", 0, RAM_BYTES);
}

static int open_context(World *w) {
        return do_open(w, "vm", NULL, 0);
}

static int confirm(World *w) {
        return do_confirm(w, "vm");
}

static int leash_set(World *w) {
        return do_leash(w, "vm", 0);
}

static int leash_replace(World *w) {
        return do_leash(w, "vm", 1);
}

static int destroy(World *w) {
        return do_destroy(w, "vm", true);
}

static int create_and_destroy(World *w) {
        return do_create_and_destroy(w, &(CreateArgs){ .name = "vm", HW, .functions = FNS(FN_A) });
}

static int prepare(World *w) {
        return do_prepare(w, "vm");
}

static int reserve(World *w) {
        return do_reserve(w, &(CreateArgs){ .name = "vm", HW, .functions = FNS(FN_A, FN_C) });
}

/* ---- events ---- */

static void run_until_gone(World *w) {
        bool gone = false;

        while (!gone) {
                daemon_run_for(w, 1000);
                gone = !daemon_vm(w, "vm");
        }
        daemon_run_until_idle(w);
}

static void kill_vmm(World *w) {
        if (!w->shared->vmm_ended[0])
                vmm_kill(w, 0);
}

static int vmm_exits(World *w) {
        kill_vmm(w);
        run_until_gone(w);
        return 0;
}

static void caller_vanishes(World *w) {
        manager_name_vanished(w->manager, CALLER);
}

static int caller_leaves(World *w) {
        caller_vanishes(w);
        run_until_gone(w);
        while (daemon_vm(w, "vn"))
                daemon_run_for(w, 1000);
        daemon_run_until_idle(w);
        return 0;
}

static int prepared_caller_leaves(World *w) {
        caller_vanishes(w);
        daemon_run_until_idle(w);
        return 0;
}

static void let_go_at_last(World *w) {
        kill_vmm(w);
        if (!w->shared->vmm_ended[1])
                vmm_kill(w, 1);
}

/* The VMM has died, but somebody holds a function: quarantined, until that one ends as well. */
static int quarantine(World *w) {
        kill_vmm(w);
        for (const Vm *vm; (vm = daemon_vm(w, "vm")) && vm->state != VM_QUARANTINED;)
                daemon_run_for(w, 1000);
        let_go_at_last(w);
        run_until_gone(w);
        return 0;
}

/* The same, and an administrator gives it up before that. */
static int quarantine_and_reclaim(World *w) {
        kill_vmm(w);
        for (const Vm *vm; (vm = daemon_vm(w, "vm")) && vm->state != VM_QUARANTINED;)
                daemon_run_for(w, 1000);
        (void)do_reclaim(w, "vm");
        let_go_at_last(w);
        run_until_gone(w);
        return 0;
}

static int time_runs_out(World *w) {
        run_until_gone(w);
        return 0;
}

static void unplug(World *w) {
        PciAddress a = fn(FN_C);

        if (w->shared->stage)
                return;
        w->shared->stage = true;
        MUST(sim_unplug(w->kernel, &a));
}

static int unplugged(World *w) {
        PciAddress a = fn(FN_C);

        unplug(w);
        for (const Vm *vm; (vm = daemon_vm(w, "vm")) && context_find_function(&vm->context, &a);)
                daemon_run_for(w, 1000);
        daemon_run_until_idle(w);
        return 0;
}

static void replug(World *w) {
        SimCounters ignored;
        const PciFunctionInfo info = { .address = fn(FN_C),
                                       .host_iommu = 1,
                                       .group = KERNEL_NONE,
                                       .numa_node = 1,
                                       .driver = "vfio-pci",
                                       .vendor_id = 0x15b3,
                                       .device_id = 0x101d,
                                       .class_code = 0x020000 };

        sim_get_counters(w->look, &ignored); /* an unplug that waited for a holder is done now */
        (void)sim_plug(w->look, &info);      /* -EEXIST if the daemon died before */
}

static int unreserve(World *w) {
        return do_unreserve(w);
}

/* ---- what all of them go through ---- */

static bool with_faults;

void scenario_expect_faults(void) {
        with_faults = true;
}

static bool is_in(const char *const prefixes[static 4], const char *line) {
        for (size_t i = 0; i < 4 && prefixes[i]; i++)
                if (strncmp(line, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

static bool is_lenient(const Scenario *s, const char *line) {
        return is_in(s->lenient, line) || (with_faults && is_in(s->lenient_fault, line));
}

/* The next line that counts, or the end. */
static const char *skip(const Scenario *s, const char *text) {
        while (*text && is_lenient(s, text))
                text += strcspn(text, "\n") + 1;
        return text;
}

bool scenario_matches(const Scenario *s, const char *now, const char *wanted) {
        for (;;) {
                size_t n;

                now = skip(s, now);
                wanted = skip(s, wanted);
                n = strcspn(now, "\n") + (*now != '\0');
                if (strncmp(now, wanted, n) != 0 || (n == 0 && *wanted))
                        return false;
                if (n == 0)
                        return true;
                now += n;
                wanted += n;
        }
}

void scenario_set_up(const Scenario *s, World *w, char ret[static SNAPSHOT_SIZE]) {
        s->setup(w);
        daemon_run_until_idle(w);
        snapshot(w, ret);
}

bool scenario_is_whole(const Scenario *s, const World *w, const char *now) {
        const Shared *shared = w->shared;

        return (s->kind != ACT_EVENT && scenario_matches(s, now, shared->before)) ||
               scenario_matches(s, now, shared->after);
}

static bool is_whole(World *w, void *userdata) {
        snapshot(w, w->shared->now);
        return scenario_is_whole(userdata, w, w->shared->now);
}

bool scenario_settle(const Scenario *s, World *w) {
        return daemon_settle(w, is_whole, (void *)s);
}

void scenario_recover(const Scenario *s, World *w) {
        int r;

        w->admission_timeout_usec = s->admission_timeout_usec;
        r = daemon_start(w);
        if (r < 0)
                flunk(w, "cannot start again: %s", strerror(-r));
        if (s->finish)
                s->finish(w);
        if (!scenario_settle(s, w))
                flunk(w, NEITHER ":\n%s\nbefore:\n%s\nafter:\n%s", w->shared->now,
                      w->shared->before, w->shared->after);
}

void scenario_run_dry(const Scenario *s, World *w) {
        int r;

        w->admission_timeout_usec = s->admission_timeout_usec;
        r = daemon_start(w);
        if (r < 0)
                flunk(w, "cannot start: %s", strerror(-r));
        scenario_set_up(s, w, w->shared->before);
        r = s->act(w);
        if (r < 0)
                flunk(w, "the act fails: %s", strerror(-r));
        daemon_run_until_idle(w);
        snapshot(w, w->shared->after);
        daemon_end_all(w);
}

void scenario_begin(const Scenario *s, World *w) {
        w->admission_timeout_usec = s->admission_timeout_usec;
        if (daemon_start(w) < 0)
                flunk(w, "cannot start");
        scenario_set_up(s, w, w->shared->now);
        if (!streq(w->shared->now, w->shared->before))
                flunk(w, "the setup is not the same every time:\n%s\ninstead of\n%s",
                      w->shared->now, w->shared->before);
}

/* ---- telling ---- */

/* Lines that one text has and the other has not. */
static void print_missing(const char *sign, const char *text, const char *other) {
        while (*text) {
                size_t n = strcspn(text, "\n");
                char line[640];

                (void)snprintf(line, sizeof(line), "%.*s\n", (int)n, text);
                if (!strstr(other, line))
                        (void)printf("        %s %s", sign, line);
                text += n + (text[n] == '\n');
        }
}

void scenario_print_failure(const World *w) {
        const Shared *shared = w->shared;

        if (strncmp(shared->failure, NEITHER, strlen(NEITHER)) != 0) {
                (void)printf("      %s\n", shared->failure);
                return;
        }
        (void)printf("      " NEITHER ". Against before:\n");
        print_missing("+", shared->now, shared->before);
        print_missing("-", shared->before, shared->now);
        (void)printf("      against after:\n");
        print_missing("+", shared->now, shared->after);
        print_missing("-", shared->after, shared->now);
}

/* ---- the table ---- */

const Scenario scenarios[] = {
        { "create-hardware", ACT_REQUEST, calm, create_hardware },
        { "create-without-leash", ACT_REQUEST, calm, create_without_leash },
        { "create-by-caller", ACT_REQUEST, calm, create_by_caller },
        /* A record that cannot be removed is seen to be of no use when it is read. */
        { "create-prepared", ACT_REQUEST, prepared, create_prepared,
          .lenient_fault = { "record prepared-" } },
        { "create-unprepared", ACT_REQUEST, calm, create_unprepared },
        { "create-none", ACT_REQUEST, calm, create_none },
        { "create-with-token", ACT_REQUEST, reserved, create_with_token,
          .lenient_fault = { "record of a reservation" } },
        { "create-with-bare-token", ACT_REQUEST, reserved_bare, create_with_bare_token,
          .lenient_fault = { "record of a reservation" } },
        { "attach-group", ACT_REQUEST, hw, attach_group },
        { "attach-to-emulated", ACT_REQUEST, emulated_bound, attach_elsewhere },
        { "attach-to-emulated-made", ACT_REQUEST, emulated_made, attach_elsewhere },
        { "attach-to-confirmed", ACT_REQUEST, hw_confirmed, attach_elsewhere },
        { "attach-first", ACT_REQUEST, legacy_bare, attach_with_memory },
        { "attach-with-more-memory", ACT_REQUEST, legacy, attach_with_memory },
        { "detach", ACT_TAKE, hw_mapped, detach },
        { "detach-one-of-two", ACT_TAKE, hw_two_behind_one, detach_one_of_two },
        /* If nobody has asked yet, the VMM lets go all the same. */
        { "detach-held", ACT_TAKE, hw_confirmed, detach_held, .finish = let_go,
          .lenient = { "VMM 0", "kernel:" } },
        { "detach-last", ACT_TAKE, legacy, detach_last },
        { "detach-from-emulated", ACT_TAKE, emulated_bound, detach_one_of_two },
        { "detach-from-emulated-made", ACT_TAKE, emulated_made, detach_one_of_two },
        { "viommu-destroy", ACT_TAKE, hw, viommu_destroy,
          .lenient_fault = { "vm vm has 0000:01:00.0", "kernel:" } },
        { "viommu-create", ACT_REQUEST, hw_no_viommu, viommu_create },
        /* It may be there, and its id is not known: it stays charged. */
        { "viommu-create-shared", ACT_REQUEST, hw_open_no_viommu, viommu_create,
          .lenient = { "VMM 0", "kernel:", "ledger", "vm vm is charged" } },
        { "map", ACT_REQUEST, hw_mapped, map },
        { "unmap", ACT_TAKE, hw_mapped, unmap },
        /* It counts as given away before it is. */
        { "open", ACT_REQUEST, hw, open_context, .lenient = { "VMM 0" } },
        { "confirm", ACT_TAKE, hw_open, confirm },
        { "leash-set", ACT_REQUEST, hw_no_leash, leash_set },
        { "leash-replace", ACT_REQUEST, hw, leash_replace },
        { "destroy", ACT_TAKE, hw_mapped, destroy },
        { "create-and-destroy", ACT_TAKE, calm, create_and_destroy },
        { "vmm-exits", ACT_EVENT, hw_confirmed, vmm_exits, .finish = kill_vmm },
        { "emulated-vmm-exits", ACT_EVENT, emulated_bound, vmm_exits, .finish = kill_vmm },
        { "caller-leaves", ACT_EVENT, by_caller, caller_leaves, .finish = caller_vanishes },
        { "quarantine", ACT_EVENT, hw_leaked, quarantine, .finish = let_go_at_last },
        { "quarantine-and-reclaim", ACT_EVENT, hw_leaked, quarantine_and_reclaim,
          .finish = let_go_at_last },
        { "time-runs-out", ACT_EVENT, hw_no_leash, time_runs_out, .admission_timeout_usec = 40000 },
        { "unplug", ACT_EVENT, hw, unplugged, .finish = unplug, .restore = replug },
        { "prepare", ACT_REQUEST, calm, prepare },
        /* It gives the earlier one up first. */
        { "prepare-again", ACT_REQUEST, prepared, prepare,
          .lenient = { "record prepared-766d", "kernel:", "0 prepared", "1 prepared" } },
        { "prepared-caller-leaves", ACT_EVENT, prepared, prepared_caller_leaves,
          .finish = caller_vanishes },
        { "reserve", ACT_REQUEST, probed, reserve },
        { "unreserve", ACT_TAKE, reserved, unreserve },
};
const size_t n_scenarios = ELEMENTSOF(scenarios);
