/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Hosts that lack something: the daemon starts, says what is missing, and offers what is left. */

#include "fixture.h"

#include <unistd.h>

#define NIC  "0000:41:00.0"
#define DISK "0000:42:00.0"

static void assert_says(char *text, const char *word) {
        if (!strstr(text, word))
                fail_msg("there is no \"%s\" in %s", word, text);
        free(text);
}

static void assert_problem(Fixture *f, const char *word) {
        assert_says(property(f, NULL, "Manager", "Problems"), word);
}

/* Whether the tiers can be had, as "hardware emulated virtio". */
static void assert_tiers(Fixture *f, bool hardware, bool emulated, bool virtio) {
        const bool wanted[] = { hardware, emulated, virtio };
        sd_bus_message *m = ask(f, NULL, "org.freedesktop.DBus.Properties", "Get", "ss",
                                "org.aviommu1.Manager", "Tiers");
        const char *tier, *reason;
        int there;

        assert_true(sd_bus_message_enter_container(m, 'v', "a(sbs)") > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "(sbs)") > 0);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
                assert_true(sd_bus_message_read(m, "(sbs)", &tier, &there, &reason) > 0);
                if (!there != !wanted[i])
                        fail_msg("tier %s: %s", tier, reason);
                assert_int_equal(*reason == '\0', there);
        }
        sd_bus_message_unref(m);
}

static void works(Fixture *f, VmSpec spec) {
        spec.uuid = uuid_of(1);
        vm_create(f, &spec);
        vm_destroy_ok(f, spec.uuid);
        assert_nothing_left(f);
}
#define WORKS(f, ...) works((f), (VmSpec){ __VA_ARGS__ })

#define REFUSED(f, error, ...)                                                                     \
        do {                                                                                       \
                CREATE_FAILS((f), (error), .uuid = uuid_of(1), __VA_ARGS__);                       \
                assert_nothing_left(f);                                                            \
        } while (false)

static void test_no_iommu(void **state) {
        Fixture *f = *state;

        assert_problem(f, "no IOMMU");
        assert_tiers(f, false, true, true);
        assert_property(f, NULL, "Manager", "NHostIommus", "0");
        assert_property(f, NULL, "Manager", "KernelLevel", "\"none\"");
        REFUSED(f, "TierUnavailable", .tier = "hardware");
        REFUSED(f, "TierUnavailable", .tier = "hardware", .functions = NIC);
        REFUSED(f, "NoHostIommu", .tier = "emulated", .functions = NIC ",managed");
        WORKS(f, .tier = "virtio", .handover = "none");
        WORKS(f, .tier = "emulated");
}

static void test_intel(void **state) {
        Fixture *f = *state;

        assert_problem(f, "not AMD");
        assert_tiers(f, false, true, true);
        assert_property(f, NULL, "Manager", "KernelLevel", "\"none\"");
        assert_property(f, ROOT_PATH "/host/dmar0", "HostIommu", "Vendor", "\"intel\"");
        REFUSED(f, "TierUnavailable", .tier = "hardware", .functions = NIC);
        WORKS(f, .tier = "emulated", .handover = "daemon", .functions = NIC " " DISK);
        WORKS(f, .tier = "virtio", .functions = NIC);
        WORKS(f, .tier = "virtio", .handover = "none", .functions = NIC);
}

static void test_no_iommufd(void **state) {
        Fixture *f = *state;

        assert_problem(f, "/dev/iommu");
        assert_tiers(f, false, false, false);
        assert_property(f, NULL, "Manager", "KernelLevel", "\"none\"");
        REFUSED(f, "TierUnavailable", .tier = "hardware", .functions = NIC);
        REFUSED(f, "TierUnavailable", .tier = "emulated", .functions = NIC);
        run_fails(f, "KernelRefused", NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        WORKS(f, .tier = "emulated", .handover = "none", .functions = NIC);
        WORKS(f, .tier = "virtio", .handover = "none", .functions = NIC);
        assert_says(ask_text(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000)),
                    "(\"" NIC "\", \"vfio-pci\", \"ivhd0\"");
        assert_says(ask_text(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000)),
                    "\"idle\"");
}

static void test_no_functions(void **state) {
        Fixture *f = *state;

        assert_problem(f, "vfio-pci");
        REFUSED(f, "FunctionNotBound", .tier = "emulated", .functions = NIC);
        REFUSED(f, "FunctionNotBound", .tier = "virtio", .handover = "none", .functions = NIC);
        REFUSED(f, "FunctionNotBound", .tier = "hardware", .functions = NIC);
        WORKS(f, .tier = "emulated", .functions = NIC ",managed");
        WORKS(f, .tier = "virtio", .handover = "none", .functions = NIC ",managed");

        /* Nothing to probe with. */
        assert_says(ask_text(f, ROOT_PATH "/host/ivhd0", "HostIommu", "Probe", ""), "unknown");
        assert_property(f, NULL, "Manager", "KernelLevel", "\"unknown\"");

        /* And when there is something. */
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDriver", "ss", NIC, "vfio-pci");
        wait_until(f, ({
                           char *problems = property(f, NULL, "Manager", "Problems");
                           bool none = streq(problems, "[]");

                           free(problems);
                           none;
                   }));
        WORKS(f, .tier = "hardware", .functions = NIC);
        assert_tiers(f, true, true, true);
}

static void test_stock(void **state) {
        Fixture *f = *state;

        REFUSED(f, "TierUnavailable", .tier = "hardware", .functions = NIC);
        assert_property(f, NULL, "Manager", "KernelLevel", "\"nesting\"");
        assert_says(property(f, ROOT_PATH "/host/ivhd0", "HostIommu", "KernelLevelReason"),
                    "any vIOMMU type");
        assert_tiers(f, false, true, true);
        WORKS(f, .tier = "emulated", .handover = "daemon", .functions = NIC);
        WORKS(f, .tier = "virtio", .functions = NIC);
}

static void test_plumbing(void **state) {
        Fixture *f = *state;

        REFUSED(f, "TierUnavailable", .tier = "hardware", .functions = NIC);
        assert_property(f, NULL, "Manager", "KernelLevel", "\"plumbing\"");
        assert_tiers(f, false, true, true);
        WORKS(f, .tier = "emulated", .handover = "daemon", .functions = NIC);
}

static void test_plumbing_allowed(void **state) {
        Fixture *f = *state;

        WORKS(f, .tier = "hardware", .functions = NIC " " DISK);
        assert_property(f, NULL, "Manager", "KernelLevel", "\"plumbing\"");
        assert_tiers(f, true, true, true);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_no_iommu, .profile = "no-iommu"),
                BUS_TEST(test_intel, .profile = "intel"),
                BUS_TEST(test_no_iommufd, .profile = "no-iommufd"),
                BUS_TEST(test_no_functions, .profile = "no-functions"),
                BUS_TEST(test_stock, .profile = "stock"),
                BUS_TEST(test_plumbing, .profile = "plumbing"),
                BUS_TEST(test_plumbing_allowed, .profile = "plumbing",
                         .config = "AllowPlumbing=yes"),
        };

        return bus_tests_run(argc, argv, tests);
}
