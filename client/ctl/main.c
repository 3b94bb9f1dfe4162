/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/program.h"

int main(int argc, char *argv[]) {
        static const Program program = {
                .name = "aviommuctl",
                .summary = "Arbitrate the virtual IOMMUs of this host: ask and command aviommud.",
                .verbs = verbs,
        };

        return program_run(&program, argc, argv);
}
