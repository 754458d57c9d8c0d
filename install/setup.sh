#!/usr/bin/env bash
# Installs rlpt and everything it needs, from the lock files: `make setup`, and in images one part after the other.
#
#   install/setup.sh [system] [packages] [code] [check]     all of them if none is named
#
#   PYTHON=python3.12   the interpreter to use      (default: python3.11, python3.12 or python3, the first that fits)
#   VENV=.venv          where to install
#   TORCH=cpu|cuda      which build of PyTorch      (default: cuda beside an NVIDIA GPU, else cpu if the index has it)
#   DEV=yes|no          what only development needs (default: yes)
#   RENDER=yes|no       whether this machine is to render; a login node that only submits need not (default: yes)
set -euo pipefail
cd "$(dirname "$0")/.."
# pip would take what a cluster's module puts there for installed, without a look at hashes, and a site may prefer --user.
unset PYTHONPATH PYTHONHOME
export PIP_USER=0

fail() { echo "setup: $*" >&2; exit 1; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "needs Python 3.11 or 3.12 with venv. On Debian 12 and Ubuntu 24.04: apt-get install python3 python3-venv.
  Elsewhere install one of them (for example: uv python install 3.12) and name it: make setup PYTHON=/path/to/python3.12"
}

# OpenGL through EGL, with Mesa's software renderer where there is no GPU. All three libraries are loaded by name.
have_opengl() {
  local known
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
  [[ $known == *libEGL.so.1* && $known == *libOpenGL.so.0* ]] || return 1
  [[ -e /dev/nvidiactl ]] || compgen -G '/usr/lib/*/dri/swrast_dri.so' >/dev/null || [[ $known == *libgallium* ]]
}

system() {
  have_opengl && return
  local packages="libegl1 libopengl0 libgl1-mesa-dri" as_root=""
  [[ $(id -u) -eq 0 ]] || as_root="sudo -n"
  if command -v apt-get >/dev/null && { [[ -z $as_root ]] || sudo -n true 2>/dev/null; }; then
    echo "setup: installing $packages"
    $as_root apt-get update -q >/dev/null
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $packages >/dev/null
  else
    fail "rendering needs OpenGL libraries. Run this once, then again make setup:
  sudo apt-get install $packages"
  fi
}

install_torch() {
  local wanted=${TORCH:-}
  [[ -n $wanted ]] || { [[ -e /dev/nvidiactl ]] && wanted=cuda || wanted=cpu; }
  if [[ $wanted == cpu ]]; then
    local complaint
    complaint=$("${pip[@]}" -r install/torch-cpu.lock 2>&1) && return
    echo "setup: no CPU build of PyTorch (the lock file knows that for Python 3.11 on x86_64, where the package index offers" \
      "it): ${complaint##*$'\n'}; taking the standard one (3 GB)"
  fi
  # For pip the CPU build is as good as any of its version.
  local installed again=""
  installed=$("$VENV/bin/python" -m pip show torch 2>/dev/null || true)
  [[ $wanted == cuda && $installed == *+cpu* ]] && again=--force-reinstall
  "${pip[@]}" $again -r install/torch-cuda.lock
}

packages() {
  local python
  python=$(find_python)
  local version='import sys; print(*sys.version_info[:2], sep=".")'
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
    [[ -n ${PYTHON:-} && $("$VENV/bin/python" -c "$version") != $("$python" -c "$version") ]]; then
    "$python" -m venv --clear "$VENV"
  fi
  local pip=("$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes)
  # First what builds packages that come as source alone; no build asks the index for anything more.
  "${pip[@]}" -r <(awk '/^[^ ]/ { keep = /^setuptools==/ } keep' install/requirements.lock)
  pip+=(--no-build-isolation --use-pep517)
  install_torch
  "${pip[@]}" -r install/requirements.lock
  [[ ${DEV:=yes} == no ]] || "${pip[@]}" -r install/dev.lock
}

code() {
  "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
}

check() {
  "$VENV/bin/python" -m rlpt doctor
}

: "${VENV:=.venv}"
if [[ $# -eq 0 ]]; then
  [[ ${RENDER:=yes} == no ]] && set -- packages code || set -- system packages code check
fi
for part in "$@"; do
  case $part in
    system | packages | code | check) "$part" ;;
    *) fail "no part '$part'; there are: system packages code check" ;;
  esac
done
