# Two stages: the first has compilers' and builders' leave to do what they like, the second has only what runs.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
WORKDIR /src
# Only hashes the lock files name are installed; the wheel itself is built without the network.
COPY tests/requirements.lock build.lock
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes -r build.lock
COPY requirements.lock .
RUN python -m venv /opt/raywarden && /opt/raywarden/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY certs certs
COPY policies policies
COPY webhook webhook
RUN /build/bin/python -m hatchling build -t wheel \
    && /opt/raywarden/bin/pip install --no-cache-dir --no-deps --no-index dist/*.whl \
    && /opt/raywarden/bin/python -m compileall -q /opt/raywarden/lib

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="RayWarden" \
      org.opencontainers.image.description="Makes Ray on Kubernetes secure by default" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/raywarden /opt/raywarden
ENV PATH=/opt/raywarden/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Numeric, so that runAsNonRoot can be checked without the image's user database.
USER 65532:65532
EXPOSE 8443 8444 8080
ENTRYPOINT ["raywarden"]
CMD ["serve"]
