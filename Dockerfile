# The operator and nothing else: `docker build -t stanch:0.1.0 .`
# For several architectures: `docker buildx build --platform=linux/amd64,linux/arm64 …`; the lock has wheels for both.
# The same bytes again: name the base by its digest, --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…, and the time,
# --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct), with --output=…,rewrite-timestamp=true.
# tests/integration/test_image.py does what the build stage does, and runs what comes of it.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements-runtime.lock ./
RUN pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes --only-binary=:all: \
    --target=/opt/stanch -r requirements-runtime.lock
COPY operator/stanch /opt/stanch/stanch
# Compiled here, since the file system is read-only where it runs; by content, since times differ from build to build.
RUN rm -rf /opt/stanch/bin && python -m compileall -q --invalidation-mode=unchecked-hash /opt/stanch

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Stanch" \
      org.opencontainers.image.description="Contains AI incidents on Kubernetes" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/stanch /opt/stanch
# A home, since whoever it runs as need not be in /etc/passwd.
ENV HOME=/ PYTHONPATH=/opt/stanch PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Numeric, so that runAsNonRoot can be checked before the container starts.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "stanch"]
CMD ["run"]
