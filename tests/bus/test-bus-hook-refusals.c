/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommu-libvirt-hook: which domains it refuses, and what it says. */

#include "hook-run.h"

#include <errno.h>
#include <unistd.h>

/* ---- refusals ---- */

static void test_refused_by_xml(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        assert_says(
                PREPARE(f, &((DomainSpec){ .tier = "emulated", .iommu = "amd", .function = NIC })),
                1, "Domain demo cannot have the vIOMMU that it asks for:\nemulated: *remap*\n");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "auto", .function = NIC })), 1,
                    "Domain demo *:\nhardware: *\nemulated: *\nvirtio: *\n");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "best", .function = NIC })), 1,
                    "The XML of domain demo *best*");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "virtio",
                                               .iommu = "virtio",
                                               .function = NIC,
                                               .inside = "<a:function address='0000:99:00.0' "
                                                         "guest-device-id='01:00.0'/>" })),
                    1, "The XML of domain demo *0000:99:00.0*");
        assert_world(f, before);
}

static void test_refused_by_daemon(void **state) {
        static const DomainSpec absent = { .tier = "virtio",
                                           .iommu = "virtio",
                                           .function = "0000:77:00.0" },
                                half = { .tier = "virtio",
                                         .iommu = "virtio",
                                         .function = "0000:43:00.0" },
                                big = { .tier = "virtio",
                                        .iommu = "virtio",
                                        .function = NIC,
                                        .mib = UINT64_C(1) << 40 };
        static const DomainSpec *const specs[] = { &absent, &half, &big };
        static const char *const words[] = { "*:\nvirtio: *no PCI function 0000:77:00.0*",
                                             "*:\nvirtio: *group 3 with 0000:43:00.1*",
                                             "*:\nvirtio: Wanted *pinned*" };
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                assert_says(PREPARE(f, specs[i]), 1, words[i]);
                /* libvirt calls these then. */
                assert_runs(STOPPED(f, specs[i]));
                assert_runs(RELEASE(f, specs[i], "failed"));
        }
        assert_world(f, before);
}

/* On whose account the domain is, and what that lets it have: a tier that the tenant may not have gives way to the next one. */
static void test_tenant(void **state) {
        Fixture *f = *state;
        DomainSpec d = {
                .tier = "virtio", .iommu = "virtio", .function = NIC, .also = "tenant='acme'"
        };

        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Tenant", "\"acme\"");
        assert_runs(RELEASE(f, &d, "failed"));
        d.also = "tenant='nobody'";
        assert_says(PREPARE(f, &d), 1, "*virtio: There is no *Tenant nobody*");
        d.also = "tenant='small'";
        assert_says(PREPARE(f, &d), 1, "*virtio: Wanted 256 MiB of pinned memory more for *small*");
        assert_nothing_left(f);
}

/* What is asked for as second best. */
static void test_fallback(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "emulated",
                         .inside = "<a:fallback tier='virtio'/>",
                         .iommu = "virtio",
                         .function = NIC };

        assert_says(PREPARE(f, &d), 0,
                    "Domain demo is admitted on the tier virtio, for these were passed over:\n"
                    "emulated: *is not of this tier*\n");
        assert_vm(f, "Tier", "\"virtio\"");
        assert_runs(RELEASE(f, &d, "failed"));

        d.tier = "auto";
        d.inside = NULL;
        assert_says(PREPARE(f, &d), 0,
                    "*passed over:\nhardware: *\nemulated: *is not of this tier*\n");
        assert_runs(RELEASE(f, &d, "failed"));
        d.tier = "virtio";
        assert_runs(PREPARE(f, &d));
        assert_runs(RELEASE(f, &d, "failed"));
        assert_nothing_left(f);
}

static void test_otherwise_run(void **state) {
        Fixture *f = *state;
        DomainSpec without = { .tier = "emulated", .also = "otherwise='run'", .function = NIC },
                   absent = { .tier = "virtio",
                              .also = "otherwise='run'",
                              .iommu = "virtio",
                              .function = "0000:77:00.0" };

        /* It is counted at least. */
        assert_says(PREPARE(f, &without), 0,
                    "Domain demo runs without the vIOMMU that it would like:\nemulated: *");
        assert_vm(f, "Handover", "\"none\"");
        assert_runs(RELEASE(f, &without, "failed"));

        assert_says(PREPARE(f, &absent), 0,
                    "Domain demo runs without the vIOMMU that it would like:\nvirtio: *");
        assert_nothing_left(f);
}

static void test_unasked(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        assert_runs(PREPARE(f, &unasking));
        assert_vm(f, "Tier", "\"virtio\"");
        assert_vm(f, "Handover", "\"none\"");
        assert_runs(RELEASE(f, &unasking, "failed"));

        /* What cannot be counted runs. */
        assert_says(PREPARE(f, &((DomainSpec){ .function = "0000:77:00.0" })), 0,
                    "Domain demo runs without being accounted for:\nvirtio: *");

        configure(f, "Unasked=ignore");
        assert_runs(PREPARE(f, &unasking));
        assert_int_equal(vm_count(f), 0);
        configure(f, "Unasked=refuse");
        assert_says(PREPARE(f, &unasking), 1, "*asks for no vIOMMU*Unasked=refuse*");
        assert_runs(PREPARE(f, &((DomainSpec){ .iommu = "virtio" })));
        assert_world(f, before);
}

/* Somebody else's VM of that UUID is alive: neither a start nor what libvirt says when that has failed touches it. */
static void test_alive(void **state) {
        Fixture *f = *state;
        pid_t qemu = qemu_start(f);
        int pidfd = fixture_pidfd(qemu);

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash_pidfd = pidfd);
        (void)close(pidfd);
        assert_says(PREPARE(f, &asking), 1, "*runs already*a process that is alive*");
        assert_runs(STOPPED(f, &asking));
        assert_says(RELEASE(f, &asking, "failed"), 0, "aviommud still has the VM *pidfd*");
        assert_says(RELEASE(f, &asking, "destroyed"), 0, "aviommud still has the VM *pidfd*");
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 0);

        /* Of the agent's VMs libvirt has the last word, but not by a start that failed. */
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent",
               .handover = "none");
        assert_says(RELEASE(f, &asking, "failed"), 0, "aviommud still has the VM *agent*");
        assert_int_equal(vm_count(f), 1);
        assert_runs(RELEASE(f, &asking, "shutdown"));
        assert_nothing_left(f);
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent");
        assert_says(PREPARE(f, &asking), 1, "*runs already*the agent*");
        vm_destroy_force(f, uuid_of(1));
}

/* Made of a definition, it waits for its VMM. */
static void test_defined(void **state) {
        Fixture *f = *state;

        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(1), 3, "tier", "s", "virtio",
               "handover", "s", "none", "functions", "a(sa{sv})", 1, NIC, 0, 0);
        run_ok(f, NULL, "Manager", "StartDefinition", "sa{sv}", uuid_of(1), 0);
        assert_says(PREPARE(f, &asking), 1, "*runs already, its life hangs on its definition*");
        assert_vm(f, "Leash", "\"definition\"");
}

/* What the agent has counted of a running domain: the hook knows better, at any time. */
static void test_counted_by_agent(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        /* Its end was not heard of yet. */
        CREATE(f, uuid_of(1), .tier = "emulated", .functions = NIC, .leash = "agent",
               .handover = "none");
        if (geteuid() == 0) {
                assert_runs(PREPARE(f, &unasking));
                assert_vm(f, "Leash", "\"none\"");
                assert_vm(f, "Tier", "\"virtio\"");
                assert_runs(RELEASE(f, &unasking, "failed"));
        } else {
                assert_says(PREPARE(f, &unasking), 0, "*runs already*the agent*");
                vm_destroy_force(f, uuid_of(1));
        }
        assert_nothing_left(f);

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent",
               .handover = "none");
        qemu = qemu_start(f);
        assert_runs(RECONNECT(f, &unasking));
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

/* What comes from a file or from another host may never start here, or be what runs already: it is asked about, and nothing comes of that. */
static void test_asked_first(void **state) {
        static const char *const operations[] = { "restore", "migrate" };
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);
        DomainSpec absent = { .tier = "virtio", .iommu = "virtio", .function = "0000:77:00.0" },
                   nic = { .tier = "virtio", .iommu = "virtio", .function = NIC },
                   with_context = {
                           .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT
                   };

        for (size_t i = 0; i < ELEMENTSOF(operations); i++) {
#define ASK(d) hook_run(f, (d), operations[i], "begin", "-")
                assert_runs(ASK(&asking));
                assert_runs(ASK(&unasking));
                /* The agent prepares it until it starts, if it does. */
                assert_runs(ASK(&with_context));
                assert_world(f, before);

                assert_says(ASK(&((DomainSpec){ .tier = "hardware", .function = NIC })), 1,
                            "Domain demo cannot have the vIOMMU that it asks for:\nhardware: *");
                assert_says(ASK(&absent), 1, "*:\nvirtio: *no PCI function 0000:77:00.0*");
                with_context.function = absent.function;
                assert_says(ASK(&with_context), 1, "*:\nvirtio: *no PCI function 0000:77:00.0*");
                with_context.function = OTHER;
                absent.also = "otherwise='run'";
                assert_runs(ASK(&absent));
                absent.also = NULL;
                absent.name = "größe";
                assert_says(ASK(&absent), 1, "Domain größe cannot *no PCI function*");
                absent.name = NULL;
                configure(f, "Unasked=refuse");
                assert_says(ASK(&unasking), 1, "*asks for no vIOMMU*Unasked=refuse*");
                configure(f, "");

                /* It runs; or another does, that has its name. */
                CREATE(f, uuid_of(1), .tier = "emulated", .functions = NIC, .leash = "agent",
                       .handover = "none");
                assert_runs(ASK(&nic));
                nic.tier = NULL;
                assert_runs(ASK(&nic));
                assert_vm(f, "Tier", "\"emulated\"");
                assert_vm(f, "Leash", "\"agent\"");
                vm_destroy_force(f, uuid_of(1));
                CREATE(f, uuid_of(2), .tier = "virtio", .name = NAME, .functions = NIC,
                       .handover = "none");
                assert_runs(ASK(&nic));
                nic.tier = "virtio";
                assert_says(ASK(&nic), 1, "*:\nvirtio: *" NIC "*");
                vm_destroy_ok(f, uuid_of(2));
                assert_nothing_left(f);
        }
}

/* Another has it, who has nothing to do with the domain. */
static void test_name_taken(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        CREATE(f, uuid_of(2), .tier = "virtio", .name = NAME);
        assert_runs(PREPARE(f, &asking));
        assert_vm(f, "Name", "\"5ca1ab1e-0000-4000-8000-000000000001\"");
        assert_runs(RELEASE(f, &asking, "failed"));
        assert_runs(PREPARE(f, &unasking));
        assert_int_equal(vm_count(f), 2);
        assert_runs(RELEASE(f, &unasking, "failed"));

        qemu = qemu_start(f);
        assert_runs(STARTED(f, &asking)); /* late */
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 1);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* libvirt allows them, the daemon does not, and an option must not come of one. */
static void test_odd_names(void **state) {
        static const char *const names[] = { "--help", "--config=/nowhere", " blank", "größe" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                DomainSpec d = asking;

                d.name = names[i];
                assert_runs(PREPARE(f, &d));
                assert_int_equal(vm_count(f), 1);
                assert_runs(RELEASE(f, &d, "failed"));
        }
        assert_nothing_left(f);

        /* What is not from libvirt shows as it is, unless it could steer a terminal. */
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "emulated",
                                               .function = NIC,
                                               .name = "größe\xc2\x9bm" })),
                    1, "Domain größe\\\\u009bm cannot*");
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_refused_by_xml, .profile = "small"),
                BUS_TEST(test_refused_by_daemon, .profile = "small"),
                BUS_TEST(test_tenant,
                         .config = "[Tenant acme]\n[Tenant small]\nMaxPinnedMemory=1M\n"),
                BUS_TEST(test_fallback, .profile = "small"),
                BUS_TEST(test_otherwise_run, .profile = "small"),
                BUS_TEST(test_unasked, .profile = "small"),
                BUS_TEST(test_alive, .profile = "small"),
                BUS_TEST(test_defined, .profile = "small", .definitions = true),
                BUS_TEST(test_counted_by_agent, .profile = "small"),
                BUS_TEST(test_asked_first, .profile = "small"),
                BUS_TEST(test_name_taken, .profile = "small"),
                BUS_TEST(test_odd_names, .profile = "small"),
        };

        hook_be_qemu(argc, argv);
        return bus_tests_run(argc, argv, tests);
}
