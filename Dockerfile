# One image for every part of Vedette: `vedette bridge`, `vedette worker ...`, `vedette api`, `vedette-edge run ...`.

FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /opt/vedette
COPY requirements/run.txt requirements/run.txt
RUN /opt/venv/bin/pip install --require-hashes --requirement requirements/run.txt
COPY pyproject.toml README.md ./
COPY pipeline pipeline
COPY edge edge
# Editable, so that models and config are found beside the code, as in a clone.
RUN /opt/venv/bin/pip install --no-deps --editable .

FROM python:3.11.13-slim-bookworm
# The user has no home and owns nothing but the data folder.
RUN groupadd --gid 10001 vedette \
 && useradd --uid 10001 --gid vedette --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vedette \
 && install --directory --owner vedette --group vedette --mode 0750 /var/lib/vedette
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/vedette /opt/vedette
COPY models /opt/vedette/models
COPY config /opt/vedette/config
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VEDETTE_DATA_DIR=/var/lib/vedette
USER vedette
WORKDIR /var/lib/vedette
CMD ["vedette", "--help"]
