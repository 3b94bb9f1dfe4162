/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/check.h"

void check_all(const Facts *facts, Findings *out) {
        check_daemon(facts, out);
        check_firmware(facts, out);
        check_kernel(facts, out);
        check_nodes(facts, out);
        check_functions(facts, out);
        check_memory(facts, out);
        check_libvirt(facts, out);
        check_leftovers(facts, out);
}
