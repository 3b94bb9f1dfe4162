#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Everything that is checked before a change goes in, on a Debian 12 or 13: installs what it needs, builds, runs the
# tests (those in the VM included) and the static checks. Prints a line for each check; the last line is
# "N passed, M failed", and the exit code is 0 only if nothing failed. Logs are in build/check-logs.
. "$(dirname "$(realpath "$0")")/lib/common.sh"
. tests/lib/steps.sh
. tests/lib/static.sh
. tests/lib/install.sh
. tests/lib/package.sh
. tests/lib/vm.sh
. tests/lib/more.sh

usage() {
        say "usage: tests/check.sh [--long]
  --long  adds what takes long: the tests labelled so, coverage, valgrind, the quick start and the life of the packages in a
          fresh Debian 12 and 13, the packages built again, more fuzzing
Run it as root, or with sudo. What takes minutes to make is kept outside the checkout (AVIOMMU_CACHE, by default
/var/cache/aviommu-tests)."
}

long=''
case ${1:-} in
'') ;;
--long) long=1 ;;
--help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

set_up
steps_begin

step packages packages_install tests/packages.build tests/packages.test tests/vm/packages
step promtool tests/lib/promtool --version
vm_prepare_begin

for preset in development sanitize; do
        step "build-$preset" build "$preset"
        ctest_step "$preset" "$preset" -LE long
done
static_steps
step build-release build release
install_steps
package_steps
fuzz_steps
[[ ! $long ]] || long_steps

vm_prepare_end
vm_steps
[[ ! $long ]] || { fresh_steps; package_long_steps; }

steps_end
