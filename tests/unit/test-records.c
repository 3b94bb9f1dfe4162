/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is kept of VMs, prepared contexts, reservations and definitions, its envelope, and the names of stored
 * descriptors. What is read is written again as the same text, byte for byte: this is tried on
 * every text that is one byte away from a good one. json-c has its own opinion on what is written.
 */

#include "unit.h"

#include <json-c/json.h>

#include "oom.h"
#include "state/definition-record.h"
#include "state/fd-name.h"
#include "state/level-record.h"
#include "state/prepared-record.h"
#include "state/record.h"
#include "state/reservation-record.h"
#include "state/vm-record.h"

/* ---- three records with nothing left out ---- */

static RecordFunction functions[] = {
        {
                .address = { 0xabcd, 0x41, 0x1f << 3 | 7 },
                .host_iommu = 2,
                .group = 41,
                .guest_id = { 0x0108 },
                .has_vf_token = true,
                .vf_token = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xab },
                .managed = true,
                .pending = true,
                .draining = true,
                .attached = true,
                .handed_over = true,
                .device_id = 7,
                .vdevice_id = UINT32_MAX,
                .stored = 46655,
        },
        { .host_iommu = UINT32_MAX, .group = UINT32_MAX, .guest_id = { UINT16_MAX } },
};
static RecordViommu viommus[] = {
        { 2, 1, 3, 17, UINT64_C(1) << 44, true, true },
};
static RecordMapping mappings[] = {
        { 0, 3 << 20, true, false },
        { UINT64_MAX - 4095, 4096, false, true },
};
static RecordCharge charges[] = {
        { "instances", 2, 1 },
        { "pinned-memory", 0, UINT64_MAX },
        { "trans-devids-of-23-byte", UINT32_MAX, 0 },
};

static VmRecord vm(void) {
        return (VmRecord){
                .uuid = SD_ID128_MAKE(00, 11, 22, 33, 44, 55, 66, 77, 88, 99, aa, bb, cc, dd, ee,
                                      ff),
                .name = "a \"name\" \\ of\x01\x1f\x7f m\xc3\xb6"
                        "tley sorts",
                .owner_uid = UINT32_MAX,
                .state = "draining",
                .end_reason = "leash",
                .state_reason = "It is ending.",
                .tier = "hardware",
                .handover = "daemon",
                .leash = "pidfd",
                .leash_caller = ":1.77",
                .deadline_usec = INT64_MAX + UINT64_C(1),
                .shared = true,
                .confirmed = true,
                .confirming = true,
                .memory = UINT64_C(8) << 30,
                .guest_domains = 64,
                .ioas_id = 1,
                .hwpt_id = 2,
                .iommufd_stored = 3,
                .leash_stored = UINT32_MAX,
                .functions = functions,
                .n_functions = ELEMENTSOF(functions),
                .viommus = viommus,
                .n_viommus = ELEMENTSOF(viommus),
                .mappings = mappings,
                .n_mappings = ELEMENTSOF(mappings),
                .charges = charges,
                .n_charges = ELEMENTSOF(charges),
                .tenant = "acme",
                .reservation = "0123456789abcdef0123456789abcdef",
        };
}

static const PreparedRecord prepared = { .caller = ":1.23", .uid = 107 };

static const LevelRecord level = { .host_iommu = "ivhd0",
                                   .level = "plumbing",
                                   .reason = "It gives a VF MMIO page, but no queue." };

static ReservationRecord reservation(void) {
        static PciAddress reserved[] = { { 0, 0x41, 0 }, { 1, 0xff, 9 } };

        return (ReservationRecord){
                .uid = 1000,
                .deadline_usec = 123456789,
                .tier = "emulated",
                .handover = "vmm",
                .functions = reserved,
                .n_functions = ELEMENTSOF(reserved),
                .charges = charges,
                .n_charges = ELEMENTSOF(charges),
                .tenant = "t",
        };
}

static DefinitionRecord definition(void) {
        static RecordDefinedFunction defined[] = {
                { { 0xabcd, 0x41, 0x1f << 3 | 7 },
                  true,
                  { 0x0108 },
                  true,
                  { 0xff, 1, 0xab },
                  true },
                { .address = { 0, 1, 0 } },
        };

        return (DefinitionRecord){
                .uuid = SD_ID128_MAKE(00, 11, 22, 33, 44, 55, 66, 77, 88, 99, aa, bb, cc, dd, ee,
                                      ff),
                .number = UINT64_MAX,
                .owner_uid = 1000,
                .name = "web \"1\"",
                .tier = "hardware",
                .handover = "daemon",
                .memory = UINT64_C(1) << 33,
                .has_guest_domains = true,
                .guest_domains = 16,
                .autostart = true,
                .functions = defined,
                .n_functions = ELEMENTSOF(defined),
                .tenant = "t",
        };
}

static const StartedRecord started = { .refused = true,
                                       .reason = "There is no function 0000:99:00.0 here.",
                                       .awaits = "functions" };

/* Formats a record of any kind, and parses it and formats it again: NULL if it is refused. */
typedef struct Kind {
        const char *name;
        char *(*format)(void);
        char *(*again)(const char *text, size_t length, int *ret_error);
} Kind;

static char *vm_format(void) {
        VmRecord record = vm();
        char *text;

        assert_ok(vm_record_format(&record, &text));
        return text;
}

static char *vm_again(const char *text, size_t length, int *ret_error) {
        _cleanup_(vm_record_done) VmRecord record = {};
        char *again = NULL;

        *ret_error = vm_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(vm_record_format(&record, &again));
        else
                assert_null(record.functions);
        return again;
}

static char *prepared_format(void) {
        char *text;

        assert_ok(prepared_record_format(&prepared, &text));
        return text;
}

static char *prepared_again(const char *text, size_t length, int *ret_error) {
        PreparedRecord record = {};
        char *again = NULL;

        *ret_error = prepared_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(prepared_record_format(&record, &again));
        return again;
}

static char *level_format(void) {
        char *text;

        assert_ok(level_record_format(&level, &text));
        return text;
}

static char *level_again(const char *text, size_t length, int *ret_error) {
        LevelRecord record = {};
        char *again = NULL;

        *ret_error = level_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(level_record_format(&record, &again));
        return again;
}

static char *reservation_format(void) {
        ReservationRecord record = reservation();
        char *text;

        assert_ok(reservation_record_format(&record, &text));
        return text;
}

static char *reservation_again(const char *text, size_t length, int *ret_error) {
        _cleanup_(reservation_record_done) ReservationRecord record = {};
        char *again = NULL;

        *ret_error = reservation_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(reservation_record_format(&record, &again));
        return again;
}

static char *definition_format(void) {
        DefinitionRecord record = definition();
        char *text;

        assert_ok(definition_record_format(&record, &text));
        return text;
}

static char *definition_again(const char *text, size_t length, int *ret_error) {
        _cleanup_(definition_record_done) DefinitionRecord record = {};
        char *again = NULL;

        *ret_error = definition_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(definition_record_format(&record, &again));
        return again;
}

static char *started_format(void) {
        char *text;

        assert_ok(started_record_format(&started, &text));
        return text;
}

static char *started_again(const char *text, size_t length, int *ret_error) {
        StartedRecord record = {};
        char *again = NULL;

        *ret_error = started_record_parse(text, length, &record);
        if (*ret_error == 0)
                assert_ok(started_record_format(&record, &again));
        return again;
}

static const Kind kinds[] = {
        { "vm", vm_format, vm_again },
        { "prepared", prepared_format, prepared_again },
        { "reservation", reservation_format, reservation_again },
        { "level", level_format, level_again },
        { "definition", definition_format, definition_again },
        { "started", started_format, started_again },
};

/* That a text is either refused, or read and written again as it is. Returns whether it is read. */
static bool is_read(const Kind *kind, const char *text, size_t length) {
        _cleanup_free_ char *again = NULL;
        int error;

        again = kind->again(text, length, &error);
        if (!again) {
                if (error != -EBADMSG)
                        fail_msg("%i for: %.*s", error, (int)length, text);
                return false;
        }
        if (strlen(again) != length || memcmp(again, text, length) != 0)
                fail_msg("%.*s\nbecomes\n%s", (int)length, text, again);
        return true;
}

/* @text with the first @from in it replaced; allocated. */
static char *replace(const char *text, const char *from, const char *to) {
        const char *at = strstr(text, from);
        char *result;

        if (!at)
                fail_msg("no %s in %s", from, text);
        assert_true(asprintf(&result, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) >=
                    0);
        return result;
}

/* ---- reading and writing ---- */

static void members_come_back(void **state) {
        _cleanup_(vm_record_done) VmRecord read = {};
        VmRecord written = vm();
        _cleanup_free_ char *text = vm_format();

        (void)state;
        assert_ok(vm_record_parse(text, strlen(text), &read));
        assert_int_equal(read.n_functions, ELEMENTSOF(functions));
        for (size_t i = 0; i < ELEMENTSOF(functions); i++) {
                const RecordFunction *a = functions + i, *b = read.functions + i;

                assert_true(pci_address_equal(&a->address, &b->address));
                assert_int_equal(a->host_iommu, b->host_iommu);
                assert_int_equal(a->group, b->group);
                assert_int_equal(a->guest_id.bdf, b->guest_id.bdf);
                assert_int_equal(a->has_vf_token, b->has_vf_token);
                assert_memory_equal(a->vf_token, b->vf_token, 16);
                assert_int_equal(a->managed, b->managed);
                assert_int_equal(a->pending, b->pending);
                assert_int_equal(a->draining, b->draining);
                assert_int_equal(a->attached, b->attached);
                assert_int_equal(a->handed_over, b->handed_over);
                assert_int_equal(a->device_id, b->device_id);
                assert_int_equal(a->vdevice_id, b->vdevice_id);
        }
        assert_int_equal(read.n_viommus, 1);
        assert_int_equal(read.viommus->host_iommu, 2);
        assert_int_equal(read.viommus->segment, 1);
        assert_int_equal(read.viommus->numa_node, 3);
        assert_int_equal(read.viommus->viommu_id, 17);
        assert_int_equal(read.viommus->vfmmio_offset, UINT64_C(1) << 44);
        assert_true(read.viommus->pending && read.viommus->draining);
        assert_int_equal(read.n_mappings, 2);
        assert_true(read.mappings[0].pending && !read.mappings[0].draining);
        assert_true(!read.mappings[1].pending && read.mappings[1].draining);
        assert_int_equal(read.mappings[1].iova, UINT64_MAX - 4095);
        assert_int_equal(read.mappings[1].length, 4096);
        assert_int_equal(read.n_charges, ELEMENTSOF(charges));
        for (size_t i = 0; i < ELEMENTSOF(charges); i++) {
                assert_string_equal(read.charges[i].resource, charges[i].resource);
                assert_int_equal(read.charges[i].scope, charges[i].scope);
                assert_int_equal(read.charges[i].amount, charges[i].amount);
        }
        assert_true(sd_id128_equal(read.uuid, written.uuid));
        assert_string_equal(read.name, written.name);
        assert_int_equal(read.owner_uid, written.owner_uid);
        assert_string_equal(read.state, written.state);
        assert_string_equal(read.end_reason, written.end_reason);
        assert_string_equal(read.state_reason, written.state_reason);
        assert_string_equal(read.tier, written.tier);
        assert_string_equal(read.handover, written.handover);
        assert_string_equal(read.leash, written.leash);
        assert_string_equal(read.leash_caller, written.leash_caller);
        assert_int_equal(read.deadline_usec, written.deadline_usec);
        assert_true(read.shared && read.confirmed && read.confirming);
        assert_int_equal(read.memory, written.memory);
        assert_int_equal(read.guest_domains, written.guest_domains);
        assert_int_equal(read.ioas_id, written.ioas_id);
        assert_int_equal(read.hwpt_id, written.hwpt_id);
        assert_int_equal(read.iommufd_stored, written.iommufd_stored);
        assert_int_equal(read.leash_stored, written.leash_stored);
        assert_string_equal(read.tenant, "acme");
        assert_string_equal(read.reservation, written.reservation);
}

/* What a daemon wrote that knew of no tenants, or did not say which reservation is used up: one that has none is the same text to this day. */
static void without_a_tenant(void **state) {
        _cleanup_free_ char *text = vm_format(), *older = replace(text, ",\"tenant\":\"acme\"", ""),
                            *reserved = reservation_format(), *unreserved = NULL,
                            *older_reserved = replace(reserved, ",\"tenant\":\"t\"", "");
        _cleanup_(reservation_record_done) ReservationRecord reservation_read = {};
        _cleanup_(vm_record_done) VmRecord read = {};

        (void)state;
        assert_ok(vm_record_parse(older, strlen(older), &read));
        assert_string_equal(read.tenant, "");
        vm_record_done(&read);
        unreserved = replace(older, ",\"reservation\":\"0123456789abcdef0123456789abcdef\"", "");
        assert_ok(vm_record_parse(unreserved, strlen(unreserved), &read));
        assert_string_equal(read.reservation, "");
        assert_int_equal(read.n_charges, ELEMENTSOF(charges));
        assert_true(is_read(kinds, older, strlen(older)));
        assert_ok(reservation_record_parse(older_reserved, strlen(older_reserved),
                                           &reservation_read));
        assert_string_equal(reservation_read.tenant, "");
}

static void small_records_come_back(void **state) {
        _cleanup_free_ char *p = prepared_format(), *r = reservation_format(), *l = level_format();
        _cleanup_(reservation_record_done) ReservationRecord read = {};
        ReservationRecord written = reservation();
        PreparedRecord read_prepared;
        LevelRecord read_level;

        (void)state;
        assert_ok(prepared_record_parse(p, strlen(p), &read_prepared));
        assert_string_equal(read_prepared.caller, ":1.23");
        assert_int_equal(read_prepared.uid, 107);

        assert_ok(level_record_parse(l, strlen(l), &read_level));
        assert_string_equal(read_level.host_iommu, level.host_iommu);
        assert_string_equal(read_level.level, level.level);
        assert_string_equal(read_level.reason, level.reason);

        assert_ok(reservation_record_parse(r, strlen(r), &read));
        assert_int_equal(read.uid, 1000);
        assert_int_equal(read.deadline_usec, 123456789);
        assert_string_equal(read.tier, "emulated");
        assert_string_equal(read.handover, "vmm");
        assert_int_equal(read.n_functions, 2);
        assert_true(pci_address_equal(read.functions + 1, written.functions + 1));
        assert_int_equal(read.n_charges, ELEMENTSOF(charges));
        assert_string_equal(read.charges[1].resource, "pinned-memory");
        assert_string_equal(read.tenant, "t");
}

static void nothing_comes_back(void **state) {
        _cleanup_free_ char *text = NULL;
        VmRecord record = {};

        (void)state;
        assert_ok(vm_record_format(&record, &text));
        assert_true(is_read(kinds, text, strlen(text)));
        assert_contains(text, "\"functions\":[],\"viommus\":[],\"mappings\":[],\"charges\":[]}");
        vm_record_done(&record);
}

/* Another reader finds the same in it. */
static void it_is_json(void **state) {
        _cleanup_free_ char *text = vm_format();
        json_object *root = json_tokener_parse(text), *v, *w;
        VmRecord written = vm();

        (void)state;
        assert_non_null(root);
        assert_true(json_object_object_get_ex(root, "uuid", &v));
        assert_string_equal(json_object_get_string(v), "00112233445566778899aabbccddeeff");
        assert_true(json_object_object_get_ex(root, "name", &v));
        assert_string_equal(json_object_get_string(v), written.name);
        assert_true(json_object_object_get_ex(root, "deadline_usec", &v));
        assert_int_equal(json_object_get_uint64(v), written.deadline_usec);
        assert_true(json_object_object_get_ex(root, "functions", &v));
        assert_int_equal(json_object_array_length(v), 2);
        v = json_object_array_get_idx(v, 0);
        assert_true(json_object_object_get_ex(v, "address", &w));
        assert_string_equal(json_object_get_string(w), "abcd:41:1f.7");
        assert_true(json_object_object_get_ex(v, "guest_id", &w));
        assert_int_equal(json_object_get_int64(w), 0x0108);
        assert_true(json_object_object_get_ex(v, "vf_token", &w));
        assert_string_equal(json_object_get_string(w), "ff0102030405060708090a0b0c0d0eab");
        assert_true(json_object_object_get_ex(v, "managed", &w));
        assert_true(json_object_is_type(w, json_type_boolean) && json_object_get_boolean(w));
        assert_string_equal(json_object_to_json_string_ext(
                                    root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
                            text);
        json_object_put(root);
}

/* ---- what is refused ---- */

static void neighbours(void **state) {
        static const char bytes[] = "\0\x01 \"\\/{}[]:,-+.0179aefgAF_utn\x7f\x80\xff";

        (void)state;
        for_each_case(kind, kinds) {
                _cleanup_free_ char *text = kind->format();
                size_t length = strlen(text), n_read = 0;
                _cleanup_free_ char *other = malloc(length + 1);

                assert_true(is_read(kind, text, length));
                /* Cut off. */
                for (size_t i = 0; i < length; i++)
                        assert_false(is_read(kind, text, i));
                for (size_t i = 0; i <= length; i++) {
                        /* One byte less. */
                        memcpy(other, text, i);
                        memcpy(other + i, text + i + 1, i < length ? length - i - 1 : 0);
                        if (i < length)
                                n_read += is_read(kind, other, length - 1);
                        for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
                                /* One byte more, and another byte. */
                                memcpy(other + i + 1, text + i, length - i);
                                other[i] = bytes[b];
                                n_read += is_read(kind, other, length + 1);
                                memcpy(other, text, length);
                                if (i == length)
                                        continue;
                                other[i] = bytes[b];
                                n_read += is_read(kind, other, length);
                                other[i] = text[i];
                        }
                }
                /* A text one byte away can be a record: of another name, say. */
                assert_in_range(n_read, 100, 100000);
        }
}

static void changes(void **state) {
        static const struct {
                const char *from, *to;
                bool read;
        } cases[] = {
                /* Numbers of 64, 32 and 16 bits. */
                { ":8589934592,", ":0,", true },
                { ":8589934592,", ":18446744073709551615,", true },
                { ":8589934592,", ":18446744073709551616,", false },
                { ":8589934592,", ":18446744073709551620,", false },
                { ":8589934592,", ":28446744073709551615,", false },
                { ":8589934592,", ":184467440737095516150,", false },
                { ":8589934592,", ":9223372036854775808,", true },
                { ":8589934592,", ":08589934592,", false },
                { ":8589934592,", ":00,", false },
                { ":8589934592,", ":-0,", false },
                { ":8589934592,", ":-1,", false },
                { ":8589934592,", ":+1,", false },
                { ":8589934592,", ":1.0,", false },
                { ":8589934592,", ":1e3,", false },
                { ":8589934592,", ":0x10,", false },
                { ":8589934592,", ":,", false },
                { ":8589934592,", ":\"1\",", false },
                { ":8589934592,", ":null,", false },
                { ":8589934592,", ":true,", false },
                { ":8589934592,", ":[],", false },
                { "\"ioas_id\":1,", "\"ioas_id\":4294967295,", true },
                { "\"ioas_id\":1,", "\"ioas_id\":4294967296,", false },
                { "\"ioas_id\":1,", "\"ioas_id\":18446744073709551617,", false },
                { "\"guest_id\":264,", "\"guest_id\":65535,", true },
                { "\"guest_id\":264,", "\"guest_id\":65536,", false },
                /* Members. */
                { "\"ioas_id\":1,", "", false },
                { "\"ioas_id\":1,", "\"ioas_id\":1,\"ioas_id\":1,", false },
                { "\"ioas_id\":1,", "\"ioas_id\":1,\"another\":1,", false },
                { "\"ioas_id\":1,\"hwpt_id\":2,", "\"hwpt_id\":2,\"ioas_id\":1,", false },
                { "\"ioas_id\":1,", "\"IOAS_id\":1,", false },
                { "\"device_id\":7,", "", false },
                { ",\"stored\":46655}", "}", false },
                { ",\"stored\":46655}", ",\"stored\":46655,\"x\":1}", false },
                { "{\"uuid\"", "{ \"uuid\"", false },
                { "{\"uuid\"", "\n{\"uuid\"", false },
                { "{\"uuid\"", "/**/{\"uuid\"", false },
                { "{\"uuid\"", "[{\"uuid\"", false },
                { "\"uuid\"", "'uuid'", false },
                /* One that may be missing is there whole, once, and says something. */
                { ",\"tenant\":\"acme\"", "", true },
                { ",\"tenant\":\"acme\"", ",\"tenant\":\"\"", false },
                { ",\"tenant\":\"acme\"", ",\"tenant\"", false },
                { ",\"tenant\":\"acme\"", ",\"tenant\":", false },
                { ",\"tenant\":\"acme\"", ",\"tenent\":\"acme\"", false },
                { ",\"tenant\":\"acme\"", ",\"tenants\":\"acme\"", false },
                { ",\"tenant\":\"acme\"", ",'tenant\":\"acme\"", false },
                { ",\"tenant\":\"acme\"", ",\"tenant\":\"a\",\"tenant\":\"a\"", false },
                { "{\"uuid\"", "{\"tenant\":\"acme\",\"uuid\"", false },
                /* Booleans. */
                { "\"shared\":true", "\"shared\":false", true },
                { "\"shared\":true", "\"shared\":1", false },
                { "\"shared\":true", "\"shared\":True", false },
                { "\"shared\":true", "\"shared\":truee", false },
                { "\"shared\":true", "\"shared\":\"true\"", false },
                { "\"shared\":true", "\"shared\":null", false },
                /* Ids and addresses. */
                { "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff",
                  false },
                { "00112233445566778899aabbccddeeff", "00112233445566778899AABBCCDDEEFF", false },
                { "00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeef", false },
                { "00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff0", false },
                { "abcd:41:1f.7", "ffff:ff:1f.7", true },
                { "abcd:41:1f.7", "abcd:41:20.7", false },
                { "abcd:41:1f.7", "abcd:41:1f.8", false },
                { "abcd:41:1f.7", "ABCD:41:1f.7", false },
                { "abcd:41:1f.7", "41:1f.7", false },
                { "abcd:41:1f.7", "abcd.41.1f.7", false },
                { "abcd:41:1f.7", "0abcd:41:1f.7", false },
                /* Texts. */
                { "\"tier\":\"hardware\"", "\"tier\":\"\"", true },
                { "\"tier\":\"hardware\"", "\"tier\":\"of 23 bytes and no more\"", true },
                { "\"tier\":\"hardware\"", "\"tier\":\"of 24 bytes, which is 1+\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u0000\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u0001\"", true },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u001f\"", true },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u001F\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u0020\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\u00\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\n\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\/\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"/\"", true },
                { "\"tier\":\"hardware\"", "\"tier\":\"\n\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":\"\\\"", false },
                { "\"tier\":\"hardware\"", "\"tier\":hardware", false },
                { "\"tier\":\"hardware\"", "\"tier\":null", false },
                /* Lists. */
                { "\"viommus\":[{", "\"viommus\":[],\"viommus\":[{", false },
                { "\"viommus\":[{", "\"viommus\":[,{", false },
                { "\"viommus\":[{", "\"viommus\":[[{", false },
                { "\"viommus\":[{", "\"viommus\":{", false },
                { "}],\"mappings\"", "},],\"mappings\"", false },
                { "}],\"mappings\"", "}}],\"mappings\"", false },
                { "}],\"mappings\"", "},\"mappings\"", false },
                { "}],\"mappings\"", "},{}],\"mappings\"", false },
                { "}],\"mappings\"", "},null],\"mappings\"", false },
        };
        _cleanup_free_ char *text = vm_format();

        (void)state;
        for_each_case(c, cases) {
                _cleanup_free_ char *changed = replace(text, c->from, c->to);

                if (is_read(kinds, changed, strlen(changed)) != c->read)
                        fail_msg("%s is %s", c->to, c->read ? "refused" : "taken");
        }
}

static void other_texts(void **state) {
        static const char *const texts[] = {
                "",   "null",     "0",          "\"\"",     "[]",
                "{}", "{\"\":0}", "{\"uuid\":", "{{{{{{{{", "[[[[[[[[",
        };

        (void)state;
        for_each_case(kind, kinds) for_each_case(t, texts)
                assert_false(is_read(kind, *t, strlen(*t)));
        /* One kind is not another. */
        for_each_case(a, kinds) for_each_case(b, kinds) {
                _cleanup_free_ char *text = a->format();

                assert_int_equal(is_read(b, text, strlen(text)), a == b);
        }
}

/* On failure the caller's record is as it was. */
static void refused_leaves_no_trace(void **state) {
        _cleanup_free_ char *text = vm_format();
        VmRecord record = { .owner_uid = 5 };

        (void)state;
        assert_error(vm_record_parse(text, strlen(text) - 1, &record), EBADMSG);
        assert_int_equal(record.owner_uid, 5);
        assert_int_equal(record.n_charges, 0);
}

static void long_lists(void **state) {
        _cleanup_free_ RecordMapping *many = new0(RecordMapping, RECORD_LIST_MAX + 1);
        _cleanup_free_ char *text = NULL, *too_long = NULL;
        VmRecord record = vm();

        (void)state;
        for (size_t i = 0; i <= RECORD_LIST_MAX; i++)
                many[i].iova = i << 12;
        record.mappings = many;
        record.n_mappings = RECORD_LIST_MAX;
        assert_ok(vm_record_format(&record, &text));
        assert_true(is_read(kinds, text, strlen(text)));
        record.n_mappings++;
        assert_ok(vm_record_format(&record, &too_long));
        assert_false(is_read(kinds, too_long, strlen(too_long)));
}

static void memory_runs_out(void **state) {
        VmRecord record = vm();
        ReservationRecord r = reservation();
        DefinitionRecord d = definition();

        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_(vm_record_done) VmRecord read = {};
                _cleanup_free_ char *text = NULL;
                int error = vm_record_format(&record, &text);

                if (error == 0)
                        error = vm_record_parse(text, strlen(text), &read);
                assert_true(error == 0 || error == -ENOMEM);
                assert_int_equal(read.n_functions, error == 0 ? 2 : 0);
        });
        OOM_SWEEP(nth, {
                _cleanup_(reservation_record_done) ReservationRecord read = {};
                _cleanup_free_ char *text = NULL;
                int error = reservation_record_format(&r, &text);

                if (error == 0)
                        error = reservation_record_parse(text, strlen(text), &read);
                assert_true(error == 0 || error == -ENOMEM);
                assert_int_equal(read.n_functions, error == 0 ? 2 : 0);
        });
        OOM_SWEEP(nth, {
                _cleanup_(definition_record_done) DefinitionRecord read = {};
                _cleanup_free_ char *text = NULL;
                int error = definition_record_format(&d, &text);

                if (error == 0)
                        error = definition_record_parse(text, strlen(text), &read);
                assert_true(error == 0 || error == -ENOMEM);
                assert_int_equal(read.n_functions, error == 0 ? 2 : 0);
        });
        OOM_SWEEP(nth, {
                _cleanup_free_ char *text = NULL;
                int error = prepared_record_format(&prepared, &text);

                assert_true(error == 0 || error == -ENOMEM);
        });
        OOM_SWEEP(nth, {
                _cleanup_free_ char *text = NULL;
                int error = level_record_format(&level, &text);

                assert_true(error == 0 || error == -ENOMEM);
        });
}

/* ---- the envelope ---- */

static const sd_id128_t boot = SD_ID128_MAKE(0f, 1e, 2d, 3c, 4b, 5a, 69, 78, 87, 96, a5, b4, c3, d2,
                                             e1, f0);

static RecordVerdict open_text(const char *text) {
        const char *body;
        size_t length;

        return record_open(text, strlen(text), boot, &body, &length);
}

static void envelope(void **state) {
        static const char head[] = "aviommu-record 3 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 ";
        _cleanup_free_ char *text = NULL, *empty = NULL;
        const char *body;
        size_t length, body_length;

        (void)state;
        assert_int_equal(record_checksum("", 0), UINT64_C(0xcbf29ce484222325));
        assert_int_equal(record_checksum("a", 1), UINT64_C(0xaf63dc49fd1f0ee8));
        assert_ok(record_seal(boot, "{}", &text, &length));
        assert_int_equal(length, strlen(text));
        assert_memory_equal(text, head, strlen(head));
        assert_string_equal(text + strlen(head) + 16, "\n{}\n");
        /* The checksum of the first line up to here and of the rest, worked out elsewhere. */
        assert_memory_equal(text + strlen(head), "d227fdbd435d0545", 16);

        assert_int_equal(record_open(text, length, boot, &body, &body_length), RECORD_GOOD);
        assert_ptr_equal(body, strchr(text, '{'));
        assert_int_equal(body_length, 2);
        assert_int_equal(record_open(text, length, SD_ID128_NULL, &body, &body_length),
                         RECORD_OTHER_BOOT);

        /* Those of the versions before. */
        assert_int_equal(open_text("aviommu-record 1 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 "
                                   "d19fe782c94fb28e\n{}\n"),
                         RECORD_GOOD);
        assert_int_equal(open_text("aviommu-record 2 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 "
                                   "49e32483787e3428\n{}\n"),
                         RECORD_GOOD);

        assert_ok(record_seal(boot, "", &empty, &length));
        assert_int_equal(record_open(empty, length, boot, &body, &body_length), RECORD_GOOD);
        assert_int_equal(body_length, 0);
}

static void versions(void **state) {
        static const struct {
                const char *text;
                RecordVerdict verdict;
        } cases[] = {
                { "", RECORD_DAMAGED },
                { "aviommu-record", RECORD_DAMAGED },
                { "aviommu-record ", RECORD_DAMAGED },
                { "aviommu-record 1", RECORD_DAMAGED },
                { "aviommu-record 4", RECORD_DAMAGED },
                { "aviommu-record 4 ", RECORD_NEWER },
                { "aviommu-record 4\n", RECORD_DAMAGED },
                { "aviommu-record 4 whatever\n", RECORD_NEWER },
                { "aviommu-record 9 \n", RECORD_NEWER },
                { "aviommu-record 10 \n", RECORD_NEWER },
                { "aviommu-record 18446744073709551617 \n", RECORD_NEWER },
                { "aviommu-record 0 \n", RECORD_DAMAGED },
                { "aviommu-record 02 \n", RECORD_DAMAGED },
                { "aviommu-record -2 \n", RECORD_DAMAGED },
                { "aviommu-record : \n", RECORD_DAMAGED },
                { "aviommu-record 2x \n", RECORD_DAMAGED },
                { "aviommu-Record 2 \n", RECORD_DAMAGED },
                { "aviommu-record 1 \n", RECORD_DAMAGED },
                { "aviommu-record 1 0f1e2d3c4b5a69788796a5b4c3d2e1f0", RECORD_DAMAGED },
                { "aviommu-record 1 0f1e2d3c4b5a69788796a5b4c3d2e1f0\n", RECORD_DAMAGED },
                { "aviommu-record 1 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 0123456789abcdef\n{}\n",
                  RECORD_DAMAGED },
                { "aviommu-record 2 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 0123456789abcdef\n{}\n",
                  RECORD_DAMAGED },
                { "aviommu-record 3 0f1e2d3c4b5a69788796a5b4c3d2e1f0 3 0123456789abcdef\n{}\n",
                  RECORD_DAMAGED },
                { "aviommu-record 1 xf1e2d3c4b5a69788796a5b4c3d2e1f0 3 0123456789abcdef\n{}\n",
                  RECORD_DAMAGED },
        };

        (void)state;
        for_each_case(c, cases) if (open_text(c->text) != c->verdict)
                fail_msg("\"%s\" is %s", c->text, record_verdict_to_string(open_text(c->text)));
}

/* No flipped bit, no lost end and no byte too many passes for a record. */
static void damage(void **state) {
        _cleanup_free_ char *body = vm_format(), *text = NULL;
        const char *found;
        size_t length, found_length;

        (void)state;
        assert_ok(record_seal(boot, body, &text, &length));
        for (size_t i = 0; i < length * 8; i++) {
                RecordVerdict verdict;

                text[i / 8] ^= (char)(1 << i % 8);
                verdict = record_open(text, length, boot, &found, &found_length);
                if (verdict != RECORD_DAMAGED &&
                    !(verdict == RECORD_NEWER && i / 8 == strlen("aviommu-record ")))
                        fail_msg("bit %zu", i);
                text[i / 8] ^= (char)(1 << i % 8);
        }
        for (size_t i = 0; i < length; i++)
                assert_int_equal(record_open(text, i, boot, &found, &found_length), RECORD_DAMAGED);
        /* The 0 behind it is there, but not of it. */
        assert_int_equal(record_open(text, length + 1, boot, &found, &found_length),
                         RECORD_DAMAGED);
        assert_int_equal(record_open(text, length, boot, &found, &found_length), RECORD_GOOD);
}

/* What is whole, but not one line, was not sealed by us. */
static void more_than_a_line(void **state) {
        _cleanup_free_ char *text = NULL;
        const char *body;
        size_t length;

        (void)state;
        assert_ok(record_seal(boot, "{\n}", &text, &length));
        assert_int_equal(record_open(text, length, boot, &body, &length), RECORD_DAMAGED);
}

static void sealing_runs_out_of_memory(void **state) {
        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_free_ char *text = NULL;
                size_t length;
                int error = record_seal(boot, "{}", &text, &length);

                assert_true(error == 0 || error == -ENOMEM);
        });
}

static void verdicts(void **state) {
        (void)state;
        assert_string_equal(record_verdict_to_string(RECORD_GOOD), "good");
        assert_string_equal(record_verdict_to_string(RECORD_DAMAGED), "damaged");
        assert_string_equal(record_verdict_to_string(RECORD_NEWER), "newer");
        assert_string_equal(record_verdict_to_string(RECORD_OTHER_BOOT), "other-boot");
}

/* ---- names of descriptors ---- */

static void fd_names(void **state) {
        static const struct {
                uint32_t id;
                const char *name;
        } cases[] = {
                { 1, "1" },      { 9, "9" },           { 10, "a" },
                { 35, "z" },     { 36, "10" },         { 1295, "zz" },
                { 1296, "100" }, { FD_ID_MAX, "zzz" }, { 1332, "110" },
        };
        static const char *const others[] = { "",    "0",  "01", "000", "A",   "1000",  "zzzz",
                                              "1:2", "-1", " 1", "1 ",  "1.2", "stored" };
        uint32_t id;

        (void)state;
        for_each_case(c, cases) {
                assert_string_equal(FD_NAME_STRING(c->id), c->name);
                assert_ok(fd_name_parse(c->name, &id));
                assert_int_equal(id, c->id);
        }
        for_each_case(other, others) assert_error(fd_name_parse(*other, &id), EINVAL);
        for (uint32_t i = 1; i <= FD_ID_MAX; i++) {
                assert_ok(fd_name_parse(FD_NAME_STRING(i), &id));
                assert_int_equal(id, i);
        }
        assert_aborts((void)FD_NAME_STRING(0));
        assert_aborts((void)FD_NAME_STRING(FD_ID_MAX + 1));
        /* All of them in one string that execve() takes. */
        assert_true(FD_NAMES_MAX * FD_NAME_SIZE + strlen("LISTEN_FDNAMES=") < 131072);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(members_come_back),
                cmocka_unit_test(without_a_tenant),
                cmocka_unit_test(small_records_come_back),
                cmocka_unit_test(nothing_comes_back),
                cmocka_unit_test(it_is_json),
                cmocka_unit_test(neighbours),
                cmocka_unit_test(changes),
                cmocka_unit_test(other_texts),
                cmocka_unit_test(refused_leaves_no_trace),
                cmocka_unit_test(long_lists),
                cmocka_unit_test(memory_runs_out),
                cmocka_unit_test(envelope),
                cmocka_unit_test(versions),
                cmocka_unit_test(damage),
                cmocka_unit_test(more_than_a_line),
                cmocka_unit_test(sealing_runs_out_of_memory),
                cmocka_unit_test(verdicts),
                cmocka_unit_test(fd_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
