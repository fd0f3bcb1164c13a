# The first stage contains the build tools. The others are images and contain only what runs:
# `enroll` is that of the init container of Ray pods, and the last one is that of the server.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
WORKDIR /src
# pip installs only files whose hashes are in the lock files. The environment that runs gets no pip
# (--without-pip), because RayWarden does not need it and an attacker could use it.
COPY build.lock requirements.lock ./
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r build.lock \
    && python -m venv --without-pip /opt/raywarden \
    && /build/bin/pip --python /opt/raywarden install --no-cache-dir --no-compile --require-hashes -r requirements.lock
# What is never used: the typed models and APIs of the Kubernetes client, its synchronous half with
# all the libraries that only this half needs, the extensions of CEL that RayWarden does not offer,
# the languages that Pygments colors, the build half of cffi, Pydantic's first version (FastAPI looks
# for it, and does without), tests, sources of compiled modules, pip's lists of installed files, and
# a build folder that the CEL package contains by mistake.
RUN find /opt/raywarden/lib -depth \( \
        -path '*/kubernetes/*client/api/*' -o -path '*/kubernetes/*client/models/[!_]*' \
        -o -path '*/site-packages/kubernetes/[!_a]*' -o -path '*/kubernetes/aio/[!_cu]*' \
        -o -path '*/site-packages/certifi*' -o -path '*/site-packages/charset_normalizer*' \
        -o -path '*/site-packages/durationpy*' -o -path '*/site-packages/oauthlib*' \
        -o -path '*/site-packages/requests*' -o -path '*/site-packages/urllib3*' \
        -o -path '*/site-packages/websocket*' \
        -o -name 'ext_bindings.*' -o -name 'ext_encoders.*' -o -name 'ext_math.*' -o -name 'ext_proto.*' \
        -o -path '*/pygments/lexers/[!_]*' -o -path '*/pygments/lexers/_*_builtins.py' \
        -o -path '*/site-packages/cffi/*' -o -path '*/site-packages/pycparser/*' \
        -o -path '*/pydantic/v1*' -o -path '*/kubernetes/*_test.py' \
        -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -path '*.dist-info/RECORD' \
        -o -path '*/site-packages/bazel-project*' \) -delete
COPY LICENSE README.md pyproject.toml ./
COPY certs certs
COPY policies policies
COPY webhook webhook
# --no-index: the wheel is installed without the network.
# --invalidation-mode unchecked-hash: copying files may change their times. Bytecode that is checked
# by time would then be compiled at every start, because the container cannot write it.
RUN /build/bin/python -m hatchling build -t wheel \
    && /build/bin/pip --python /opt/raywarden install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
    && /opt/raywarden/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/raywarden/lib
COPY deploy/image deploy/image
RUN python deploy/image/enroll_root.py /opt/raywarden /enroll

FROM scratch AS enroll
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="RayWarden enroll" \
      org.opencontainers.image.description="Obtains the certificate of a Ray pod" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /enroll /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["raywarden"]
CMD ["enroll"]

FROM python:${PYTHON}-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="RayWarden" \
      org.opencontainers.image.description="Makes Ray on Kubernetes secure by default" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/raywarden /opt/raywarden
ENV PATH=/opt/raywarden/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, because the kubelet can verify runAsNonRoot only for numeric users.
USER 65532:65532
EXPOSE 8443 8444 8080
ENTRYPOINT ["raywarden"]
CMD ["serve"]
