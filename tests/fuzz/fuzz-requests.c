/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Fuzzes the readers of request dictionaries. The input is a program that puts a D-Bus message together: each byte appends
 * something, or opens or closes a container. Whatever comes of it is a message that a bus would deliver; the reader takes it
 * or refuses it in words that a bus would carry, and keeps no memory and no descriptor.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "bus/bus-request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH_MAX 12

static const char *const words[] = {
        "name",
        "tier",
        "handover",
        "functions",
        "memory",
        "guest-domains",
        "leash",
        "leash-pidfd",
        "reservation",
        "managed",
        "vf-token",
        "with",
        "guest-device-id",
        "force",
        "hardware",
        "emulated",
        "virtio",
        "daemon",
        "vmm",
        "none",
        "pidfd",
        "caller",
        "0000:41:00.0",
        "01:00.0",
        "",
        "x",
        "11111111-2222-3333-4444-555555555555",
        "00000000-0000-0000-0000-000000000000",
        "grün\t",
};

/* What the readers read: the first byte says which. */
static const char *const signatures[] = { "sa{sv}", "sa{sv}", "a{sv}", "a{sv}", "a{sv}", "s" };

typedef struct Input {
        const uint8_t *data;
        size_t size;
} Input;

static uint8_t take(Input *in) {
        if (in->size == 0)
                return 0;
        in->size--;
        return *in->data++;
}

/* A word of the vocabulary, or one of the input's own, made into something that may be in a message. */
static int append_string(sd_bus_message *m, Input *in) {
        uint8_t n = take(in);
        char text[256];
        size_t length = 0;

        if (n < ELEMENTSOF(words))
                return sd_bus_message_append_basic(m, 's', words[n]);
        for (; length < n && in->size > 0; length++) {
                uint8_t c = take(in);

                text[length] = (char)(c == 0 || c >= 0x80 ? 'u' : c);
        }
        /* Two bytes to a character, so that whatever is cut is cut in the middle of one. */
        for (size_t i = 1; i + 1 < length; i += 2)
                if (text[i] == 'u')
                        memcpy(text + i, "ü", 2);
        text[length] = '\0';
        return sd_bus_message_append_basic(m, 's', text);
}

static int append_variant(sd_bus_message *m, Input *in, unsigned depth);

/* One complete value of @type, which is one of those below. */
static int append_value(sd_bus_message *m, const char *type, Input *in, unsigned depth) {
        uint64_t v = take(in);
        int r = 0;

        if (streq(type, "s"))
                return append_string(m, in);
        if (streq(type, "b"))
                return sd_bus_message_append_basic(m, 'b', &(int){ v & 1 });
        if (streq(type, "u"))
                return sd_bus_message_append_basic(m, 'u', &(uint32_t){ (uint32_t)(v << 12 | v) });
        if (streq(type, "t"))
                return sd_bus_message_append_basic(m, 't', &(uint64_t){ v << 40 | v });
        if (streq(type, "h"))
                return sd_bus_message_append_basic(m, 'h', &(int){ v & 1 ? 2 : 1 });
        if (streq(type, "v"))
                return append_variant(m, in, depth + 1);

        if (streq(type, "a{sv}")) {
                r = sd_bus_message_open_container(m, 'a', "{sv}");
                for (unsigned i = v % 12; i > 0 && r >= 0 && in->size > 0; i--) {
                        r = sd_bus_message_open_container(m, 'e', "sv");
                        if (r >= 0)
                                r = append_string(m, in);
                        if (r >= 0)
                                r = append_variant(m, in, depth + 1);
                        if (r >= 0)
                                r = sd_bus_message_close_container(m);
                }
        } else {
                assert(streq(type, "a(sa{sv})"));
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
                for (unsigned i = v % 6; i > 0 && r >= 0 && in->size > 0; i--) {
                        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
                        if (r >= 0)
                                r = append_string(m, in);
                        if (r >= 0)
                                r = append_value(m, "a{sv}", in, depth + 1);
                        if (r >= 0)
                                r = sd_bus_message_close_container(m);
                }
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_variant(sd_bus_message *m, Input *in, unsigned depth) {
        static const char *const types[] = { "s", "b", "u", "t", "h", "v", "a{sv}", "a(sa{sv})" };
        const char *type = depth > DEPTH_MAX ? "s" : types[take(in) % ELEMENTSOF(types)];
        int r;

        r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
                r = append_value(m, type, in, depth);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Messages belong to a connection; this one leads nowhere. */
static sd_bus *connection(void) {
        static sd_bus *bus;
        int fds[2];

        if (bus)
                return bus;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || sd_bus_new(&bus) < 0 ||
            sd_bus_set_fd(bus, fds[0], fds[0]) < 0 || sd_bus_start(bus) < 0)
                abort();
        return bus;
}

static sd_bus_message *message_new(void) {
        sd_bus_message *m;

        if (sd_bus_message_new_method_call(connection(), &m, "org.aviommu1", "/org/aviommu1",
                                           "org.aviommu1.Manager", "CreateVm") < 0)
                abort();
        return m;
}

static int read_request(sd_bus_message *m, unsigned reader, Problem *p) {
        VmRequest request;
        sd_id128_t id;
        bool force;
        int r;

        vm_request_init(&request);
        switch (reader) {
        case 0:
                r = bus_read_vm_request(m, &request, p);
                break;
        case 1:
                r = bus_read_attach_request(m, &request, p);
                break;
        case 2:
                r = bus_read_destroy_options(m, &force, p);
                break;
        case 3:
                r = bus_read_no_options(m, p);
                break;
        case 4:
                r = bus_read_reserve_request(m, &request, p);
                break;
        default:
                r = bus_read_uuid(m, &id, p);
                assert(r < 0 || !sd_id128_is_null(id));
        }
        vm_request_done(&request);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = { data, size };
        unsigned reader = take(&in) % ELEMENTSOF(signatures);
        sd_bus_message *m = message_new(), *words_back = NULL;
        const char *signature = signatures[reader];
        Problem p = {};
        int r = 0;

        if (*signature == 's')
                r = append_string(m, &in);
        if (r >= 0 && strchr(signature, 'a'))
                r = append_value(m, "a{sv}", &in, 0);
        if (r >= 0)
                r = sd_bus_message_seal(m, 1, 0);
        if (r >= 0)
                r = sd_bus_message_rewind(m, true);

        if (r >= 0) {
                r = read_request(m, reader, &p);
                if (r < 0 && r != -ENXIO) /* -ENXIO: the wrong types, which the vtable keeps out */
                        assert(problem_is_set(&p) && r == -problem_kind_to_errno(p.kind));
                if (problem_is_set(&p)) {
                        words_back = message_new();
                        r = sd_bus_message_append_basic(words_back, 's', p.text);
                        assert(r >= 0);
                        sd_bus_message_unref(words_back);
                }
        }
        sd_bus_message_unref(m);
        return 0;
}
