# Two stages: the first may hold whatever it takes to build, the second has only what runs.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
WORKDIR /src
# Only hashes the lock files name are installed. What runs needs no installer: pip fills that environment from outside.
COPY build.lock requirements.lock ./
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r build.lock \
    && python -m venv --without-pip /opt/raywarden \
    && /build/bin/pip --python /opt/raywarden install --no-cache-dir --no-compile --require-hashes -r requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY certs certs
COPY policies policies
COPY webhook webhook
# The wheel is built without the network. Bytecode does not go by the times of files, which a copy may change: it would be
# made anew at every start, and could not be written.
RUN /build/bin/python -m hatchling build -t wheel \
    && /build/bin/pip --python /opt/raywarden install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
    && /opt/raywarden/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/raywarden/lib

FROM python:${PYTHON}-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="RayWarden" \
      org.opencontainers.image.description="Makes Ray on Kubernetes secure by default" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/raywarden /opt/raywarden
ENV PATH=/opt/raywarden/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Numeric, so that runAsNonRoot can be checked without the image's user database.
USER 65532:65532
EXPOSE 8443 8444 8080
ENTRYPOINT ["raywarden"]
CMD ["serve"]
