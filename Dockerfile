# One recipe for all images.
#   one service:        docker build --build-arg SERVICE=imap-sync --tag postbus-imap-sync .
#   the whole product:  docker build --target postbus --tag postbus .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN pip install --no-cache-dir "uv>=0.13.9,<0.14"
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/app
WORKDIR /source
COPY pyproject.toml uv.lock README.md LICENSE ./

FROM build AS build-postbus
COPY libs libs
COPY services services
RUN uv sync --frozen --no-dev --no-editable

FROM build AS build-service
ARG SERVICE
# Dependencies first: this layer stays as it is while only our own code changes.
COPY libs/common/pyproject.toml libs/common/
COPY services/${SERVICE}/pyproject.toml services/${SERVICE}/
RUN uv sync --frozen --no-dev --no-install-workspace --package "postbus-${SERVICE}"
COPY libs/common libs/common
COPY services/${SERVICE} services/${SERVICE}
RUN uv sync --frozen --no-dev --no-editable --package "postbus-${SERVICE}"

FROM ${PYTHON} AS base
RUN useradd --system --uid 10001 --no-create-home postbus
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1

FROM base AS postbus
COPY --from=build-postbus /app /app
RUN mkdir /data && chown 10001 /data
ENV EENGINE_DATA_DIR=/data EENGINE_HOST=0.0.0.0
VOLUME /data
EXPOSE 3000
USER 10001
CMD ["postbus", "up"]

FROM base AS service
COPY --from=build-service /app /app
USER 10001
CMD ["serve"]
