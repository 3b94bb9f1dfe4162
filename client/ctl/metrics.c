/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl metrics: for the textfile collector of Prometheus' node exporter. A daemon that is not there is a result too: it is
 * written down, and the exit code says it as well.
 */
#include "ctl/metrics.h"

#include <errno.h>

#include "ctl/definition.h"
#include "lib/alloc.h"
#include "lib/replace-file.h"

typedef struct Survey {
        Status status;
        HostIommuList hosts;
        VmRows vms;
        ChargeList *charges; /* of each VM; NULL: not asked for */
        sd_bus_message **messages;
        StateCount functions[6], definitions[5];
} Survey;

static void survey_done(Survey *s) {
        for (size_t i = 0; i < s->vms.n && s->charges; i++) {
                charge_list_done(&s->charges[i]);
                (void)sd_bus_message_unref(s->messages[i]);
        }
        free(s->charges);
        free(s->messages);
        status_done(&s->status);
        host_list_done(&s->hosts);
        vm_rows_done(&s->vms);
}

static void count_state(StateCount *counts, size_t n, const char *state) {
        for (size_t i = 0; i < n; i++)
                counts[i].n += streq(counts[i].state, state);
}

static int count_function(sd_bus_message *m, void *userdata) {
        Survey *s = userdata;
        const char *state;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sssuissa{sv}");
        if (r >= 0)
                r = sd_bus_message_skip(m, "sssui");
        if (r >= 0)
                r = sd_bus_message_read(m, "s", &state);
        if (r >= 0)
                r = sd_bus_message_skip(m, "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        count_state(s->functions, ELEMENTSOF(s->functions), state);
        return 0;
}

static int survey_functions(Ctl *ctl, Survey *s) {
        static const char *const states[ELEMENTSOF(s->functions)] = { "idle",     "assigned",
                                                                      "reserved", "host",
                                                                      "unbound",  "lost" };
        _cleanup_(pages_done) Pages pages = { .member = "ListFunctions",
                                              .contents = "(sssuissa{sv})",
                                              .what = "asking for the functions" };

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                s->functions[i].state = states[i];
        return pages_read(&ctl->client, &pages, count_function, s, &ctl->failure);
}

static int survey_definitions(Ctl *ctl, Survey *s) {
        static const char *const states[ELEMENTSOF(s->definitions)] = { "inactive", "active",
                                                                        "refused", "damaged",
                                                                        "newer" };
        _cleanup_(definition_list_done) DefinitionList l = {};
        int r;

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                s->definitions[i].state = states[i];
        r = definition_list_get(ctl, &l);
        for (size_t i = 0; i < l.n && r >= 0; i++)
                count_state(s->definitions, ELEMENTSOF(s->definitions), l.items[i].state);
        return r;
}

static int survey_vm_charges(Ctl *ctl, Survey *s) {
        int r = 0;

        s->charges = alloc_check(new0(ChargeList, MAX(s->vms.n, (size_t)1)));
        s->messages = alloc_check(new0(sd_bus_message *, MAX(s->vms.n, (size_t)1)));
        for (size_t i = 0; i < s->vms.n && r >= 0; i++)
                r = survey_charges(ctl, s->vms.items[i].path, &s->messages[i], &s->charges[i]);
        return r;
}

static int survey(Ctl *ctl, Survey *s) {
        int r;

        r = survey_status(ctl, &s->status);
        if (r >= 0)
                r = ctl_count_quarantined(ctl, &s->status.n_quarantined);
        if (r >= 0)
                r = survey_hosts(ctl, &s->hosts);
        if (r >= 0)
                r = survey_functions(ctl, s);
        if (r >= 0)
                r = survey_definitions(ctl, s);
        if (r >= 0)
                r = survey_vms(ctl, &s->vms);
        if (r >= 0 && ctl->per_vm)
                r = survey_vm_charges(ctl, s);
        return r;
}

static bool is_absent(const Failure *f) {
        return f->exit_code == CLIENT_EXIT_UNREACHABLE || f->exit_code == CLIENT_EXIT_TIMED_OUT;
}

static int deliver(Ctl *ctl, const Metrics *metrics) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = alloc_check(open_memstream(&text, &size));
        int r = 0;

        metrics_write(metrics, f);
        if (fclose(f) != 0)
                alloc_failed();
        if (ctl->output_file)
                r = replace_file(ctl->output_file, text, size, &ctl->failure);
        else
                output_printf(&ctl->out, "%s", text);
        return r;
}

int verb_metrics(Ctl *ctl, int argc, char **argv) {
        _cleanup_(survey_done) Survey s = {};
        Metrics metrics = {};
        Failure why;
        int r, q;

        (void)argc;
        (void)argv;

        if (ctl->out.json != JSON_OFF)
                return ctl_usage(ctl, "Metrics have a form of their own, there is no JSON of them");
        ctl->client.only_looks = true;
        r = survey(ctl, &s);
        if (r < 0 && !is_absent(&ctl->failure))
                return r;
        why = ctl->failure;
        if (r >= 0)
                metrics = (Metrics){ .status = &s.status,
                                     .hosts = &s.hosts,
                                     .vms = &s.vms,
                                     .charges = s.charges,
                                     .functions = s.functions,
                                     .n_functions = ELEMENTSOF(s.functions),
                                     .definitions = s.definitions,
                                     .n_definitions = ELEMENTSOF(s.definitions) };
        q = deliver(ctl, &metrics);
        if (q < 0)
                return q;
        ctl->failure = why;
        return r;
}
