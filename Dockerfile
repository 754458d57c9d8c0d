# rlpt with CUDA and EGL: `make image`; then, for example:
#   docker run --rm --gpus all --read-only --user "$(id -u):$(id -g)" -v "$PWD/runs:/runs" -v "$PWD/data:/data" rlpt run experiments/fig08_ik.toml
ARG BASE_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04@sha256:7c7413a56200486f71f181cad9310f6fd31b6bb21816ade15fc9c1e1e927a5c1
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

ENV VENV=/opt/venv \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    MUJOCO_GL=egl \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility

# The system's part, and the packages: layers that a change of the code leaves alone.
COPY install /opt/rlpt/install
RUN /opt/rlpt/install/image.sh system
ARG TORCH=cuda
RUN TORCH=${TORCH} /opt/rlpt/install/image.sh packages

COPY . /opt/rlpt
ARG RLPT_VERSION=unknown
ARG RLPT_COMMIT=
ENV RLPT_COMMIT=${RLPT_COMMIT}
LABEL org.opencontainers.image.title="rlpt" \
      org.opencontainers.image.description="Does pretraining help pixel-based reinforcement learning?" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${RLPT_VERSION}" \
      org.opencontainers.image.revision="${RLPT_COMMIT}"
RUN /opt/rlpt/install/image.sh code

# In / the default folders runs and data, and the path experiments, are those of the image; nothing else is written to.
# Temporary files go to memory, but not while building: packages need more than the 64 MB that containers get of it.
ENV TMPDIR=/dev/shm
WORKDIR /
USER 1000:1000
VOLUME ["/runs", "/data"]
ENTRYPOINT ["rlpt"]
CMD ["--help"]
HEALTHCHECK --interval=5m --timeout=2m --start-period=1m CMD ["rlpt", "doctor"]
