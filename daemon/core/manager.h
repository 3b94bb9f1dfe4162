/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The manager owns everything that lives as long as the daemon: kernel, inventory, ledger, workers, VMs, and wires them. It
 * knows nothing of D-Bus: whoever shows it to the world registers an observer.
 *
 * All of it belongs to the event loop's thread. Requests that touch the kernel answer later, through OperationAnswer.
 */

#include <systemd/sd-event.h>

#include "config/config.h"
#include "core/admission.h"
#include "core/definition.h"
#include "core/workers.h"
#include "inventory/inventory.h"
#include "ledger/ledger.h"
#include "state/fdstore.h"
#include "state/store.h"
#include "vm/operation.h"
#include "vm/vm.h"

typedef struct ManagerObserver {
        void (*vm_added)(void *userdata, const Vm *vm);
        void (*vm_removed)(void *userdata, const Vm *vm, const char *reason);
        void (*vm_changed)(void *userdata, const Vm *vm);
        void (*capacity_changed)(void *userdata);
        void (*host_changed)(void *userdata); /* IOMMUs, functions or kernel levels */
        void *userdata;
} ManagerObserver;

typedef struct Reservation Reservation;

#define RESERVATION_TITLE_SIZE 192

/* The groups of a user as the host had them a short while ago (user-groups.c). */
#define KNOWN_GROUPS_MAX 16
typedef struct KnownGroups {
        uid_t uid;
        gid_t *groups; /* NULL: nobody's, where .until_usec is 0 too; or a user who is in none */
        size_t n_groups;
        uint64_t until_usec; /* CLOCK_MONOTONIC; 0: nothing is known here */
} KnownGroups;

/* How a reservation ended, for whoever comes with its token later. */
typedef enum ReservationEnd {
        RESERVATION_USED,
        RESERVATION_EXPIRED,
        RESERVATION_GIVEN_BACK,
} ReservationEnd;

typedef struct EndedReservation {
        sd_id128_t token; /* null: nothing here */
        uid_t uid;
        ReservationEnd end;
} EndedReservation;

#define ENDED_RESERVATIONS_MAX 1024

/* Who holds a PCI function: a VM, a reservation, or (both NULL) the daemon itself while it probes. */
typedef struct Claim {
        PciAddress function;
        Vm *vm;
        Reservation *reservation;
        UT_hash_handle hh;
} Claim;

typedef struct PreparedContext PreparedContext;
typedef struct Unstore Unstore;

/* A record of something that is gone. */
typedef struct StaleRecord {
        RecordKind kind;
        sd_id128_t id;
} StaleRecord;

/* A record that cannot be used and is not thrown away either. */
typedef struct KeptRecord {
        RecordKind kind;
        sd_id128_t id;
        RecordVerdict
                verdict; /* RECORD_NEWER: nothing is granted on top of it. RECORD_DAMAGED: set aside */
} KeptRecord;

/* What outlives the daemon: the kernel, and what is kept of the VMs. */
typedef struct ManagerGround {
        Kernel *kernel;
        StateStore *records; /* NULL: no records are kept, what the daemon knows ends with it */
        FdStore *fdstore;    /* NULL: no descriptors are kept */
        StateStore *definition_files; /* a lasting one; NULL: there can be no definitions */
} ManagerGround;

struct Manager {
        sd_event *event;
        Kernel *kernel;
        StateStore *records;
        FdStore *fdstore;
        StateStore *definition_files;
        Config config;
        char *config_file; /* for manager_reload(), a file or a root folder; NULL: none */
        Inventory *inventory;
        Ledger *ledger;
        Workers *workers;
        ManagerObserver observer;

        Vm **vms; /* sorted by UUID */
        size_t n_vms, n_vms_allocated;
        Vm *vms_by_name;
        Claim *claims;
        PreparedContext *prepared;
        size_t n_prepared;
        Reservation *reservations; /* sorted by token */
        size_t n_reservations;
        EndedReservation ended[ENDED_RESERVATIONS_MAX]; /* the latest, round and round */
        size_t n_ended;
        KnownGroups known_groups[KNOWN_GROUPS_MAX];
        const Reservation *deciding_for;     /* while a decision counts on it */
        char holder[RESERVATION_TITLE_SIZE]; /* what a decider was told last */

        Definition **definitions; /* sorted by UUID */
        size_t n_definitions;
        uint64_t definition_number; /* the largest that a definition has had */
        sd_event_source *autostart;
        bool all_started;                       /* what was due to be started at boot has been */
        void (*autostart_done)(void *userdata); /* NULL: it has been, or is not wanted */
        void *autostart_userdata;

        sd_event_source *watch, *rescan_timer;
        bool rescanning, rescan_again, rescan_failing;
        uint64_t ledger_generation; /* last reported */
        sd_event_source *record_timer;
        StaleRecord *stale; /* that could not be removed */
        size_t n_stale;
        Unstore *failed_unstores;
        sd_id128_t bus_id;    /* that the names of callers are of; null: not known */
        bool records_failing; /* what could not be written waits for the timer */
        KeptRecord *kept;     /* that are not this daemon's to read */
        size_t n_kept;
        char **kept_names; /* in the fd store, that newer records may be about */
        size_t n_kept_names;
        bool stopping;
};

/* Makes the manager and takes *ground over, and what @config owns; on failure both are still the caller's. Scans the host once, so that it can answer at once. */
int manager_new(sd_event *event, const ManagerGround *ground, const Config *config,
                const char *config_file, Manager **ret);

/* Takes on what the last daemon left: VMs with their descriptors, charges and leashes, prepared contexts, reservations. Once, before the
 * loop runs. What cannot be taken on is said, and put where it can do no harm. Returns 0, or a negative errno when the daemon cannot go on. */
int manager_recover(Manager *m);

/* Waits for kernel calls that run, drops every VM's descriptors, and asserts that the ledger is balanced. What is on record and in the
 * fd store stays. */
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager, manager_free);

/* ---- VMs ---- */

Vm *manager_find_vm(const Manager *m, sd_id128_t uuid);
Vm *manager_find_vm_by_name(const Manager *m, const char *name);

/* The index in m->vms of the first VM after @uuid. */
size_t manager_first_after(const Manager *m, sd_id128_t uuid);

/* Admits and builds a VM. Takes over *request (reset). Answers through @answer unless it returns an error at once, with
 * reterr_problem. @caller: unique name, or NULL. */
int manager_create_vm(Manager *m, VmRequest *request, uid_t owner_uid, const char *caller,
                      OperationAnswer answer, void *userdata, Problem *reterr_problem);

/* Decides as manager_create_vm() would, on the inventory as it is. *request is completed. @ret_rules (empty before, NULL: not
 * wanted) gets the quotas and reserves that apply to it, also when it is refused. */
int manager_plan_vm(Manager *m, VmRequest *request, uid_t uid, Admission *ret,
                    QuotaRules *ret_rules, Problem *reterr_problem);

/* Requests on a VM: each is queued behind those of the same VM and answers later. At once they fail with -EBUSY when too
 * many wait, and -ENOMEM. */

/* @memory: the VM's memory in bytes, which is charged with its functions; 0, or less than what is known of it: that. It fails at
 * once with -EINVAL where the daemon maps the memory. */
int vm_attach_functions(Vm *vm, const FunctionRequest *functions, size_t n_functions,
                        uint64_t memory, const char *caller, OperationAnswer answer, void *userdata,
                        Problem *reterr_problem);
int vm_detach_function(Vm *vm, const PciAddress *function, const char *caller,
                       OperationAnswer answer, void *userdata, Problem *reterr_problem);
int vm_create_viommu(Vm *vm, uint32_t host_iommu, const char *caller, OperationAnswer answer,
                     void *userdata, Problem *reterr_problem);
int vm_destroy_viommu(Vm *vm, uint32_t host_iommu, const char *caller, OperationAnswer answer,
                      void *userdata, Problem *reterr_problem);
/* @mapping.fd is duplicated. */
int vm_map_memory(Vm *vm, const KernelMapping *mapping, const char *caller, OperationAnswer answer,
                  void *userdata, Problem *reterr_problem);
int vm_unmap_memory(Vm *vm, uint64_t iova, uint64_t length, const char *caller,
                    OperationAnswer answer, void *userdata, Problem *reterr_problem);

/* Marks the context as given to somebody; when it answers 0, vm->context may be passed on. @function: NULL for the iommufd,
 * else the function whose descriptor is wanted. */
int vm_open_context(Vm *vm, const PciAddress *function, const char *caller, OperationAnswer answer,
                    void *userdata, Problem *reterr_problem);
int vm_confirm_context(Vm *vm, const char *caller, OperationAnswer answer, void *userdata,
                       Problem *reterr_problem);

/* Takes the VM down. Without @force a VM that has been handed over and whose leash holds is left alone (-EBADFD). */
int vm_destroy(Vm *vm, bool force, const char *caller, OperationAnswer answer, void *userdata,
               Problem *reterr_problem);

/* Hangs the VM on the process behind a pidfd, which is duplicated, in place of the leash that it has. */
int vm_set_leash(Vm *vm, int pidfd, const char *caller, OperationAnswer answer, void *userdata,
                 Problem *reterr_problem);

/* Immediate: asks the operation in flight to stop. */
int vm_cancel(Vm *vm, Problem *reterr_problem);

/* ---- what is kept until an administrator gives it up ---- */

typedef struct Quarantined {
        sd_id128_t uuid;
        const char *kind; /* "vm", "newer-record", "damaged-record" */
        const char *reason;
} Quarantined;

/* Names all of it. */
void manager_list_quarantined(const Manager *m, void (*found)(void *userdata, const Quarantined *q),
                              void *userdata);

/* Gives a quarantined VM up: charges, claims, record and the daemon's descriptors go, and nothing is taken from whoever holds it. */
int vm_reclaim(Vm *vm, const char *caller, OperationAnswer answer, void *userdata,
               Problem *reterr_problem);

/* The same for a record that cannot be read, and what the fd store holds for it. */
bool manager_has_kept_record(const Manager *m, sd_id128_t uuid);
int manager_give_up_record(Manager *m, sd_id128_t uuid, OperationAnswer answer, void *userdata,
                           Problem *reterr_problem);

/* ---- an agent's word ---- */

/* The VMs that an agent knows to exist. One whose leash is the agent's word, and which two reports in a row do not name, has ended. What
 * another leash says is alive, no report touches. */
void manager_report_vms(Manager *m, const sd_id128_t *uuids, size_t n_uuids);

/* ---- reservations ---- */

#define RESERVATION_TOKEN_SIZE 33

/* What names a reservation without letting anybody use it: the first digits of its token. 80 bits stay secret. */
#define RESERVATION_ID_SIZE 13

/* Charges and claims what a VM of *request (completed) would take, for @ttl_usec. Immediate, on the inventory as it is.
 * Returns 0 with the token, or a negative errno with reterr_problem. */
int manager_reserve(Manager *m, VmRequest *request, uint64_t ttl_usec, uid_t uid,
                    char ret_token[static RESERVATION_TOKEN_SIZE], Problem *reterr_problem);

/* Gives it back, whoever's it is: that @uid may is settled before. @name: token or id. Returns 0, or with reterr_problem -ENOENT,
 * -ESTALE, -ETIME, -EPERM (it is gone, and was another's), -EBUSY (a VM is being made of it). */
int manager_unreserve(Manager *m, const char *name, uid_t uid, Problem *reterr_problem);

/* Who made it; (uid_t)-1 when there is none of that token or id. */
uid_t manager_get_reservation_owner(const Manager *m, const char *name);

/* What everybody may know of a reservation. What it points to lives as long as the reservation. */
typedef struct ReservationView {
        char id[RESERVATION_ID_SIZE];
        uid_t uid;
        uint64_t left_usec; /* to live */
        const VmContext *functions;
        const Receipt *receipt;
} ReservationView;

/* The first reservation after that id ("": the first of all), and the one after another; NULL at the end. */
const Reservation *manager_first_reservation(const Manager *m, const char *after_id);
const Reservation *reservation_next(const Reservation *reservation);
void reservation_view(const Reservation *reservation, ReservationView *ret);

/* ---- definitions ---- */

/* Writes the definition of a VM, with @replace also in place of one that is there, whose owner it keeps. It is checked as far as it can
 * be without looking at the host. Answers through @answer when it is on the disk, or returns an error at once: -EEXIST, -EBUSY (it is
 * being written), -EDQUOT, that of a malformed request, ... with reterr_problem. */
int manager_define_vm(Manager *m, const DefinitionRequest *request, bool replace, uid_t uid,
                      OperationAnswer answer, void *userdata, Problem *reterr_problem);

/* Changes what @changes says. As manager_define_vm(); -ENOENT, -EBADMSG (it cannot be read). */
int manager_modify_definition(Manager *m, const DefinitionRequest *changes, OperationAnswer answer,
                              void *userdata, Problem *reterr_problem);

/* Takes a definition back, also one that cannot be read. A VM that it has started stays. */
int manager_undefine_vm(Manager *m, sd_id128_t uuid, OperationAnswer answer, void *userdata,
                        Problem *reterr_problem);

/* Creates the VM, which is the definition's owner's. @leash: a request whose leash counts and is taken over; with LEASH_DEFINITION the VM
 * waits for its VMM as long as that takes. As manager_create_vm(). */
int manager_start_definition(Manager *m, sd_id128_t uuid, VmRequest *leash, const char *caller,
                             OperationAnswer answer, void *userdata, Problem *reterr_problem);

/* Starts, as soon as the loop runs, what is to be started at boot and has not been in this one. @done (may be NULL) is called when
 * each has been admitted or refused, or never. Returns 0 or a negative errno. */
int manager_autostart(Manager *m, void (*done)(void *userdata), void *userdata);

/* One that can be read. Returns 0, -ENOENT, -EBUSY (it is being made), -EBADMSG, -EUCLEAN with reterr_problem. */
int manager_get_definition(const Manager *m, sd_id128_t uuid, const Definition **ret,
                           Problem *reterr_problem);

/* NULL when there is none. */
const Definition *manager_find_definition(const Manager *m, sd_id128_t uuid);

/* In the order of UUIDs the first one after @after (NULL: of all), NULL at the end. */
const Definition *manager_next_definition(const Manager *m, const sd_id128_t *after);

/* (uid_t)-1 when there is none. One that cannot be read is root's. */
uid_t manager_get_definition_owner(const Manager *m, sd_id128_t uuid);

/* Why a start would be refused now, as far as that can be known without one: into *ret, which is not set otherwise. Returns 0 or
 * -ENOMEM. */
int manager_warn_of_definition(Manager *m, const Definition *definition, Problem *ret);

/* ---- the host ---- */

/* Reads the configuration file again; on an error the old configuration stays. */
int manager_reload(Manager *m, Problem *reterr_problem);

/* A fresh iommufd for a VM to come; the answer's caller gets it by manager_get_prepared(). It is @uid's, who alone (and root)
 * can create the VM with it. */
int manager_prepare_context(Manager *m, sd_id128_t uuid, const char *caller, uid_t uid,
                            OperationAnswer answer, void *userdata, Problem *reterr_problem);
int manager_get_prepared(const Manager *m, sd_id128_t uuid, int *ret_iommufd);

/* Lets go of it: a VMM may have used it that no VM is there for. That the caller may is settled before. Returns 0, or with reterr_problem
 * -ENOENT (there is none), -EBUSY (one is being made, or taken over). */
int manager_forget_context(Manager *m, sd_id128_t uuid, Problem *reterr_problem);

/* Whose the prepared context of that UUID is; (uid_t)-1 when there is none. */
uid_t manager_get_prepared_owner(const Manager *m, sd_id128_t uuid);

/* Probes one host IOMMU with an idle function; answers 0 also when there is none to do it with (level unknown). */
int manager_probe(Manager *m, uint32_t host_iommu, OperationAnswer answer, void *userdata,
                  Problem *reterr_problem);

/* Names every bus name that something hangs on, some more than once: one that vanished while the daemon was down was not heard of. */
void manager_list_callers(const Manager *m, void (*found)(void *userdata, const char *name),
                          void *userdata);

/* Says which bus it is, before names are looked at: when it is not the last daemon's, nobody is any more who he was, and every name that something
 * hangs on has vanished. Returns 0 or -ENOMEM. */
int manager_set_bus(Manager *m, sd_id128_t id);

/* A bus name has vanished: what was asked in its name and is not done yet is undone. */
void manager_name_vanished(Manager *m, const char *name);
