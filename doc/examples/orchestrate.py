#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""orchestrate.py TIER FUNCTION...: the life of one VM, as something that starts VMs has it with aviommud.

aviommu-orchestration(7) goes through it. Wants Debian's python3-gi. The VMM is a "sleep" that inherits the descriptors and
does nothing with them.
"""

import os
import subprocess
import sys
import time

from gi.repository import Gio, GLib

NAME = "org.aviommu1"
MANAGER = "/org/aviommu1"
ERROR = "org.aviommu1.Error."
UUID = "7d3f0a52-6c1e-4b7a-9a55-2f0c1d9be002"
# Ours are those whose names begin so. Other software on this host has VMs too, and they are none of our business.
PREFIX = "example-"
MINUTE = 60 * 1000  # in milliseconds

# Not enough is left, or somebody else has it: when something comes back, it may do.
EXHAUSTED = {ERROR + name for name in (
    "NoFreeInstance", "NoFreeTransDevId", "NoContiguousMemory", "NoFreeDomainId", "NoPinnableMemory",
    "NoFreeDescriptor", "LimitsExceeded", "QuotaExceeded", "FunctionInUse")}
# Passes by itself.
PASSING = {ERROR + name for name in ("Busy", "StorageFailed")}
# Nobody has said whether it was done.
NO_ANSWER = {"org.freedesktop.DBus.Error." + name for name in (
    "NoReply", "Disconnected", "ServiceUnknown", "NameHasNoOwner", "Timeout", "TimedOut")}

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
heard = []


def call(path, interface, member, types="()", *arguments, descriptors=()):
    """Calls and waits. A descriptor is an index into the list that goes with the message, in both directions."""
    sent = Gio.UnixFDList()
    for descriptor in descriptors:
        sent.append(descriptor)  # a duplicate; new_from_array() would take ours
    answer, answered = bus.call_with_unix_fd_list_sync(
        NAME, path, f"{NAME}.{interface}", member, GLib.Variant(types, arguments), None,
        Gio.DBusCallFlags.NONE, MINUTE, sent)
    return [answered.get(value) if types_of(answer, i) == "h" else value
            for i, value in enumerate(answer.unpack())]


def types_of(answer, i):
    return answer.get_child_value(i).get_type_string()


def error_name(error):
    return Gio.DBusError.get_remote_error(error) or ""


def explain(error):
    """The sentence, without the name that GLib puts before it."""
    return error.message.partition(": ")[2] if error_name(error) else error.message


def follow():
    """Keeps what is said about VMs and capacities, from now on."""
    def hear(_bus, _sender, _path, _interface, signal, arguments):
        heard.append((signal, *arguments.unpack()))
    bus.signal_subscribe(NAME, f"{NAME}.Manager", None, MANAGER, None, Gio.DBusSignalFlags.NONE, hear)
    bus.signal_subscribe("org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged", None, NAME,
                         Gio.DBusSignalFlags.NONE, hear)


def wait_for(signal, *beginning, seconds=30):
    """Waits until something is said; forgets what was said before it."""
    context = GLib.MainContext.default()
    late = time.monotonic() + seconds
    GLib.timeout_add_seconds(seconds, lambda: GLib.SOURCE_REMOVE)
    while time.monotonic() < late:
        while heard:
            what = heard.pop(0)
            if what[:1 + len(beginning)] == (signal, *beginning):
                return what
        context.iteration(True)
    return None


def vms():
    """All VMs, page after page."""
    cursor = ""
    while True:
        page, cursor = call(MANAGER, "Manager", "ListVms", "(su)", cursor, 1000)
        yield from page
        if not cursor:
            return


def destroy(path):
    try:
        call(path, "Vm", "Destroy", "(a{sv})", {})
    except GLib.Error as error:
        # What is gone already is what we wanted.
        if error_name(error) != ERROR + "NoSuchVm":
            raise


def reconcile():
    """Takes back what an earlier run has left."""
    for _uuid, name, _tier, _handover, state, _n_functions, path in vms():
        if name.startswith(PREFIX):
            print(f"left over: {name}, {state}")
            try:
                destroy(path)
            except GLib.Error as error:
                # Its VMM is alive and has the context: to be ended first, or to be adopted.
                if error_name(error) != ERROR + "WrongState":
                    raise
                print(explain(error))


def create(request):
    """CreateVm until it is decided. The UUID is ours, so asking twice makes no second VM."""
    while True:
        try:
            return call(MANAGER, "Manager", "CreateVm", "(sa{sv})", UUID, request)[0]
        except GLib.Error as error:
            name = error_name(error)
            if name in EXHAUSTED:
                print(f"waiting: {explain(error)}")
                wait_for("CapacityChanged")
            elif name in PASSING:
                time.sleep(1)
            elif name in NO_ANSWER:
                path = find()
                if path:
                    return path
            else:
                raise


def find():
    """The VM, if it was made before the answer was lost. As long as nobody answers, it cannot be told."""
    while True:
        try:
            return call(MANAGER, "Manager", "GetVm", "(s)", UUID)[0]
        except GLib.Error as error:
            if error_name(error) == ERROR + "NoSuchVm":
                return None
            if error_name(error) not in NO_ANSWER:
                raise
            time.sleep(1)


def main(tier, functions):
    # Listen before looking, so that nothing is missed in between.
    follow()
    reconcile()

    request = {
        "name": GLib.Variant("s", PREFIX + "py"),
        "tier": GLib.Variant("s", tier),
        "handover": GLib.Variant("s", "daemon"),
        "memory": GLib.Variant("t", 4 << 30),
        "functions": GLib.Variant("a(sa{sv})", [(function, {}) for function in functions]),
        # The VM hangs on our own name on the bus until there is a VMM.
        "leash": GLib.Variant("s", "caller"),
    }
    plan, = call(MANAGER, "Manager", "Plan", "(sa{sv})", UUID, request)
    if not plan["admitted"]:
        print(f"refused: {plan['message']} [{plan['error']}]")
        if plan["error"] not in EXHAUSTED | PASSING:
            return 1
    for kind, scope, amount in plan["charges"] if plan["admitted"] else ():
        print(f"will take {amount} of {kind} on {scope}")

    vm = create(request)
    print(f"created: {vm}")

    memory = os.memfd_create("guest")
    os.truncate(memory, 1 << 30)
    call(vm, "Vm", "MapMemory", "(htttu)", 0, 0, 1 << 30, 0, 1, descriptors=[memory])
    print("mapped 1 GiB for the functions")

    iommufd, ids = call(vm, "Vm", "OpenContext")
    devices = [call(vm, "Vm", "OpenDevice", "(s)", function)[0] for function in functions]
    with subprocess.Popen(["sleep", "infinity"], pass_fds=[iommufd, *devices]) as vmm:
        try:
            print(f"the VMM has {1 + len(devices)} descriptors and {len(ids['viommus'])} vIOMMUs")
            pidfd = os.pidfd_open(vmm.pid)
            call(vm, "Vm", "SetLeash", "(h)", 0, descriptors=[pidfd])
            call(vm, "Vm", "ConfirmContext")
            # Those that are open here would keep the functions in use when the VMM has ended.
            for descriptor in (memory, iommufd, *devices, pidfd):
                os.close(descriptor)
        finally:
            vmm.kill()
    print(f"removed: {wait_for('VmRemoved', UUID)[3]}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: orchestrate.py TIER FUNCTION...")
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except GLib.Error as failure:
        sys.exit(f"{explain(failure)} [{error_name(failure)}]")
