# One image for every process: `tradewind serve customer`, `tradewind migrate customer`, …
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/build.lock deploy/requirements.lock deploy/
RUN python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r deploy/build.lock \
 && python -m venv --without-pip /opt/tradewind \
 && /build/bin/pip --python /opt/tradewind/bin/python install --no-cache-dir --require-hashes -r deploy/requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY proto proto
COPY chassis chassis
COPY services services
COPY gateway gateway
COPY stack stack
RUN /build/bin/python -m hatchling build -t wheel \
 && /build/bin/pip --python /opt/tradewind/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Tradewind" \
      org.opencontainers.image.description="A sales platform from first contact to cash" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed into a running image: its installer goes.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /opt/tradewind /opt/tradewind
# Bytecode is there already, and the root may be read-only.
ENV PATH=/opt/tradewind/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/tradewind
USER 65532:65532
EXPOSE 8080 9000 9090 9100
STOPSIGNAL SIGTERM
# No HEALTHCHECK: which door to ask depends on the process. Kubernetes asks by gRPC and HTTP itself; compose.yaml
# says `tradewind health …` for each.
ENTRYPOINT ["tradewind"]
