#compdef machinectl
# Completion of machinectl(1) for zsh. Commands and options are those of its help text,
# and values those that it lists for --OPTION=help, so that they are always the
# program's own.

local help=$(machinectl --no-pager --help)
local word command=''
local -a rest
for word in ${words[2,CURRENT-1]}; do
  [[ $word == -* ]] || rest+=($word)
done
command=${rest[1]:-}

if [[ $PREFIX == --*=* ]]; then
  local option=${PREFIX%%=*}
  compset -P '*='
  compadd -- ${(f)"$(machinectl $option=help 2>/dev/null)"}
elif [[ $PREFIX == -* ]]; then
  compadd -- ${(fu)"$(grep -o -e ' --[a-z-]*' -e '^  -[a-zA-Z]' <<<$help | tr -d ' ')"}
elif [[ -z $command ]]; then
  compadd -- ${(f)"$(sed -n '/Commands:$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' <<<$help)"}
else
  case $command in
    status | show | exec | shell | login | poweroff | stop | reboot | restart | terminate | kill | forget | pause | resume | \
      copy-to | copy-from | bind | bind-volume | unbind-volume)
      compadd -- ${${(f)"$(machinectl --no-pager --no-legend list 2>/dev/null)"}%% *}
      ;;
    start | enable | disable | edit | cat | image-status | show-image | clone | rename | read-only | remove | \
      set-limit | export-tar | export-raw)
      compadd -- ${${(f)"$(machinectl --no-pager --no-legend list-images 2>/dev/null)"}%% *}
      ;;
    *) _files ;;
  esac
fi
