/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/mman.h>

#include "test-sim.h"

/* Profiles: what is shipped, what is refused and in which words, and what noise does. */

#define NODE     "\"nodes\":[{\"node\":0,\"total_gib\":4}]"
#define IOMMU    "\"iommus\":[{\"index\":0,\"address\":\"0000:40:00.2\",\"node\":0}]"
#define HOST     NODE "," IOMMU ","
#define FN(more) "{" HOST "\"functions\":[{\"address\":\"0000:41:00.0\",\"iommu\":0" more "}]}"

static const struct {
        const char *json, *words;
        ProblemKind kind;
} refused[] = {
        { "", "end of data", PROBLEM_INVALID_ARGUMENT },
        { "{", "end of data", PROBLEM_INVALID_ARGUMENT },
        { "{}{}", "unexpected character in line 1", PROBLEM_INVALID_ARGUMENT },
        { "null", "it says null", PROBLEM_INVALID_ARGUMENT },
        { "\n\n{nodes}", "line 3", PROBLEM_INVALID_ARGUMENT },
        { "[[[[[[[[[[[[1]]]]]]]]]]]]", "too deep", PROBLEM_INVALID_ARGUMENT },
        { "[]", "the profile must be an object", PROBLEM_INVALID_ARGUMENT },
        { "{}", "the profile lacks \"nodes\"", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"colour\":1}", "unknown key \"colour\"; allowed are: description, level",
          PROBLEM_UNKNOWN_KEY },
        { "{\"nodes\":{}}", "\"nodes\" of the profile must be an array", PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[1]}", "node entry 1 must be an object", PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[{\"node\":0}]}", "node entry 1 lacks \"total_gib\"",
          PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[{\"node\":0,\"total_gib\":1},{\"node\":0,\"total_gib\":1}]}",
          "Node 0 is there twice", PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[{\"node\":0,\"total_gib\":1,\"free_contiguous_gib\":2}]}",
          "more memory free", PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[{\"node\":-1,\"total_gib\":1}]}", "a number from 0 to 1023",
          PROBLEM_INVALID_ARGUMENT },
        { "{\"nodes\":[{\"node\":1.5,\"total_gib\":1}]}", "a number", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"efr\":\"12\"}", "\"0x1f\"", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"efr\":\"0x\"}", "\"0x1f\"", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"efr\":\"0x11111111111111111\"}", "\"0x1f\"", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"iommufd\":\"yes\"}", "true or false", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"description\":7}", "a string of at most 1024", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"level\":\"a\\u0000b\"}", "a string", PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"limits\":{\"guest_ids\":70000}}", "from 0 to 65535",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"limits\":{\"viommu_data_len\":9}}", "must be 8 or 16",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"limits\":{\"guests\":1}}", "\"limits\" has an unknown key",
          PROBLEM_UNKNOWN_KEY },
        { "{" NODE ",\"iommus\":[{\"index\":0,\"level\":\"fast\"}]}", "none, nesting, plumbing",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"iommus\":[{\"index\":0,\"vendor\":\"arm\"}]}", "amd, intel or other",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"iommus\":[{\"index\":0,\"node\":7}]}", "names node 7",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"iommus\":[{\"index\":0},{\"index\":0}]}", "IOMMU 0 is there twice",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"iommus\":[{\"index\":0,\"address\":\"40:00\"}]}", "a PCI address",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"colour\":1"), "function entry 1 has an unknown key", PROBLEM_UNKNOWN_KEY },
        { FN(",\"driver\":\"0123456789012345678901234567890123456789\""), "at most 31",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"aliases\":[\"1\"]"), "addresses like", PROBLEM_INVALID_ARGUMENT },
        { FN(",\"aliases\":[\"0001:41:00.1\"]"), "own segment", PROBLEM_INVALID_ARGUMENT },
        { FN(",\"aliases\":[\"1:0.0\",\"1:0.1\",\"1:0.2\",\"1:0.3\",\"1:0.4\"]"), "at most 4",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"vf_token\":\"00112233\""), "a UUID", PROBLEM_INVALID_ARGUMENT },
        { FN(",\"group\":16384"), "from 0 to 16383", PROBLEM_INVALID_ARGUMENT },
        { FN(",\"repeat\":{\"count\":2}"), "lacks \"step\"", PROBLEM_INVALID_ARGUMENT },
        { FN(",\"repeat\":{\"count\":2,\"step\":0}"), "is there already",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"repeat\":{\"count\":200,\"step\":256}"), "beyond the end of its segment",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"virtual_functions\":{\"count\":9000}"), "from 0 to 8192",
          PROBLEM_INVALID_ARGUMENT },
        { FN(",\"virtual_functions\":{\"count\":8192}"), "at most 8192 functions",
          PROBLEM_INVALID_ARGUMENT },
        { "{" HOST "\"functions\":[{\"address\":\"0001:41:00.0\",\"iommu\":0}]}",
          "an IOMMU of its own segment", PROBLEM_INVALID_ARGUMENT },
        { "{" HOST "\"functions\":[{\"address\":\"0000:41:00.0\",\"iommu\":3}]}", "name an IOMMU",
          PROBLEM_INVALID_ARGUMENT },
        { "{" NODE ",\"functions\":[{\"address\":\"0000:41:00.0\",\"group\":3}]}",
          "a group only behind one", PROBLEM_INVALID_ARGUMENT },
};

static int load(const char *text, size_t size, Kernel **ret, Problem *problem) {
        int fd = memfd_create("profile", MFD_CLOEXEC), r;
        char path[64];

        assert_int_equal(write(fd, text, size), size);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        r = sim_kernel_new(path, -1, ret, problem);
        (void)close(fd);
        return r;
}

static void profile_refused(void **state) {
        (void)state;

        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                _cleanup_(kernel_freep) Kernel *k = NULL;
                Problem problem = {};
                int r = load(refused[i].json, strlen(refused[i].json), &k, &problem);

                if (problem.kind != refused[i].kind || !strstr(problem.text, refused[i].words))
                        fail_msg("%s\n gave: %s", refused[i].json, problem.text);
                assert_int_equal(r, refused[i].kind == PROBLEM_NONE ? 0 : -EINVAL);
                if (r < 0)
                        assert_non_null(strstr(problem.text, "/proc/self/fd/"));
        }
}

/* A NUL ends a string, but not a file. */
static void profile_with_nul(void **state) {
        static const char json[] = "{\"nodes\":[]}\0{}";
        Problem problem = {};
        Kernel *k;

        (void)state;
        assert_error(load(json, sizeof(json) - 1, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "more behind its end"));
}

static void profile_unreadable(void **state) {
        Problem problem = {};
        Kernel *k;

        (void)state;
        assert_error(sim_kernel_new("/nowhere/to/be.json", -1, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "No such file"));
        assert_error(sim_kernel_new("/proc", -1, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "directory"));
        assert_error(sim_kernel_new("/dev/zero", -1, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "too large"));
        assert_error(sim_kernel_new(NULL, -1, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "needs a profile"));
        assert_error(sim_kernel_new("/nowhere/to/be.json", -1, &k, NULL), EINVAL);
}

static size_t count_idle(const HostScan *s, uint32_t iommu) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_functions; i++)
                n += s->functions[i].host_iommu == iommu && s->functions[i].cdev != KERNEL_NONE;
        return n;
}

static void profile_epyc(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        _cleanup_(host_scan_freep) HostScan *s = NULL, *one = NULL;
        PciAddress nic = FN_NIC;
        uint16_t segments = 0;

        (void)state;
        assert_ok(k->ops->scan(k, NULL, 0, &s));
        assert_int_equal(s->n_iommus, 8);
        assert_int_equal(s->n_nodes, 2);
        for (size_t i = 0; i < s->n_iommus; i++) {
                assert_true(count_idle(s, s->iommus[i].index) >= 4);
                assert_true(s->iommus[i].efr & EFR_VIOMMU && s->iommus[i].efr & EFR_GT);
                assert_true(s->iommus[i].efr2 & EFR2_GCR3TRP_MODE);
                segments |= (uint16_t)(1 << s->iommus[i].address.segment);
        }
        assert_int_equal(segments, 0xf);

        assert_ok(k->ops->scan(k, &nic, 1, &one));
        assert_int_equal(one->n_functions, 1);
        assert_string_equal(one->functions[0].driver, "vfio-pci");
}

static void profile_shipped(void **state) {
        static const struct {
                const char *name;
                size_t n_iommus, n_functions, n_idle;
        } shipped[] = {
                { "small", 1, 6, 5 },        { "stock", 1, 6, 5 },      { "plumbing", 1, 6, 5 },
                { "intel", 1, 6, 5 },        { "no-iommu", 0, 6, 0 },   { "no-iommufd", 1, 6, 0 },
                { "no-functions", 1, 6, 0 }, { "scale", 8, 4112, 512 },
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(shipped); i++) {
                _cleanup_(kernel_freep) Kernel *k = host_new(shipped[i].name);
                _cleanup_(host_scan_freep) HostScan *s = NULL;

                assert_ok(k->ops->scan(k, NULL, 0, &s));
                assert_int_equal(s->n_iommus, shipped[i].n_iommus);
                assert_int_equal(s->n_functions, shipped[i].n_functions);
                assert_int_equal(count_idle(s, 0), shipped[i].n_idle);
                assert_int_equal(s->iommufd_error,
                                 streq(shipped[i].name, "no-iommufd") ? -ENOENT : 0);
        }
}

static void profile_virtual_functions(void **state) {
        static const char json[] = FN(",\"class\":\"0x020000\",\"repeat\":{\"count\":2,\"step\":"
                                      "1024},\"virtual_functions\":{\"count\":3,\"first\":256,"
                                      "\"stride\":2,\"driver\":\"vfio-pci\",\"device_id\":7}");
        _cleanup_(kernel_freep) Kernel *k = NULL;
        _cleanup_(host_scan_freep) HostScan *s = NULL;

        (void)state;
        assert_ok(load(json, strlen(json), &k, NULL));
        assert_ok(k->ops->scan(k, NULL, 0, &s));
        assert_int_equal(s->n_functions, 8);
        for (size_t i = 0; i < 8; i++) {
                const PciFunctionInfo *fn = &s->functions[i];
                const PciAddress pf = address(i < 4 ? "0000:41:00.0" : "0000:45:00.0");

                assert_int_equal(pci_address_bdf(&fn->address),
                                 i % 4 == 0 ? pci_address_bdf(&pf)
                                            : pci_address_bdf(&pf) + 256 + 2 * (i % 4 - 1));
                assert_int_equal(fn->is_virtual, i % 4 != 0);
                if (fn->is_virtual) {
                        assert_true(pci_address_equal(&fn->physical_function, &pf));
                        assert_int_equal(fn->device_id, 7);
                        assert_string_equal(fn->driver, "vfio-pci");
                }
                for (size_t j = 0; j < i; j++)
                        assert_int_not_equal(fn->group, s->functions[j].group);
        }
}

static uint32_t noise(uint32_t *seed) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 17;
        *seed ^= *seed << 5;
        return *seed;
}

/* A host comes of it that can be looked at, or a refusal that says something; nothing else. */
static void profile_noise(void **state) {
        _cleanup_close_ int fd = open(PROFILES_DIR "/small.json", O_RDONLY | O_CLOEXEC);
        uint32_t seed = 4711;
        char text[4096];
        ssize_t size;

        (void)state;
        size = read(fd, text, sizeof(text));
        assert_true(size > 0);
        for (int i = 0; i < 2000; i++) {
                _cleanup_(kernel_freep) Kernel *k = NULL;
                _cleanup_(host_scan_freep) HostScan *s = NULL;
                char bad[sizeof(text)];
                Problem problem = {};

                memcpy(bad, text, (size_t)size);
                for (uint32_t n = noise(&seed) % 4 + 1; n > 0; n--) {
                        char *p = &bad[noise(&seed) % (uint32_t)size];

                        *p = noise(&seed) % 2 ? "0123456789{}[]\",:x"[noise(&seed) % 18]
                                              : (char)noise(&seed);
                }
                if (load(bad, noise(&seed) % 8 ? (size_t)size : noise(&seed) % (uint32_t)size, &k,
                         &problem) < 0)
                        assert_true(problem_is_set(&problem));
                else
                        assert_ok(k->ops->scan(k, NULL, 0, &s));
        }
}

int test_sim_profile(void) {
        const struct CMUnitTest profile[] = {
                cmocka_unit_test(profile_refused),    cmocka_unit_test(profile_with_nul),
                cmocka_unit_test(profile_unreadable), cmocka_unit_test(profile_epyc),
                cmocka_unit_test(profile_shipped),    cmocka_unit_test(profile_virtual_functions),
                cmocka_unit_test(profile_noise),
        };

        return cmocka_run_group_tests(profile, NULL, NULL);
}
