/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a request says by itself, without any host: what is completed, and what contradicts itself. */

#include "admission.h"

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
                  "not \"caller\"",
                  0,
                  0 },
                { "leash of the agent and a process",
                  true,
                  TIER_HARDWARE,
                  -1,
                  -1,
                  LEASH_AGENT,
                  true,
                  {},
                  PROBLEM_INVALID_ARGUMENT,
                  "not \"agent\"",
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_are_completed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
