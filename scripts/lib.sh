# shellcheck shell=bash
# Sourced by the other scripts: makes an environment out of a bare machine with Python.
#
# prepare VENV LOCK [MAX_PYTHON MAX_JAVA] builds VENV from LOCK where it is missing or stale, finds
# (or, as root with apt, installs) what the system lacks, and exports what Spark needs to know.
# Exit 3 means that something has to be installed by hand; one line says what.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Standard output belongs to the command that is run at the end; it may be a JSON document.
say() { echo "$*" >&2; }
die() {
  say "$*"
  exit 3
}

prepare() {
  # No wheels in the locks for Python 3.15 and later; Java of any later version.
  local venv=$1 lock=$2 max_python=${3:-14} max_java=${4:-999}
  {
    wait_for_other_scripts 9
    # Java first: what is missing should show before minutes of installing.
    ensure_java "$max_java"
    ensure_libgomp
    ensure_venv "$venv" "$lock" "$max_python"
  } 9>"$root/.setup.lock"
  export_spark_settings "$venv"
}

# Two scripts started at once (demo and test) must not build one environment together.
wait_for_other_scripts() {
  command -v flock >/dev/null || return 0
  flock -n "$1" && return
  say "Waiting for another script's set-up ..."
  flock "$1"
}

# ---- the virtual environment -------------------------------------------------------------------

ensure_venv() {
  local venv=$1 lock=$2 max_python=$3
  local build=$root/requirements/build.txt pins project
  pins="$root $(cat "$build" "$lock" | cksum)"
  project=$(cksum <"$root/pyproject.toml")
  # The stamps are written last, so an interrupted install counts as none.
  if ! stamped "$venv/.pins" "$pins" || ! "$venv/bin/python" -c '' 2>/dev/null; then
    create_venv "$venv" "$max_python"
    say "Installing the pinned dependencies into $(basename "$venv"), once: 0.8 GB to fetch, 1.4 GB on disk;" \
      "two to five minutes without a word, longer on a slow network ..."
    # pyspark comes as an sdist. Built in isolation, pip would fetch an unpinned setuptools.
    # pip and not uv: 35 s slower, but it alone follows the machine's pip configuration.
    # Compiling everything costs 25 s; Python compiles what it imports anyway (see below).
    install "$venv" --require-hashes --no-deps -r "$build"
    install "$venv" --require-hashes --no-deps --no-build-isolation -r "$lock"
    echo "$pins" >"$venv/.pins"
  fi
  if ! stamped "$venv/.project" "$project"; then
    install "$venv" --no-deps --no-build-isolation --editable "$root"
    echo "$project" >"$venv/.project"
  fi
}

stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

# Build tools warn about what a user can't change.
install() {
  local venv=$1
  shift
  PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install \
    --quiet --disable-pip-version-check --no-compile "$@" >&2
}

create_venv() {
  local venv=$1 max_python=$2 python
  python=$(find_python "$max_python")
  ensure_ensurepip "$python"
  rm -rf "$venv"
  "$python" -m venv "$venv"
}

find_python() {
  local max=$1 name
  for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
    if python_fits "$name" "$max"; then
      echo "$name"
      return
    fi
  done
  die "Python 3.11 to 3.$max is needed and was not found: install it, or name it with PYTHON=/path/to/python3."
}

python_fits() {
  "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null
}

# Debian keeps ensurepip, without which venv can't work, in a package of its own.
ensure_ensurepip() {
  local python=$1 version
  has_ensurepip "$python" && return
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  apt_install "python$version-venv" || true
  has_ensurepip "$python" && return
  die "Python's venv module is incomplete: install python$version-venv (Debian, Ubuntu: apt-get install python3-venv), then run this again."
}

has_ensurepip() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# ---- Java --------------------------------------------------------------------------------------

# Sets JAVA_HOME to a Java from 17 to the newest that will do: the user's own choice first.
ensure_java() {
  local max=$1 version
  find_java "$max" && return
  for version in 17 21 25; do
    [ "$version" -le "$max" ] || break
    apt_install "openjdk-$version-jre-headless" && find_java "$max" && return
  done
  die "Java 17 or 21 is needed and was not found: install it (Debian, Ubuntu: apt-get install openjdk-17-jre-headless, or openjdk-21-jre-headless), or set JAVA_HOME."
}

find_java() {
  local max=$1 home
  for home in "${JAVA_HOME:-}" "$(home_of_java_on_path)" $(sort_by_version /usr/lib/jvm/*/bin/java); do
    if java_fits "$home" "$max"; then
      export JAVA_HOME=$home
      return
    fi
  done
  return 1
}

home_of_java_on_path() {
  local java
  java=$(command -v java) || return 0
  dirname "$(dirname "$(readlink -f "$java")")"
}

# The oldest first: Spark is tested most with those.
sort_by_version() {
  local java
  for java in "$@"; do
    [ -x "$java" ] && echo "$(java_version "$java") $(dirname "$(dirname "$java")")"
  done | sort -n | cut -d ' ' -f 2
}

java_fits() {
  local home=$1 max=$2 version
  # /bin/java is there, too, where it is no one's home.
  [ -n "$home" ] && [ -x "$home/bin/java" ] || return 1
  version=$(java_version "$home/bin/java")
  [ "${version:-0}" -ge 17 ] && [ "$version" -le "$max" ]
}

# 17 for 'openjdk version "17.0.15"', 1 for Java 8's "1.8.0".
java_version() { "$1" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

# ---- libraries of the system -------------------------------------------------------------------

# OpenMP's library, which LightGBM's wheel expects of the system and a bare Debian lacks.
ensure_libgomp() {
  has_libgomp || { apt_install libgomp1 && has_libgomp; } ||
    say "libgomp.so.1 is missing: LightGBM can't be used without it (Debian, Ubuntu: apt-get install libgomp1)."
}

has_libgomp() { [ -n "$(find_libgomp)" ]; }

# Without ldconfig (musl, nix) nothing is found; what is said then does not stop anybody.
find_libgomp() { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -o 'libgomp\.so\.1' | head -n 1 || true; }

# ---- the system --------------------------------------------------------------------------------

apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  # A fresh image has no package lists, an old one has stale ones.
  [ "${apt_updated:-}" ] || say "Fetching the lists of packages (apt-get update; up to a minute) ..."
  [ "${apt_updated:-}" ] || quietly apt-get update || true
  apt_updated=yes
  apt-get install --simulate "$@" >/dev/null 2>&1 || return 1
  say "Installing $* with apt-get: $(size_of "$@"); a minute or so ..."
  quietly apt-get install -y --no-install-recommends "$@"
}

# What apt-get says of it: "0 B/43.2 MB of archives, 190 MB of additional disk space".
size_of() {
  LC_ALL=C apt-get install --no-install-recommends --assume-no "$@" 2>/dev/null |
    sed -n -e 's/^Need to get \(.*\) of archives.*/\1 to fetch/p' \
      -e 's/^After this operation, \(.*\) of additional.*/\1 on disk/p' | paste -sd, - | sed 's/,/, /' || true
}

# Without a terminal to ask, and silent unless it fails.
quietly() {
  local log
  log=$(DEBIAN_FRONTEND=noninteractive "$@" -o DPkg::Lock::Timeout=120 </dev/null 2>&1) && return
  say "$(tail -n 3 <<<"$log")"
  return 1
}

export_spark_settings() {
  local venv=$1
  # Another Spark's settings would be taken over by the pinned one.
  unset SPARK_HOME SPARK_CONF_DIR PYSPARK_SUBMIT_ARGS PYSPARK_DRIVER_PYTHON PYTHONPATH PYTHONHOME
  # Where it is set (many container images do), every worker would compile scikit-learn anew: 5 s.
  unset PYTHONDONTWRITEBYTECODE
  # Runs of seconds end before the JVM's second compiler has paid for itself.
  export JDK_JAVA_OPTIONS=${JDK_JAVA_OPTIONS:--XX:TieredStopAtLevel=1 -XX:+UseSerialGC}
  # Executors use whatever python3 is on the PATH unless told.
  export PYSPARK_PYTHON=$venv/bin/python
  # A container's own host name often does not resolve; everything here is on one machine.
  export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
  # Without a locale Java can't open files whose names are not ASCII.
  export LANG=${LANG:-C.UTF-8}
}

# ---- jars of tests -----------------------------------------------------------------------------

jars_of() { "$1/bin/python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__) + "/jars")'; }

# fetch_jars VENV IVY TARGET WHAT [JAVA_OPTION...]: what an Ivy file names, by the Ivy that the Spark
# of an environment brings along, into TARGET, once.
fetch_jars() {
  local jars ivy=$2 target=$3 what=$4 scratch log
  jars=$(jars_of "$1")
  shift 4
  [ ! -d "$target" ] || return 0
  say "Fetching $what ..."
  mkdir -p "$(dirname "$target")"
  scratch=$(mktemp -d "$(dirname "$target")/fetching-XXXXXX")
  # Not by `quietly`, which runs apt and gives its options to whatever it runs.
  if ! log=$("$JAVA_HOME/bin/java" "$@" -cp "$jars/*" org.apache.ivy.Main \
    ${IVY_SETTINGS:+-settings "$IVY_SETTINGS"} -ivy "$ivy" \
    -cache "$scratch/cache" -retrieve "$scratch/jars/[artifact]-[revision].[ext]" 2>&1); then
    say "$(tail -n 3 <<<"$log")"
    rm -r "$scratch"
    return 1
  fi
  mv "$scratch/jars" "$target"
  rm -r "$scratch"
}
