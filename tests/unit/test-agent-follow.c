/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the agent does for a domain: the next step from each state, what events make of it, and a model of everything around it, in which
 * whatever order things come in, no start gets a context that is used or that aviommud does not take over.
 */

#include "unit.h"

#include "agent/follow.h"

static const FollowWorld all = { .libvirt = true, .aviommud = true, .can_associate = true };
static const FollowWorld no_libvirt = { .aviommud = true, .can_associate = true };
static const FollowWorld no_aviommud = { .libvirt = true, .can_associate = true };
static const FollowWorld old_libvirt = { .libvirt = true, .aviommud = true };

#define WANTS .persistent = true, .wants_context = true

typedef struct NextCase {
        const char *name;
        Follow follow;
        const FollowWorld *world;
        FollowAction action;
} NextCase;

static const NextCase next_cases[] = {
        { "off, wants one", { WANTS }, &all, FOLLOW_PREPARE },
        { "off, does not", { .persistent = true }, &all, FOLLOW_NOTHING },
        { "transient", { .wants_context = true }, &all, FOLLOW_NOTHING },
        { "aviommud is away", { WANTS }, &no_aviommud, FOLLOW_NOTHING },
        { "libvirt is away", { WANTS }, &no_libvirt, FOLLOW_NOTHING },
        { "libvirt cannot", { WANTS }, &old_libvirt, FOLLOW_NOTHING },
        { "runs", { WANTS, .running = true }, &all, FOLLOW_NOTHING },
        { "its VM is there", { WANTS, .admitted = true }, &all, FOLLOW_NOTHING },
        { "was refused", { WANTS, .refused = true }, &all, FOLLOW_NOTHING },
        { "is being asked", { WANTS, .under_way = FOLLOW_PREPARE }, &all, FOLLOW_NOTHING },
        { "has a dead end", { WANTS, .context = FOLLOW_DEAD }, &all, FOLLOW_PREPARE },
        { "has a fresh one", { WANTS, .context = FOLLOW_FRESH }, &all, FOLLOW_NOTHING },
        { "has a fresh one, to be started",
          { WANTS, .context = FOLLOW_FRESH, .to_start = true },
          &all,
          FOLLOW_START },
        { "to be started, without one", { WANTS, .to_start = true }, &all, FOLLOW_PREPARE },
        { "to be started, being started",
          { WANTS, .context = FOLLOW_FRESH, .to_start = true, .under_way = FOLLOW_START },
          &all,
          FOLLOW_NOTHING },
        { "has a spent one", { WANTS, .context = FOLLOW_SPENT }, &all, FOLLOW_RETIRE },
        { "a spent one, aviommud is away",
          { WANTS, .context = FOLLOW_SPENT },
          &no_aviommud,
          FOLLOW_RETIRE },
        { "a spent one, wants none any more",
          { .persistent = true, .context = FOLLOW_SPENT },
          &all,
          FOLLOW_RETIRE },
        { "a fresh one, wants none any more",
          { .persistent = true, .context = FOLLOW_FRESH, .prepared = true },
          &all,
          FOLLOW_RETIRE },
        { "has let go of one that it wants no more",
          { .persistent = true, .context = FOLLOW_DEAD, .prepared = true },
          &all,
          FOLLOW_FORGET },
        { "has let go of one that it wants no more, aviommud is away",
          { .persistent = true, .context = FOLLOW_DEAD, .prepared = true },
          &no_aviommud,
          FOLLOW_NOTHING },
        { "a spent one, and it may be starting with it",
          { WANTS, .context = FOLLOW_SPENT, .admitted = true },
          &all,
          FOLLOW_NOTHING },
        { "a spent one, and runs",
          { WANTS, .context = FOLLOW_SPENT, .running = true },
          &all,
          FOLLOW_NOTHING },
        { "a spent one, dead end was refused",
          { WANTS, .context = FOLLOW_SPENT, .refused = true },
          &all,
          FOLLOW_NOTHING },
        { "runs, functions changed",
          { .running = true, .changed = true, .functions_known = true },
          &all,
          FOLLOW_COMPARE },
        { "runs, functions not known", { .running = true, .changed = true }, &all, FOLLOW_NOTHING },
        { "runs, is being compared",
          { .running = true, .changed = true, .functions_known = true, .comparing = true },
          &all,
          FOLLOW_NOTHING },
        { "runs, functions changed, aviommud is away",
          { .running = true, .changed = true, .functions_known = true },
          &no_aviommud,
          FOLLOW_NOTHING },
};

static void test_next(void **state) {
        (void)state;
        for_each_case(c, next_cases) if (follow_next(&c->follow, c->world) != c->action)
                fail_msg("%s: %i instead of %i", c->name, (int)follow_next(&c->follow, c->world),
                         (int)c->action);
}

/* From nothing to a context, through a start and a stop, to the next one. */
static void test_life(void **state) {
        Follow f = {};

        (void)state;
        follow_facts(&f, false, true, true);
        assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);
        follow_begin(&f, FOLLOW_PREPARE);
        assert_true(follow_prepared(&f, FOLLOW_PREPARED));
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_done(&f, true);
        assert_int_equal(f.context, FOLLOW_FRESH);
        assert_true(f.prepared);

        follow_vm_added(&f);
        assert_false(f.prepared);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_started(&f);
        assert_int_equal(f.context, FOLLOW_SPENT);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_vm_removed(&f, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_stopped(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_RETIRE);
        follow_begin(&f, FOLLOW_RETIRE);
        follow_done(&f, true);
        assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);

        /* Its VM is not gone yet: it comes to be. One that was only being made, and failed, goes without a word. */
        for (int i = 0; i < 2; i++) {
                follow_begin(&f, FOLLOW_PREPARE);
                assert_false(follow_prepared(&f, FOLLOW_PREPARED_VM_EXISTS));
                assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
                if (i == 0)
                        follow_vm_removed(&f, false);
                else
                        follow_again(&f);
                assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);
        }

        /* A refusal is for the next report to try again. */
        follow_begin(&f, FOLLOW_PREPARE);
        assert_false(follow_prepared(&f, FOLLOW_PREPARED_REFUSED));
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_again(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);
}

/* It runs on a context that no VM has taken over: aviommud lets go of that one, as soon as it is there. */
static void test_leftover(void **state) {
        Follow f = { WANTS, .context = FOLLOW_FRESH, .prepared = true };

        (void)state;
        follow_started(&f);
        assert_int_equal(follow_next(&f, &no_aviommud), FOLLOW_NOTHING);
        follow_aviommud_came(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_FORGET);
        follow_begin(&f, FOLLOW_FORGET);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_stopped(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_RETIRE);

        /* Its VM, or its end, was heard of late. */
        for (int i = 0; i < 2; i++) {
                Follow g = { WANTS, .context = FOLLOW_FRESH, .prepared = true };

                follow_started(&g);
                if (i == 0)
                        follow_vm_added(&g);
                else {
                        follow_stopped(&g);
                        follow_started(&g);
                }
                assert_int_equal(follow_next(&g, &all), FOLLOW_NOTHING);
        }
}

/* A start that fails after aviommud has admitted it has used its context up, though nothing ever ran. */
static void test_failed_start(void **state) {
        Follow f = { WANTS, .context = FOLLOW_FRESH };

        (void)state;
        follow_vm_added(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_vm_removed(&f, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_RETIRE);
}

/* What is being prepared when the world changes is not associated, or not taken for good. */
static void test_spoiled(void **state) {
        Follow f = { WANTS };

        (void)state;
        follow_begin(&f, FOLLOW_PREPARE);
        follow_aviommud_came(&f);
        assert_false(follow_prepared(&f, FOLLOW_PREPARED));
        assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);

        follow_begin(&f, FOLLOW_PREPARE);
        follow_libvirt_lost(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        assert_false(follow_prepared(&f, FOLLOW_PREPARED));
        assert_int_equal(follow_next(&f, &all), FOLLOW_PREPARE);

        follow_begin(&f, FOLLOW_PREPARE);
        assert_true(follow_prepared(&f, FOLLOW_PREPARED));
        follow_vm_added(&f);
        follow_vm_removed(&f, false);
        follow_done(&f, true);
        assert_int_equal(f.context, FOLLOW_SPENT);
        assert_int_equal(follow_next(&f, &all), FOLLOW_RETIRE);

        /* Libvirt forgets it while it is being associated, and after that. */
        for (int i = 0; i < 2; i++) {
                Follow g = { WANTS };

                follow_begin(&g, FOLLOW_PREPARE);
                assert_true(follow_prepared(&g, FOLLOW_PREPARED));
                if (i == 0)
                        follow_undefined(&g);
                follow_done(&g, true);
                if (i == 1)
                        follow_undefined(&g);
                assert_int_equal(follow_next(&g, &all), FOLLOW_RETIRE);
                assert_true(g.prepared);
        }
}

static void test_start(void **state) {
        Follow f = { WANTS, .to_start = true, .context = FOLLOW_FRESH };

        (void)state;
        follow_begin(&f, FOLLOW_START);
        follow_done(&f, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING); /* once */

        f.to_start = true;
        follow_started(&f); /* by somebody else */
        follow_stopped(&f);
        assert_false(f.to_start);
}

static void test_functions(void **state) {
        Follow f = {};

        (void)state;
        follow_facts(&f, true, false, false);
        follow_functions(&f, true, true);
        assert_int_equal(follow_next(&f, &all), FOLLOW_COMPARE);
        follow_begin(&f, FOLLOW_COMPARE);
        follow_functions(&f, true, true); /* once more meanwhile */
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_compared(&f, true);
        assert_int_equal(follow_next(&f, &all), FOLLOW_COMPARE);

        follow_begin(&f, FOLLOW_COMPARE);
        follow_compared(&f, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_again(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_COMPARE);
        follow_begin(&f, FOLLOW_COMPARE);
        follow_compared(&f, true);
        follow_again(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);

        /* Another aviommud may know of others, and so may one that was not there. */
        follow_aviommud_came(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_COMPARE);

        follow_functions(&f, false, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_functions(&f, true, true);
        follow_stopped(&f);
        follow_started(&f);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);

        /* Its VM goes: because it ends, or though it runs. */
        follow_functions(&f, true, false);
        follow_vm_removed(&f, true);
        assert_int_equal(follow_next(&f, &all), FOLLOW_NOTHING);
        follow_vm_removed(&f, false);
        assert_int_equal(follow_next(&f, &all), FOLLOW_COMPARE);
        follow_stopped(&f);
        follow_vm_removed(&f, false);
        assert_false(f.changed);
}

/* ---- the model ---- */

#define QUEUE_MAX 4096

typedef struct Queue {
        struct {
                int kind, id;
        } items[QUEUE_MAX];
        size_t head, tail;
} Queue;

enum { REQUEST_PREPARE, REQUEST_FORGET };
enum {
        SAYS_PREPARED,
        SAYS_EXISTS,
        SAYS_FAILED,
        SAYS_UNHEARD,
        SAYS_ADDED,
        SAYS_REMOVED,
        SAYS_CAME,
        SAYS_GONE
};
enum { ORDER_RETIRE, ORDER_ASSOCIATE };
enum {
        TELLS_STARTED,
        TELLS_STOPPED,
        TELLS_UNDEFINED,
        TELLS_WANTS,
        TELLS_LOST,
        TELLS_LISTED,
        TELLS_DONE
};

#define DEAD_END (-1)

typedef struct Model {
        unsigned seed;
        int last_id;
        int prepared; /* of aviommud; 0: none */
        bool up, vm;
        bool making;     /* a VM that will fail, of which nobody is told */
        int associated;  /* of libvirt; 0: none */
        unsigned n_lost; /* connections whose end the agent has not heard of */
        bool running, wants;
        Queue requests, says, orders, tells;
        Follow f;
        FollowWorld world;
        unsigned n_started, n_failed;
} Model;

static void push(Queue *q, int kind, int id) {
        q->items[q->tail % QUEUE_MAX].kind = kind;
        q->items[q->tail++ % QUEUE_MAX].id = id;
        assert_true(q->tail - q->head < QUEUE_MAX);
}

static bool pop(Queue *q, int *kind, int *id) {
        if (q->head == q->tail)
                return false;
        *kind = q->items[q->head % QUEUE_MAX].kind;
        *id = q->items[q->head++ % QUEUE_MAX].id;
        return true;
}

/* The hook, and then QEMU. */
static void model_start(Model *m) {
        int taken = m->prepared;

        m->making = m->up && m->wants && !m->running && !m->vm && taken == 0 &&
                    rand_r(&m->seed) % 8 == 0;
        if (m->running || !m->up || m->vm || !m->wants || taken == 0)
                return; /* the hook refuses */
        m->prepared = 0;
        m->vm = true;
        push(&m->says, SAYS_ADDED, 0);
        if (m->associated <= 0) {
                m->n_failed++;
                m->vm = false;
                push(&m->says, SAYS_REMOVED, 0);
                return;
        }
        if (m->associated != taken)
                fail_msg("QEMU gets context %i, aviommud takes over %i", m->associated, taken);
        m->n_started++;
        m->running = true;
        push(&m->tells, TELLS_STARTED, 0);
}

static void model_stop(Model *m) {
        if (!m->running)
                return;
        m->running = false;
        if (m->vm && m->up) {
                m->vm = false;
                push(&m->says, SAYS_REMOVED, 0);
        }
        push(&m->tells, TELLS_STOPPED, 0);
}

/* Its definition changes. */
static void model_want(Model *m, bool wants) {
        m->wants = wants;
        push(&m->tells, TELLS_WANTS, wants);
}

/* And defined anew, before anybody looks. */
static void model_undefine(Model *m) {
        if (m->running)
                return;
        m->associated = 0;
        push(&m->tells, TELLS_UNDEFINED, 0);
}

static void model_aviommud(Model *m) {
        int kind, id;

        if (!m->up || !pop(&m->requests, &kind, &id))
                return;
        if (kind == REQUEST_FORGET) {
                m->prepared = 0;
                return;
        }
        if (m->vm || m->making) {
                m->making = false;
                push(&m->says, SAYS_EXISTS, 0);
                return;
        }
        m->prepared = ++m->last_id;
        push(&m->says, SAYS_PREPARED, m->prepared);
}

static void model_aviommud_ends(Model *m) {
        int kind, id;

        if (!m->up)
                return;
        m->up = m->making = false;
        push(&m->says, SAYS_GONE, 0);
        while (pop(&m->requests, &kind, &id))
                if (kind == REQUEST_PREPARE)
                        push(&m->says, SAYS_FAILED, 0);
                else
                        push(&m->says, SAYS_UNHEARD, 0);
}

/* It may have kept what it had prepared, and it may not. */
static void model_aviommud_comes(Model *m, bool kept) {
        if (m->up)
                return;
        m->up = true;
        if (!kept)
                m->prepared = 0;
        if (!m->running)
                m->vm = false;
        push(&m->says, SAYS_CAME, 0);
}

static void model_libvirt(Model *m) {
        int kind, id;

        if (!pop(&m->orders, &kind, &id) || m->n_lost > 0)
                return; /* it was for an earlier connection */
        m->associated = kind == ORDER_RETIRE ? DEAD_END : id;
        push(&m->tells, TELLS_DONE, 0);
}

static void model_libvirt_restarts(Model *m) {
        m->associated = 0;
        m->orders.head = m->orders.tail;
        m->n_lost++;
        push(&m->tells, TELLS_LOST, 0);
        push(&m->tells, TELLS_LISTED, m->running);
}

static void model_hear_aviommud(Model *m) {
        int kind, id;

        if (!pop(&m->says, &kind, &id))
                return;
        switch (kind) {
        case SAYS_UNHEARD:
                follow_forgotten(&m->f, false);
                break;
        case SAYS_ADDED:
                follow_vm_added(&m->f);
                break;
        case SAYS_REMOVED:
                follow_vm_removed(&m->f, false);
                break;
        case SAYS_CAME:
                m->world.aviommud = true;
                follow_aviommud_came(&m->f);
                break;
        case SAYS_GONE:
                m->world.aviommud = false;
                break;
        default:
                if (follow_prepared(&m->f, kind == SAYS_PREPARED ? FOLLOW_PREPARED
                                           : kind == SAYS_EXISTS ? FOLLOW_PREPARED_VM_EXISTS
                                                                 : FOLLOW_PREPARED_REFUSED))
                        push(&m->orders, ORDER_ASSOCIATE, id);
        }
}

static void model_hear_libvirt(Model *m) {
        int kind, id;

        if (!pop(&m->tells, &kind, &id))
                return;
        switch (kind) {
        case TELLS_STARTED:
                follow_started(&m->f);
                break;
        case TELLS_STOPPED:
                follow_stopped(&m->f);
                break;
        case TELLS_UNDEFINED:
                follow_undefined(&m->f);
                break;
        case TELLS_WANTS:
                follow_facts(&m->f, m->f.running, true, id);
                break;
        case TELLS_LOST:
                m->world.libvirt = false;
                m->orders.head = m->orders.tail;
                m->n_lost--;
                follow_libvirt_lost(&m->f);
                break;
        case TELLS_LISTED:
                m->world.libvirt = true;
                follow_facts(&m->f, id, true, m->f.wants_context);
                break;
        default:
                follow_done(&m->f, true);
        }
}

static void model_act(Model *m) {
        FollowAction action = follow_next(&m->f, &m->world);

        if (action == FOLLOW_NOTHING)
                return;
        follow_begin(&m->f, action);
        if (action == FOLLOW_PREPARE && m->up)
                push(&m->requests, REQUEST_PREPARE, 0);
        else if (action == FOLLOW_PREPARE)
                push(&m->says, SAYS_FAILED, 0); /* by the bus */
        else if (action == FOLLOW_RETIRE)
                push(&m->orders, ORDER_RETIRE, 0);
        else if (action == FOLLOW_FORGET && m->up)
                push(&m->requests, REQUEST_FORGET, 0);
        else if (action == FOLLOW_FORGET)
                push(&m->says, SAYS_UNHEARD, 0);
        else
                fail_msg("there is nothing to do it with");
}

static void model_step(Model *m) {
        unsigned dice = (unsigned)rand_r(&m->seed) % 100;

        if (dice < 18)
                model_act(m);
        else if (dice < 34)
                model_aviommud(m);
        else if (dice < 50)
                model_libvirt(m);
        else if (dice < 66)
                model_hear_aviommud(m);
        else if (dice < 82)
                model_hear_libvirt(m);
        else if (dice < 83)
                model_want(m, rand_r(&m->seed) % 16 > 0);
        else if (dice < 88)
                model_start(m);
        else if (dice < 93)
                model_stop(m);
        else if (dice < 95)
                model_aviommud_ends(m);
        else if (dice < 98)
                model_aviommud_comes(m, dice & 1);
        else if (dice < 99)
                model_libvirt_restarts(m);
        else if (rand_r(&m->seed) & 1)
                model_undefine(m);
        else
                follow_again(&m->f);
}

/* All that is under way arrives, and a report's time comes. */
static void model_settle(Model *m, bool wants) {
        model_want(m, wants);
        m->making = false;
        model_stop(m);
        model_aviommud_comes(m, false);
        for (unsigned i = 0; i < 200; i++) {
                if (i == 100)
                        follow_again(&m->f);
                model_act(m);
                model_aviommud(m);
                model_libvirt(m);
                model_hear_aviommud(m);
                model_hear_libvirt(m);
        }
}

static void test_model(void **state) {
        unsigned n_started = 0, n_failed = 0;

        (void)state;
        for (unsigned seed = 1; seed <= 400; seed++) {
                Model *m = new0(Model, 1);

                assert_non_null(m);
                *m = (Model){ .seed = seed, .up = true, .wants = true, .world = all };
                follow_facts(&m->f, false, true, true);
                for (unsigned i = 0; i < 2000; i++) {
                        model_step(m);
                        if (m->f.context == FOLLOW_FRESH && m->tells.head == m->tells.tail)
                                assert_true(m->associated > 0);
                }
                model_settle(m, false);
                assert_true(m->associated <= 0);
                assert_int_equal(m->prepared, 0);
                model_settle(m, true);
                assert_int_equal(m->f.context, FOLLOW_FRESH);
                assert_true(m->associated > 0);
                assert_int_equal(m->associated, m->prepared);
                model_start(m);
                assert_true(m->running);
                n_started += m->n_started;
                n_failed += m->n_failed;
                free(m);
        }
        /* It is about something. */
        assert_true(n_started > 2000);
        assert_true(n_failed > 100);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_next),      cmocka_unit_test(test_life),
                cmocka_unit_test(test_leftover),  cmocka_unit_test(test_failed_start),
                cmocka_unit_test(test_spoiled),   cmocka_unit_test(test_start),
                cmocka_unit_test(test_functions), cmocka_unit_test(test_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
