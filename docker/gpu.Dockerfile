# Everything, with torch as the default index has it for this platform: on x86-64 Linux the CUDA build,
# which brings its CUDA libraries along; the host needs the NVIDIA driver and container toolkit only.
#   docker run --gpus all --shm-size 8g -v $PWD/artifacts:/store -v $DATA:/data:ro -v $MODELS:/models:ro \
#     microtome-gpu make finetune-all
ARG BASE=python:3.11-slim
FROM ${BASE}

RUN if ! command -v make >/dev/null; then \
      apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*; \
    fi
ENV VENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv $VENV && pip install --quiet --upgrade pip

WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE Makefile ./
RUN pip install --quiet -c constraints.txt $(grep '^torch==' constraints.txt)
COPY store store
COPY analysis analysis
COPY jobs jobs
COPY src src
RUN pip install --quiet -c constraints.txt '.[models]' && touch $VENV/.installed

ENV MICROTOME_STORE=/store MICROTOME_DATA=/data MICROTOME_MODELS=/models REPORT=/store/report
RUN useradd --create-home microtome && mkdir -p /store /data /models && chown microtome /store
USER microtome
ENV HOME=/home/microtome
VOLUME ["/store", "/data", "/models"]
CMD ["microtome", "--help"]
