/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Definitions as documents.
 */
#include "ctl/definition.h"

#include <errno.h>
#include <stdio.h>

#include "lib/alloc.h"
#include "lib/doc-read.h"

#define VERSION 1

typedef struct FileFields {
        const char *uuid, *name, *tier, *handover, *tenant;
        uint64_t version, memory, guest_domains;
        bool autostart;
        const Doc *functions;
} FileFields;

static const DocField file_fields[] = {
        { "version", DOC_NUMBER, offsetof(FileFields, version) },
        { "uuid", DOC_STRING, offsetof(FileFields, uuid) },
        { "name", DOC_STRING, offsetof(FileFields, name) },
        { "tier", DOC_STRING, offsetof(FileFields, tier) },
        { "handover", DOC_STRING, offsetof(FileFields, handover) },
        { "tenant", DOC_STRING, offsetof(FileFields, tenant) },
        { "memory", DOC_NUMBER, offsetof(FileFields, memory) },
        { "guest_domains", DOC_NUMBER, offsetof(FileFields, guest_domains) },
        { "autostart", DOC_BOOL, offsetof(FileFields, autostart) },
        { "functions", DOC_ARRAY, offsetof(FileFields, functions) },
};

typedef struct FunctionFields {
        const char *address, *guest_device_id, *vf_token;
        bool managed;
} FunctionFields;

static const DocField function_fields[] = {
        { "address", DOC_STRING, offsetof(FunctionFields, address) },
        { "guest_device_id", DOC_STRING, offsetof(FunctionFields, guest_device_id) },
        { "vf_token", DOC_STRING, offsetof(FunctionFields, vf_token) },
        { "managed", DOC_BOOL, offsetof(FunctionFields, managed) },
};

void definition_file_done(DefinitionFile *f) {
        request_done(&f->request);
        doc_free(f->doc);
        *f = (DefinitionFile){ .request.leash_pidfd = -1 };
}

static int read_function(const Doc *d, const char *where, RequestFunction *ret, Failure *reterr) {
        FunctionFields fields = {};
        RequestFunction f = {};
        GuestDeviceId id;
        PciAddress a;
        int r;

        if (!d)
                return doc_refuse(reterr, where, "A function is an object ({\"address\": ...}).");
        r = doc_read(d, where, function_fields, ELEMENTSOF(function_fields), &fields, reterr);
        if (r < 0)
                return r;
        if (!fields.address)
                return doc_refuse(reterr, where, "It has no \"address\".");
        if (pci_address_parse(fields.address, &a) < 0)
                return doc_refuse(reterr, where,
                                  "\"%.64s\" is not the address of a PCI function (SSSS:BB:DD.F).",
                                  fields.address);
        pci_address_format(&a, f.address);
        if (fields.guest_device_id) {
                if (guest_device_id_parse(fields.guest_device_id, &id) < 0)
                        return doc_refuse(reterr, where,
                                          "\"%.64s\" is not an address in the guest (BB:DD.F).",
                                          fields.guest_device_id);
                guest_device_id_format(id, f.guest_device_id);
        }
        if (fields.vf_token && uuid_parse(fields.vf_token, f.vf_token) < 0)
                return doc_refuse(reterr, where, "\"%.64s\" is not a VF token (a UUID).",
                                  fields.vf_token);
        f.is_managed = fields.managed;
        *ret = f;
        return 0;
}

static int read_functions(const Doc *array, const char *name, Request *q, Failure *reterr) {
        for (size_t i = 0; i < doc_length(array); i++) {
                char where[320];
                int r;

                (void)snprintf(where, sizeof(where), "%.256s: functions[%zu]", name, i);
                q->functions = alloc_grow(q->functions, q->n_functions, sizeof(RequestFunction));
                r = read_function(doc_get_object(array, i), where, q->functions + q->n_functions,
                                  reterr);
                if (r < 0)
                        return r;
                q->n_functions++;
        }
        return 0;
}

int definition_file_parse(const char *name, const char *text, size_t size, DefinitionFile *ret,
                          Failure *reterr) {
        FileFields fields = { .version = VERSION };
        Request *q = &ret->request;
        int r;

        *ret = (DefinitionFile){ .request.leash_pidfd = -1 };
        r = doc_parse(name, text, size, &ret->doc, reterr);
        if (r >= 0)
                r = doc_read(ret->doc, name, file_fields, ELEMENTSOF(file_fields), &fields, reterr);
        if (r < 0)
                return r;
        if (fields.version != VERSION)
                return doc_refuse(reterr, name,
                                  "It is of another version than %i, which is all that this "
                                  "aviommuctl knows.",
                                  VERSION);
        if (fields.uuid && uuid_parse(fields.uuid, ret->uuid) < 0)
                return doc_refuse(reterr, name, "\"%.64s\" is not a UUID.", fields.uuid);
        if (fields.guest_domains > UINT32_MAX)
                return doc_refuse(reterr, name, "\"guest_domains\" is too large.");

        q->name = fields.name;
        q->tier = fields.tier;
        q->handover = fields.handover;
        q->tenant = fields.tenant;
        q->has_memory = doc_has(ret->doc, "memory");
        q->memory_bytes = fields.memory;
        q->has_guest_domains = doc_has(ret->doc, "guest_domains");
        q->n_guest_domains = (uint32_t)fields.guest_domains;
        q->has_autostart = doc_has(ret->doc, "autostart");
        q->is_autostart = fields.autostart;
        return read_functions(fields.functions, name, q, reterr);
}

#define NEXT_FILE "Give a file as `aviommuctl definition DEFINITION -j` writes it, or - for stdin."

/* All of it, as far as a document may be long, and a 0. NULL: it cannot be read. */
static char *slurp(FILE *file, const char *name, size_t *ret_size, Failure *reterr) {
        char *text = alloc_check(malloc(DOC_SIZE_MAX + 2));
        size_t size = fread(text, 1, DOC_SIZE_MAX + 1, file);

        if (ferror(file)) {
                int error = errno;

                free(text);
                (void)failure_set(reterr, CLIENT_EXIT_FAILED, -error, NEXT_FILE,
                                  "Cannot read %s: %s", name, strerror(error));
                return NULL;
        }
        text[size] = '\0';
        *ret_size = size;
        return text;
}

static char *slurp_path(const char *path, size_t *ret_size, Failure *reterr) {
        FILE *file = fopen(path, "re");
        char *text;

        if (!file) {
                (void)failure_set(reterr,
                                  errno == ENOENT ? CLIENT_EXIT_NOT_FOUND : CLIENT_EXIT_FAILED,
                                  -errno, NEXT_FILE, "Cannot open %s: %s", path, strerror(errno));
                return NULL;
        }
        text = slurp(file, path, ret_size, reterr);
        (void)fclose(file);
        return text;
}

int definition_file_read(const char *path, DefinitionFile *ret, Failure *reterr) {
        const char *name = streq(path, "-") ? "stdin" : path;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;

        text = name == path ? slurp_path(path, &size, reterr) : slurp(stdin, name, &size, reterr);
        return text ? definition_file_parse(name, text, size, ret, reterr) : -EIO;
}

/* ---- from the daemon ---- */

static const ReplyField function_options[] = {
        { "guest-device-id", "s", offsetof(FunctionFields, guest_device_id), NULL },
        { "vf-token", "s", offsetof(FunctionFields, vf_token), NULL },
        { "managed", "b", offsetof(FunctionFields, managed), NULL },
};

static int read_defined_function(sd_bus_message *m, void *userdata) {
        FunctionFields fields = {};
        RequestFunction f = {};
        Definition *d = userdata;
        int r;

        r = reply_check(sd_bus_message_enter_container(m, 'r', "sa{sv}"));
        if (r >= 0)
                r = reply_check(sd_bus_message_read(m, "s", &fields.address));
        if (r >= 0)
                r = reply_read_fields(m, function_options, ELEMENTSOF(function_options), &fields);
        if (r >= 0)
                r = reply_check(sd_bus_message_exit_container(m));
        if (r < 0)
                return r;
        (void)snprintf(f.address, sizeof(f.address), "%s", fields.address);
        (void)snprintf(f.guest_device_id, sizeof(f.guest_device_id), "%s",
                       strempty(fields.guest_device_id));
        (void)snprintf(f.vf_token, sizeof(f.vf_token), "%s", strempty(fields.vf_token));
        f.is_managed = fields.managed;
        d->functions = alloc_grow(d->functions, d->n_functions, sizeof(RequestFunction));
        d->functions[d->n_functions++] = f;
        return 0;
}

static int read_defined_functions(sd_bus_message *m, void *field) {
        Definition *d = container_of((RequestFunction **)field, Definition, functions);

        return reply_read_array(m, "(sa{sv})", read_defined_function, d);
}

static const ReplyField definition_fields[] = {
        { "name", "s", offsetof(Definition, name), NULL },
        { "tier", "s", offsetof(Definition, tier), NULL },
        { "handover", "s", offsetof(Definition, handover), NULL },
        { "tenant", "s", offsetof(Definition, tenant), NULL },
        { "memory", "t", offsetof(Definition, memory), NULL },
        { "guest-domains", "u", offsetof(Definition, guest_domains), NULL },
        { "autostart", "b", offsetof(Definition, autostart), NULL },
        { "functions", "a(sa{sv})", offsetof(Definition, functions), read_defined_functions },
};

void definition_done(Definition *d) {
        free(d->functions);
}

int definition_read(sd_bus_message *m, Definition *ret) {
        return reply_read_fields(m, definition_fields, ELEMENTSOF(definition_fields), ret);
}

static void add_said(Doc *d, const char *key, const char *s) {
        if (s && *s)
                doc_add_string(d, key, s);
}

Doc *definition_to_doc(const char *uuid, const Definition *d) {
        Doc *doc = doc_new(), *functions = doc_new_array();

        doc_add_string(doc, "uuid", uuid);
        add_said(doc, "name", d->name);
        add_said(doc, "tier", d->tier);
        add_said(doc, "handover", d->handover);
        add_said(doc, "tenant", d->tenant);
        doc_add_number(doc, "memory", d->memory);
        if (d->guest_domains > 0)
                doc_add_number(doc, "guest_domains", d->guest_domains);
        doc_add_bool(doc, "autostart", d->autostart);
        for (size_t i = 0; i < d->n_functions; i++) {
                const RequestFunction *f = d->functions + i;
                Doc *x = doc_new_object();

                doc_add_string(x, "address", f->address);
                add_said(x, "guest_device_id", f->guest_device_id);
                add_said(x, "vf_token", f->vf_token);
                if (f->is_managed)
                        doc_add_bool(x, "managed", true);
                doc_add(functions, NULL, x);
        }
        doc_add(doc, "functions", functions);
        return doc;
}
