#!/usr/bin/env bash
# Installs berth, and writes down what it put where, for uninstall.sh.
#
#   DESTDIR PREFIX   see layout.sh
#   BIN              directory of the built programs
#   TOOLS            yes: install machinectl and importctl even where the host
#                    has those of systemd; no: never; empty: where it has none
#   INIT             systemd, openrc, runit, sysvinit or none; empty: look
#   STOCK            yes: systemd's machined and importd are there to be
#                    replaced; no: they are not; empty: look
#
# Nothing that another package owns is overwritten, and nothing is enabled that
# was not: units of systemd start by socket and bus, services of other init
# systems when their owner says so.
set -euo pipefail
action=install
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packaging/layout.sh
. "$here/layout.sh"
BIN=${BIN:-$here/../bin}
libexec=$PREFIX/libexec/berth
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# note KIND PATH writes down what comes next, before it is there, so that an
# installation that breaks off can be taken back.
note() {
  echo "$1 $2" >>"$work/new"
  [[ ! -f $DESTDIR$manifest ]] || echo "$1 $2" >>"$DESTDIR$manifest"
}

# make_dir PATH makes a directory and those above it that are missing.
make_dir() {
  [[ -n $1 && ! -d $DESTDIR$1 ]] || return 0
  make_dir "${1%/*}"
  note dir "$1"
  mkdir -m 0755 "$DESTDIR$1"
}

# others PATH: the tree has such a file, and not from us.
others() { has "$1" && ! listed "$1"; }

# claim KIND PATH makes sure that the path is ours.
claim() {
  ! others "$2" || die "$2 belongs to something else"
  make_dir "${2%/*}"
  note "$1" "$2"
}

# put MODE SOURCE PATH installs a file in one step, so that a program that runs
# or a policy that is being read stays whole.
put() {
  claim file "$3"
  install -m "$1" "$2" "$DESTDIR$3.berth-new"
  mv -f "$DESTDIR$3.berth-new" "$DESTDIR$3"
}

# fill MODE SOURCE PATH puts a text in which @LIBEXEC@ stands for the directory
# of the daemons, and @START@ for what starts the one that it is about.
fill() {
  sed "s|@LIBEXEC@|$libexec|g; s|@START@|${start:-}|g" "$2" >"$work/filled"
  put "$1" "$work/filled" "$3"
}

# link TARGET PATH
link() {
  claim link "$2"
  ln -sfn "$1" "$DESTDIR$2"
}

# find_init says which init system the tree boots with. Debian's packages bring
# units to hosts that run another one, so on a running system these prove
# nothing; a system that is being put together in a chroot is not running.
find_init() {
  local init
  init=$(readlink "$DESTDIR/sbin/init" || readlink "$DESTDIR/usr/sbin/init" || true)
  if booted_systemd; then
    echo systemd
  elif [[ $init == */systemd ]] && { ! live || systemd-detect-virt --quiet --chroot; }; then
    echo systemd
  elif has /sbin/openrc-run || has /usr/sbin/openrc-run || has /usr/bin/openrc-run; then
    echo openrc
  elif has /etc/inittab && has /etc/init.d; then
    echo sysvinit
  elif has /etc/sv || has /etc/runit; then
    echo runit
  elif has /usr/lib/systemd/system && ! live; then
    echo systemd
  else
    echo none
  fi
}

install_daemons() {
  local name
  for name in machined importd; do
    put 0755 "$BIN/$name" "$libexec/$name"
    fill 0644 "$here/man/berth-$name.8" "$PREFIX/share/man/man8/berth-$name.8"
  done
  for name in systemd-pull systemd-import systemd-import-fs systemd-export systemd-import-generator; do
    link importd "$libexec/$name"
  done
}

install_tools() {
  local name
  for name in machinectl importctl; do
    case ${TOOLS:-} in
      no) continue ;;
      yes) ;;
      '') if others "/usr/bin/$name" || others "/bin/$name"; then continue; fi ;;
      *) die "TOOLS must be yes, no or empty, not '$TOOLS'" ;;
    esac
    put 0755 "$BIN/$name" "$PREFIX/bin/$name"
    put 0644 "$here/man/$name.1" "$PREFIX/share/man/man1/$name.1"
    put 0644 "$here/completions/$name.bash" "$PREFIX/share/bash-completion/completions/$name"
    put 0644 "$here/completions/$name.zsh" "$PREFIX/share/zsh/site-functions/_$name"
  done
}

# install_systemd puts drop-ins beside the stock units, or units of our own
# where there are none. The service manager looks below /usr/local by itself,
# and an administrator's drop-ins in /etc go over ours; a PREFIX that it does
# not know leaves only /etc.
install_systemd() {
  local dir=/etc/systemd name
  case $PREFIX in /usr | /usr/local) dir=$PREFIX/lib/systemd ;; esac
  for name in machined importd; do
    if has_stock "$name"; then
      fill 0644 "$here/systemd/$name.conf" "$dir/system/systemd-$name.service.d/50-berth.conf"
    else
      install_unit "$name" "$dir/system"
      [[ $name != importd ]] || link "$libexec/systemd-import-generator" "$dir/system-generators/systemd-import-generator"
    fi
    # Only a daemon that has instances for users takes the place of those.
    if has "/usr/lib/systemd/user/systemd-$name.service" && "$BIN/$name" --help 2>&1 | grep -q -e '--user'; then
      fill 0644 "$here/systemd/$name-user.conf" "$dir/user/systemd-$name.service.d/50-berth.conf"
    fi
  done
}

# has_stock NAME: systemd's own unit is there.
has_stock() {
  case ${STOCK:-} in
    yes) ;;
    no) false ;;
    '') others "/usr/lib/systemd/system/systemd-$1.service" || others "/lib/systemd/system/systemd-$1.service" ;;
    *) die "STOCK must be yes, no or empty, not '$STOCK'" ;;
  esac
}

# install_unit NAME DIR puts service and socket, the name that the bus knows the
# service by, the socket at boot, and whatever these refer to.
install_unit() {
  local name
  fill 0644 "$here/systemd/systemd-$1.service" "$2/systemd-$1.service"
  put 0644 "$here/systemd/systemd-$1.socket" "$2/systemd-$1.socket"
  link "systemd-$1.service" "$2/dbus-org.freedesktop.${1%d}1.service"
  link "../systemd-$1.socket" "$2/sockets.target.wants/systemd-$1.socket"
  for name in machine.slice machines.target; do
    others "/usr/lib/systemd/system/$name" || put 0644 "$here/systemd/$name" "$2/$name"
  done
}

# install_service NAME puts the service of an init system that is not systemd.
install_service() {
  local sv=/etc/sv
  case $init in
    openrc | sysvinit) fill 0755 "$here/$init/berth-$1" "/etc/init.d/berth-$1" ;;
    runit)
      has /etc/sv || sv=/etc/runit/sv
      fill 0755 "$here/runit/berth-$1" "$sv/berth-$1/run"
      put 0755 "$here/runit/log" "$sv/berth-$1/log/run"
      ;;
  esac
}

# install_bus NAME puts what the message bus and polkit have to know about
# machine1 or import1. Policies of systemd stay as they are.
install_bus() {
  local file=org.freedesktop.$1 policies=/etc/dbus-1/system.d kind=plain start
  [[ $PREFIX != /usr ]] || policies=/usr/share/dbus-1/system.d
  # The bus has the init system start a service, where that can, lest there be
  # a daemon that it does not know of.
  case $init in
    systemd) kind=systemd ;;
    openrc | sysvinit) start="/etc/init.d/berth-${1%1}d start" ;;
    *) start=$libexec/${1%1}d ;;
  esac
  if ! others "/usr/share/dbus-1/system.d/$file.conf"; then
    put 0644 "$here/dbus/$file.conf" "$policies/$file.conf"
  elif [[ $1 == import1 ]]; then
    # It has to be read after the stock one, and so is in /etc.
    put 0644 "$here/dbus/berth-import1.conf" "/etc/dbus-1/system.d/berth-import1.conf"
  fi
  # On a host without systemd the stock file starts /bin/false. The bus looks
  # into /usr/local first, wherever PREFIX is.
  if [[ $kind == plain ]] || ! others "/usr/share/dbus-1/system-services/$file.service"; then
    fill 0644 "$here/dbus/$file.$kind.service" "/usr/local/share/dbus-1/system-services/$file.service"
  fi
  # Not all releases of polkit look elsewhere.
  others "/usr/share/polkit-1/actions/$file.policy" ||
    put 0644 "$here/polkit/$file.policy" "/usr/share/polkit-1/actions/$file.policy"
}

# finish removes what an earlier installation put and this one did not, and
# leaves a manifest without repetitions.
finish() {
  local path
  while read -r path; do
    grep -qxF -e "file $path" -e "link $path" "$work/new" || rm -f "$DESTDIR$path"
  done < <(entries file link)
  { grep '^dir ' "$DESTDIR$manifest" || true; grep -v '^dir ' "$work/new"; } | awk '!seen[$0]++' >"$work/final"
  install -m 0644 "$work/final" "$DESTDIR$manifest.berth-new"
  mv -f "$DESTDIR$manifest.berth-new" "$DESTDIR$manifest"
}

# go_live makes the running system use what it got; what did not run is not
# started, but for sockets of our own.
go_live() {
  local name sockets
  reload_bus
  if booted_systemd && [[ $init == systemd ]]; then
    restart_units
    mapfile -t sockets < <(our_units 'systemd-[a-z]*\.socket')
    # A service that already runs without its socket keeps the place of that.
    [[ ${#sockets[@]} -eq 0 ]] || systemctl start "${sockets[@]}" ||
      echo "$action: a socket did not start; it does at the next boot" >&2
    return
  fi
  for name in "${services[@]}"; do
    case $init in
      openrc) rc-service --ifstarted "$name" restart ;;
      sysvinit) ! "/etc/init.d/$name" status >/dev/null 2>&1 || "/etc/init.d/$name" restart ;;
      runit) ! sv check "$name" >/dev/null 2>&1 || sv restart "$name" ;;
    esac
  done
}

tell() {
  echo "installed below $DESTDIR$PREFIX; 'make uninstall' with the same variables takes it back"
  case $init in
    openrc) echo "at boot: rc-update add berth-machined; rc-update add berth-importd" ;;
    sysvinit) echo "at boot: update-rc.d berth-machined defaults; update-rc.d berth-importd defaults" ;;
    runit) echo "to start them: link berth-machined and berth-importd into the directory that runsvdir watches" ;;
    none) echo "no init system was recognised: $libexec/machined and $libexec/importd are yours to start" ;;
  esac
}

check_variables
for program in machined importd machinectl importctl; do
  [[ -x $BIN/$program ]] || die "there is no $BIN/$program: run 'make' first"
done
init=${INIT:-$(find_init)}
case $init in
  systemd | openrc | runit | sysvinit | none) ;;
  *) die "INIT must be systemd, openrc, runit, sysvinit or none, not '$init'" ;;
esac
make_dir "${manifest%/*}"
[[ ! -f $work/new ]] || cat "$work/new" >>"$DESTDIR$manifest"
[[ -f $DESTDIR$manifest ]] || : >"$DESTDIR$manifest"
install_daemons
install_tools
if [[ $init == systemd ]]; then
  install_systemd
else
  install_service machined
  install_service importd
fi
install_bus machine1
install_bus import1
finish
! live || go_live
tell
