#!/usr/bin/env bash
# One part of a container image, from the system to the code: what Dockerfile and Apptainer.def have in common.
#
#   install/image.sh system|packages|code
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive DEV=no VENV=/opt/venv PIP_NO_CACHE_DIR=1
# The same bytes every time. With any fixed date compiled Python files name their source by its hash, not by the time of
# its installation; what Python compiles merely because it was imported would not.
export SOURCE_DATE_EPOCH=315532800 PYTHONDONTWRITEBYTECODE=1
setup=$(dirname "$0")/setup.sh
umask 022 # the builder's own is no part of an image

case $1 in
  system)
    apt-get update -q
    apt-get install -y -q --no-install-recommends ca-certificates python3 python3-venv
    "$setup" system
    # Tells OpenGL's dispatcher of the driver's EGL library, which the container runtime brings in beside a GPU. Mesa's
    # own file comes after it.
    mkdir -p /usr/share/glvnd/egl_vendor.d /runs /data
    echo '{"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nvidia.so.0"}}' \
      >/usr/share/glvnd/egl_vendor.d/10_nvidia.json
    ln -s /opt/rlpt/experiments /experiments
    # The distribution's images have a user 1000 of their own, or none.
    getent passwd 1000 >/dev/null && userdel "$(getent passwd 1000 | cut -d: -f1)"
    useradd --uid 1000 --no-create-home --home-dir /runs --shell /usr/sbin/nologin rlpt
    chown rlpt:rlpt /runs /data
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
    ;;
  packages)
    "$setup" packages
    ;;
  code)
    "$setup" code
    # What Python compiled in the checkout names its source by time.
    find /opt/rlpt -name __pycache__ -prune -exec rm -rf {} +
    /opt/venv/bin/python -m compileall -q /opt/rlpt/rlpt
    rm -rf /opt/rlpt/build
    # Files come with the modes of the checkout, which the image's user may be unable to read.
    chmod -R u=rwX,go=rX /opt/rlpt
    ;;
  *)
    echo "image: no part '$1'; there are: system packages code" >&2
    exit 2
    ;;
esac
