#compdef importctl
# Completion of importctl(1) for zsh. Commands and options are those of its help text,
# and values those that it lists for --OPTION=help, so that they are always the
# program's own.

local help=$(importctl --no-pager --help)
local word command=''
local -a rest
for word in ${words[2,CURRENT-1]}; do
  [[ $word == -* ]] || rest+=($word)
done
command=${rest[1]:-}

if [[ $PREFIX == --*=* ]]; then
  local option=${PREFIX%%=*}
  compset -P '*='
  compadd -- ${(f)"$(importctl $option=help 2>/dev/null)"}
elif [[ $PREFIX == -* ]]; then
  compadd -- ${(fu)"$(grep -o -e ' --[a-z-]*' -e '^  -[a-zA-Z]' <<<$help | tr -d ' ')"}
elif [[ -z $command ]]; then
  compadd -- ${(f)"$(sed -n '/Commands:$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' <<<$help)"}
else
  case $command in
    export-tar | export-raw)
      compadd -- ${(f)"$(importctl --no-pager --no-legend list-images 2>/dev/null | while read -r _ name _; do echo $name; done)"}
      ;;
    cancel-transfer)
      compadd -- ${(f)"$(importctl --no-pager --no-legend list-transfers 2>/dev/null | while read -r id _; do echo $id; done)"}
      ;;
    *) _files ;;
  esac
fi
