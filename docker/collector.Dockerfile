# docker build -f docker/collector.Dockerfile -t fleetmeter-collector .
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json .tsconfig.build.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY collector collector
COPY aggregator aggregator
COPY proto proto
RUN npm run build && npm prune --ignore-scripts --omit=dev --omit=optional && install -d /data

# Node and nothing else: no shell, no package manager; user 65532.
FROM gcr.io/distroless/nodejs22-debian12:nonroot
ENV NODE_ENV=production \
    FLEETMETER_DATA_DIR=/data \
    FLEETMETER_COLLECTOR_LISTEN=0.0.0.0:8742
# nvidia-smi and its libraries come from the host, by the NVIDIA container runtime, when the container asks for them.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=utility
WORKDIR /app
COPY --from=build --chown=65532:65532 /data /data
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
VOLUME /data
EXPOSE 8742
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/nodejs/bin/node", "-e", "fetch('http://127.0.0.1:8742/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["--single-threaded-gc", "--max-semi-space-size=4", "--heap-growing-percent=50", "dist/collector/main.js"]
