/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/reply.h"

#include <errno.h>

int reply_check(int r) {
        if (r >= 0)
                return 0;
        /* -ENXIO: another type than asked for; the rest is what sd-bus finds wrong with contents. */
        return r == -ENOMEM ? r : -EBADMSG;
}

static int read_value(sd_bus_message *m, const ReplyField *field, void *object) {
        void *p = (char *)object + field->offset;
        int r;

        r = sd_bus_message_enter_container(m, 'v', field->signature);
        if (r <= 0)
                return -EBADMSG;

        if (field->read)
                r = field->read(m, p);
        else if (field->signature[0] == 'b') {
                int b;

                r = sd_bus_message_read_basic(m, 'b', &b);
                if (r > 0)
                        *(bool *)p = b;
        } else
                r = sd_bus_message_read_basic(m, field->signature[0], p);
        if (r < 0)
                return reply_check(r);
        return reply_check(sd_bus_message_exit_container(m));
}

static int read_entry(sd_bus_message *m, const ReplyField *fields, size_t n_fields, void *object) {
        const char *key;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return reply_check(r);

        for (size_t i = 0; i < n_fields; i++)
                if (streq(fields[i].name, key))
                        return read_value(m, &fields[i], object);
        return reply_check(sd_bus_message_skip(m, "v"));
}

int reply_read_fields(sd_bus_message *m, const ReplyField *fields, size_t n_fields, void *object) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r <= 0)
                return -EBADMSG;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, fields, n_fields, object);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return reply_check(r);
        }
        if (r < 0)
                return reply_check(r);
        return reply_check(sd_bus_message_exit_container(m));
}

int reply_read_array(sd_bus_message *m, const char *contents,
                     int (*read_one)(sd_bus_message *m, void *userdata), void *userdata) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', contents);
        if (r <= 0)
                return -EBADMSG;

        for (;;) {
                r = sd_bus_message_at_end(m, false);
                if (r < 0)
                        return reply_check(r);
                if (r > 0)
                        break;
                r = read_one(m, userdata);
                if (r < 0)
                        return reply_check(r);
        }
        return reply_check(sd_bus_message_exit_container(m));
}

/* Makes room for one more element. Returns its address, NULL without memory. */
static void *list_grow(void **items, size_t *n, size_t size) {
        /* Powers of two: the room is used up when n is one. */
        if (*n == 0 || (*n & (*n - 1)) == 0) {
                void *p = reallocarray(*items, *n ? *n * 2 : 1, size);

                if (!p)
                        return NULL;
                *items = p;
        }
        return (char *)*items + (*n)++ * size;
}

static int read_string(sd_bus_message *m, void *userdata) {
        StringList *l = userdata;
        const char *s, **item;
        int r;

        r = sd_bus_message_read_basic(m, 's', &s);
        if (r < 0)
                return r;
        item = list_grow((void **)&l->items, &l->n, sizeof(*item));
        if (!item)
                return -ENOMEM;
        *item = s;
        return 0;
}

int reply_read_strings(sd_bus_message *m, void *string_list) {
        return reply_read_array(m, "s", read_string, string_list);
}

void string_list_done(StringList *l) {
        free(l->items);
        *l = (StringList){};
}

static int read_resource(sd_bus_message *m, void *userdata) {
        ResourceList *l = userdata;
        Resource x, *item;
        int r;

        r = sd_bus_message_read(m, "(sstt)", &x.kind, &x.scope, &x.capacity, &x.used);
        if (r < 0)
                return r;
        item = list_grow((void **)&l->items, &l->n, sizeof(*item));
        if (!item)
                return -ENOMEM;
        *item = x;
        return 0;
}

int reply_read_resources(sd_bus_message *m, void *resource_list) {
        return reply_read_array(m, "(sstt)", read_resource, resource_list);
}

void resource_list_done(ResourceList *l) {
        free(l->items);
        *l = (ResourceList){};
}

static int read_charge(sd_bus_message *m, void *userdata) {
        ChargeList *l = userdata;
        Charge x, *item;
        int r;

        r = sd_bus_message_read(m, "(sst)", &x.kind, &x.scope, &x.amount);
        if (r < 0)
                return r;
        item = list_grow((void **)&l->items, &l->n, sizeof(*item));
        if (!item)
                return -ENOMEM;
        *item = x;
        return 0;
}

int reply_read_charges(sd_bus_message *m, void *charge_list) {
        return reply_read_array(m, "(sst)", read_charge, charge_list);
}

void charge_list_done(ChargeList *l) {
        free(l->items);
        *l = (ChargeList){};
}

static int read_vm_function(sd_bus_message *m, void *userdata) {
        VmFunctionList *l = userdata;
        VmFunction x, *item;
        int r;

        r = sd_bus_message_read(m, "(ssss)", &x.address, &x.host_iommu, &x.guest_device_id,
                                &x.last);
        if (r < 0)
                return r;
        item = list_grow((void **)&l->items, &l->n, sizeof(*item));
        if (!item)
                return -ENOMEM;
        *item = x;
        return 0;
}

int reply_read_vm_functions(sd_bus_message *m, void *vm_function_list) {
        return reply_read_array(m, "(ssss)", read_vm_function, vm_function_list);
}

void vm_function_list_done(VmFunctionList *l) {
        free(l->items);
        *l = (VmFunctionList){};
}
