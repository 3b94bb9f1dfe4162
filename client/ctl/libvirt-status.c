/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl libvirt status: what this libvirt and QEMU can, whether our parts are in place, and the domains that matter.
 */
#include "ctl/libvirt.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/table.h"

/* A domain with PCI functions or a request, and what the daemon has of it. */
typedef struct Row {
        char uuid[UUID_STRING_SIZE];
        char *name, *asks, *error;
        bool is_running;
        const char *tier; /* that its XML is made for; NULL: none */
        const char *handover;
        bool is_admitted;
        char *vm_tier, *vm_state, *vm_handover;
} Row;

typedef struct Status {
        Ctl *ctl;
        LibvirtConfig config;
        LibvirtVersions versions;
        Ability abilities[_ABILITY_MAX];
        HostParts parts;
        Failure daemon; /* why the daemon does not answer; exit_code 0: it does */
        Row *rows;
        size_t n_rows;
} Status;

static void status_done(Status *s) {
        for (size_t i = 0; i < s->n_rows; i++) {
                Row *row = s->rows + i;

                free(row->name);
                free(row->asks);
                free(row->error);
                free(row->vm_tier);
                free(row->vm_state);
                free(row->vm_handover);
        }
        free(s->rows);
        libvirt_config_done(&s->config);
        libvirt_versions_done(&s->versions);
}

/* ---- the daemon's side ---- */

typedef struct VmWords {
        const char *tier, *handover, *state;
} VmWords;

static const ReplyField vm_fields[] = {
        { "Tier", "s", offsetof(VmWords, tier), NULL },
        { "Handover", "s", offsetof(VmWords, handover), NULL },
        { "State", "s", offsetof(VmWords, state), NULL },
};

/* One silence is enough: the other domains are not asked about. */
static void find_vm(Status *s, Row *row) {
        CallOptions options = { .what = "looking for the VM", .uuid = row->uuid };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        VmWords words = {};
        Failure f = {};

        if (s->daemon.exit_code != CLIENT_EXIT_OK)
                return;
        if (client_get_properties(&s->ctl->client, VM_PATH(row->uuid), AVIOMMU_VM_INTERFACE,
                                  &options, &m, &f) < 0) {
                if (f.exit_code != CLIENT_EXIT_NOT_FOUND)
                        s->daemon = f;
                return;
        }
        if (reply_read_fields(m, vm_fields, ELEMENTSOF(vm_fields), &words) < 0) {
                (void)failure_set_malformed(&s->daemon, "GetAll of a VM");
                return;
        }
        row->is_admitted = true;
        row->vm_tier = alloc_printf("%s", strempty(words.tier));
        row->vm_handover = alloc_printf("%s", strempty(words.handover));
        row->vm_state = alloc_printf("%s", strempty(words.state));
}

static void find_daemon(Status *s) {
        static const CallOptions options = { .what = "asking for the status" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        (void)client_get_properties(&s->ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE,
                                    &options, &m, &s->daemon);
}

/* ---- the domains ---- */

static const char *find_tier(const Domain *d) {
        char reason[DOMAIN_REASON_SIZE];

        for (DomainTier tier = 0; tier < _DOMAIN_TIER_MAX; tier++)
                if (domain_has_tier(d, tier, reason))
                        return domain_tier_to_string(tier);
        return NULL;
}

static int add_domain(const LibvirtDomain *domain, void *userdata) {
        Subject subject = {};
        Domain *d = &subject.domain;
        Status *s = userdata;
        Row row = {};
        int r;

        if (!domain->xml) {
                row.error = alloc_printf("%s", domain->error);
                r = -EIO;
        } else
                r = domain->is_running
                            ? domain_parse_started(domain->xml, strlen(domain->xml), d, &row.error)
                            : domain_parse(domain->xml, strlen(domain->xml), d, &row.error);
        if (r >= 0 && d->bad_request) {
                row.error = TAKE_PTR(d->bad_request);
                domain_done(d);
                r = -EINVAL;
        }
        if (r < 0 && !row.error)
                row.error = alloc_printf("%s", strerror(-r));
        if (r >= 0 && !d->asks && d->n_functions == 0) {
                domain_done(d);
                return 0;
        }

        memcpy(row.uuid, domain->uuid, sizeof(row.uuid));
        row.name = alloc_printf("%s", domain->name);
        row.is_running = domain->is_running;
        if (r >= 0) {
                domain_decide(d, &s->config, &subject.decision);
                row.asks = subject_asks(&subject);
                row.tier = find_tier(d);
                row.handover = subject.decision.handover;
                domain_done(d);
        }
        find_vm(s, &row);
        s->rows = alloc_grow(s->rows, s->n_rows, sizeof(Row));
        s->rows[s->n_rows++] = row;
        return 0;
}

static int compare_rows(const void *a, const void *b) {
        const Row *x = a, *y = b;

        return strcmp(x->name, y->name);
}

/* ---- showing ---- */

static const char *verdict_to_string(Verdict verdict) {
        static const char *const words[] = { "no", "yes", "unknown" };

        return words[verdict];
}

static TableColour verdict_colour(Verdict verdict) {
        return verdict == VERDICT_YES  ? TABLE_GOOD
               : verdict == VERDICT_NO ? TABLE_FAINT
                                       : TABLE_ATTENTION;
}

static void print_facts(const Status *s, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);
        _cleanup_free_ char *libvirt = NULL, *hypervisor = NULL;

        libvirt = alloc_printf("%s at %s", VERSION_STRING(s->versions.libvirt), s->versions.uri);
        hypervisor = alloc_printf("%s %s", s->versions.hypervisor,
                                  VERSION_STRING(s->versions.version));
        TABLE_ADD(t, "Libvirt:", libvirt);
        TABLE_ADD(t, "Hypervisor:", hypervisor);
        TABLE_ADD(t, "Hook:", s->parts.hook_text);
        table_colour(t, 1, s->parts.hook == VERDICT_YES ? TABLE_PLAIN : TABLE_ATTENTION);
        TABLE_ADD(t, "Agent:", s->parts.agent_text);
        table_colour(t, 1, s->parts.agent == VERDICT_YES ? TABLE_PLAIN : TABLE_ATTENTION);
        TABLE_ADD(t,
                  "aviommud:", s->daemon.exit_code == CLIENT_EXIT_OK ? "answers" : s->daemon.text);
        table_colour(t, 1, s->daemon.exit_code == CLIENT_EXIT_OK ? TABLE_PLAIN : TABLE_BAD);
        table_print(t, o);
}

static void print_abilities(const Status *s, Output *o) {
        static const TableColumn columns[] = { { "ABILITY", 0 },
                                               { "AVAILABLE", 0 },
                                               { "REASON", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (AbilityKind kind = 0; kind < _ABILITY_MAX; kind++) {
                TABLE_ADD(t, ability_to_string(kind), verdict_to_string(s->abilities[kind].verdict),
                          cell_or_dash(s->abilities[kind].reason));
                table_colour(t, 1, verdict_colour(s->abilities[kind].verdict));
        }
        table_print(t, o);
}

static void print_domains(const Status *s, Output *o) {
        static const TableColumn columns[] = {
                { "DOMAIN", TABLE_TRUNC },
                { "UUID", TABLE_EXTRA },
                { "STATE", TABLE_LESS },
                { "ASKS", TABLE_TRUNC },
                { "TIER", 0 },
                { "HANDOVER", TABLE_LESS },
                { "VM", 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < s->n_rows; i++) {
                const Row *row = s->rows + i;

                TABLE_ADD(t, row->name, row->uuid, row->is_running ? "running" : "shut-off",
                          row->error ? "unreadable" : row->asks,
                          cell_or_dash(row->is_admitted ? row->vm_tier : row->tier),
                          cell_or_dash(row->is_admitted ? row->vm_handover : row->handover),
                          cell_or_dash(row->vm_state));
                if (row->vm_state)
                        table_colour(t, 6, state_colour(row->vm_state));
        }
        table_print(t, o);
}

static Doc *rows_to_doc(const Status *s) {
        Doc *rows = doc_new_array();

        for (size_t i = 0; i < s->n_rows; i++) {
                const Row *row = s->rows + i;
                Doc *d = doc_new_object();

                doc_add_string(d, "uuid", row->uuid);
                doc_add_string(d, "name", row->name);
                doc_add_bool(d, "running", row->is_running);
                doc_add_string(d, "asks", row->asks);
                doc_add_string(d, "error", row->error);
                doc_add_string(d, "tier", row->tier);
                doc_add_string(d, "handover", row->handover);
                if (row->is_admitted) {
                        Doc *vm = doc_new_object();

                        doc_add_string(vm, "tier", row->vm_tier);
                        doc_add_string(vm, "handover", row->vm_handover);
                        doc_add_string(vm, "state", row->vm_state);
                        doc_add(d, "vm", vm);
                } else
                        doc_add_null(d, "vm");
                doc_add(rows, NULL, d);
        }
        return rows;
}

static void status_json(const Status *s, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *abilities = doc_new_array();

        doc_add_string(d, "uri", s->versions.uri);
        doc_add_string(d, "hypervisor", s->versions.hypervisor);
        doc_add_number(d, "libvirt_version", s->versions.libvirt);
        doc_add_number(d, "hypervisor_version", s->versions.version);
        doc_add_string(d, "hook", verdict_to_string(s->parts.hook));
        doc_add_string(d, "hook_text", s->parts.hook_text);
        doc_add_string(d, "agent", verdict_to_string(s->parts.agent));
        doc_add_string(d, "agent_text", s->parts.agent_text);
        doc_add_string(d, "daemon_error",
                       s->daemon.exit_code == CLIENT_EXIT_OK ? NULL : s->daemon.text);
        for (AbilityKind kind = 0; kind < _ABILITY_MAX; kind++) {
                Doc *a = doc_new_object();

                doc_add_string(a, "ability", ability_to_string(kind));
                doc_add_string(a, "available", verdict_to_string(s->abilities[kind].verdict));
                doc_add_string(a, "reason", s->abilities[kind].reason);
                doc_add(abilities, NULL, a);
        }
        doc_add(d, "abilities", abilities);
        doc_add(d, "domains", rows_to_doc(s));
        output_doc(o, d);
}

int verb_libvirt_status(Ctl *ctl, int argc, char **argv) {
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        _cleanup_(status_done) Status s = { .ctl = ctl };
        _cleanup_free_ char *capabilities = NULL;
        int r;

        (void)argc;
        (void)argv;

        r = config_get(ctl, &s.config);
        if (r >= 0)
                r = libvirt_open(ctl, false, &lv);
        if (r >= 0)
                r = libvirt_get_versions(ctl, lv, &s.versions);
        if (r < 0)
                return r;
        capabilities = libvirt_get_capabilities(lv);
        abilities_find(&s.versions, capabilities, s.abilities);
        host_parts_find(ctl, &s.versions, &s.parts);
        find_daemon(&s);
        r = libvirt_for_each(ctl, lv, add_domain, &s);
        if (r < 0)
                return r;

        if (s.n_rows > 0)
                qsort(s.rows, s.n_rows, sizeof(Row), compare_rows);

        if (ctl->out.json != JSON_OFF) {
                status_json(&s, &ctl->out);
                return 0;
        }
        print_facts(&s, &ctl->out);
        output_printf(&ctl->out, "\n");
        print_abilities(&s, &ctl->out);
        if (s.n_rows > 0) {
                output_printf(&ctl->out, "\n");
                print_domains(&s, &ctl->out);
        }
        return 0;
}
