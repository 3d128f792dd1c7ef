# The gateway without models: docker build -t onnx-gateway . ; gateway/deploy/README.md says how it is run.
# PYTHON is the version that CI tests with; every other from 3.11 on works.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
# The packages first: they change seldom, and a change of the code alone leaves this layer as it is.
COPY requirements.lock .ci/build.lock ./
RUN python -m venv /build \
    && /build/bin/pip install --require-hashes -r build.lock \
    && python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
# --no-index: a package that the wheel declares and requirements.lock lacks fails here. Nothing installs anything later, so pip goes.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/gateway/bin/pip install --no-index /wheel/*.whl \
    && /opt/gateway/bin/pip uninstall --yes setuptools pip

FROM python:${PYTHON}-slim
COPY --from=build /opt/gateway /opt/gateway
# Findings about models are kept below XDG_CACHE_HOME where that can be written, and in memory where it cannot: the root may be read-only.
ENV PATH=/opt/gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 XDG_CACHE_HOME=/cache
RUN install --directory --owner 10001 --group 10001 /cache /models
# A number, not a name: Kubernetes can then see that it is not root.
USER 10001:10001
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
# Not healthy while it starts, nor from SIGTERM on. Kubernetes does not look at it, and asks by gRPC itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 CMD ["gateway", "health"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--models", "/models", "--host", "0.0.0.0"]
