/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names of the D-Bus API, as in dbus/ and org.aviommu1(5). */

#define AVIOMMU_BUS_NAME "org.aviommu1"

#define AVIOMMU_PATH      "/org/aviommu1"
#define AVIOMMU_HOST_PATH "/org/aviommu1/host"
#define AVIOMMU_VM_PATH   "/org/aviommu1/vm/"

#define AVIOMMU_MANAGER_INTERFACE "org.aviommu1.Manager"
#define AVIOMMU_HOST_INTERFACE    "org.aviommu1.HostIommu"
#define AVIOMMU_VM_INTERFACE      "org.aviommu1.Vm"
#define AVIOMMU_VIOMMU_INTERFACE  "org.aviommu1.Viommu"
#define AVIOMMU_ERROR_PREFIX      "org.aviommu1.Error."

#define DBUS_PROPERTIES_INTERFACE     "org.freedesktop.DBus.Properties"
#define DBUS_OBJECT_MANAGER_INTERFACE "org.freedesktop.DBus.ObjectManager"
#define DBUS_ERROR_PREFIX             "org.freedesktop.DBus.Error."
