# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The Debian packages: that they are built, and that lintian has nothing to say. With --long: that two builds are the same, and what they
# do to a fresh Debian, in the VM too.

packages=build/check-packages

package_steps() {
        step package run tests/lib/package "$packages" || return
        step package-version check_package_version
        step package-dependencies check_package_dependencies
        step lintian check_lintian "$packages"
}

package_long_steps() {
        local suite built
        has_failed package || step package-again check_package_again
        for suite in bookworm trixie; do
                built=$packages-$suite
                step "package-$suite" run tests/lib/fresh --bring /root/debs "$built" "$suite" tests/lib/package-life || continue
                [[ $suite == "$(own_suite)" ]] || first_vm_begin "$suite" "$built"
        done
        steps_wait
}

# The changelog's version is CMake's.
check_package_version() {
        local is wanted
        is=$(dpkg-parsechangelog -S Version)
        wanted=$(sed -nE 's/^project\(.* VERSION ([0-9.]+) .*/\1/p' CMakeLists.txt)
        [[ $is == "$wanted" ]] || { say "debian/changelog has $is, CMakeLists.txt $wanted"; return 1; }
}

# The libraries that the packages are built with are those that the build wants; the C library's come of themselves.
check_package_dependencies() {
        diff <(grep -E -- '-dev$' tests/packages.build | grep -vxE 'libc6-dev|linux-libc-dev' | sort) \
                <(sed -n '/^Build-Depends:/,/^$/s/^ \([a-z0-9.-]*-dev\)\( \|,\|$\).*/\1/p' debian/control |
                        grep -vx systemd-dev | sort) ||
                { say "tests/packages.build and debian/control differ"; return 1; }
}

# check_lintian FOLDER: no errors and no warnings.
check_lintian() {
        run lintian --allow-root --fail-on error,warning "$1"/*.changes
}

# The same once more, from another place, at another time, with another language, umask and number of jobs.
check_package_again() {
        local again=$temp/somewhere/else file n=0
        (umask 0002 && TZ=Asia/Kolkata LC_ALL=C PACKAGE_OPTIONS=parallel=1 run tests/lib/package "$again") || return
        for file in "$packages"/*.{deb,dsc,tar.xz}; do
                n=$((n + 1))
                cmp "$file" "$again/$(basename "$file")" || return
        done
        ((n > 4)) || { say "there are only $n files"; return 1; }
}
