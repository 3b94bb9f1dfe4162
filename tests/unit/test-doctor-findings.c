/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of the doctor's findings as a whole: for one tier, without a daemon, on a large host, in the manual. */

#include "unit.h"

#include "doctor-host.h"

static void test_tier(void **state) {
        Findings f = {};
        Host h;

        (void)state;
        assert_int_equal(tier_from_string("hardware"), TIER_HARDWARE);
        assert_int_equal(tier_from_string("virtio"), TIER_VIRTIO);
        assert_int_equal(tier_from_string("hard"), 0);
        assert_int_equal(tier_from_string(""), 0);

        host_init(&h);
        h.hosts[0].features.n = 2;            /* a warning, which keeps from the hardware tier */
        h.facts.nodes.iommu.uid = 0;          /* a fault that the emulated one does not mind */
        h.facts.libvirt.hook_error = -ENOENT; /* a warning about no tier */
        check_all(&h.facts, &f);
        assert_non_null(find(&f, FINDING_FIRMWARE_VIOMMU, LEVEL_WARNING));
        findings_select_tier(&f, TIER_HARDWARE);
        assert_non_null(find(&f, FINDING_FIRMWARE_VIOMMU, LEVEL_FAULT));
        assert_non_null(find(&f, FINDING_NODES_IOMMU, LEVEL_FAULT));
        assert_null(find(&f, FINDING_LIBVIRT_HOOK, LEVEL_WARNING));
        assert_null(find(&f, FINDING_QEMU_VERSION, LEVEL_FINE));
        findings_done(&f);

        check_all(&h.facts, &f);
        findings_select_tier(&f, TIER_EMULATED);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 0);
        assert_null(find(&f, FINDING_FIRMWARE_VIOMMU, LEVEL_WARNING));
        assert_non_null(find(&f, FINDING_QEMU_VERSION, LEVEL_FINE));
        findings_done(&f);

        host_init(&h); /* a fault, which keeps from no tier */
        h.quarantined[0].kind = "newer-record";
        h.facts.nodes.user = -1;
        h.facts.bus.n_quarantined = 1;
        check_all(&h.facts, &f);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 2);
        findings_select_tier(&f, TIER_VIRTIO);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 0);
        findings_done(&f);
}

/* A host with hundreds of everything gets a line of each kind all the same. */
static void test_many(void **state) {
        static BusFunction functions[300];
        static char addresses[ELEMENTSOF(functions)][PCI_ADDRESS_STRING_SIZE];
        Findings f = {};
        Host h;

        (void)state;
        host_init(&h);
        for (size_t i = 0; i < ELEMENTSOF(functions); i++) {
                (void)snprintf(addresses[i], sizeof(addresses[i]), "0000:%02x:%02zx.%zx",
                               0x41 + (unsigned)(i / 256), i / 8 % 32, i % 8);
                functions[i] = (BusFunction){ addresses[i], "vfio-pci", "ivhd0",        "idle",
                                              "",           "vfio1",    (uint32_t)i / 2 };
        }
        h.facts.bus.functions = functions;
        h.facts.bus.n_functions = ELEMENTSOF(functions);
        h.facts.overrides.n = 0;
        check_all(&h.facts, &f);
        assert_int_equal(findings_count(&f, LEVEL_WARNING), 2);
        assert_contains(find(&f, FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING)->text,
                        "0000:41:00.0, 0000:41:00.1,");
        assert_contains(find(&f, FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING)->text,
                        "0000:41:00.7 and 292 more.");
        assert_contains(find(&f, FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING)->text,
                        "group 0 (0000:41:00.0, 0000:41:00.1), 1 (");
        assert_contains(find(&f, FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING)->text, "and 142 more.");
        findings_done(&f);
}

/* What a newer daemon has and this client has not heard of. */
static void test_another_tier(void **state) {
        Findings f = {};
        Host h;

        (void)state;
        host_init(&h);
        h.tiers[0] = (BusTier){ "quantum", "Because.", false };
        check_all(&h.facts, &f);
        for (size_t i = 0; i < f.n; i++)
                assert_null(strstr(f.items[i].text, "quantum"));
        findings_done(&f);
}

/* Without a daemon what files tell is still told. */
static void test_down(void **state) {
        Findings f = {};
        Host h;

        (void)state;
        host_init(&h);
        h.facts.bus = (BusFacts){ .failure = { .exit_code = CLIENT_EXIT_UNREACHABLE } };
        check_all(&h.facts, &f);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 1);
        assert_non_null(find(&f, FINDING_KERNEL_IOMMUFD, LEVEL_FINE));
        assert_non_null(find(&f, FINDING_FIRMWARE_IVRS, LEVEL_FINE));
        assert_non_null(find(&f, FINDING_NODES_IOMMU, LEVEL_FINE));
        assert_non_null(find(&f, FINDING_QEMU_VERSION, LEVEL_FINE));
        assert_null(find(&f, FINDING_FUNCTIONS_BOUND, LEVEL_WARNING));
        findings_done(&f);
}

/* A processor that is none of x86 has neither what AMD's have, nor interrupts by the names of x86. */
static void test_foreign(void **state) {
        static char processor[] = "processor\t: 0\nCPU implementer\t: 0x41\n";
        static char symbols[] = "CONFIG_VFIO_PCI=m\n", lines[] = " 24: 1 ITS-MSI 0 Edge nvme\n";
        Findings f = {};
        Host h;

        (void)state;
        host_init(&h);
        h.hosts[0].vendor = "arm";
        h.facts.firmware.processors = blob(processor, strlen(processor));
        h.facts.firmware.ivrs = (Blob){ .error = -ENOENT };
        h.facts.kernel.config = blob(symbols, strlen(symbols));
        h.facts.interrupts = blob(lines, strlen(lines));
        check_all(&h.facts, &f);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 0);
        assert_null(find(&f, FINDING_FIRMWARE_IVRS, LEVEL_WARNING));
        assert_non_null(find(&f, FINDING_FIRMWARE_PROCESSOR, LEVEL_UNCHECKED));
        findings_done(&f);

        /* What cannot be read may be AMD's. */
        h.facts.firmware.processors = (Blob){ .error = -EACCES };
        check_all(&h.facts, &f);
        assert_int_equal(findings_count(&f, LEVEL_FAULT), 3);
        assert_non_null(find(&f, FINDING_FIRMWARE_IVRS, LEVEL_WARNING));
        findings_done(&f);
}

/* Host IOMMUs of which the same is known share a line. */
static void test_levels(void **state) {
        Findings f = {};
        size_t n = 0;
        Host h;

        (void)state;
        host_init(&h);
        h.hosts[1] = h.hosts[0];
        h.hosts[1].name = "ivhd1";
        h.facts.bus.n_hosts = 2;
        check_all(&h.facts, &f);
        for (size_t i = 0; i < f.n; i++)
                if (f.items[i].id == FINDING_KERNEL_LEVEL) {
                        assert_contains(f.items[i].text, "ivhd0, ivhd1: accelerated");
                        n++;
                }
        assert_int_equal(n, 1);
        findings_done(&f);

        h.hosts[0].kernel_level_reason = "Hardware queues on ivhd0.";
        h.hosts[1].kernel_level_reason = "Hardware queues on ivhd1.";
        check_all(&h.facts, &f);
        assert_contains(find(&f, FINDING_KERNEL_LEVEL, LEVEL_FINE)->text,
                        "ivhd0, ivhd1: accelerated. Hardware queues on ivhd0.");
        findings_done(&f);

        h.hosts[1].kernel_level_reason = "Hardware queues on ivhd7.";
        check_all(&h.facts, &f);
        for (size_t i = 0; i < f.n; i++)
                n += f.items[i].id == FINDING_KERNEL_LEVEL;
        assert_int_equal(n, 3);
        findings_done(&f);
}

/* aviommu-doctor(7) has a heading for each id, and for nothing else. */
static void test_manual(void **state) {
        FILE *page = fopen(MANUAL, "re");
        char line[512];
        size_t n = 0;

        (void)state;
        assert_non_null(page);
        while (fgets(line, sizeof(line), page)) {
                bool is_known = false;

                if (strncmp(line, ".It Cm ", 7) != 0 || !strchr(line, '.'))
                        continue;
                line[strcspn(line, "\n")] = '\0';
                for (FindingId id = 0; id < _FINDING_MAX; id++)
                        is_known |= streq(line + 7, finding_id_to_string(id));
                if (!is_known)
                        fail_msg("aviommu-doctor(7) has \"%s\", which the doctor does not say",
                                 line + 7);
                n++;
        }
        (void)fclose(page);
        assert_int_equal(n, _FINDING_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_tier),    cmocka_unit_test(test_down),
                cmocka_unit_test(test_levels),  cmocka_unit_test(test_another_tier),
                cmocka_unit_test(test_many),    cmocka_unit_test(test_manual),
                cmocka_unit_test(test_foreign),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
