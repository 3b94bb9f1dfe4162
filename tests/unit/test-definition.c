/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is defined: what is taken from a request, what a change makes of it, and that it comes back from its record. */

#include "unit.h"

#include "core/definition.h"
#include "oom.h"

#define UUID SD_ID128_MAKE(00, 11, 22, 33, 44, 55, 66, 77, 88, 99, aa, bb, cc, dd, ee, ff)

static Config config;

static int set_up(void **state) {
        (void)state;
        config_init(&config);
        config.max_functions_per_vm = 3;
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        config_done(&config);
        return 0;
}

static void add(DefinitionRequest *request, const char *function, const char *guest) {
        FunctionRequest f = { .address = address(function) };

        if (guest) {
                f.has_guest_id = true;
                f.guest_id = guest_id(guest);
        }
        assert_ok(vm_request_add_function(&request->vm, &f));
}

/* Everything that a definition can have. */
static void ask_whole(DefinitionRequest *request) {
        definition_request_init(request);
        request->vm.uuid = UUID;
        request->vm.name = strdup("web1");
        assert_non_null(request->vm.name);
        request->vm.has_tier = request->vm.has_handover = request->vm.has_guest_domains = true;
        request->vm.tier = TIER_HARDWARE;
        request->vm.handover = HANDOVER_DAEMON;
        request->vm.guest_domains = 16;
        request->vm.memory = 1 << 20;
        request->autostart = true;
        (void)strcpy(request->vm.tenant, "blue");
        add(request, "0000:41:00.0", "02:00.0");
        add(request, "0001:02:1f.7", NULL);
        request->vm.functions[1].has_vf_token = request->vm.functions[1].managed = true;
        memset(request->vm.functions[1].vf_token, 0xab, 16);
}

static Definition *define_whole(void) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        Definition *d = NULL;
        Problem p = {};

        ask_whole(&request);
        request.vm.functions[1].managed = false; /* not with the daemon's handover */
        assert_ok(definition_from_request(&request, 1000, &config, &d, &p));
        return d;
}

/* The text of the record, which has all of it. */
static char *text_of(const Definition *d) {
        _cleanup_(definition_record_done) DefinitionRecord record = {};
        char *text;

        assert_ok(definition_save(d, &record));
        assert_ok(definition_record_format(&record, &text));
        return text;
}

static void comes_back(void **state) {
        _cleanup_(definition_freep) Definition *d = define_whole(), *again = NULL;
        _cleanup_(definition_record_done) DefinitionRecord record = {};
        _cleanup_free_ char *text = NULL, *text_again = NULL;
        char buf[SD_ID128_UUID_STRING_MAX];

        (void)state;
        d->number = 7;
        text = text_of(d);
        assert_ok(definition_record_parse(text, strlen(text), &record));
        assert_ok(definition_load(&record, &again));
        text_again = text_of(again);
        assert_string_equal(text_again, text);
        assert_int_equal(again->vm.uid, 1000);
        assert_int_equal(again->number, 7);
        assert_true(again->autostart);
        assert_string_equal(again->vm.tenant, "blue");
        assert_int_equal(again->vm.n_functions, 2);
        assert_true(again->vm.functions[1].has_vf_token);
        assert_string_equal(definition_get_name(again, buf), "web1");
        free(again->vm.name);
        again->vm.name = NULL;
        assert_string_equal(definition_get_name(again, buf),
                            "00112233-4455-6677-8899-aabbccddeeff");
}

static void words_are_understood(void **state) {
        static const DefinitionRecord cases[] = {
                { .tier = "" },
                { .tier = "fast" },
                { .tier = "virtio", .handover = "nobody" },
                { .tier = "virtio", .tenant = "a b" },
        };
        Definition *d = NULL;

        (void)state;
        for_each_case(c, cases) assert_error(definition_load(c, &d), EBADMSG);
        assert_null(d);
}

/* Nothing is filled in that a start would: the defaults of that time count. */
static void defaults_stay_open(void **state) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        _cleanup_(definition_freep) Definition *d = NULL;
        Problem p = {};

        (void)state;
        definition_request_init(&request);
        request.vm.uuid = UUID;
        request.vm.has_tier = true;
        request.vm.tier = TIER_HARDWARE;
        assert_ok(definition_from_request(&request, 0, &config, &d, &p));
        assert_false(d->vm.has_handover || d->vm.has_guest_domains || d->autostart);
        assert_int_equal(d->vm.leash_pidfd, -1);
}

static void is_refused(void **state) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        Definition *d = NULL;
        Problem p = {};

        (void)state;
        definition_request_init(&request);
        request.vm.uuid = UUID;
        assert_error(definition_from_request(&request, 0, &config, &d, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "names no tier");
        request.vm.has_tier = true;
        request.vm.tier = TIER_VIRTIO;
        add(&request, "0000:41:00.0", "01:00.0");
        assert_error(definition_from_request(&request, 0, &config, &d, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "only the hardware tier");
        request.vm.tier = TIER_HARDWARE;
        request.vm.functions[0].managed = true;
        assert_error(definition_from_request(&request, 0, &config, &d, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "managed");
        request.vm.functions[0].managed = false;
        add(&request, "0000:42:00.0", "01:00.0");
        assert_true(definition_from_request(&request, 0, &config, &d, &p) < 0);
        assert_problem(&p, PROBLEM_DUPLICATE_GUEST_ID, "");
        request.vm.functions[1].has_guest_id = false;
        add(&request, "0000:43:00.0", NULL);
        add(&request, "0000:44:00.0", NULL);
        assert_error(definition_from_request(&request, 0, &config, &d, &p), EDQUOT);
        assert_problem(&p, PROBLEM_LIMITS_EXCEEDED, "MaxFunctionsPerVm=");
        assert_null(d);
}

static void changes(void **state) {
        _cleanup_(definition_freep) Definition *d = define_whole(), *same = NULL, *other = NULL;
        _cleanup_(definition_request_done) DefinitionRequest request, nothing;
        _cleanup_free_ char *before = text_of(d), *after = NULL, *still = NULL;
        PciAddress gone = address("0000:41:00.0");
        Problem p = {};

        (void)state;
        definition_request_init(&nothing);
        assert_ok(definition_change(d, &nothing, &config, &same, &p));
        same->vm.uid = d->vm.uid;
        after = text_of(same);
        assert_string_equal(after, before);

        definition_request_init(&request);
        request.vm.has_tier = request.vm.has_handover = true;
        request.vm.tier = TIER_EMULATED;
        request.vm.handover = HANDOVER_NONE;
        request.vm.name = strdup("web2");
        request.has_memory = true;
        request.has_autostart = true;
        (void)strcpy(request.vm.tenant, "red");
        assert_ok(definition_request_remove_function(&request, &gone));
        d->vm.functions[1].has_guest_id = true;
        add(&request, "0000:41:00.0", NULL);
        add(&request, "0000:45:00.0", NULL);
        assert_ok(definition_change(d, &request, &config, &other, &p));
        assert_int_equal(other->vm.tier, TIER_EMULATED);
        assert_int_equal(other->vm.handover, HANDOVER_NONE);
        assert_false(other->vm.has_guest_domains); /* the hardware tier's */
        assert_string_equal(other->vm.name, "web2");
        assert_string_equal(other->vm.tenant, "red");
        assert_int_equal(other->vm.memory, 0);
        assert_false(other->autostart);
        assert_int_equal(other->vm.n_functions, 3);
        assert_string_equal(PCI_ADDRESS_STRING(&other->vm.functions[0].address), "0001:02:1f.7");
        assert_string_equal(PCI_ADDRESS_STRING(&other->vm.functions[1].address), "0000:41:00.0");
        assert_false(other->vm.functions[0].has_guest_id || other->vm.functions[1].has_guest_id);
        d->vm.functions[1].has_guest_id = false;
        still = text_of(d);
        assert_string_equal(still, before);
}

static void changes_are_refused(void **state) {
        _cleanup_(definition_freep) Definition *d = define_whole();
        _cleanup_(definition_request_done) DefinitionRequest request, twice, domains;
        PciAddress gone = address("0000:42:00.0");
        Definition *other = NULL;
        Problem p = {};

        (void)state;
        definition_request_init(&request);
        assert_ok(definition_request_remove_function(&request, &gone));
        assert_error(definition_change(d, &request, &config, &other, &p), ENODEV);
        assert_problem(&p, PROBLEM_NO_SUCH_FUNCTION, "0000:42:00.0 is not in the definition");

        definition_request_init(&twice);
        add(&twice, "0000:41:00.0", NULL);
        assert_error(definition_change(d, &twice, &config, &other, &p), EINVAL);

        definition_request_init(&domains);
        domains.vm.has_tier = domains.vm.has_guest_domains = true;
        domains.vm.tier = TIER_VIRTIO;
        domains.vm.guest_domains = 1;
        assert_error(definition_change(d, &domains, &config, &other, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "guest-domains belongs");
        assert_null(other);
}

static void memory_runs_out(void **state) {
        _cleanup_(definition_freep) Definition *d = define_whole();
        _cleanup_(definition_request_done) DefinitionRequest request;
        _cleanup_(definition_record_done) DefinitionRecord record = {};

        (void)state;
        ask_whole(&request);
        request.vm.functions[1].managed = false;
        assert_ok(definition_save(d, &record));
        OOM_SWEEP(nth, {
                _cleanup_(definition_freep) Definition *made = NULL;
                int r = definition_from_request(&request, 0, &config, &made, NULL);

                assert_true(r == 0 ? made != NULL : r == -ENOMEM && !made);
        });
        request.vm.n_functions = 0;
        OOM_SWEEP(nth, {
                _cleanup_(definition_freep) Definition *made = NULL;
                int r = definition_change(d, &request, &config, &made, NULL);

                assert_true(r == 0 ? made != NULL : r == -ENOMEM && !made);
        });
        OOM_SWEEP(nth, {
                _cleanup_(definition_freep) Definition *made = NULL;
                int r = definition_load(&record, &made);

                assert_true(r == 0 ? made != NULL : r == -ENOMEM && !made);
        });
        OOM_SWEEP(nth, {
                _cleanup_(definition_record_done) DefinitionRecord saved = {};
                int r = definition_save(d, &saved);

                assert_true(r == 0 || r == -ENOMEM);
        });
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(comes_back),
                cmocka_unit_test(words_are_understood),
                cmocka_unit_test(defaults_stay_open),
                cmocka_unit_test(is_refused),
                cmocka_unit_test(changes),
                cmocka_unit_test(changes_are_refused),
                cmocka_unit_test(memory_runs_out),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
