/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stand-in for polkit that lets everybody look and do what the test gives, and nothing else; or leaves everybody waiting. */

#include "fixture.h"

#include <stdio.h>

/* Whether @action is one of those in @list. */
static bool is_listed(const char *list, const char *action) {
        size_t n = strlen(action);

        for (const char *p = list; p && (p = strstr(p, action)); p += n)
                if ((p == list || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' '))
                        return true;
        return false;
}

static int answer(const Fixture *f, sd_bus_message *m) {
        const char *action;

        assert_true(sd_bus_message_rewind(m, true) >= 0);
        assert_true(sd_bus_message_skip(m, "(sa{sv})") >= 0);
        assert_true(sd_bus_message_read(m, "s", &action) > 0);
        return sd_bus_reply_method_return(
                m, "(bba{ss})", streq(action, "org.aviommu1.look") || is_listed(f->given, action),
                false, 0);
}

static int on_question(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fixture *f = userdata;
        sd_bus_message **grown;

        (void)error;
        if (!sd_bus_message_is_method_call(m, "org.freedesktop.PolicyKit1.Authority",
                                           "CheckAuthorization"))
                return 0;
        f->n_asked++;
        if (!f->hold)
                return answer(f, m);
        grown = reallocarray(f->held, f->n_held + 1, sizeof(*grown));
        assert_non_null(grown);
        f->held = grown;
        f->held[f->n_held++] = sd_bus_message_ref(m);
        return 1;
}

void fixture_polkit(Fixture *f, bool hold) {
        if (!f->polkit) {
                f->polkit = fixture_connect(f);
                assert_true(sd_bus_add_object(f->polkit, NULL,
                                              "/org/freedesktop/PolicyKit1/Authority", on_question,
                                              f) >= 0);
                assert_true(sd_bus_request_name(f->polkit, "org.freedesktop.PolicyKit1", 0) >= 0);
        }
        f->hold = hold;
        for (size_t i = 0; i < f->n_held && !hold; i++) {
                (void)answer(f, f->held[i]);
                sd_bus_message_unref(f->held[i]);
        }
        if (!hold)
                f->n_held = 0;
}

void fixture_polkit_give(Fixture *f, const char *actions) {
        f->given = actions;
        fixture_polkit(f, false);
}
