/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-request.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/fd-util.h"
#include "bus/bus-call.h"

/* A key that a dictionary may have. @read reads the variant's content, which is known to have @type. */
typedef struct Key {
        const char *name;
        const char *type;
        int (*read)(sd_bus_message *m, void *target, Problem *p);
} Key;

static int refuse_key(const char *name, const Key *keys, size_t n_keys, Problem *p) {
        char known[256] = "";
        size_t length = 0;

        for (size_t i = 0; i < n_keys; i++)
                length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s",
                                           i ? ", " : "", keys[i].name);
        if (n_keys == 0)
                return problem_set(p, PROBLEM_UNKNOWN_KEY,
                                   "There is no option \"%.64s\": this takes none.", name);
        return problem_set(p, PROBLEM_UNKNOWN_KEY, "There is no key \"%.64s\" here; there are %s.",
                           name, known);
}

static int read_entry(sd_bus_message *m, const Key *keys, size_t n_keys, uint32_t *seen,
                      void *target, Problem *p) {
        const char *name, *type;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = sd_bus_message_peek_type(m, NULL, &type);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_keys; i++) {
                if (!streq(name, keys[i].name))
                        continue;
                if (*seen & UINT32_C(1) << i)
                        return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                           "Key \"%s\" is given twice.", name);
                *seen |= UINT32_C(1) << i;
                if (!streq(type, keys[i].type))
                        return problem_set(p, PROBLEM_INVALID_TYPE,
                                           "Key \"%s\" has type \"%s\", but wants \"%s\".", name,
                                           type, keys[i].type);
                r = sd_bus_message_enter_container(m, 'v', type);
                if (r >= 0)
                        r = keys[i].read(m, target, p);
                return r < 0 ? r : sd_bus_message_exit_container(m);
        }
        return refuse_key(name, keys, n_keys, p);
}

/* Reads a whole "a{sv}" by a table of at most 32 keys. */
static int read_dictionary(sd_bus_message *m, const Key *keys, size_t n_keys, void *target,
                           Problem *p) {
        uint32_t seen = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, keys, n_keys, &seen, target, p);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_boolean(sd_bus_message *m, bool *ret) {
        int b, r;

        r = sd_bus_message_read(m, "b", &b);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int bus_read_uuid(sd_bus_message *m, sd_id128_t *ret, Problem *p) {
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (sd_id128_from_string(s, ret) < 0 || sd_id128_is_null(*ret))
                return problem_set(p, PROBLEM_INVALID_UUID,
                                   "\"%.64s\" is no UUID of the form "
                                   "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx (and not all zeros).",
                                   s);
        return 0;
}

/* ---- functions ---- */

static int read_guest_id(sd_bus_message *m, void *target, Problem *p) {
        FunctionRequest *f = target;
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (guest_device_id_parse(s, &f->guest_id) < 0)
                return problem_set(p, PROBLEM_INVALID_ADDRESS,
                                   "guest-device-id \"%.64s\" is not of the form BB:DD.F.", s);
        f->has_guest_id = true;
        return 0;
}

static int read_vf_token(sd_bus_message *m, void *target, Problem *p) {
        FunctionRequest *f = target;
        sd_id128_t token;
        int r;

        r = bus_read_uuid(m, &token, p);
        if (r < 0)
                return r;
        memcpy(f->vf_token, token.bytes, sizeof(f->vf_token));
        f->has_vf_token = true;
        return 0;
}

static int read_managed(sd_bus_message *m, void *target, Problem *p) {
        (void)p;
        return read_boolean(m, &((FunctionRequest *)target)->managed);
}

static const Key function_keys[] = {
        { "guest-device-id", "s", read_guest_id },
        { "vf-token", "s", read_vf_token },
        { "managed", "b", read_managed },
};

static int read_function(sd_bus_message *m, FunctionRequest *request, Problem *p) {
        int r;

        *request = (FunctionRequest){};
        r = bus_read_address(m, &request->address, p);
        return r < 0 ? r : read_dictionary(m, function_keys, ELEMENTSOF(function_keys), request, p);
}

static int read_functions(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(sa{sv})");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'r', "sa{sv}")) > 0) {
                FunctionRequest f;

                r = read_function(m, &f, p);
                if (r >= 0)
                        r = vm_request_add_function(request, &f);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* AttachDevice: the options of its function, more functions, and the VM's memory. The first one of @target is the function itself. */
static int read_guest_id_of_first(sd_bus_message *m, void *target, Problem *p) {
        return read_guest_id(m, ((VmRequest *)target)->functions, p);
}

static int read_vf_token_of_first(sd_bus_message *m, void *target, Problem *p) {
        return read_vf_token(m, ((VmRequest *)target)->functions, p);
}

static int read_managed_of_first(sd_bus_message *m, void *target, Problem *p) {
        return read_managed(m, ((VmRequest *)target)->functions, p);
}

static int read_memory(sd_bus_message *m, void *target, Problem *p) {
        (void)p;
        return sd_bus_message_read(m, "t", &((VmRequest *)target)->memory);
}

static const Key attach_keys[] = {
        { "guest-device-id", "s", read_guest_id_of_first },
        { "vf-token", "s", read_vf_token_of_first },
        { "managed", "b", read_managed_of_first },
        { "with", "a(sa{sv})", read_functions },
        { "memory", "t", read_memory },
};

int bus_read_attach_request(sd_bus_message *m, VmRequest *request, Problem *p) {
        FunctionRequest f = {};
        int r;

        r = bus_read_address(m, &f.address, p);
        if (r >= 0)
                r = vm_request_add_function(request, &f);
        return r < 0 ? r : read_dictionary(m, attach_keys, ELEMENTSOF(attach_keys), request, p);
}

/* ---- VMs ---- */

/* Names go to terminals, logs and files of others: printable, no spaces at the ends. */
/* Control characters and those that turn the direction of writing, in valid UTF-8: a name is shown on terminals and in sentences. */
static bool has_control(const char *s) {
        static const struct Range {
                const char *first, *last;
        } ranges[] = {
                { "\xc2\x80", "\xc2\x9f" },         /* C1 */
                { "\xe2\x80\x8e", "\xe2\x80\x8f" }, /* LRM, RLM */
                { "\xe2\x80\xa8",
                  "\xe2\x80\xae" }, /* line and paragraph ends, embeddings, overrides */
                { "\xe2\x81\xa6", "\xe2\x81\xa9" }, /* isolates */
        };

        for (; *s; s++) {
                if (iscntrl((unsigned char)*s))
                        return true;
                for (size_t i = 0; i < ELEMENTSOF(ranges); i++) {
                        size_t n = strlen(ranges[i].first);

                        if (strncmp(s, ranges[i].first, n) >= 0 &&
                            strncmp(s, ranges[i].last, n) <= 0)
                                return true;
                }
        }
        return false;
}

static int read_name(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        size_t n;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;

        n = strlen(s);
        if (n == 0 || n > VM_NAME_MAX || s[0] == ' ' || s[n - 1] == ' ')
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "name is to have 1 to %i bytes and no space at its ends.",
                                   VM_NAME_MAX);
        if (has_control(s))
                return problem_set(p, PROBLEM_INVALID_ARGUMENT, "name has a control character.");

        request->name = strdup(s);
        return request->name ? 0 : -ENOMEM;
}

static int read_tier(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (vm_tier_from_string(s, &request->tier) < 0)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "There is no tier \"%.64s\"; there are \"hardware\", "
                                   "\"emulated\" and \"virtio\".",
                                   s);
        request->has_tier = true;
        return 0;
}

static int read_tenant(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (!tenant_is_valid(s))
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "tenant wants 1 to %i characters of A-Z, a-z, 0-9, '.', '_' and "
                                   "'-', not \"%.80s\".",
                                   TENANT_MAX, s);
        (void)snprintf(request->tenant, sizeof(request->tenant), "%s", s);
        return 0;
}

static int read_handover(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (vm_handover_from_string(s, &request->handover) < 0)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "There is no handover \"%.64s\"; there are \"daemon\", \"vmm\" "
                                   "and \"none\".",
                                   s);
        request->has_handover = true;
        return 0;
}

static int read_guest_domains(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;

        (void)p;
        request->has_guest_domains = true;
        return sd_bus_message_read(m, "u", &request->guest_domains);
}

static int read_leash(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (leash_kind_from_string(s, &request->leash) < 0 || request->leash == LEASH_NONE ||
            request->leash == LEASH_DEFINITION)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "There is no leash \"%.64s\"; there are \"pidfd\", \"caller\" "
                                   "and \"agent\".",
                                   s);
        return 0;
}

static int read_prepared(sd_bus_message *m, void *target, Problem *p) {
        int prepared, r;

        (void)p;
        r = sd_bus_message_read(m, "b", &prepared);
        if (r >= 0)
                ((VmRequest *)target)->prepared = prepared;
        return r;
}

static int read_reservation(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        const char *s;
        int r;

        (void)p;
        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        request->reservation = strdup(s);
        return request->reservation ? 0 : -ENOMEM;
}

static int read_leash_pidfd(sd_bus_message *m, void *target, Problem *p) {
        VmRequest *request = target;
        int fd, r;

        (void)p;
        r = sd_bus_message_read(m, "h", &fd);
        if (r < 0)
                return r;
        request->leash_pidfd = fd_dup(fd);
        return request->leash_pidfd < 0 ? request->leash_pidfd : 0;
}

static const Key vm_keys[] = {
        { "name", "s", read_name },         { "tier", "s", read_tier },
        { "handover", "s", read_handover }, { "functions", "a(sa{sv})", read_functions },
        { "memory", "t", read_memory },     { "guest-domains", "u", read_guest_domains },
        { "leash", "s", read_leash },       { "leash-pidfd", "h", read_leash_pidfd },
        { "prepared", "b", read_prepared }, { "reservation", "s", read_reservation },
        { "tenant", "s", read_tenant },
};

int bus_read_vm_request(sd_bus_message *m, VmRequest *request, Problem *p) {
        int r;

        r = bus_read_uuid(m, &request->uuid, p);
        return r < 0 ? r : read_dictionary(m, vm_keys, ELEMENTSOF(vm_keys), request, p);
}

int bus_read_reserve_request(sd_bus_message *m, VmRequest *request, Problem *p) {
        return read_dictionary(m, vm_keys, ELEMENTSOF(vm_keys), request, p);
}

/* ---- definitions ---- */

/* What reads into a VmRequest reads into the one that a DefinitionRequest begins with. */
_Static_assert(offsetof(DefinitionRequest, vm) == 0, "one pointer for both");

static int read_lasting_memory(sd_bus_message *m, void *target, Problem *p) {
        ((DefinitionRequest *)target)->has_memory = true;
        return read_memory(m, target, p);
}

static int read_autostart(sd_bus_message *m, void *target, Problem *p) {
        DefinitionRequest *request = target;

        (void)p;
        request->has_autostart = true;
        return read_boolean(m, &request->autostart);
}

static int read_removed(sd_bus_message *m, void *target, Problem *p) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0) {
                PciAddress address;

                r = bus_read_address(m, &address, p);
                if (r >= 0)
                        r = definition_request_remove_function(target, &address);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static const Key definition_keys[] = {
        { "name", "s", read_name },
        { "tier", "s", read_tier },
        { "handover", "s", read_handover },
        { "functions", "a(sa{sv})", read_functions },
        { "memory", "t", read_lasting_memory },
        { "guest-domains", "u", read_guest_domains },
        { "tenant", "s", read_tenant },
        { "autostart", "b", read_autostart },
};

static const Key change_keys[] = {
        { "name", "s", read_name },
        { "tier", "s", read_tier },
        { "handover", "s", read_handover },
        { "add-functions", "a(sa{sv})", read_functions },
        { "remove-functions", "as", read_removed },
        { "memory", "t", read_lasting_memory },
        { "guest-domains", "u", read_guest_domains },
        { "tenant", "s", read_tenant },
        { "autostart", "b", read_autostart },
};

int bus_read_definition(sd_bus_message *m, DefinitionRequest *request, Problem *p) {
        int r;

        r = bus_read_uuid(m, &request->vm.uuid, p);
        return r < 0 ? r
                     : read_dictionary(m, definition_keys, ELEMENTSOF(definition_keys), request, p);
}

int bus_read_definition_changes(sd_bus_message *m, DefinitionRequest *request, Problem *p) {
        int r;

        r = bus_read_uuid(m, &request->vm.uuid, p);
        return r < 0 ? r : read_dictionary(m, change_keys, ELEMENTSOF(change_keys), request, p);
}

int bus_read_start_options(sd_bus_message *m, VmRequest *request, Problem *p) {
        static const Key keys[] = {
                { "leash", "s", read_leash },
                { "leash-pidfd", "h", read_leash_pidfd },
        };
        int r;

        request->leash = LEASH_DEFINITION;
        r = read_dictionary(m, keys, ELEMENTSOF(keys), request, p);
        if (request->leash == LEASH_DEFINITION && request->leash_pidfd >= 0)
                request->leash = LEASH_PIDFD;
        return r;
}

int bus_read_no_options(sd_bus_message *m, Problem *p) {
        return read_dictionary(m, NULL, 0, NULL, p);
}

static int read_flag(sd_bus_message *m, void *target, Problem *p) {
        (void)p;
        return read_boolean(m, target);
}

int bus_read_reclaim_options(sd_bus_message *m, bool *ret_dry_run, Problem *p) {
        static const Key keys[] = { { "dry-run", "b", read_flag } };

        *ret_dry_run = false;
        return read_dictionary(m, keys, ELEMENTSOF(keys), ret_dry_run, p);
}

int bus_read_define_options(sd_bus_message *m, bool *ret_replace, Problem *p) {
        static const Key keys[] = { { "replace", "b", read_flag } };

        *ret_replace = false;
        return read_dictionary(m, keys, ELEMENTSOF(keys), ret_replace, p);
}

int bus_read_destroy_options(sd_bus_message *m, bool *ret_force, Problem *p) {
        static const Key keys[] = { { "force", "b", read_flag } };

        *ret_force = false;
        return read_dictionary(m, keys, ELEMENTSOF(keys), ret_force, p);
}
