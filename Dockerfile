# One image for agent and controller. The controller runs in it as user 65532 and needs nothing but
# the program. The agent has to be root: it makes network namespaces and devices on its node, and
# the capabilities for that are only in force for uid 0 where allowPrivilegeEscalation is false.
ARG BUILDER=rust:1.89-slim-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILDER} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
RUN cargo build --locked --release --bin kube-dhcp && mv target/release/kube-dhcp /kube-dhcp

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends dnsmasq-base iptables nftables \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /kube-dhcp /usr/local/bin/kube-dhcp
ENTRYPOINT ["/usr/local/bin/kube-dhcp"]
