/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* VMs, as a caller of the API makes them. */

#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

const char *uuid_of(unsigned n) {
        static char buffers[16][40];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)];

        (void)snprintf(buffer, sizeof(*buffers), "5ca1ab1e-0000-4000-8000-%012x", n);
        return buffer;
}

const char *vm_path(const char *uuid) {
        static char buffers[16][64];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)], *to = buffer;

        to += snprintf(buffer, sizeof(*buffers), "/org/aviommu1/vm/");
        for (; *uuid; uuid++)
                if (*uuid != '-')
                        *to++ = *uuid;
        *to = '\0';
        return buffer;
}

const char *viommu_path(const char *uuid, unsigned host_iommu) {
        static char buffers[16][96];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)];

        (void)snprintf(buffer, sizeof(*buffers), "%s/viommu/%u", vm_path(uuid), host_iommu);
        return buffer;
}

PciAddress address_of(const char *s) {
        PciAddress address;

        assert_int_equal(pci_address_parse(s, &address), 0);
        return address;
}

/* "0000:51:00.1=02:00.0,token=UUID,managed" */
static void append_function(sd_bus_message *m, char *text) {
        char *guest, *option, *options = strchr(text, ',');
        int r;

        if (options)
                *options++ = '\0';
        guest = strchr(text, '=');
        if (guest)
                *guest++ = '\0';

        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", text);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && guest)
                r = sd_bus_message_append(m, "{sv}", "guest-device-id", "s", guest);
        while (r >= 0 && (option = strsep(&options, ","))) {
                if (streq(option, "managed"))
                        r = sd_bus_message_append(m, "{sv}", "managed", "b", true);
                else if (strncmp(option, "token=", 6) == 0)
                        r = sd_bus_message_append(m, "{sv}", "vf-token", "s", option + 6);
                else
                        fail_msg("no such option: %s", option);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        assert_true(r >= 0);
}

static void append_functions(sd_bus_message *m, const char *functions) {
        _cleanup_free_ char *copy = strdup(functions);
        char *rest = copy, *word;

        assert_non_null(copy);
        assert_true(sd_bus_message_open_container(m, 'e', "sv") >= 0);
        assert_true(sd_bus_message_append(m, "s", "functions") >= 0);
        assert_true(sd_bus_message_open_container(m, 'v', "a(sa{sv})") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "(sa{sv})") >= 0);
        while ((word = strsep(&rest, " ")))
                if (*word)
                        append_function(m, word);
        for (int i = 0; i < 3; i++)
                assert_true(sd_bus_message_close_container(m) >= 0);
}

static void append_word(sd_bus_message *m, const char *key, const char *word) {
        if (word)
                assert_true(sd_bus_message_append(m, "{sv}", key, "s", word) >= 0);
}

sd_bus_message *vm_request(sd_bus *bus, const char *member, const VmSpec *spec) {
        sd_bus_message *m = message_new(bus, NULL, "Manager", member, "s", spec->uuid);

        assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
        append_word(m, "name", spec->name);
        append_word(m, "tier", spec->tier);
        append_word(m, "handover", spec->handover);
        append_word(m, "leash", spec->leash);
        append_word(m, "tenant", spec->tenant);
        if (spec->functions)
                append_functions(m, spec->functions);
        if (spec->memory > 0)
                assert_true(sd_bus_message_append(m, "{sv}", "memory", "t", spec->memory) >= 0);
        if (spec->guest_domains > 0)
                assert_true(sd_bus_message_append(m, "{sv}", "guest-domains", "u",
                                                  spec->guest_domains) >= 0);
        if (spec->leash_pidfd > 0)
                assert_true(sd_bus_message_append(m, "{sv}", "leash-pidfd", "h",
                                                  spec->leash_pidfd) >= 0);
        assert_true(sd_bus_message_close_container(m) >= 0);
        return m;
}

void vm_create(Fixture *f, const VmSpec *spec) {
        const char *path;
        Call call;

        call_start(f, &call, vm_request(f->bus, "CreateVm", spec));
        call_wait(&call);
        if (*call_error(&call))
                fail_msg("CreateVm failed with \"%s\": %s", call_error(&call),
                         sd_bus_message_get_error(call.reply)->message);
        assert_true(sd_bus_message_read(call.reply, "o", &path) > 0);
        assert_string_equal(path, vm_path(spec->uuid));
        call_done(&call);
}

void vm_create_fails(Fixture *f, const char *error, const VmSpec *spec) {
        send_fails(f, error, vm_request(f->bus, "CreateVm", spec));
}

void vm_destroy_ok(Fixture *f, const char *uuid) {
        run_ok(f, vm_path(uuid), "Vm", "Destroy", "a{sv}", 0);
}

void vm_destroy_force(Fixture *f, const char *uuid) {
        run_ok(f, vm_path(uuid), "Vm", "Destroy", "a{sv}", 1, "force", "b", true);
}

static int own_descriptor(sd_bus_message *m) {
        int fd;

        assert_true(sd_bus_message_read(m, "h", &fd) > 0);
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        assert_true(fd >= 0);
        return fd;
}

int vm_open_context(Fixture *f, const char *uuid, char **ret_ids) {
        sd_bus_message *m = ask(f, vm_path(uuid), "Vm", "OpenContext", "");
        int fd = own_descriptor(m);

        if (ret_ids)
                *ret_ids = message_to_text(m);
        sd_bus_message_unref(m);
        return fd;
}

int vm_open_device(Fixture *f, const char *uuid, const char *function) {
        sd_bus_message *m = ask(f, vm_path(uuid), "Vm", "OpenDevice", "s", function);
        int fd = own_descriptor(m);

        sd_bus_message_unref(m);
        return fd;
}

int memfd_of(uint64_t bytes) {
        int fd = memfd_create("guest-memory", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
        return fd;
}
