/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/access.h"

#include <stdio.h>

static const AccessMethod methods[] = {
        { "Manager", "Plan", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "GetVm", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "GetVmByName", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "ListVms", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "ListVmDetails", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "ListFunctions", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "ListQuarantined", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "ListReservations", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "CreateVm", ACCESS_TO_MAKE, ACCESS_OF_HOST },
        { "Manager", "Reserve", ACCESS_TO_MAKE, ACCESS_OF_HOST },
        { "Manager", "Unreserve", ACCESS_TO_CHANGE, ACCESS_OF_RESERVATION },
        { "Manager", "ListDefinitions", ACCESS_TO_SEE, ACCESS_OF_HOST },
        { "Manager", "GetDefinition", ACCESS_TO_CHANGE,
          ACCESS_OF_DEFINITION }, /* it may have VF tokens */
        { "Manager", "DefineVm", ACCESS_TO_DEFINE, ACCESS_OF_DEFINITION },
        { "Manager", "ModifyDefinition", ACCESS_TO_CHANGE, ACCESS_OF_DEFINITION },
        { "Manager", "UndefineVm", ACCESS_TO_CHANGE, ACCESS_OF_DEFINITION },
        { "Manager", "StartDefinition", ACCESS_TO_CHANGE, ACCESS_OF_DEFINITION },
        { "Manager", "PrepareContext", ACCESS_TO_PREPARE, ACCESS_OF_PREPARED },
        { "Manager", "ForgetContext", ACCESS_TO_CHANGE, ACCESS_OF_PREPARED },
        { "Manager", "ReportVms", ACCESS_TO_SPEAK_FOR, ACCESS_OF_HOST },
        { "Manager", "Reload", ACCESS_TO_ADMINISTER, ACCESS_OF_HOST },
        { "Manager", "Reclaim", ACCESS_TO_GIVE_UP, ACCESS_OF_HOST },
        { "HostIommu", "Probe", ACCESS_TO_ADMINISTER, ACCESS_OF_HOST },
        { "Vm", "Describe", ACCESS_TO_SEE, ACCESS_OF_VM },
        { "Vm", "AttachDevice", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "DetachDevice", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "CreateViommu", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "MapMemory", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "UnmapMemory", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "ConfirmContext", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "SetLeash", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "Cancel", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "Destroy", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "Vm", "OpenContext", ACCESS_TO_OPEN, ACCESS_OF_VM },
        { "Vm", "OpenDevice", ACCESS_TO_OPEN, ACCESS_OF_VM },
        { "Viommu", "Destroy", ACCESS_TO_CHANGE, ACCESS_OF_VM },
        { "LogControl1", "Set", ACCESS_TO_ADMINISTER, ACCESS_OF_HOST }, /* and then uid 0 alone */
        { "Simulation", NULL, ACCESS_TO_ADMINISTER, ACCESS_OF_HOST },
};

static const char *const action_ids[_ACCESS_ACTION_MAX] = {
        [ACCESS_LOOK] = "org.aviommu1.look",
        [ACCESS_MANAGE_OWN] = "org.aviommu1.manage-own",
        [ACCESS_MANAGE_OTHERS] = "org.aviommu1.manage-others",
        [ACCESS_HAND_OUT_CONTEXTS] = "org.aviommu1.hand-out-contexts",
        [ACCESS_MANAGE_POLICY] = "org.aviommu1.manage-policy",
        [ACCESS_RECLAIM] = "org.aviommu1.reclaim",
};

const AccessMethod *access_get(size_t n) {
        return n < ELEMENTSOF(methods) ? methods + n : NULL;
}

const AccessMethod *access_find(const char *interface, const char *member) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (streq(methods[i].interface, interface) &&
                    (!methods[i].member || streq(methods[i].member, member)))
                        return methods + i;
        return NULL;
}

static void demand_add(AccessDemand *demand, AccessAction action) {
        assert(demand->n_actions < ACCESS_DEMAND_MAX);
        demand->actions[demand->n_actions++] = action;
}

AccessDemand access_decide(const AccessMethod *method, uid_t caller, uid_t owner) {
        AccessDemand demand = { .owner = owner };
        bool there = owner != ACCESS_NO_OWNER, own = owner == caller;

        switch (method->rule) {
        case ACCESS_TO_SEE:
                demand_add(&demand, ACCESS_LOOK);
                break;
        case ACCESS_TO_MAKE:
                demand_add(&demand, ACCESS_MANAGE_OWN);
                break;
        case ACCESS_TO_DEFINE:
                demand_add(&demand, there && !own ? ACCESS_MANAGE_OTHERS : ACCESS_MANAGE_OWN);
                break;
        case ACCESS_TO_CHANGE:
        case ACCESS_TO_OPEN:
                demand_add(&demand, !there ? ACCESS_LOOK
                                    : own  ? ACCESS_MANAGE_OWN
                                           : ACCESS_MANAGE_OTHERS);
                if (method->rule == ACCESS_TO_OPEN && there)
                        demand_add(&demand, ACCESS_HAND_OUT_CONTEXTS);
                break;
        case ACCESS_TO_PREPARE:
                if (there && !own)
                        demand_add(&demand, ACCESS_MANAGE_OTHERS);
                demand_add(&demand, ACCESS_HAND_OUT_CONTEXTS);
                break;
        case ACCESS_TO_SPEAK_FOR:
                demand_add(&demand, ACCESS_MANAGE_OTHERS);
                break;
        case ACCESS_TO_ADMINISTER:
                demand_add(&demand, ACCESS_MANAGE_POLICY);
                break;
        case ACCESS_TO_GIVE_UP:
                demand_add(&demand, ACCESS_RECLAIM);
                break;
        }
        return demand;
}

const char *access_action_to_id(AccessAction action) {
        return action_ids[action];
}

void access_describe(const AccessDemand *demand, AccessAction action, const char *member,
                     uid_t caller, char *ret, size_t size) {
        if (demand->owner == ACCESS_NO_OWNER || demand->owner == caller)
                (void)snprintf(ret, size, "uid %u may not call %s, which takes %s", caller, member,
                               action_ids[action]);
        else
                (void)snprintf(ret, size,
                               "uid %u may not call %s on what belongs to uid %u, which takes %s",
                               caller, member, demand->owner, action_ids[action]);
}
