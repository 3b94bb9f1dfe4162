/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the objects of the bus room share: their registration, and values that more than one of them shows. */

#include "bus/bus-call.h"

/* Each registers its object(s) on the connection. Return 0 or a negative errno. */
int bus_manager_register(Bus *bus);
int bus_host_register(Bus *bus);
int bus_vm_register(Bus *bus);
int bus_viommu_register(Bus *bus);
int bus_log_control_register(Bus *bus);

/* PropertiesChanged for what may have changed. */
void bus_vm_emit_changed(Bus *bus, const Vm *vm);
void bus_host_emit_changed(Bus *bus);
void bus_manager_emit_host_changed(Bus *bus);
void bus_manager_emit_capacity_changed(Bus *bus);

/* Appends a(sstt): the accounts of the ledger for which @wanted (NULL: all) says yes. */
int bus_append_resources(sd_bus_message *m, const Ledger *ledger,
                         bool (*wanted)(const LedgerAccount *account, const HostIommu *iommu),
                         const HostIommu *iommu);

/* Appends a(sst). */
int bus_append_demands(sd_bus_message *m, const DemandSet *set);

/* "ivhd2"; the name of a host IOMMU by its index, "" when there is none. */
const char *bus_iommu_name(const Bus *bus, uint32_t index);

/* Reads the arguments of a list in pages: where it goes on, and how many (1 to 1000). -EINVAL with call->problem. */
int bus_read_page(BusCall *call, const char **ret_cursor, uint32_t *ret_limit);

/* The Manager's methods about prepared contexts (bus-prepared.c). */
int bus_method_prepare_context(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_forget_context(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The Manager's methods about reservations (bus-reservations.c). */
int bus_method_reserve(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_unreserve(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_list_reservations(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The Manager's methods about definitions (bus-definitions.c). */
int bus_method_define_vm(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_modify_definition(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_undefine_vm(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_start_definition(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_get_definition(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_list_definitions(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The methods of the Manager that make lists (bus-lists.c). */
int bus_method_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_list_vm_details(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_list_functions(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The Manager's methods about what is quarantined, and an agent's reports (bus-quarantine.c). */
int bus_method_list_quarantined(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_reclaim(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_method_report_vms(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* What a function of a VM is: "admitted", "realized", "bound", "draining", "lost". */
const char *bus_function_state(const Bus *bus, const Vm *vm, const ContextFunction *f);

/* The VM as JSON text (bus-describe.c); free() it. Returns 0 or -ENOMEM. */
int bus_describe_vm_json(const Bus *bus, const Vm *vm, char **ret);

/* The VM's part of a libvirt domain and of QEMU's command line (bus-describe-vmm.c); free() them. Return 0; a refusal of a VM that
 * no libvirt or QEMU can run (reterr_problem set); -ENOMEM. */
int bus_describe_vm_libvirt(const Vm *vm, char **ret, Problem *reterr_problem);
int bus_describe_vm_qemu(const Bus *bus, const Vm *vm, char **ret, Problem *reterr_problem);
