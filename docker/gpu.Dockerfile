# Everything, with torch as the default index has it for this platform: on x86-64 Linux the CUDA build, which
# brings its CUDA libraries along; the host needs the NVIDIA driver and its container toolkit only.
#   make image-gpu        commands for every kind of machine: docker/README.md
# Pin the base by its digest: docker build --build-arg BASE=python:3.11-slim@sha256:<digest> ...
ARG BASE=python:3.11-slim
FROM ${BASE}

RUN if ! command -v make >/dev/null; then \
      apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*; \
    fi
ENV VENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv $VENV && pip install --quiet --upgrade pip

# What rarely changes comes first: torch, then the other packages, then the code.
WORKDIR /app
COPY constraints.txt ./
RUN pip install --quiet -c constraints.txt $(grep '^torch==' constraints.txt)
COPY pyproject.toml docker/requirements.py ./
RUN python3 requirements.py models cluster > requirements.txt && \
    pip install --quiet -c constraints.txt -r requirements.txt
COPY README.md LICENSE Makefile docker/welcome.txt ./
COPY store store
COPY analysis analysis
COPY jobs jobs
COPY src src
RUN pip install --quiet --no-deps . && touch $VENV/.installed

# Any uid may run this (docker run --user, Kubernetes, OpenShift): it has a home, a name, and folders to write to.
RUN for folder in /store /data /models /scratch /hub /home/microtome; do \
      mkdir -p $folder && chmod 1777 $folder; \
    done
ENV HOME=/home/microtome USER=microtome LOGNAME=microtome \
    MICROTOME_STORE=/store MICROTOME_DATA=/data MICROTOME_MODELS=/models REPORT=/store/report \
    MICROTOME_SCRATCH=/scratch TMPDIR=/scratch HF_HOME=/hub
VOLUME ["/store", "/data", "/models", "/scratch", "/hub"]

# The git commit goes into the manifest of everything that is made. Last, as it changes with every build.
ARG COMMIT=
ENV MICROTOME_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="microtome" \
      org.opencontainers.image.description="fine-tuning, extraction and analysis, with CUDA" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
USER 1000:1000
CMD ["cat", "/app/welcome.txt"]
