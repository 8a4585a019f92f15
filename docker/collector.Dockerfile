# docker build -f docker/collector.Dockerfile -t fleetmeter-collector .
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json .tsconfig.build.json ./
RUN npm ci --ignore-scripts
COPY collector collector
COPY aggregator aggregator
COPY proto proto
RUN npm run build && npm ci --ignore-scripts --omit=dev --omit=optional

FROM node:22-bookworm-slim
ENV NODE_ENV=production \
    FLEETMETER_DATA_DIR=/data \
    FLEETMETER_COLLECTOR_LISTEN=0.0.0.0:8742
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
RUN install -d -o node -g node /data
USER node
VOLUME /data
EXPOSE 8742
HEALTHCHECK --interval=10s --timeout=3s CMD ["node", "-e", "fetch('http://127.0.0.1:8742/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "--single-threaded-gc", "--max-semi-space-size=4", "dist/collector/main.js"]
