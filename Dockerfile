# The operator and nothing else: `docker build -t stanch:0.1.0 .`
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/stanch
COPY requirements-runtime.lock ./
RUN /opt/stanch/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements-runtime.lock
COPY operator/stanch /build/stanch
# Compiled here: the file system is read-only where it runs.
RUN cp -r /build/stanch /opt/stanch/lib/python3.11/site-packages/stanch \
 && /opt/stanch/bin/python -m compileall -q /opt/stanch/lib/python3.11/site-packages \
 && /opt/stanch/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11-slim-bookworm
COPY --from=build /opt/stanch /opt/stanch
ENV PATH=/opt/stanch/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Numeric, so that runAsNonRoot can be checked before the container starts.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "stanch"]
CMD ["run"]
