# One image for agent and controller. The controller runs in it as user 65532 and needs nothing but
# the program. The agent has to be root: it makes network namespaces and devices on its node, and
# the capabilities for that are only in force for uid 0 where allowPrivilegeEscalation is false.
#
# In it are the program, dnsmasq, iptables and the libraries that these load: no shell, no package
# manager. `make image` builds it; a release says BUILDER and BASE by digest.
ARG BUILDER=rust:1.89-slim-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILDER} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
ARG VERSION
ARG COMMIT
RUN grep -qx "version = \"${VERSION:-.*}\"" Cargo.toml || { echo "Cargo.toml has another version" >&2; exit 1; }
RUN KUBE_DHCP_COMMIT=${COMMIT} cargo build --locked --release --bin kube-dhcp \
    && mv target/release/kube-dhcp /kube-dhcp

FROM ${BASE} AS root
RUN apt-get update && apt-get install --yes --no-install-recommends dnsmasq-base iptables
COPY --from=build /kube-dhcp /usr/local/bin/kube-dhcp
COPY hack/image-root.sh /
RUN /image-root.sh /root-of-image

FROM scratch
ARG VERSION
ARG COMMIT
LABEL org.opencontainers.image.title="kube-dhcp" \
    org.opencontainers.image.description="DHCP and DNS for layer-2 networks, declared as Kubernetes objects" \
    org.opencontainers.image.url="https://kube-dhcp.io" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${COMMIT}"
COPY --from=root /root-of-image/ /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin
ENTRYPOINT ["/usr/local/bin/kube-dhcp"]
