/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls, their answers, and messages as text. */

#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define ERROR_PREFIX      "org.aviommu1.Error."
#define CALL_TIMEOUT_USEC UINT64_C(60000000)

static const char *full_interface(const char *interface, char buf[static 64]) {
        if (strchr(interface, '.'))
                return interface;
        (void)snprintf(buf, 64, "org.aviommu1.%s", interface);
        return buf;
}

static sd_bus_message *message_newv(sd_bus *bus, const char *path, const char *interface,
                                    const char *member, const char *types, va_list ap) {
        const char *destination = path && streq(path, "/org/freedesktop/DBus")
                                          ? "org.freedesktop.DBus"
                                          : "org.aviommu1";
        sd_bus_message *m = NULL;
        char buf[64];

        assert_true(sd_bus_message_new_method_call(bus, &m, destination, path ?: ROOT_PATH,
                                                   full_interface(interface, buf), member) >= 0);
        if (types && *types)
                assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
        return m;
}

sd_bus_message *message_new(sd_bus *bus, const char *path, const char *interface,
                            const char *member, const char *types, ...) {
        sd_bus_message *m;
        va_list ap;

        va_start(ap, types);
        m = message_newv(bus, path, interface, member, types, ap);
        va_end(ap);
        return m;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Call *call = userdata;

        (void)error;
        call->reply = sd_bus_message_ref(m);
        call->order = ++call->f->n_answers;
        return 1;
}

void call_start(Fixture *f, Call *call, sd_bus_message *m) {
        int r;

        *call = (Call){ .f = f };
        r = sd_bus_call_async(sd_bus_message_get_bus(m), &call->slot, m, on_reply, call,
                              CALL_TIMEOUT_USEC);
        if (r < 0)
                fail_msg("cannot send: %s", strerror(-r));
        sd_bus_message_unref(m);
}

void call_method(Fixture *f, Call *call, sd_bus *bus, const char *path, const char *interface,
                 const char *member, const char *types, ...) {
        va_list ap;

        va_start(ap, types);
        call_start(f, call, message_newv(bus, path, interface, member, types, ap));
        va_end(ap);
}

void call_wait(Call *call) {
        uint64_t deadline = now_usec() + CALL_TIMEOUT_USEC;

        while (!call->reply) {
                if (now_usec() > deadline)
                        fail_msg("a call is not answered");
                fixture_serve(call->f, 100000);
        }
}

void call_done(Call *call) {
        call->reply = sd_bus_message_unref(call->reply);
        call->slot = sd_bus_slot_unref(call->slot);
}

const char *call_error(const Call *call) {
        const sd_bus_error *e = sd_bus_message_get_error(call->reply);

        if (!e)
                return "";
        return strncmp(e->name, ERROR_PREFIX, strlen(ERROR_PREFIX)) == 0
                       ? e->name + strlen(ERROR_PREFIX)
                       : e->name;
}

static void check_answer(const Call *call, const char *expected) {
        const sd_bus_error *e = sd_bus_message_get_error(call->reply);

        if (!streq(call_error(call), expected))
                fail_msg("expected \"%s\", the answer is \"%s\": %s", expected, call_error(call),
                         e ? e->message : "success");
        if (!e || strncmp(e->name, ERROR_PREFIX, strlen(ERROR_PREFIX)) != 0)
                return;
        /* A person is to be able to do something with it. */
        if (!e->message || strlen(e->message) < 16 || e->message[strlen(e->message) - 1] != '.')
                fail_msg("%s comes without a sentence: \"%s\"", e->name, strempty(e->message));
}

void call_expect(Call *call, const char *error) {
        call_wait(call);
        check_answer(call, error);
        call_done(call);
}

static sd_bus_message *askv(Fixture *f, const char *path, const char *interface, const char *member,
                            const char *types, va_list ap) {
        sd_bus_message *reply;
        Call call;

        call_start(f, &call, message_newv(f->bus, path, interface, member, types, ap));
        call_wait(&call);
        if (*call_error(&call))
                fail_msg("%s failed with \"%s\": %s", member, call_error(&call),
                         sd_bus_message_get_error(call.reply)->message);
        reply = sd_bus_message_ref(call.reply);
        call_done(&call);
        return reply;
}

sd_bus_message *ask(Fixture *f, const char *path, const char *interface, const char *member,
                    const char *types, ...) {
        sd_bus_message *reply;
        va_list ap;

        va_start(ap, types);
        reply = askv(f, path, interface, member, types, ap);
        va_end(ap);
        return reply;
}

void run_ok(Fixture *f, const char *path, const char *interface, const char *member,
            const char *types, ...) {
        va_list ap;

        va_start(ap, types);
        sd_bus_message_unref(askv(f, path, interface, member, types, ap));
        va_end(ap);
}

void send_fails(Fixture *f, const char *error, sd_bus_message *m) {
        Call call;

        call_start(f, &call, m);
        call_expect(&call, error);
}

void run_fails(Fixture *f, const char *error, const char *path, const char *interface,
               const char *member, const char *types, ...) {
        va_list ap;

        va_start(ap, types);
        send_fails(f, error, message_newv(f->bus, path, interface, member, types, ap));
        va_end(ap);
}

/* ---- text ---- */

static void put_items(FILE *out, sd_bus_message *m, bool dictionary);

static void put_basic(FILE *out, sd_bus_message *m, char type) {
        union {
                const char *s;
                uint64_t u64;
                int64_t i64;
                uint32_t u32;
                int32_t i32;
                uint16_t u16;
                int16_t i16;
                double d;
                uint8_t u8;
                int b;
        } v;

        assert_true(sd_bus_message_read_basic(m, type, &v) > 0);
        switch (type) {
        case 's':
        case 'o':
        case 'g':
                (void)fprintf(out, "\"%s\"", v.s);
                break;
        case 'b':
                (void)fputs(v.b ? "true" : "false", out);
                break;
        case 't':
                (void)fprintf(out, "%" PRIu64, v.u64);
                break;
        case 'x':
                (void)fprintf(out, "%" PRIi64, v.i64);
                break;
        case 'u':
                (void)fprintf(out, "%" PRIu32, v.u32);
                break;
        case 'i':
                (void)fprintf(out, "%" PRIi32, v.i32);
                break;
        case 'q':
                (void)fprintf(out, "%u", v.u16);
                break;
        case 'n':
                (void)fprintf(out, "%i", v.i16);
                break;
        case 'y':
                (void)fprintf(out, "%u", v.u8);
                break;
        case 'd':
                (void)fprintf(out, "%g", v.d);
                break;
        case 'h':
                (void)fputs("fd", out);
                break;
        default:
                fail_msg("unexpected type '%c'", type);
        }
}

static void put_item(FILE *out, sd_bus_message *m, char type, const char *contents) {
        if (!strchr("arve", type)) {
                put_basic(out, m, type);
                return;
        }
        assert_true(sd_bus_message_enter_container(m, type, contents) > 0);
        (void)fputs(type == 'a' ? contents[0] == '{' ? "{" : "[" : type == 'r' ? "(" : "", out);
        put_items(out, m, type == 'e');
        (void)fputs(type == 'a' ? contents[0] == '{' ? "}" : "]" : type == 'r' ? ")" : "", out);
        assert_true(sd_bus_message_exit_container(m) > 0);
}

static void put_items(FILE *out, sd_bus_message *m, bool dictionary) {
        const char *contents;
        char type;

        for (size_t i = 0; sd_bus_message_peek_type(m, &type, &contents) > 0; i++) {
                if (i > 0)
                        (void)fputs(dictionary ? ": " : ", ", out);
                put_item(out, m, type, contents);
        }
}

char *message_to_text(sd_bus_message *m) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        put_items(out, m, false);
        assert_int_equal(fclose(out), 0);
        return text;
}

char *ask_text(Fixture *f, const char *path, const char *interface, const char *member,
               const char *types, ...) {
        sd_bus_message *reply;
        va_list ap;
        char *text;

        va_start(ap, types);
        reply = askv(f, path, interface, member, types, ap);
        va_end(ap);
        text = message_to_text(reply);
        sd_bus_message_unref(reply);
        return text;
}

char *property(Fixture *f, const char *path, const char *interface, const char *name) {
        char buf[64];

        return ask_text(f, path, "org.freedesktop.DBus.Properties", "Get", "ss",
                        full_interface(interface, buf), name);
}

void assert_property(Fixture *f, const char *path, const char *interface, const char *name,
                     const char *expected) {
        _cleanup_free_ char *value = property(f, path, interface, name);

        if (!streq(value, expected))
                fail_msg("%s of %s is %s, not %s", name, path ?: ROOT_PATH, value, expected);
}

char *world(Fixture *f) {
        _cleanup_free_ char *resources = property(f, NULL, "Manager", "Resources");
        _cleanup_free_ char *counters = ask_text(f, SIMULATION_PATH, "Simulation", "Counters", "");
        _cleanup_free_ char *vms = ask_text(f, NULL, "Manager", "ListVms", "su", "",
                                            UINT32_C(1000));
        char *text;

        assert_true(asprintf(&text, "%s\n%s\n%s", resources, counters, vms) >= 0);
        return text;
}

void assert_world(Fixture *f, const char *before) {
        _cleanup_free_ char *after = world(f);

        assert_string_equal(after, before);
}

unsigned vm_count(Fixture *f) {
        _cleanup_free_ char *n = property(f, NULL, "Manager", "NVms");

        return (unsigned)strtoul(n, NULL, 10);
}

uint64_t counter(Fixture *f, const char *name) {
        sd_bus_message *m = ask(f, SIMULATION_PATH, "Simulation", "Counters", "");
        uint64_t value, found = UINT64_MAX;
        const char *key;

        assert_true(sd_bus_message_enter_container(m, 'a', "{st}") > 0);
        while (sd_bus_message_read(m, "{st}", &key, &value) > 0)
                if (streq(key, name))
                        found = value;
        sd_bus_message_unref(m);
        assert_true(found != UINT64_MAX);
        return found;
}

void assert_nothing_left(Fixture *f) {
        sd_bus_message *m;
        const char *key, *scope;
        uint64_t value, used;

        m = ask(f, SIMULATION_PATH, "Simulation", "Counters", "");
        assert_true(sd_bus_message_enter_container(m, 'a', "{st}") > 0);
        while (sd_bus_message_read(m, "{st}", &key, &value) > 0)
                if (value != 0)
                        fail_msg("the kernel has %" PRIu64 " %s left", value, key);
        sd_bus_message_unref(m);

        m = ask(f, NULL, "org.freedesktop.DBus.Properties", "Get", "ss", "org.aviommu1.Manager",
                "Resources");
        assert_true(sd_bus_message_enter_container(m, 'v', "a(sstt)") > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "(sstt)") > 0);
        while (sd_bus_message_read(m, "(sstt)", &key, &scope, &value, &used) > 0)
                if (used != 0)
                        fail_msg("%" PRIu64 " %s of %s are still charged", used, key, scope);
        sd_bus_message_unref(m);
        assert_property(f, NULL, "Manager", "NVms", "0");
}
