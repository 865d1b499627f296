# shellcheck shell=bash
# Completion of machinectl(1) for bash. Commands and options are those of its help text,
# and values those that it lists for --OPTION=help, so that they are always the
# program's own.

# _berth_machinectl_names COMMAND: what may stand behind it.
_berth_machinectl_names() {
  case $1 in
    status | show | exec | shell | login | poweroff | stop | reboot | restart | terminate | kill | forget | pause | resume | \
      copy-to | copy-from | bind | bind-volume | unbind-volume)
      machinectl --no-pager --no-legend list 2>/dev/null | while read -r name _; do echo "$name"; done
      ;;
    start | enable | disable | edit | cat | image-status | show-image | clone | rename | read-only | remove | \
      set-limit | export-tar | export-raw)
      machinectl --no-pager --no-legend list-images 2>/dev/null | while read -r name _; do echo "$name"; done
      ;;
  esac
}

_berth_machinectl() {
  local cur=${COMP_WORDS[COMP_CWORD]} option='' command='' i words
  # The "=" of --OPTION=VALUE is a word of its own.
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      =) option=${COMP_WORDS[i - 1]} ;;
      -[spoEnHMP]) ((i++)) || true ;;
      -*) option='' ;;
      *)
        if [[ ${COMP_WORDS[i - 1]} != = ]]; then
          option='' command=${command:-${COMP_WORDS[i]}}
        fi
        ;;
    esac
  done
  if [[ $cur == = && ${COMP_WORDS[COMP_CWORD - 1]} == --* ]]; then
    option=${COMP_WORDS[COMP_CWORD - 1]} cur=''
  fi
  if [[ -n $option && ($cur == '' || ${COMP_WORDS[COMP_CWORD - 1]} == =) ]]; then
    words=$(machinectl "$option=help" 2>/dev/null)
  elif [[ $cur == -* ]]; then
    words=$(machinectl --no-pager --help | grep -o -e ' --[a-z-]*' -e '^  -[a-zA-Z]')
  elif [[ -z $command ]]; then
    words=$(machinectl --no-pager --help | sed -n '/Commands:$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
  else
    words=$(_berth_machinectl_names "$command")
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o default -F _berth_machinectl machinectl
