/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * ask-plan ADDRESS [--users]: what the daemon on that bus would say to the hook about the domain on stdin, on its first tier. To stderr: the
 * handover, or the name of the error.
 */

#include <stdio.h>
#include <unistd.h>

#include "ctl/libvirt.h"

int main(int argc, char **argv) {
        Ctl ctl = { .request.leash_pidfd = -1, .client.quiet = true };
        Subject s = { .is_users = argc > 2 };
        static char xml[1 << 16];
        ssize_t n = read(STDIN_FILENO, xml, sizeof(xml));
        char *error = NULL;
        Plan p = {};

        if (argc < 2 || n < 0 || domain_parse(xml, (size_t)n, &s.domain, &error) < 0)
                return 2;
        libvirt_config_init(&s.config);
        domain_decide(&s.domain, &s.config, &s.decision);
        (void)sd_id128_to_uuid_string(s.domain.uuid, s.libvirt.uuid);
        ctl.client.address = argv[1];
        if (s.decision.n_candidates == 0)
                return 3;
        if (subject_plan(&ctl, &s, s.decision.candidates[0], &p) < 0)
                (void)fprintf(stderr, "failed: %s", ctl.failure.text);
        else
                (void)fprintf(stderr, "%s", p.is_admitted ? p.handover : plan_error(&p));

        plan_done(&p);
        request_done(&ctl.request);
        ctl.client.address = NULL;
        client_done(&ctl.client);
        domain_done(&s.domain);
        libvirt_config_done(&s.config);
        return 0;
}
