#!/usr/bin/env bash
# Removes what install.sh put somewhere, and nothing else. Images stay, machines
# go on running, and the daemons of systemd, where there are any, take over.
#
#   DESTDIR PREFIX   as they were for the installation; see layout.sh
set -euo pipefail
action=uninstall
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packaging/layout.sh
. "$here/layout.sh"

# stop_units ends units that would be left without a file. Sockets go first, so
# that nothing starts a service again.
stop_units() {
  local ours
  mapfile -t ours < <(our_units 'systemd-[a-z]*\.socket'; our_units 'systemd-[a-z]*\.service')
  [[ ${#ours[@]} -eq 0 ]] || systemctl stop "${ours[@]}"
}

# stop_services ends the services of other init systems and takes them out of
# the boot, where their owner put them.
stop_services() {
  local name dir link
  for name in "${services[@]}"; do
    if listed "/etc/init.d/$name"; then
      "/etc/init.d/$name" stop || true
      ! command -v rc-update >/dev/null || rc-update --quiet --all delete "$name" 2>/dev/null || true
      ! command -v update-rc.d >/dev/null || update-rc.d -f "$name" remove || true
    fi
    for dir in /etc/sv /etc/runit/sv; do
      listed "$dir/$name/run" || continue
      sv force-stop "$dir/$name" || true
      for link in /etc/service/"$name" /var/service/"$name" /run/runit/service/"$name" /etc/runit/runsvdir/*/"$name"; do
        [[ ! -L $link ]] || rm -f "$link"
      done
      # The state of the supervisors, not of anybody else.
      rm -rf "${dir:?}/$name/supervise" "$dir/$name/log/supervise"
    done
  done
}

# stop_daemons ends those that the bus or somebody started, but none of a
# container that has berth at the same place.
stop_daemons() {
  local process
  for process in /proc/[0-9]*; do
    [[ $process/ns/pid -ef /proc/self/ns/pid ]] || continue
    case $(readlink "$process/exe") in
      "$PREFIX/libexec/berth/machined" | "$PREFIX/libexec/berth/importd") kill "${process#/proc/}" || true ;;
    esac
  done
}

# remove_all removes files and links, then the directories that install made,
# deepest first, unless somebody else uses them by now.
remove_all() {
  local path dirs
  while read -r path; do
    rm -f "$DESTDIR$path"
  done < <(entries file link)
  mapfile -t dirs < <(entries dir | sort -r)
  rm -f "$DESTDIR$manifest"
  for path in "${dirs[@]}"; do
    rmdir "$DESTDIR$path" 2>/dev/null || true
  done
}

check_variables
if [[ ! -f $DESTDIR$manifest ]]; then
  echo "nothing is installed below $DESTDIR$PREFIX"
  exit 0
fi
if booted_systemd; then
  stop_units
elif live; then
  stop_services
  stop_daemons
fi
remove_all
if live; then
  reload_bus
fi
if booted_systemd; then
  restart_units
fi
echo "removed what was installed below $DESTDIR$PREFIX"
