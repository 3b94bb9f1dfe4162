#compdef aviommuctl
# SPDX-License-Identifier: LGPL-2.1-or-later
# zsh's completion for aviommuctl: the program itself knows what a word may become.

local -a lines names shown open open_shown
local line name help

# The words as the program would get them, and of the last what is before the cursor.
lines=("${(@f)$(_call_program candidates "${(q)words[1]}" complete -- "${(@q)${(@Q)words[2,CURRENT-1]}}" "${(q)${(Q)PREFIX}}" 2>/dev/null)}")

case $lines[1] in
':command '*)
        local n=$(( ${lines[1]#:command } + 1 ))
        shift $n words
        (( CURRENT -= n ))
        _normal
        return
        ;;
:files)
        compset -P '--*='
        _files
        return
        ;;
esac

for line in "${(@)lines[2,-1]}"; do
        name=${line%%$'\t'*}
        help=${line#*$'\t'}
        [[ -n $name ]] || continue
        if [[ $name == *= ]]; then
                open+=("$name")
                open_shown+=("$name${help:+  -- $help}")
        else
                names+=("$name")
                shown+=("$name${help:+  -- $help}")
        fi
done
# A value follows at once.
compadd -S '' -l -d open_shown -a open
compadd -l -d shown -a names
