/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * ask-plan ADDRESS [--users|--transient]: what the daemon on that bus would say to the hook about the domain on stdin, on its first tier. It
 * is of a user's own libvirt, or runs without being persistent. To stderr: the handover, or the name of the error.
 */

#include <stdio.h>
#include <unistd.h>

#include "ctl/libvirt.h"

int main(int argc, char **argv) {
        Ctl ctl = { .request.leash_pidfd = -1, .client.quiet = true };
        static char xml[1 << 16];
        Subject s = { .libvirt = { .xml = xml, .is_persistent = true } };
        ssize_t n = read(STDIN_FILENO, xml, sizeof(xml) - 1);
        Plan p = {};

        if (argc < 2 || n < 0)
                return 2;
        for (int i = 2; i < argc; i++) {
                s.is_users |= streq(argv[i], "--users");
                s.libvirt.is_running |= streq(argv[i], "--transient");
                s.libvirt.is_persistent &= !streq(argv[i], "--transient");
        }
        libvirt_config_init(&s.config);
        subject_read(&s);
        if (s.unreadable) {
                (void)fprintf(stderr, "unreadable: %s", s.unreadable);
                free(s.unreadable);
                libvirt_config_done(&s.config);
                return 0;
        }
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
