# shellcheck shell=bash
# What install.sh and uninstall.sh both know: where things are, and how to tell
# a running system about a change. To be sourced after "action" is set.
#
#   DESTDIR   root of the tree that is installed into; empty: this system
#   PREFIX    /usr/local unless it is given

DESTDIR=${DESTDIR:-}
DESTDIR=${DESTDIR%/}
PREFIX=${PREFIX:-/usr/local}

# Every directory, file and link that install made, one a line.
manifest=$PREFIX/share/berth/manifest

# On a systemd host, and on the others.
# shellcheck disable=SC2034 # for those that source this
units=(systemd-machined.service systemd-importd.service)
# shellcheck disable=SC2034
services=(berth-machined berth-importd)

die() {
  echo "${action:?}: $*" >&2
  exit 1
}

check_variables() {
  [[ $PREFIX =~ ^(/[A-Za-z0-9._+-]+)+$ ]] || die "PREFIX must be an absolute path of plain characters, not '$PREFIX'"
  [[ -z $DESTDIR || -d $DESTDIR ]] || die "there is no directory '$DESTDIR' to work in"
  [[ -n $DESTDIR || $(id -u) -eq 0 ]] || die "changing this system needs root; DESTDIR=DIR works in a directory"
}

live() { [[ -z $DESTDIR ]]; }
booted_systemd() { live && [[ -d /run/systemd/system ]]; }

# has PATH: the tree has such a file, or a link, wherever that leads.
has() { [[ -e $DESTDIR$1 || -L $DESTDIR$1 ]]; }

# entries KIND…: the paths of these kinds in the manifest.
entries() {
  local kind
  for kind; do sed -n "s|^$kind /|/|p" "$DESTDIR$manifest"; done
}

# listed PATH: install put that file or link there.
listed() { [[ -f $DESTDIR$manifest ]] && grep -qxF -e "file $1" -e "link $1" "$DESTDIR$manifest"; }

# our_units: those on the manifest whose names match a pattern. Drop-ins are
# none: beneath them are units of systemd.
our_units() { entries file link | sed -n "s|.*/systemd/system/\($1\)\$|\1|p"; }

# reload_bus makes a running message bus read its policies anew. It watches its
# directories, but not those that did not exist when it started.
reload_bus() {
  live && [[ -S /run/dbus/system_bus_socket ]] || return 0
  if command -v busctl >/dev/null; then
    busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig >/dev/null
  elif command -v dbus-send >/dev/null; then
    dbus-send --system --print-reply --dest=org.freedesktop.DBus /org/freedesktop/DBus \
      org.freedesktop.DBus.ReloadConfig >/dev/null
  fi || echo "${action:?}: the message bus did not reload its policies; it reads them when it starts" >&2
}

# restart_units makes the service manager read its files anew and brings in what
# they say for the services that run.
restart_units() {
  local unit
  systemctl daemon-reload
  for unit in "${units[@]}"; do
    [[ $(systemctl show --property=LoadState --value "$unit") != loaded ]] || systemctl try-restart "$unit"
  done
}
