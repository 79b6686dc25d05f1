# syntax=docker/dockerfile:1
# boardhand as one static binary in an image with nothing else: no shell, no package, no user but nobody.
#
#   docker build -t boardhand .

FROM rust:1.95-alpine3.22 AS build
# C for SQLite and for the cryptography of TLS, which are built into the binary. Only needed here, never in the image.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates musl-dev gcc
WORKDIR /src
COPY Cargo.toml Cargo.lock boards.yaml ./
COPY benches benches
COPY migrations migrations
COPY message-templates message-templates
COPY src src
RUN cargo build --release --locked --bin boardhand \
 && install -D -m 755 target/release/boardhand /out/usr/local/bin/boardhand \
 && install -d /data

FROM scratch
# Certificates of public authorities, for Slack's and Feishu's APIs.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /
ENV BOARDHAND_LISTEN=0.0.0.0:8080 \
    BOARDHAND_DATA_DIR=/data \
    BOARDHAND_BOARDS=/etc/boardhand/boards.yaml \
    BOARDHAND_LOG=json
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/boardhand", "health"]
ENTRYPOINT ["/usr/local/bin/boardhand"]
CMD ["serve"]
