/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/charges.h"

static bool has_before(const DomainFunction *has, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (pci_address_equal(&has[i].address, &has[n].address))
                        return true;
        return false;
}

int charge_plan(const DomainFunction *has, size_t n_has, const Charged *charged, size_t n_charged,
                ChargePlan *ret) {
        ChargePlan plan = { .detach = new0(size_t, n_charged + 1),
                            .attach = new0(size_t, n_has + 1) };

        if (!plan.detach || !plan.attach) {
                charge_plan_done(&plan);
                return -ENOMEM;
        }

        for (size_t i = 0; i < n_charged; i++) {
                size_t j = 0;

                while (j < n_has && !pci_address_equal(&has[j].address, &charged[i].address))
                        j++;
                if (j == n_has && !charged[i].leaving)
                        plan.detach[plan.n_detach++] = i;
                plan.waits |= j < n_has && charged[i].leaving;
        }
        for (size_t i = 0; i < n_has; i++) {
                size_t j = 0;

                while (j < n_charged && !pci_address_equal(&has[i].address, &charged[j].address))
                        j++;
                if (j == n_charged && !has_before(has, i))
                        plan.attach[plan.n_attach++] = i;
        }
        *ret = plan;
        return 0;
}

void charge_plan_done(ChargePlan *plan) {
        free(plan->detach);
        free(plan->attach);
        *plan = (ChargePlan){};
}
