# The operator and nothing else. `make image` builds it with the engine that is there; docs/how-to/image.md has the rest:
# several architectures, bases named by digest, the same bytes again, a package index of one's own.
# tests/integration/test_image.py does what the build stage does without an engine, test_image_built.py with one.
# Both bases have the same Debian and the same Python: what is compiled in one is loaded in the other.
ARG BUILD=docker.io/library/python:3.13-slim-trixie
ARG RUNTIME=gcr.io/distroless/python3-debian13:nonroot

FROM --platform=${BUILDPLATFORM} ${BUILD} AS build
# Wheels are chosen, not built, so those of another architecture are installed without emulating it.
ARG TARGETARCH
WORKDIR /build
COPY requirements-runtime.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/etc/pip-ca.crt \
    case "${TARGETARCH}" in \
      amd64) machine=x86_64 ;; \
      arm64) machine=aarch64 ;; \
      *) echo "no wheels are known for the architecture '${TARGETARCH}': amd64 and arm64 can be built" >&2; exit 1 ;; \
    esac && \
    platforms="" && for minor in $(seq 5 41); do platforms="$platforms --platform=manylinux_2_${minor}_${machine}"; done && \
    python3 -m pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes --only-binary=:all: \
      --target=/opt/stanch $platforms --platform=manylinux2014_${machine} -r requirements-runtime.lock
COPY operator/stanch /opt/stanch/stanch
# Compiled here, since the file system is read-only where it runs; by content, since times differ from build to build, as
# do modes from checkout to checkout.
RUN rm -rf /opt/stanch/bin && chmod -R u=rwX,go=rX /opt/stanch && \
    PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode=unchecked-hash /opt/stanch

# Told, since older podman and buildah go on with the platform of the stage before.
FROM --platform=${TARGETPLATFORM} ${RUNTIME}
ARG RUNTIME
LABEL org.opencontainers.image.title="Stanch" \
      org.opencontainers.image.description="Contains AI incidents on Kubernetes" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${RUNTIME}"
COPY --from=build /opt/stanch /opt/stanch
# A home, and a place to start in, since whoever it runs as need not be in /etc/passwd.
ENV HOME=/ PYTHONPATH=/opt/stanch PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
# Numeric, so that runAsNonRoot can be checked before the container starts.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python3", "-m", "stanch"]
CMD ["run"]
